//! Liveness: a world played on without faults.

use crate::{
    action::Action,
    judge::{self, Check},
    plan::{Budget, Plan},
    world::World,
};

impl World {
    /// Plays on without faults, everything delivered and nothing written, until every account is
    /// live and true: what was broken on the way, or that it did not come to that.
    pub(crate) fn play_fair(&mut self, plan: &Plan) -> Option<Check> {
        const ENOUGH_SLOTS: u32 = 40;
        self.left = Budget::default();
        self.look = None;
        for _ in 0..ENOUGH_SLOTS {
            let mut actions = Vec::new();
            for _ in 0..200 {
                actions.clear();
                self.actions(plan, &mut actions);
                // Calls, connects and deliveries, the oldest link's first; nodes come up as they
                // can.
                let next = actions.iter().find_map(|action| self.after(plan, *action));
                let Some(next) = next else { break };
                *self = next;
                if self.broken.is_some() {
                    return self.broken;
                }
            }
            if (0..self.accounts()).all(|account| judge::is_settled(plan, self, account)) {
                return None;
            }
            self.left.slots = 1;
            let next = self.after(plan, Action::Slot { write: false })?;
            *self = next;
        }
        Some(Check::Liveness)
    }
}
