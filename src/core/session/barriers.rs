//! The barriers under way: which accounts wait behind each, and what stands in for one that is not answered.

use std::collections::BTreeMap;

use super::roster::Attempt;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Barriers(BTreeMap<u64, Barrier>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Barrier {
    accounts: Vec<Attempt>,
    /// Where the server gives no answer, the canaries until one stands in.
    canaries_left: Option<u8>,
}

impl Barriers {
    pub(super) fn raise(&mut self, length: u64, accounts: Vec<Attempt>) {
        self.0.insert(length, Barrier { accounts, canaries_left: None });
    }

    pub(super) fn contains(&self, length: u64) -> bool {
        self.0.contains_key(&length)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The accounts behind a barrier that is passed; `None` if there is no such barrier.
    pub(super) fn pass(&mut self, length: u64) -> Option<Vec<Attempt>> {
        self.0.remove(&length).map(|barrier| barrier.accounts)
    }

    /// The server refuses the barrier: the second canary from here stands in.
    pub(super) fn refused(&mut self, length: u64) {
        if let Some(barrier) = self.0.get_mut(&length) {
            barrier.canaries_left = Some(2);
        }
    }

    /// The server ticks and ignores the barriers: the next canary stands in.
    pub(super) fn overdue(&mut self) {
        for barrier in self.0.values_mut() {
            barrier.canaries_left.get_or_insert(1);
        }
    }

    /// Counts a canary; the barriers that it passes.
    pub(super) fn tick(&mut self) -> Vec<u64> {
        let mut passed = Vec::new();
        for (length, barrier) in &mut self.0 {
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
