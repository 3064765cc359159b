//! The canaries of one connection in the order of their slots, and what they prove.

use std::collections::VecDeque;

use crate::core::base::{ids::Slot, time::Tick};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Canaries {
    /// From the last canary that proves something to the newest, each with the time at which the
    /// node held its slot.
    in_order: VecDeque<(Slot, Tick)>,
    ticked: bool,
    lagging: bool,
    live_since: Option<Tick>,
}

impl Canaries {
    /// Takes a canary and the time at which the node held its slot. `None` means that the canary
    /// comes too late to prove anything; then the earlier ones prove nothing either. Returns
    /// `false` if its slot is not newer than the last one.
    pub(super) fn tick(&mut self, slot: Slot, node_time: Option<Tick>) -> bool {
        if self.in_order.back().is_some_and(|(newest, _)| slot <= *newest) {
            return false;
        }
        self.ticked = true;
        self.lagging = node_time.is_none();
        match node_time {
            Some(node_time) => self.in_order.push_back((slot, node_time)),
            None => {
                self.in_order.clear();
                self.live_since = None;
            }
        }
        true
    }

    /// The newest canary that has a later one behind it and is at least `settled_after` slots older
    /// than the newest.
    pub(super) fn proved(&mut self, now: Tick, settled_after: Slot) -> Option<(Slot, Tick)> {
        let (newest, _) = *self.in_order.back()?;
        let settled =
            |(slot, _): &(Slot, Tick)| *slot < newest && slot.saturating_add(settled_after) <= newest;
        while self.in_order.get(1).is_some_and(settled) {
            self.in_order.pop_front();
        }
        let proved = self.in_order.front().copied().filter(settled)?;
        self.live_since.get_or_insert(now);
        Some(proved)
    }

    /// Whether any canary has arrived.
    pub(super) fn ticked(&self) -> bool {
        self.ticked
    }

    /// Whether the newest canary came too late.
    pub(super) fn lagging(&self) -> bool {
        self.lagging
    }

    /// Since when the canaries prove something.
    pub(super) fn live_since(&self) -> Option<Tick> {
        self.live_since
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.in_order.len()
    }
}
