//! Tokens that are held, by account: reserved, in a sell that may still land, or sold but not yet
//! observed to be gone.
//!
//! The available amount is the observed amount minus all of these. It may be too low for a moment,
//! but never too high:
//!
//! 1. Only its holder frees a reservation. Once the sell may have been sent, the hold is in flight,
//!    and only the sell's outcome ends it.
//! 2. A sell that landed at S is deducted until the account itself was observed at S or later. A
//!    link's canary past S is not enough: the sell wrote to the account, so a link without a
//!    notification of it has lost the subscription.
//! 3. A sell that has expired, proved by the bank of slot X, is deducted until the state is known
//!    as of X: that state contains the sell, or no later one ever will. An expired sell need not
//!    have written anything, so here a canary is enough.
//! 4. All this outlives the account's watch. In a new order of slots, sells that landed or expired
//!    before are deducted until the account is observed in the new order. Sells in flight stay in
//!    flight: the chain may only have been set back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use solana_pubkey::Pubkey;

use crate::core::{
    account::{freshness::StaleError, record::Held, sellable::SellObstacles},
    base::{
        ids::{Slot, TradeId},
        time::Tick,
    },
};

/// The most holds, reserved and in flight together.
pub const MAX_HOLDS: usize = 4_096;
/// How many slots of landed (or expired) sells are kept apart per account. Beyond that, the oldest
/// is merged into the next.
const MAX_SLOTS: usize = 32;
/// How long landed and expired sells of an unwatched account are kept. Any fresh state was then
/// requested after they ended.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// How often the mirror asks RPC for an account whose link sends no notification of a sell.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Why tokens cannot be held. Nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// The account is not watched.
    #[error("account {address} is not watched; watch it first")]
    NotWatched {
        /// The account.
        address: Pubkey,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
    /// Memory holds no balance that is fresh enough to sell on.
    #[error("{0}; read the balance (that asks RPC), then hold again")]
    Stale(#[from] StaleError),
    /// The account's tokens cannot be sold.
    #[error("the tokens cannot be sold: {0}")]
    Unsellable(SellObstacles),
    /// More was requested than is there and not held.
    #[error(
        "{wanted} raw units of account {address} were requested, but {available} are available; hold fewer, or wait until other sells end"
    )]
    TooMuch {
        /// The account.
        address: Pubkey,
        /// How much was requested, as a raw amount.
        wanted: u64,
        /// How much is there, minus what is held, as a raw amount.
        available: u64,
    },
    /// Zero tokens were requested, or all of an account that has none.
    #[error(
        "nothing to hold in account {address}: request at least 1 raw unit, and no more than are available"
    )]
    Nothing {
        /// The account.
        address: Pubkey,
    },
    /// The mirror's limit of open holds is reached.
    #[error("the limit of {limit} open holds is reached; end or drop some first")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct AccountHolds {
    reserved: BTreeMap<TradeId, u64>,
    in_flight: BTreeMap<TradeId, u64>,
    /// By the slot at which they landed.
    landed: BTreeMap<Slot, u64>,
    /// By the slot of the bank that proves the expiry.
    expired: BTreeMap<Slot, u64>,
    /// What landed or expired in an earlier order of slots.
    before: u64,
    floor: Slot,
    /// When the last sell ended.
    ended: Tick,
    /// When RPC was last asked because of a sell of this account.
    asked: Tick,
}

impl AccountHolds {
    fn is_open(&self) -> bool {
        !self.reserved.is_empty() || !self.in_flight.is_empty()
    }

    /// Whether an observation of the account would end anything here.
    fn waits(&self) -> bool {
        !self.landed.is_empty() || !self.expired.is_empty() || self.before > 0 || self.floor > 0
    }

    fn held(&self) -> Held {
        let sum =
            |amounts: &mut dyn Iterator<Item = &u64>| amounts.fold(0u64, |sum, one| sum.saturating_add(*one));
        Held {
            reserved: sum(&mut self.reserved.values()),
            in_flight: sum(&mut self.in_flight.values().chain(self.expired.values())),
            debited: sum(&mut self.landed.values().chain([&self.before])),
            floor: self.floor,
        }
    }
}

/// Holds of all accounts, by the rules at the top of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Holds {
    accounts: BTreeMap<Pubkey, AccountHolds>,
    /// The account of each open hold.
    open: BTreeMap<TradeId, Pubkey>,
    /// The accounts to check when they are observed.
    waiting: BTreeSet<Pubkey>,
}

impl Holds {
    /// How many of an account's tokens are held.
    pub fn held(&self, address: &Pubkey) -> Held {
        self.accounts.get(address).map(AccountHolds::held).unwrap_or_default()
    }

    /// Whether an account has holds, or sells that have not been observed yet.
    pub fn any(&self, address: &Pubkey) -> bool {
        self.accounts.contains_key(address)
    }

    /// The account and the amount of an open hold.
    pub fn of(&self, id: TradeId) -> Option<(Pubkey, u64)> {
        let address = self.open.get(&id)?;
        let account = self.accounts.get(address)?;
        let amount = account.in_flight.get(&id).or_else(|| account.reserved.get(&id))?;
        Some((*address, *amount))
    }

    /// The accounts for which an observation would end something.
    pub fn waiting(&self) -> &BTreeSet<Pubkey> {
        &self.waiting
    }

    /// Reserves an amount that the caller has checked to be available.
    pub fn reserve(&mut self, id: TradeId, address: Pubkey, amount: u64) -> Result<(), HoldError> {
        if self.open.len() >= MAX_HOLDS {
            return Err(HoldError::TooMany { limit: MAX_HOLDS });
        }
        self.open.insert(id, address);
        self.accounts.entry(address).or_default().reserved.insert(id, amount);
        Ok(())
    }

    /// The caller gives up a hold before its sell is sent. Returns the account if that changed it.
    pub fn release(&mut self, id: TradeId) -> Option<Pubkey> {
        let address = *self.open.get(&id)?;
        self.accounts.get_mut(&address)?.reserved.remove(&id)?;
        self.open.remove(&id);
        Some(self.tidy(address))
    }

    /// Call before a hold's sell is sent: moves the hold from reserved to in flight.
    pub fn send(&mut self, id: TradeId) -> Option<Pubkey> {
        let address = *self.open.get(&id)?;
        let account = self.accounts.get_mut(&address)?;
        let amount = account.reserved.remove(&id)?;
        account.in_flight.insert(id, amount);
        Some(address)
    }

    /// A sell landed at `slot`.
    pub fn land(&mut self, now: Tick, id: TradeId, slot: Slot) -> Option<Pubkey> {
        let (address, amount) = self.end(id)?;
        let account = self.accounts.get_mut(&address)?;
        add(&mut account.landed, slot, amount);
        account.ended = now;
        self.expect(now, &address, slot);
        Some(address)
    }

    /// A sell can no longer land, as the bank of `slot` proves.
    pub fn expire(&mut self, now: Tick, id: TradeId, slot: Slot) -> Option<Pubkey> {
        let (address, amount) = self.end(id)?;
        let account = self.accounts.get_mut(&address)?;
        add(&mut account.expired, slot, amount);
        account.ended = now;
        Some(self.tidy(address))
    }

    /// A sell failed, or was never sent: frees its tokens.
    pub fn free(&mut self, id: TradeId) -> Option<Pubkey> {
        let (address, _) = self.end(id)?;
        Some(self.tidy(address))
    }

    /// Requires the account to be observed at `slot` or later, because something was written to it
    /// there.
    pub fn expect(&mut self, now: Tick, address: &Pubkey, slot: Slot) {
        let account = self.accounts.entry(*address).or_default();
        account.floor = account.floor.max(slot);
        account.ended = now;
        self.waiting.insert(*address);
    }

    fn end(&mut self, id: TradeId) -> Option<(Pubkey, u64)> {
        let address = *self.open.get(&id)?;
        let amount = self.accounts.get_mut(&address)?.in_flight.remove(&id)?;
        self.open.remove(&id);
        Some((address, amount))
    }

    /// Call when the account was observed at `slot` and its state is known as of `as_of`: ends the
    /// deductions that this covers.
    pub fn see(&mut self, address: &Pubkey, slot: Slot, as_of: Slot) {
        if let Some(account) = self.accounts.get_mut(address).filter(|account| account.waits()) {
            account.landed.retain(|landed, _| *landed > slot);
            account.expired.retain(|expired, _| *expired > as_of);
            account.before = 0;
            if account.floor <= slot {
                account.floor = 0;
            }
            self.tidy(*address);
        }
    }

    /// Returns the slot at which to ask RPC for an account, if its link has passed a sell without a
    /// notification of it.
    pub fn untold(&mut self, now: Tick, address: &Pubkey, as_of: Slot) -> Option<Slot> {
        let account = self.accounts.get_mut(address)?;
        let due = account.asked == Tick::NEVER || now.since(account.asked) >= ASK_EVERY;
        if account.floor == 0 || as_of < account.floor || !due {
            return None;
        }
        account.asked = now;
        Some(account.floor)
    }

    /// Call when slots have a new order. (Invariant 4)
    pub fn begin(&mut self) {
        for account in self.accounts.values_mut() {
            let ended = account.landed.values().chain(account.expired.values());
            account.before = ended.fold(account.before, |sum, amount| sum.saturating_add(*amount));
            account.landed.clear();
            account.expired.clear();
            account.floor = 0;
        }
        for address in self.waiting.clone() {
            self.tidy(address);
        }
    }

    /// Drops sells that ended long ago, for accounts that are not watched.
    pub fn forget(&mut self, now: Tick, max_lag: Duration, watched: impl Fn(&Pubkey) -> bool) {
        // By then, any proof was requested after the sell ended, from a node that lags by less than
        // this.
        let after = FORGOTTEN_AFTER.max(max_lag.saturating_mul(2));
        let kept = |address: &Pubkey, account: &AccountHolds| {
            account.is_open() || watched(address) || now.since(account.ended) < after
        };
        self.accounts.retain(|address, account| kept(address, account));
        self.waiting.retain(|address| self.accounts.contains_key(address));
    }

    fn tidy(&mut self, address: Pubkey) -> Pubkey {
        let account = self.accounts.get(&address);
        if account.is_some_and(AccountHolds::waits) {
            self.waiting.insert(address);
        } else {
            self.waiting.remove(&address);
            if !account.is_some_and(AccountHolds::is_open) {
                self.accounts.remove(&address);
            }
        }
        address
    }
}

/// Adds an amount at a slot. If there are too many slots, merges the oldest two at the later slot.
fn add(amounts: &mut BTreeMap<Slot, u64>, slot: Slot, amount: u64) {
    let before = amounts.entry(slot).or_default();
    *before = before.saturating_add(amount);
    if amounts.len() > MAX_SLOTS
        && let Some((_, oldest)) = amounts.pop_first()
        && let Some(mut next) = amounts.first_entry()
    {
        *next.get_mut() = next.get().saturating_add(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick::from_nanos(1);

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    /// A hold of 30 of account 1, in flight.
    fn in_flight() -> Holds {
        let mut holds = Holds::default();
        holds.reserve(TradeId(1), key(1), 30).expect("room");
        assert_eq!(holds.send(TradeId(1)), Some(key(1)));
        holds
    }

    /// What is left of 100.
    fn available(holds: &Holds) -> u64 {
        holds.held(&key(1)).available(100)
    }

    #[test]
    fn reserved_is_freed_by_its_holder_and_in_flight_is_not() {
        let mut holds = Holds::default();
        holds.reserve(TradeId(1), key(1), 30).expect("room");
        holds.reserve(TradeId(2), key(1), 50).expect("room");
        assert_eq!(available(&holds), 20);
        assert_eq!(holds.release(TradeId(1)), Some(key(1)));
        assert_eq!(available(&holds), 50);
        holds.send(TradeId(2));
        assert_eq!(holds.of(TradeId(2)), Some((key(1), 50)));
        assert_eq!(holds.release(TradeId(2)), None);
        assert_eq!(available(&holds), 50);
        assert_eq!(holds.free(TradeId(2)), Some(key(1)));
        assert_eq!((available(&holds), holds.any(&key(1))), (100, false));
        assert_eq!(holds.free(TradeId(2)), None, "ended once");
    }

    #[test]
    fn a_hold_that_is_not_sent_neither_lands_nor_expires() {
        let mut holds = Holds::default();
        holds.reserve(TradeId(1), key(1), 30).expect("room");
        assert_eq!(holds.land(NOW, TradeId(1), 10), None);
        assert_eq!(holds.expire(NOW, TradeId(1), 10), None);
        assert_eq!(holds.free(TradeId(1)), None);
        assert_eq!(available(&holds), 70);
    }

    #[test]
    fn a_landed_sell_is_deducted_until_the_account_is_seen_at_its_slot_and_a_canary_is_not_enough() {
        let mut holds = in_flight();
        holds.land(NOW, TradeId(1), 20);
        assert_eq!(holds.held(&key(1)), Held { debited: 30, floor: 20, ..Held::default() });
        holds.see(&key(1), 19, 500);
        assert_eq!(available(&holds), 70);
        holds.see(&key(1), 20, 500);
        assert_eq!((available(&holds), holds.any(&key(1))), (100, false));
    }

    #[test]
    fn an_expired_sell_is_deducted_until_the_state_is_known_as_of_then() {
        let mut holds = in_flight();
        holds.expire(NOW, TradeId(1), 20);
        assert_eq!(
            holds.held(&key(1)),
            Held { in_flight: 30, ..Held::default() },
            "and no read waits for it"
        );
        holds.see(&key(1), 10, 19);
        assert_eq!(available(&holds), 70);
        holds.see(&key(1), 10, 20);
        assert_eq!((available(&holds), holds.any(&key(1))), (100, false));
    }

    #[test]
    fn each_sell_waits_for_its_own_slot() {
        let mut holds = in_flight();
        holds.reserve(TradeId(2), key(1), 5).expect("room");
        holds.send(TradeId(2));
        holds.land(NOW, TradeId(2), 25);
        holds.land(NOW, TradeId(1), 20);
        holds.see(&key(1), 22, 22);
        assert_eq!((available(&holds), holds.held(&key(1)).floor), (95, 25));
    }

    #[test]
    fn many_slots_become_fewer_without_freeing_anything_early() {
        let mut holds = Holds::default();
        let count = 2 * MAX_SLOTS as u64;
        for id in 0..count {
            holds.reserve(TradeId(id), key(1), 1).expect("room");
            holds.send(TradeId(id));
            holds.land(NOW, TradeId(id), 100 + id);
        }
        assert_eq!(holds.held(&key(1)).debited, count);
        for slot in 99..100 + count {
            holds.see(&key(1), slot, slot);
            let landed_since = (100 + count - 1).saturating_sub(slot).min(count);
            assert!(holds.held(&key(1)).debited >= landed_since, "{slot}");
        }
        assert!(!holds.any(&key(1)));
    }

    #[test]
    fn in_a_new_order_of_slots_what_ended_is_deducted_until_the_account_is_seen() {
        let mut holds = in_flight();
        holds.land(NOW, TradeId(1), 20_000);
        holds.reserve(TradeId(2), key(1), 5).expect("room");
        holds.begin();
        assert_eq!(holds.held(&key(1)), Held { reserved: 5, debited: 30, ..Held::default() });
        holds.see(&key(1), 3, 3);
        assert_eq!(holds.held(&key(1)), Held { reserved: 5, ..Held::default() });
    }

    #[test]
    fn of_an_account_not_watched_what_is_open_is_kept_and_what_is_over_for_ten_minutes() {
        let mut holds = in_flight();
        holds.reserve(TradeId(2), key(2), 5).expect("room");
        holds.send(TradeId(2));
        holds.land(NOW, TradeId(2), 20);
        let after = |time| NOW.plus(time);
        holds.forget(after(minutes(9)), Duration::ZERO, |_| false);
        assert!(holds.any(&key(1)) && holds.any(&key(2)));
        holds.forget(after(minutes(11)), minutes(6), |_| false);
        assert!(holds.any(&key(2)), "a node that lags by so much may still prove what was before");
        holds.forget(after(minutes(11)), Duration::ZERO, |address| *address == key(2));
        assert!(holds.any(&key(2)), "watched");
        holds.forget(after(minutes(11)), Duration::ZERO, |_| false);
        assert!(holds.any(&key(1)) && !holds.any(&key(2)));
        assert!(holds.waiting().is_empty());
    }

    #[test]
    fn a_link_that_passes_a_sell_in_silence_has_rpc_asked_now_and_then() {
        let mut holds = in_flight();
        let at = |seconds| NOW.plus(Duration::from_secs(seconds));
        assert_eq!(holds.untold(at(0), &key(1), 500), None, "nothing has landed");
        holds.land(at(0), TradeId(1), 20);
        assert_eq!(holds.untold(at(0), &key(1), 19), None, "it has not come so far");
        assert_eq!(holds.untold(at(1), &key(1), 20), Some(20));
        assert_eq!(holds.untold(at(2), &key(1), 21), None);
        assert_eq!(holds.untold(at(3), &key(1), 25), Some(20));
    }

    #[test]
    fn holds_have_a_limit_which_their_ends_make_room_under() {
        let mut holds = Holds::default();
        for id in 0..MAX_HOLDS as u64 {
            holds.reserve(TradeId(id), key(1), 1).expect("room");
        }
        let one_more = TradeId(MAX_HOLDS as u64);
        assert_eq!(holds.reserve(one_more, key(2), 1), Err(HoldError::TooMany { limit: MAX_HOLDS }));
        assert!(!holds.any(&key(2)));
        holds.send(TradeId(0));
        assert!(holds.reserve(one_more, key(2), 1).is_err(), "in flight it has its place still");
        holds.free(TradeId(0));
        holds.reserve(one_more, key(2), 1).expect("room");
    }
}
