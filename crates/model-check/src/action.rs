//! What can happen next in a world.

use crate::{
    chain::tick,
    plan::Plan,
    wire::Event,
    world::{Wire, World},
};

/// Something that happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The chain makes a slot, with its next write in it or without.
    Slot {
        /// With its next write.
        write: bool,
    },
    /// The time of a slot passes without one.
    Idle,
    /// A node comes nearer to the chain's newest slot; by more than one it skips.
    Follow {
        /// The node.
        node: u8,
        /// By so many slots.
        by: u8,
    },
    /// A connect succeeds, to that node.
    Open {
        /// The link.
        link: u8,
        /// The node.
        node: u8,
    },
    /// The server takes the oldest request of a connection.
    Take(u8),
    /// The oldest subscription that waits for it takes effect.
    Effect(u8),
    /// The driver takes one notification or answer.
    Deliver(u8),
    /// The driver takes all that there is in one turn.
    DeliverAll(u8),
    /// The driver takes the oldest, and of the other subscriptions all that they have.
    DeliverAhead(u8),
    /// A call leaves for RPC.
    Depart,
    /// A node answers the call of that number.
    Answer {
        /// The call.
        call: u64,
        /// The node.
        node: u8,
    },
    /// The answer arrives.
    Land(u64),
    /// The call fails.
    Refuse(u64),
    /// A connection is cut, or a connect fails.
    Cut(u8),
    /// A connection turns half-open.
    Freeze(u8),
    /// A canary or a barrier is lost.
    Lose(u8),
    /// The next notification is told again, behind all others.
    Repeat(u8),
    /// The server forgets an account's subscription.
    Kill(u8, u8),
    /// A caller doubts what is known, and reads by RPC.
    Doubt(u8),
    /// An account is unwatched and watched anew.
    Rewatch(u8),
    /// A caller reads by RPC, as of the newest slot.
    Ask(u8),
    /// A reader does the first of its two loads.
    Load(u8),
    /// And the second.
    Join,
    /// The nodes show a processed bank so many slots ahead.
    Bank {
        /// Slots ahead of the confirmed chain.
        ahead: u8,
        /// It shows what will never be confirmed.
        fork: bool,
    },
}

impl World {
    pub(crate) fn actions(&self, plan: &Plan, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        let left = &self.left;
        let head = self.chain.head();
        if left.slots > 0 {
            actions.push(Action::Slot { write: false });
            if left.writes > 0 && usize::from(self.written) < plan.writes.len() {
                actions.push(Action::Slot { write: true });
            }
        }
        if left.idles > 0 {
            actions.push(Action::Idle);
        }
        for (node, at) in (0u8..).zip(&self.heads) {
            actions.extend((1..=(head - at) as u8).map(|by| Action::Follow { node, by }));
        }
        for (link, wire) in (0u8..).zip(&self.wires) {
            self.link_actions(plan, link, wire, actions);
        }
        if self.engine.next_deadline().is_some_and(|due| due <= tick(self.now + 3)) {
            actions.push(Action::Depart);
        }
        for flight in &self.flights {
            let call = flight.call.number;
            let answered = flight.slot.is_some();
            if answered {
                actions.push(Action::Land(call));
            } else {
                let nodes = self.behind(plan, flight.call.endpoint.0);
                actions.extend(nodes.map(|node| Action::Answer { call, node }));
                if left.refusals > 0 {
                    actions.push(Action::Refuse(call));
                }
            }
        }
        for account in 0..self.accounts() {
            let callers = [
                (left.doubts, Action::Doubt(account)),
                (left.rewatches, Action::Rewatch(account)),
                (left.asks, Action::Ask(account)),
                (if self.look.is_none() { left.looks } else { 0 }, Action::Load(account)),
            ];
            actions.extend(callers.into_iter().filter(|(left, _)| *left > 0).map(|(_, action)| action));
        }
        if self.look.is_some() {
            actions.push(Action::Join);
        }
        if left.banks > 0 {
            for (ahead, fork) in [(1, false), (1, true), (2, false), (2, true)] {
                actions.push(Action::Bank { ahead, fork });
            }
        }
    }

    fn link_actions(&self, plan: &Plan, link: u8, wire: &Wire, actions: &mut Vec<Action>) {
        let left = &self.left;
        if *wire != Wire::Down && left.cuts > 0 {
            actions.push(Action::Cut(link));
        }
        let connection = match wire {
            Wire::Down => return,
            Wire::Connecting => {
                let nodes = self.behind(plan, self.endpoint_of(link));
                return actions.extend(nodes.map(|node| Action::Open { link, node }));
            }
            Wire::Open(connection) if connection.frozen => return,
            Wire::Open(connection) => connection,
        };
        if !connection.requests.is_empty() {
            actions.push(Action::Take(link));
        }
        if connection.has_backlog() {
            actions.push(Action::Effect(link));
        }
        if left.freezes > 0 {
            actions.push(Action::Freeze(link));
        }
        if left.kills > 0 {
            let held = (0..self.accounts()).filter(|account| connection.holds(*account));
            actions.extend(held.map(|account| Action::Kill(link, account)));
        }
        let Some((_, next)) = connection.queue.front() else { return };
        actions.push(Action::Deliver(link));
        if plan.turns && connection.queue.len() > 1 {
            actions.push(Action::DeliverAll(link));
            actions.push(Action::DeliverAhead(link));
        }
        if left.losses > 0 && matches!(next, Event::Clock(_)) {
            actions.push(Action::Lose(link));
        }
        if left.repeats > 0 && !next.is_answer() {
            actions.push(Action::Repeat(link));
        }
    }
}
