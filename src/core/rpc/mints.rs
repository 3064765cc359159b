//! The mints of watched accounts: what is known of each, and when to read it again.
//!
//! 1. What is known of a mint that can change never goes back to an older slot.
//! 2. A mint that can change to a holder's harm is read again every minute while an account of it
//!    is watched; any other mint is read once.
//! 3. The mints of watched accounts are kept. Other mints are dropped once the total exceeds
//!    [`ROOM`] and twice the number kept last time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use solana_pubkey::Pubkey;

use crate::core::{
    base::{ids::Slot, time::Tick},
    chain::mint::MintInfo,
};

/// How often to read a mint that can change: as often as accounts are compared with RPC, for the
/// same reason.
const AGAIN: Duration = Duration::from_secs(60);
/// Mints that are due this soon are read together with those due now, so that they come to share
/// calls.
const TOGETHER: Duration = Duration::from_secs(15);
/// How many mints are kept before those without a watched account are dropped.
pub const ROOM: usize = 4_096;

/// The known mints, by the rules at the top of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mints {
    known: BTreeMap<Pubkey, MintInfo>,
    /// When each mint that can change is read next. Mints without a watched account are in neither
    /// map.
    next: BTreeMap<Pubkey, Tick>,
    schedule: BTreeSet<(Tick, Pubkey)>,
    /// How many mints may be known before unused ones are dropped again, if above [`ROOM`].
    sweep_above: usize,
    touched: bool,
}

impl Mints {
    pub fn get(&self, mint: &Pubkey) -> Option<&MintInfo> {
        self.known.get(mint)
    }

    /// The known mints, if they have changed since the last call.
    pub fn take_touched(&mut self) -> Option<&BTreeMap<Pubkey, MintInfo>> {
        std::mem::take(&mut self.touched).then_some(&self.known)
    }

    /// Call when a watched account refers to a mint. Returns whether to read the mint now.
    pub fn name(&mut self, now: Tick, mint: Pubkey) -> bool {
        match self.known.get(&mint) {
            None => true,
            // The mint had no watched account for a while.
            Some(known) if known.slot.is_some() && !self.next.contains_key(&mint) => {
                self.plan(mint, now.plus(AGAIN));
                true
            }
            Some(_) => false,
        }
    }

    /// Applies an answer of `slot`; `read` is the latest moment at which it is known to have been
    /// true, and `named` returns the mints of watched accounts.
    pub fn read(
        &mut self,
        now: Tick,
        address: Pubkey,
        mut mint: MintInfo,
        (slot, read): (Slot, Tick),
        named: impl FnOnce() -> BTreeSet<Pubkey>,
    ) {
        let known = self.known.get(&address);
        if let Some(known) = known
            && known.slot.is_some_and(|known| slot < known)
        {
            return;
        }
        if mint.slot.is_some() {
            mint.slot = Some(slot);
            // The same content from a node whose answers prove nothing must not make it look older.
            mint.read = known.map_or(read, |known| known.read.max(read));
            if !self.next.contains_key(&address) {
                self.plan(address, now.plus(AGAIN));
            }
        } else {
            self.forget(&address);
        }
        self.known.insert(address, mint);
        self.touched = true;
        if self.known.len() > self.sweep_above.max(ROOM) {
            let named = named();
            self.known.retain(|mint, _| named.contains(mint));
            self.sweep_above = 2 * self.known.len();
        }
    }

    /// When [`Mints::take_due`] next has something to return.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.schedule.first().map(|(due, _)| *due)
    }

    /// The mints to read again now, among those of watched accounts.
    pub fn take_due(&mut self, now: Tick, named: impl FnOnce() -> BTreeSet<Pubkey>) -> Vec<Pubkey> {
        if self.next_deadline().is_none_or(|due| due > now) {
            return Vec::new();
        }
        let named = named();
        let until = now.plus(TOGETHER);
        let mut due: Vec<Pubkey> =
            self.schedule.iter().take_while(|(due, _)| *due <= until).map(|(_, mint)| *mint).collect();
        for mint in &due {
            self.forget(mint);
        }
        due.retain(|mint| named.contains(mint) && self.known.contains_key(mint));
        for mint in &due {
            self.plan(*mint, now.plus(AGAIN));
        }
        due
    }

    /// Call when the chain began anew: accepts any slot from now on, and reads all mints that
    /// can change again at once.
    pub fn begin_anew(&mut self, now: Tick) {
        for known in self.known.values_mut().filter(|known| known.slot.is_some()) {
            known.slot = Some(0);
            known.read = Tick::NEVER;
        }
        self.touched = true;
        self.read_all(now);
    }

    /// Schedules all mints that can change to be read at once.
    pub fn read_all(&mut self, now: Tick) {
        for mint in self.next.keys().copied().collect::<Vec<_>>() {
            self.plan(mint, now);
        }
    }

    fn plan(&mut self, mint: Pubkey, at: Tick) {
        self.forget(&mint);
        self.next.insert(mint, at);
        self.schedule.insert((at, mint));
    }

    fn forget(&mut self, mint: &Pubkey) {
        if let Some(at) = self.next.remove(mint) {
            self.schedule.remove(&(at, *mint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chain::token::TokenProgram;

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * 1_000_000_000)
    }

    fn changing(paused: bool) -> MintInfo {
        MintInfo { slot: Some(0), paused, ..MintInfo::plain(TokenProgram::Token2022, 6) }
    }

    fn named(mints: &[u8]) -> BTreeSet<Pubkey> {
        mints.iter().map(|mint| key(*mint)).collect()
    }

    fn learn(mints: &mut Mints, now: u64, mint: u8, seen: MintInfo, slot: Slot) {
        mints.read(at(now), key(mint), seen, (slot, at(now)), || unreachable!("there is room"));
    }

    #[test]
    fn an_older_slot_takes_nothing_back() {
        let mut mints = Mints::default();
        learn(&mut mints, 1, 1, changing(true), 10);
        learn(&mut mints, 2, 1, changing(false), 9);
        assert_eq!(mints.get(&key(1)).map(|mint| (mint.paused, mint.slot)), Some((true, Some(10))));
        learn(&mut mints, 3, 1, changing(false), 11);
        let known = *mints.get(&key(1)).expect("known");
        assert_eq!((known.paused, known.slot, known.read), (false, Some(11), at(3)));
        mints.begin_anew(at(4));
        learn(&mut mints, 5, 1, changing(true), 2);
        assert_eq!(mints.get(&key(1)).map(|mint| (mint.paused, mint.slot)), Some((true, Some(2))));
    }

    #[test]
    fn an_answer_that_proves_nothing_makes_it_no_younger_and_no_older() {
        let mut mints = Mints::default();
        learn(&mut mints, 7, 1, changing(false), 10);
        let lagging = (12, Tick::NEVER);
        mints.read(at(8), key(1), changing(true), lagging, || unreachable!("there is room"));
        let known = *mints.get(&key(1)).expect("known");
        assert_eq!((known.paused, known.slot, known.read), (true, Some(12), at(7)));
    }

    #[test]
    fn what_can_change_is_read_again_each_minute_and_what_cannot_never() {
        let mut mints = Mints::default();
        assert!(mints.name(at(0), key(1)), "not known yet");
        learn(&mut mints, 0, 1, changing(false), 10);
        learn(&mut mints, 0, 2, MintInfo::plain(TokenProgram::Token2022, 6), 10);
        learn(&mut mints, 14, 3, changing(false), 10);
        assert!(!mints.name(at(1), key(1)) && !mints.name(at(1), key(2)));
        assert_eq!(mints.take_due(at(59), || unreachable!("nothing is due")), []);
        assert_eq!(mints.next_deadline(), Some(at(60)));
        let due = mints.take_due(at(60), || named(&[1, 2, 3]));
        assert_eq!(due, [key(1), key(3)], "both at once, and without the one that cannot change");
        // Also where no answer comes.
        assert_eq!(mints.next_deadline(), Some(at(120)));
    }

    #[test]
    fn a_mint_that_nobody_names_is_read_no_more_until_somebody_does() {
        let mut mints = Mints::default();
        learn(&mut mints, 0, 1, changing(false), 10);
        assert_eq!(mints.take_due(at(60), || named(&[])), []);
        assert_eq!(mints.next_deadline(), None);
        assert!(mints.name(at(500), key(1)), "it is known, and may be long out of date");
        assert!(!mints.name(at(501), key(1)));
        assert_eq!(mints.next_deadline(), Some(at(560)));
    }

    #[test]
    fn a_mint_whose_last_authority_is_gone_is_read_no_more() {
        let mut mints = Mints::default();
        learn(&mut mints, 0, 1, changing(false), 10);
        learn(&mut mints, 5, 1, MintInfo::plain(TokenProgram::Token2022, 6), 11);
        assert_eq!(mints.next_deadline(), None);
        assert_eq!(mints.get(&key(1)).map(|mint| mint.slot), Some(None));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut mints = Mints::default();
        let numbered = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            Pubkey::new_from_array(bytes)
        };
        let mut looks = 0;
        for n in 0..20_000 {
            let named = || {
                looks += 1;
                (0..=n).filter(|n| *n < 100 || n % 2 == 0).map(numbered).collect()
            };
            mints.read(at(1), numbered(n), changing(false), (1, at(1)), named);
            assert!(mints.known.len() <= ROOM.max(2 * (n / 2 + 101)), "{} after {n}", mints.known.len());
        }
        assert!(mints.get(&numbered(99)).is_some() && mints.get(&numbered(19_998)).is_some());
        assert!(looks < 10, "{looks} looks at all accounts");
    }
}
