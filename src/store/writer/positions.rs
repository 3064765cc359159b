//! Positions: opening, claiming and settling them for callers.

use std::{sync::Arc, time::Duration};

use solana_pubkey::Pubkey;

use super::Writer;
use crate::{
    core::{
        account::reading::Reading,
        base::{
            ids::{ClaimId, Slot},
            time::Tick,
        },
        chain::state::Expected,
        engine::events::WatchError,
        trade::{
            buys::{BuyBaseline, BuyVerdict},
            signatures::TradeOutcome,
        },
    },
    store::{Entry, UNWATCHED},
};

impl Writer {
    /// Watches an account as a position, and keeps it at least until `keep_until`.
    pub(crate) fn open_position(
        &mut self,
        address: Pubkey,
        expected: Expected,
        keep_until: Tick,
    ) -> Result<Arc<Entry>, WatchError> {
        let watched = self.open_positions(&[(address, expected)], keep_until)?;
        watched.into_iter().next().ok_or(WatchError::Stopped)
    }

    /// The same for several accounts, in this order: all of them, or none.
    pub(crate) fn open_positions(
        &mut self,
        targets: &[(Pubkey, Expected)],
        keep_until: Tick,
    ) -> Result<Vec<Arc<Entry>>, WatchError> {
        self.watch_by(targets, |engine, now| engine.open_positions(now, targets, keep_until))
    }

    /// Keeps a position from being swept until the claim is released.
    pub(crate) fn claim(&mut self, address: &Pubkey) -> ClaimId {
        self.step(|engine, _| engine.claim(address))
    }

    pub(crate) fn unclaim(&mut self, address: &Pubkey, claim: ClaimId) {
        self.step(|engine, now| engine.unclaim(now, address, claim));
    }

    pub(crate) fn expect_buy(&mut self, address: Pubkey, buy: ClaimId, baseline: BuyBaseline) {
        self.step(|engine, _| engine.expect_buy(address, buy, baseline));
    }

    pub(crate) fn await_buy(&mut self, address: &Pubkey, buy: ClaimId, minimum: u64, signed: bool) {
        self.step(|engine, _| engine.await_buy(address, buy, minimum, signed));
    }

    /// What became of a buy, if that is decided. A buy whose tokens came ends here, so that the
    /// same tokens do not settle another one.
    pub(crate) fn judge_buy(
        &mut self,
        buy: ClaimId,
        reading: &Reading,
        outcome: Option<TradeOutcome>,
        max_age: Duration,
    ) -> Option<BuyVerdict> {
        let verdict = self.engine.judge_buy(buy, reading, outcome, max_age)?;
        if matches!(verdict, BuyVerdict::Arrived { .. } | BuyVerdict::Landed) {
            self.end_buy(&reading.address(), buy, true);
        }
        Some(verdict)
    }

    /// Ends a buy: its tokens came, or none will come.
    pub(crate) fn end_buy(&mut self, address: &Pubkey, buy: ClaimId, came: bool) {
        self.step(|engine, now| engine.end_buy(now, address, buy, came));
    }

    /// Drops a buy whose result no caller can ask for any more.
    pub(crate) fn drop_buy(&mut self, address: &Pubkey, buy: ClaimId) {
        self.step(|engine, now| engine.drop_buy(now, address, buy));
    }

    pub(crate) fn name_mint(&mut self, mint: Pubkey) {
        self.step(|engine, now| engine.name_mint(now, mint));
    }

    pub(crate) fn unname_mint(&mut self, mint: &Pubkey) {
        self.step(|engine, _| engine.unname_mint(mint));
    }

    /// The slot of an answer that showed no mint at this address, while a caller waits for it.
    pub(crate) fn no_mint(&self, mint: &Pubkey) -> Option<Slot> {
        self.engine.no_mint(mint)
    }

    /// Removes the entries of accounts that the engine no longer watches.
    pub(super) fn let_go(&mut self, swept: &[Pubkey]) {
        let entries: Vec<Arc<Entry>> =
            swept.iter().filter_map(|address| self.entries.remove(address)).collect();
        if entries.is_empty() {
            return;
        }
        self.store.accounts.store(Arc::new(self.entries.clone()));
        for entry in entries {
            self.store.stats.hits.add(entry.counters.hits.get());
            self.store.stats.misses.add(entry.counters.misses.get());
            entry.end(UNWATCHED);
        }
    }
}
