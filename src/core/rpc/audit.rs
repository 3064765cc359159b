//! Which accounts to compare with RPC next: each in turn, about once per period.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use solana_pubkey::Pubkey;

/// Cycles through a changing set of accounts in batches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Audit {
    period: Duration,
    batch: usize,
    last: Option<Pubkey>,
}

impl Audit {
    pub fn new(period: Duration, batch: usize) -> Self {
        Self { period, batch, last: None }
    }

    /// The wait between two batches, so that each of `accounts` is reached once per period.
    pub fn interval(&self, accounts: usize) -> Duration {
        let batches = accounts.div_ceil(self.batch).max(1);
        self.period / u32::try_from(batches).unwrap_or(u32::MAX)
    }

    /// The next batch of accounts that `due` accepts, in the order of addresses after the last
    /// batch.
    pub fn next<T>(&mut self, accounts: &BTreeMap<Pubkey, T>, due: impl Fn(&T) -> bool) -> Vec<Pubkey> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let from_there = accounts.range((behind, Bound::Unbounded));
        let from_start = accounts.range(..).take_while(|(address, _)| Some(**address) <= self.last);
        let batch: Vec<Pubkey> = from_there
            .chain(from_start)
            .filter(|(_, account)| due(account))
            .map(|(address, _)| *address)
            .take(self.batch)
            .collect();
        self.last = batch.last().copied().or(self.last);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    #[test]
    fn everybody_comes_round_once_a_period_also_while_the_set_changes() {
        let mut audit = Audit::new(Duration::from_secs(60), 2);
        let mut accounts: BTreeMap<_, _> = (1..=5).map(|n| (key(n), true)).collect();
        assert_eq!(audit.interval(accounts.len()), Duration::from_secs(20));
        assert_eq!(audit.next(&accounts, |due| *due), [key(1), key(2)]);
        accounts.remove(&key(2));
        assert_eq!(audit.next(&accounts, |due| *due), [key(3), key(4)]);
        assert_eq!(audit.next(&accounts, |due| *due), [key(5), key(1)]);
        accounts.insert(key(3), false);
        assert_eq!(audit.next(&accounts, |due| *due), [key(4), key(5)]);
    }

    #[test]
    fn nobody_twice_in_a_batch_and_no_batch_of_nobody() {
        let mut audit = Audit::new(Duration::from_secs(60), 99);
        let accounts: BTreeMap<_, _> = (1..=3).map(|n| (key(n), ())).collect();
        for _ in 0..3 {
            assert_eq!(audit.next(&accounts, |()| true).len(), 3);
        }
        assert_eq!(audit.next(&BTreeMap::<_, ()>::new(), |()| true), []);
        assert_eq!(audit.interval(0), Duration::from_secs(60));
    }
}
