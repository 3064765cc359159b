//! Which watched accounts are positions, what keeps each of them, and when one is swept (unwatched
//! automatically).
//!
//! 1. An account that a caller watches by hand is never swept.
//! 2. An account with a claim on it is not swept, nor is one before its `keep_until`.
//! 3. An account's linger starts when the account is empty and has no claims, and runs only while
//!    both remain so. A change of either restarts it; only a buy that is known to have failed
//!    waives it.
//!
//! Other reasons to keep an account (tokens reserved or in flight, a state that is not known well
//! enough) are checked when its time has come: see `Engine::sweep`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use solana_pubkey::Pubkey;

use crate::core::{
    base::{ids::ClaimId, time::Tick},
    trade::buys::Buys,
};

/// How a claim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// The account lingers, in case it is wanted again.
    Linger,
    /// The claim's purpose is known to have failed: the account is swept at once, if nothing else
    /// keeps it.
    AtOnce,
}

/// What keeps one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Kept {
    /// A caller also watches it by hand.
    pinned: bool,
    /// Open buys, and callers that wait for one.
    claims: BTreeSet<ClaimId>,
    keep_until: Tick,
    /// Whether the last observed state holds no tokens.
    empty: bool,
    /// When it is due in the agenda.
    due: Option<Tick>,
}

/// The positions, by the rules at the top of this module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Positions {
    linger: Duration,
    kept: BTreeMap<Pubkey, Kept>,
    /// When each account's linger ends.
    agenda: BTreeSet<(Tick, Pubkey)>,
    last_claim: u64,
    pub buys: Buys,
}

impl Positions {
    pub fn new(linger: Duration) -> Self {
        Self { linger, kept: BTreeMap::new(), agenda: BTreeSet::new(), last_claim: 0, buys: Buys::default() }
    }

    /// Makes a watched account a position, kept at least until `keep_until`. `pinned`: a caller
    /// also watches it by hand. `empty`: its observed state holds no tokens.
    pub fn open(&mut self, now: Tick, address: Pubkey, pinned: bool, empty: bool, keep_until: Tick) {
        let kept = self.kept.entry(address).or_insert(Kept { pinned, ..Kept::default() });
        kept.empty = empty;
        kept.keep_until = kept.keep_until.max(keep_until);
        self.arrange(now, &address, self.linger);
    }

    /// A caller watches the account by hand. (Invariant 1)
    pub fn pin(&mut self, address: &Pubkey) {
        if let Some(kept) = self.kept.get_mut(address) {
            kept.pinned = true;
            self.put_off(address, None);
        }
    }

    pub fn is_open(&self, address: &Pubkey) -> bool {
        self.kept.contains_key(address)
    }

    pub fn addresses(&self) -> impl Iterator<Item = Pubkey> + '_ {
        self.kept.keys().copied()
    }

    /// Keeps a position until the claim is released.
    pub fn claim(&mut self, address: &Pubkey) -> ClaimId {
        self.last_claim += 1;
        let claim = ClaimId(self.last_claim);
        if let Some(kept) = self.kept.get_mut(address) {
            kept.claims.insert(claim);
            self.put_off(address, None);
        }
        claim
    }

    /// Ends a claim. No effect if it has ended already, for example together with the account's
    /// watch.
    pub fn release(&mut self, now: Tick, address: &Pubkey, claim: ClaimId, how: Release) {
        if self.kept.get_mut(address).is_some_and(|kept| kept.claims.remove(&claim)) {
            let linger = match how {
                Release::Linger => self.linger,
                Release::AtOnce => Duration::ZERO,
            };
            self.arrange(now, address, linger);
        }
    }

    /// Call when the account's state has changed: `empty` says whether it holds no tokens now.
    pub fn see(&mut self, now: Tick, address: &Pubkey, empty: bool) {
        if let Some(kept) = self.kept.get_mut(address) {
            kept.empty = empty;
            self.arrange(now, address, self.linger);
        }
    }

    /// The account is no longer watched.
    pub fn forget(&mut self, address: &Pubkey) {
        self.put_off(address, None);
        self.kept.remove(address);
        self.buys.forget(address);
    }

    /// The next account that is due. The caller must forget it or put it off.
    pub fn due(&self, now: Tick) -> Option<Pubkey> {
        self.agenda.first().filter(|(due, _)| *due <= now).map(|(_, address)| *address)
    }

    /// Sets when the account is due next, for example because it is due but cannot be swept yet;
    /// `None` for not at all.
    pub fn put_off(&mut self, address: &Pubkey, due: Option<Tick>) {
        let Some(kept) = self.kept.get_mut(address) else { return };
        if let Some(before) = std::mem::replace(&mut kept.due, due) {
            self.agenda.remove(&(before, *address));
        }
        self.agenda.extend(due.map(|due| (due, *address)));
    }

    #[cfg(test)]
    pub fn claims(&self, address: &Pubkey) -> usize {
        self.kept.get(address).map_or(0, |kept| kept.claims.len())
    }

    pub fn linger(&self) -> Duration {
        self.linger
    }

    pub fn next_deadline(&self) -> Option<Tick> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// Starts, restarts or ends the linger. (Invariants 2 and 3)
    fn arrange(&mut self, now: Tick, address: &Pubkey, linger: Duration) {
        let Some(kept) = self.kept.get(address) else { return };
        let idle = kept.empty && !kept.pinned && kept.claims.is_empty();
        let due = idle.then(|| now.plus(linger).max(kept.keep_until));
        self.put_off(address, due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * 1_000_000_000)
    }

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    /// A position opened at 100 s, watched by nobody else.
    fn opened(empty: bool) -> Positions {
        let mut positions = Positions::new(LINGER);
        positions.open(at(100), key(1), false, empty, Tick::NEVER);
        positions
    }

    #[test]
    fn what_holds_nothing_is_due_after_its_linger_and_what_holds_something_never() {
        let mut positions = opened(false);
        assert_eq!(positions.next_deadline(), None, "not seen yet, or not empty");
        positions.see(at(200), &key(1), true);
        assert_eq!(positions.next_deadline(), Some(at(260)));
        assert_eq!((positions.due(at(259)), positions.due(at(260))), (None, Some(key(1))));
        positions.see(at(230), &key(1), false);
        assert_eq!(positions.next_deadline(), None, "bought again");
        positions.see(at(240), &key(1), true);
        assert_eq!(positions.next_deadline(), Some(at(300)), "counted anew");
    }

    #[test]
    fn what_is_watched_by_hand_is_never_due_whichever_came_first() {
        let mut positions = Positions::new(LINGER);
        positions.open(at(100), key(1), true, true, Tick::NEVER);
        positions.open(at(100), key(2), false, true, Tick::NEVER);
        positions.pin(&key(2));
        positions.pin(&key(3));
        positions.see(at(150), &key(2), true);
        positions.open(at(160), key(1), false, true, Tick::NEVER);
        assert_eq!(positions.next_deadline(), None);
        assert!(!positions.is_open(&key(3)), "watched only");
    }

    #[test]
    fn a_claim_keeps_it_and_the_linger_begins_when_the_last_one_ends() {
        let mut positions = opened(true);
        let (first, second) = (positions.claim(&key(1)), positions.claim(&key(1)));
        assert_eq!(positions.next_deadline(), None);
        positions.see(at(150), &key(1), true);
        positions.release(at(200), &key(1), first, Release::AtOnce);
        assert_eq!(positions.next_deadline(), None, "another one is open");
        positions.release(at(300), &key(1), second, Release::Linger);
        positions.release(at(310), &key(1), second, Release::Linger);
        positions.release(at(320), &key(1), first, Release::AtOnce);
        assert_eq!(positions.next_deadline(), Some(at(360)), "what has ended ends nothing");
    }

    #[test]
    fn what_comes_to_nothing_goes_at_once_but_not_before_it_was_to_be_kept_and_not_with_tokens() {
        let mut positions = opened(true);
        let claim = positions.claim(&key(1));
        positions.release(at(200), &key(1), claim, Release::AtOnce);
        assert_eq!(positions.due(at(200)), Some(key(1)));

        let mut kept = opened(true);
        let claim = kept.claim(&key(1));
        kept.open(at(110), key(1), false, true, at(900));
        kept.open(at(120), key(1), false, true, at(500));
        kept.release(at(200), &key(1), claim, Release::AtOnce);
        assert_eq!(kept.next_deadline(), Some(at(900)));

        let mut holding = opened(false);
        let claim = holding.claim(&key(1));
        holding.release(at(200), &key(1), claim, Release::AtOnce);
        assert_eq!(holding.next_deadline(), None);
    }

    #[test]
    fn what_is_forgotten_is_due_no_more_and_its_claims_end_nothing_later() {
        let mut positions = opened(true);
        let claim = positions.claim(&key(1));
        positions.forget(&key(1));
        positions.open(at(300), key(1), false, true, Tick::NEVER);
        let other = positions.claim(&key(1));
        positions.release(at(310), &key(1), claim, Release::AtOnce);
        assert_eq!(positions.next_deadline(), None);
        positions.release(at(320), &key(1), other, Release::Linger);
        assert_eq!(positions.next_deadline(), Some(at(380)));
        positions.forget(&key(1));
        assert_eq!(positions.next_deadline(), None);
    }

    #[test]
    fn several_come_in_the_order_of_their_time() {
        let mut positions = Positions::new(LINGER);
        for (byte, moment) in [(1, 30), (2, 10), (3, 20)] {
            positions.open(at(moment), key(byte), false, true, Tick::NEVER);
        }
        let mut order = Vec::new();
        while let Some(address) = positions.due(at(80)) {
            order.push(address);
            if address == key(3) {
                positions.put_off(&address, Some(at(95)));
            } else {
                positions.forget(&address);
            }
        }
        assert_eq!(order, [key(2), key(3)]);
        assert_eq!(positions.next_deadline(), Some(at(90)));
    }
}
