//! The barriers under way: which accounts wait behind each, and what stands in for one that is not answered.

use std::collections::BTreeMap;

use crate::core::{base::time::Tick, link::feed::Attempt};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Barriers(BTreeMap<u64, Barrier>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Barrier {
    accounts: Vec<Attempt>,
    /// The server holds a subscription for it, or may come to.
    subscribed: bool,
    /// Until when its notification should have come, once it is acknowledged.
    due: Option<Tick>,
    /// Where the server gives no answer, the canaries until one stands in.
    canaries_left: Option<u8>,
    /// A canary stands in only if its node node_time its slot later than this: what waits behind the barrier was in the
    /// node's queue by then. One that was under way before says nothing of it.
    queued: Tick,
}

impl Barriers {
    pub(super) fn raise(&mut self, now: Tick, length: u64, accounts: Vec<Attempt>) {
        let (subscribed, due, canaries_left) = (true, None, None);
        self.0.insert(length, Barrier { accounts, subscribed, due, canaries_left, queued: now });
    }

    /// Notes that the server has taken a barrier; `false` if there is no such barrier.
    pub(super) fn acknowledged(&mut self, length: u64, due: Tick) -> bool {
        let Some(barrier) = self.0.get_mut(&length) else { return false };
        barrier.due = Some(due);
        true
    }

    /// When the next barrier is overdue.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.0.values().filter_map(|barrier| barrier.due).min()
    }

    /// The accounts behind a barrier that is passed, and whether it is to be unsubscribed; `None` if there is no
    /// such barrier.
    pub(super) fn pass(&mut self, length: u64) -> Option<(Vec<Attempt>, bool)> {
        self.0.remove(&length).map(|barrier| (barrier.accounts, barrier.subscribed))
    }

    /// The server refuses the barrier, or is not asked: the second canary from here stands in.
    pub(super) fn refused(&mut self, length: u64) {
        if let Some(barrier) = self.0.get_mut(&length) {
            barrier.subscribed = false;
            barrier.canaries_left = Some(2);
        }
    }

    /// The server ticks and ignores the barriers that are due: the next canary stands in.
    pub(super) fn overdue(&mut self, now: Tick) {
        for barrier in self.0.values_mut().filter(|barrier| barrier.due.is_some_and(|due| due <= now)) {
            barrier.due = None;
            barrier.canaries_left.get_or_insert(1);
        }
    }

    /// Counts a canary whose slot the node node_time at `node_time`; the barriers that it passes.
    pub(super) fn tick(&mut self, node_time: Tick) -> Vec<u64> {
        let mut passed = Vec::new();
        for (length, barrier) in self.0.iter_mut().filter(|(_, barrier)| barrier.queued <= node_time) {
            if let Some(left) = &mut barrier.canaries_left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    passed.push(*length);
                }
            }
        }
        passed
    }
}
