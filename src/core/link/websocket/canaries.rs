//! The canaries of one connection in order, and what they prove.

use std::collections::VecDeque;

use crate::core::base::{ids::Slot, time::Tick};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Canaries {
    /// From the last that proves to the newest, each with when the node node_time its slot.
    in_order: VecDeque<(Slot, Tick)>,
    ticked: bool,
    lagging: bool,
    live_since: Option<Tick>,
}

impl Canaries {
    /// Takes a canary, with when the node node_time its slot; `None` where it comes too late to prove anything,
    /// and so does all before it. `false` if its slot is not newer than the last.
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

    /// The newest canary that is not the newest of all, and `settled_after` slots behind it.
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

    /// Whether one has come at all.
    pub(super) fn ticked(&self) -> bool {
        self.ticked
    }

    /// Whether the newest came too late.
    pub(super) fn lagging(&self) -> bool {
        self.lagging
    }

    /// Since when they prove something.
    pub(super) fn live_since(&self) -> Option<Tick> {
        self.live_since
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.in_order.len()
    }
}
