//! Positions: opened, claimed and swept; and the mints whose program a caller waits for.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::Engine;
use crate::core::{
    account::{freshness::standing, reading::Reading},
    base::{
        ids::{ClaimId, Slot},
        time::Tick,
    },
    chain::state::Expected,
    engine::events::{EngineEvent, WatchError},
    trade::{
        buys::{BuyBaseline, BuyVerdict},
        positions::Release,
        signatures::TradeOutcome,
    },
};

/// How soon the engine looks again at a position that is due to be swept but not surely empty.
const DOUBT: Duration = Duration::from_secs(1);

impl Engine {
    /// Watches accounts as positions and keeps them until that moment at least: all of them, or
    /// none.
    pub fn open_positions(
        &mut self,
        now: Tick,
        targets: &[(Pubkey, Expected)],
        keep_until: Tick,
    ) -> Result<(), WatchError> {
        // Watched already but not a position: a caller watches it by hand.
        let by_hand = |address: &Pubkey| {
            self.accounts.watch_of(address).is_some() && !self.trading.positions.is_open(address)
        };
        let pinned: Vec<bool> = targets.iter().map(|(address, _)| by_hand(address)).collect();
        self.follow_accounts(now, targets)?;
        for ((address, _), pinned) in targets.iter().zip(pinned) {
            let empty = self.is_empty(address);
            self.trading.positions.open(now, *address, pinned, empty, keep_until);
        }
        Ok(())
    }

    /// Keeps a position from being swept until the claim is released.
    pub fn claim(&mut self, address: &Pubkey) -> ClaimId {
        self.trading.positions.claim(address)
    }

    pub fn unclaim(&mut self, now: Tick, address: &Pubkey, claim: ClaimId) {
        self.trading.positions.release(now, address, claim, Release::Linger);
    }

    /// Expects a buy into an account with that baseline.
    pub fn expect_buy(&mut self, address: Pubkey, buy: ClaimId, baseline: BuyBaseline) {
        // The account may have been dropped meanwhile; then nothing would ever remove the entry.
        if self.trading.positions.is_open(&address) {
            self.trading.positions.buys.expect(address, buy, baseline);
        }
    }

    /// A caller waits for a buy: for `minimum` more than its baseline.
    pub fn await_buy(&mut self, address: &Pubkey, buy: ClaimId, minimum: u64, signed: bool) {
        self.trading.positions.buys.set_terms(address, buy, minimum, signed);
    }

    /// What became of a buy, if that is decided. `max_age` is how old an answer may be.
    pub fn judge_buy(
        &self,
        buy: ClaimId,
        reading: &Reading,
        outcome: Option<TradeOutcome>,
        max_age: Duration,
    ) -> Option<BuyVerdict> {
        self.trading.positions.buys.judge(&reading.address(), buy, reading, outcome, max_age)
    }

    /// Ends a buy: its tokens came, or none will come, and then the account is no longer kept for
    /// it.
    pub fn end_buy(&mut self, now: Tick, address: &Pubkey, buy: ClaimId, came: bool) {
        self.trading.positions.buys.end(address, buy, came);
        let how = if came { Release::Linger } else { Release::AtOnce };
        self.trading.positions.release(now, address, buy, how);
    }

    /// Drops a buy whose result no caller can ask for any more.
    pub fn drop_buy(&mut self, now: Tick, address: &Pubkey, buy: ClaimId) {
        self.trading.positions.buys.drop(address, buy);
        self.trading.positions.release(now, address, buy, Release::Linger);
    }

    /// Notes for changed accounts whether they hold something.
    pub(super) fn see_holdings(&mut self, now: Tick) {
        for address in self.accounts.take_changed() {
            let empty = self.is_empty(&address);
            self.trading.positions.see(now, &address, empty);
        }
    }

    fn is_empty(&self, address: &Pubkey) -> bool {
        self.accounts.record(address).is_some_and(|record| record.state.token_amount() == Some(0))
    }

    /// Stops watching positions that are due to go, if they surely hold nothing and no hold is open
    /// on them.
    pub(super) fn sweep(&mut self, now: Tick) {
        while let Some(address) = self.trading.positions.due(now) {
            let linger = self.trading.positions.linger();
            if self.has_holds(&address) {
                self.trading.positions.put_off(&address, Some(now.plus(linger)));
            } else if !self.is_surely_empty(now, &address) {
                // The doubt, or the outage of a link, may end at any moment.
                self.trading.positions.put_off(&address, Some(now.plus(DOUBT.min(linger))));
            } else {
                self.forget(now, &address);
                self.accounts.emit(EngineEvent::Swept { address });
            }
        }
    }

    /// Whether the account is known to hold nothing, by a proof no older than a live link's proof
    /// may be.
    fn is_surely_empty(&self, now: Tick, address: &Pubkey) -> bool {
        let Some(record) = self.accounts.record(address) else { return false };
        let policy = &self.settings.policy;
        let standing = standing(record, self.accounts.evidence(), now, policy);
        let known = standing.live || standing.age(now).is_some_and(|age| age <= policy.canary_deadline);
        known && record.state.token_amount() == Some(0)
    }

    // Mints.

    /// Reads a mint's program, and keeps it for as long as a caller waits for it.
    pub fn name_mint(&mut self, now: Tick, mint: Pubkey) {
        self.rpc.name_mint(mint);
        self.follow(now);
    }

    pub fn unname_mint(&mut self, mint: &Pubkey) {
        self.rpc.awaited_mints.remove(mint);
    }

    /// The slot of an answer that showed no mint at this address, while a caller waits for it.
    pub fn no_mint(&self, mint: &Pubkey) -> Option<Slot> {
        self.rpc.awaited_mints.unseen(mint)
    }

    // What others look at.

    /// What the caller expects of a watched account, or what its first observation showed.
    pub fn identity(&self, address: &Pubkey) -> Option<Expected> {
        self.accounts.expected(address)
    }

    /// The accounts opened as positions.
    pub fn positions(&self) -> Vec<(Pubkey, Expected)> {
        let known = |address| Some((address, self.accounts.expected(&address)?));
        self.trading.positions.addresses().filter_map(known).collect()
    }

    /// For tests: the counts of claims on an account, of waiters for mints, and of followed
    /// transactions.
    #[cfg(test)]
    pub fn kept_for(&self, address: &Pubkey) -> (usize, usize, usize) {
        (
            self.trading.positions.claims(address),
            self.rpc.awaited_mints.0.len(),
            self.trading.signatures.count(),
        )
    }
}
