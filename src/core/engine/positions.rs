//! Positions: opened, claimed, swept; and the mints whose program somebody waits for.

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

/// How soon it is looked again at what should be swept and is not known well enough.
const DOUBT: Duration = Duration::from_secs(1);

impl Engine {
    /// Watches accounts as positions, kept until that moment at least: all of them, or none.
    pub fn open_positions(
        &mut self,
        now: Tick,
        targets: &[(Pubkey, Expected)],
        keep_until: Tick,
    ) -> Result<(), WatchError> {
        // Watched already, and no position: by hand.
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

    /// A buy is expected into an account of that baseline.
    pub fn expect_buy(&mut self, address: Pubkey, buy: ClaimId, baseline: BuyBaseline) {
        // Not for an account that went meanwhile: nobody would forget it.
        if self.trading.positions.is_open(&address) {
            self.trading.positions.buys.expect(address, buy, baseline);
        }
    }

    /// Somebody waits for a buy: for so much over its baseline.
    pub fn await_buy(&mut self, address: &Pubkey, buy: ClaimId, minimum: u64, signed: bool) {
        self.trading.positions.buys.set_terms(address, buy, minimum, signed);
    }

    /// What became of a buy, if that is decided; `max_age` is how old an answer may be.
    pub fn judge_buy(
        &self,
        buy: ClaimId,
        reading: &Reading,
        outcome: Option<TradeOutcome>,
        max_age: Duration,
    ) -> Option<BuyVerdict> {
        self.trading.positions.buys.judge(&reading.address(), buy, reading, outcome, max_age)
    }

    /// A buy is over: its tokens came, or none will come, and then nothing keeps the account for it any longer.
    pub fn end_buy(&mut self, now: Tick, address: &Pubkey, buy: ClaimId, came: bool) {
        self.trading.positions.buys.end(address, buy, came);
        let how = if came { Release::Linger } else { Release::AtOnce };
        self.trading.positions.release(now, address, buy, how);
    }

    /// Nobody can ask for a buy any more.
    pub fn drop_buy(&mut self, now: Tick, address: &Pubkey, buy: ClaimId) {
        self.trading.positions.buys.drop(address, buy);
        self.trading.positions.release(now, address, buy, Release::Linger);
    }

    /// Takes in whether accounts hold something, as it changes.
    pub(super) fn see_holdings(&mut self, now: Tick) {
        for address in self.accounts.take_changed() {
            let empty = self.is_empty(&address);
            self.trading.positions.see(now, &address, empty);
        }
    }

    fn is_empty(&self, address: &Pubkey) -> bool {
        self.accounts.record(address).is_some_and(|record| record.state.token_amount() == Some(0))
    }

    /// Watches no longer what was kept for nothing, if it surely holds nothing and nobody has a hold on it.
    pub(super) fn sweep(&mut self, now: Tick) {
        while let Some(address) = self.trading.positions.due(now) {
            let linger = self.trading.positions.linger();
            if self.has_holds(&address) {
                self.trading.positions.put_off(&address, Some(now.plus(linger)));
            } else if !self.is_surely_empty(now, &address) {
                // A doubt, or a link that is down: it may end at any moment.
                self.trading.positions.put_off(&address, Some(now.plus(DOUBT.min(linger))));
            } else {
                self.forget(now, &address);
                self.accounts.emit(EngineEvent::Swept { address });
            }
        }
    }

    /// Whether it is known, no older than a live link's proof may be, that the account holds nothing.
    fn is_surely_empty(&self, now: Tick, address: &Pubkey) -> bool {
        let Some(record) = self.accounts.record(address) else { return false };
        let policy = &self.settings.policy;
        let standing = standing(record, self.accounts.evidence(), now, policy);
        let known = standing.live || standing.age(now).is_some_and(|age| age <= policy.canary_deadline);
        known && record.state.token_amount() == Some(0)
    }

    // Mints.

    /// Wants to know a mint's program, for as long as it is named.
    pub fn name_mint(&mut self, now: Tick, mint: Pubkey) {
        self.rpc.name_mint(mint);
        self.follow(now);
    }

    pub fn unname_mint(&mut self, mint: &Pubkey) {
        self.rpc.awaited_mints.remove(mint);
    }

    /// The slot of an answer that showed no mint there, while one is named.
    pub fn no_mint(&self, mint: &Pubkey) -> Option<Slot> {
        self.rpc.awaited_mints.unseen(mint)
    }

    // What others look at.

    /// What is expected of a watched account, or was learnt from the first sight of it.
    pub fn identity(&self, address: &Pubkey) -> Option<Expected> {
        self.accounts.expected(address)
    }

    /// The accounts opened as positions.
    pub fn positions(&self) -> Vec<(Pubkey, Expected)> {
        let known = |address| Some((address, self.accounts.expected(&address)?));
        self.trading.positions.addresses().filter_map(known).collect()
    }

    /// How many claim an account and how many wait for mints, and how many transactions are followed.
    #[cfg(test)]
    pub fn kept_for(&self, address: &Pubkey) -> (usize, usize, usize) {
        (
            self.trading.positions.claims(address),
            self.rpc.awaited_mints.0.len(),
            self.trading.signatures.count(),
        )
    }
}
