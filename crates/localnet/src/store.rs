//! Accounts with their history: what each held from which slot on.
//!
//! One store answers for every bank of the chain. Reading at a slot gives the state that slot's
//! bank holds; a fork is abandoned by cutting off the versions above its root.

use std::collections::{HashMap, VecDeque};

use solana_account::{AccountSharedData, ReadableAccount};
use solana_pubkey::Pubkey;

/// How many versions of one account are kept. Older ones are forgotten, the newest of them becoming
/// the oldest known.
pub(crate) const VERSIONS_KEPT: usize = 4096;

/// What an account held from `slot` on, until the next version.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) slot: u64,
    /// `None`: closed, or never there.
    pub(crate) account: Option<AccountSharedData>,
}

impl Version {
    /// The slot that the server takes for the last write: zero for an account that is not there
    /// (closed ones too).
    pub(crate) fn modified(&self) -> u64 {
        if self.account.is_some() { self.slot } else { 0 }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    accounts: HashMap<Pubkey, VecDeque<Version>>,
}

impl Store {
    /// Records a write in `slot`, which is never older than the account's newest version. A second
    /// write in one slot replaces the first: a bank shows only its end.
    pub(crate) fn write(&mut self, slot: u64, address: Pubkey, account: Option<AccountSharedData>) {
        let account = account.filter(|account| account.lamports() > 0);
        let versions = self.accounts.entry(address).or_default();
        if versions.back().is_some_and(|newest| newest.slot == slot) {
            versions.pop_back();
        } else if account.is_none() && versions.back().is_none_or(|newest| newest.account.is_none()) {
            return; // Absent before and after.
        }
        versions.push_back(Version { slot, account });
        if versions.len() > VERSIONS_KEPT {
            versions.pop_front();
        }
    }

    /// The version that the bank of `slot` holds.
    pub(crate) fn at(&self, slot: u64, address: &Pubkey) -> Option<&Version> {
        let versions = self.accounts.get(address)?;
        let known = versions.partition_point(|version| version.slot <= slot);
        versions.get(known.checked_sub(1)?)
    }

    /// The account as the bank of `slot` holds it.
    pub(crate) fn account(&self, slot: u64, address: &Pubkey) -> Option<&AccountSharedData> {
        self.at(slot, address)?.account.as_ref()
    }

    /// The slot of the last write that the bank of `slot` knows, as the server computes it.
    pub(crate) fn modified(&self, slot: u64, address: &Pubkey) -> u64 {
        self.at(slot, address).map_or(0, Version::modified)
    }

    /// All accounts that exist at `slot`.
    pub(crate) fn all_at(&self, slot: u64) -> impl Iterator<Item = (&Pubkey, &AccountSharedData)> {
        self.accounts.keys().filter_map(move |address| Some((address, self.account(slot, address)?)))
    }

    /// The versions of an account, oldest first.
    pub(crate) fn versions(&self, address: &Pubkey) -> impl Iterator<Item = &Version> {
        self.accounts.get(address).into_iter().flatten()
    }

    /// Forgets every write above `slot` and tells which accounts had one.
    pub(crate) fn truncate_above(&mut self, slot: u64) -> Vec<Pubkey> {
        let mut touched = Vec::new();
        for (address, versions) in &mut self.accounts {
            let kept = versions.partition_point(|version| version.slot <= slot);
            if kept < versions.len() {
                versions.truncate(kept);
                touched.push(*address);
            }
        }
        self.accounts.retain(|_, versions| !versions.is_empty());
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(lamports: u64) -> Option<AccountSharedData> {
        Some(AccountSharedData::new(lamports, 0, &Pubkey::default()))
    }

    fn lamports(store: &Store, slot: u64, address: &Pubkey) -> Option<u64> {
        store.account(slot, address).map(|account| account.lamports())
    }

    #[test]
    fn each_slot_reads_its_own_state() {
        let (mut store, a) = (Store::default(), Pubkey::from([1; 32]));
        store.write(3, a, account(30));
        store.write(5, a, account(50));
        store.write(5, a, account(51));
        store.write(7, a, None);
        let seen: Vec<_> = (2..9).map(|slot| lamports(&store, slot, &a)).collect();
        assert_eq!(seen, [None, Some(30), Some(30), Some(51), Some(51), None, None]);
        assert_eq!(store.modified(6, &a), 5);
        assert_eq!(store.modified(7, &a), 0, "a closed account has no slot");
    }

    #[test]
    fn truncation_restores_the_root_and_names_the_touched() {
        let mut store = Store::default();
        let [a, b, c] = [1, 2, 3].map(|n| Pubkey::from([n; 32]));
        store.write(1, a, account(10));
        store.write(1, b, account(20));
        store.write(4, b, account(21));
        store.write(5, c, account(30));
        let mut touched = store.truncate_above(3);
        touched.sort();
        assert_eq!(touched, [b, c]);
        assert_eq!(lamports(&store, 9, &b), Some(20));
        assert_eq!(lamports(&store, 9, &c), None);
    }

    #[test]
    fn history_is_bounded() {
        let (mut store, a) = (Store::default(), Pubkey::from([1; 32]));
        for slot in 0..2 * VERSIONS_KEPT as u64 {
            store.write(slot, a, account(slot + 1));
        }
        assert_eq!(store.versions(&a).count(), VERSIONS_KEPT);
    }
}
