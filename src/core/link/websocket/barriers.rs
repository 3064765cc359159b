//! The barriers under way: which accounts wait behind each, and what replaces a barrier that the
//! server does not answer.

use std::collections::BTreeMap;

use crate::core::{base::time::Tick, link::feed::Attempt};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Barriers(BTreeMap<u64, Barrier>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Barrier {
    accounts: Vec<Attempt>,
    /// Whether the server holds a subscription for the barrier, or may come to hold one.
    subscribed: bool,
    /// The deadline for its notification, set once the server has acknowledged it.
    due: Option<Tick>,
    /// If the server does not answer the barrier: how many more canaries must arrive before one
    /// replaces it.
    canaries_left: Option<u8>,
    /// A canary replaces the barrier only if the node held its slot later than this moment: by
    /// then, what waits behind the barrier was in the node's queue. A canary that was already under
    /// way says nothing about that.
    queued: Tick,
}

impl Barriers {
    pub(super) fn raise(&mut self, now: Tick, length: u64, accounts: Vec<Attempt>) {
        let (subscribed, due, canaries_left) = (true, None, None);
        self.0.insert(length, Barrier { accounts, subscribed, due, canaries_left, queued: now });
    }

    /// Notes that the server has acknowledged a barrier. Returns `false` if there is no such
    /// barrier.
    pub(super) fn acknowledged(&mut self, length: u64, due: Tick) -> bool {
        let Some(barrier) = self.0.get_mut(&length) else { return false };
        barrier.due = Some(due);
        true
    }

    /// The earliest deadline of any barrier's notification.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.0.values().filter_map(|barrier| barrier.due).min()
    }

    /// Removes a barrier that is passed. Returns the accounts behind it and whether it must be
    /// unsubscribed, or `None` if there is no such barrier.
    pub(super) fn pass(&mut self, length: u64) -> Option<(Vec<Attempt>, bool)> {
        self.0.remove(&length).map(|barrier| (barrier.accounts, barrier.subscribed))
    }

    /// The server refuses the barrier, or was not asked: the second canary from now replaces it.
    pub(super) fn refused(&mut self, length: u64) {
        if let Some(barrier) = self.0.get_mut(&length) {
            barrier.subscribed = false;
            barrier.canaries_left = Some(2);
        }
    }

    /// The server ticks but has not sent the notifications that are due: for these barriers the
    /// next canary counts instead.
    pub(super) fn overdue(&mut self, now: Tick) {
        for barrier in self.0.values_mut().filter(|barrier| barrier.due.is_some_and(|due| due <= now)) {
            barrier.due = None;
            barrier.canaries_left.get_or_insert(1);
        }
    }

    /// Counts a canary whose slot the node held at `node_time`. Returns the barriers that are
    /// passed with it.
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
