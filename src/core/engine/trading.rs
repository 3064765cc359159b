//! Trading: tokens held, sells in flight, and how transactions ended.

use std::time::Duration;

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{Engine, EngineEvent};
use crate::core::{
    account::{
        reading::Reading,
        sellable::{MintSays, SellObstacle, judge},
    },
    base::{
        failure::RpcFailure,
        ids::{EndpointId, Slot, TradeId},
        time::Tick,
    },
    chain::state::AccountState,
    rpc::scheduler::Ask,
    trade::{
        holds::HoldError,
        signatures::{Ended, Inquired, Inquiry, Side, TooManyTrades, TradeOutcome},
    },
};

/// An answer of a node this many slots behind what the links prove is useless: expiry is proved by
/// how far the node's bank has come.
const FAR_BEHIND: Slot = 150;

impl Engine {
    /// Sets tokens aside: `amount`, or all that are available, of a balance proved at most
    /// `max_age` ago.
    pub fn hold(
        &mut self,
        now: Tick,
        address: &Pubkey,
        amount: Option<u64>,
        max_age: Duration,
    ) -> Result<(TradeId, u64), HoldError> {
        let address = *address;
        if self.stopped {
            return Err(HoldError::Stopped);
        }
        if self.accounts.watch_of(&address).is_none() {
            return Err(HoldError::NotWatched { address });
        }
        let record = self.accounts.record(&address).copied();
        let evidence = self.accounts.evidence();
        let reading = Reading::join(address, evidence, record, None, now, &self.settings.policy);
        // Sells that are not seen yet are subtracted from what is available, so there is no need to
        // wait for their slots.
        let state = reading.proved(max_age, now)?;
        // How much is available is checked below.
        let obstacles = judge(state, state.token_amount().unwrap_or(0), self.mint_says(now, state)).err();
        let obstacles = obstacles.unwrap_or_default().without(SellObstacle::Empty);
        if !obstacles.is_empty() {
            return Err(HoldError::Unsellable(obstacles));
        }
        let available = reading.available().unwrap_or(0);
        let wanted = amount.unwrap_or(available);
        if wanted == 0 {
            return Err(HoldError::Nothing { address });
        }
        if wanted > available {
            return Err(HoldError::TooMuch { address, wanted, available });
        }
        let id = self.trading.new_trade();
        let mut reserved = Ok(());
        self.accounts.change_holds(|holds| {
            reserved = holds.reserve(id, address, wanted);
            Some(address)
        });
        reserved.map(|()| (id, wanted))
    }

    /// What the mint of this state allows, if that is known; the same as readers see.
    fn mint_says(&self, now: Tick, state: &AccountState) -> Option<MintSays> {
        let mint = self.rpc.mints.get(&state.token()?.mint)?;
        let (valid_from, policy) = (self.evidence().valid_from, &self.settings.policy);
        Some(MintSays::of(mint).trusted(mint.surely_so(), valid_from, now, policy))
    }

    /// Drops a hold. A sell in flight stays in flight.
    pub fn release(&mut self, id: TradeId) {
        self.accounts.change_holds(|holds| holds.release(id));
    }

    /// Notes that a hold's sell is about to be sent.
    pub fn sending(&mut self, now: Tick, id: TradeId, signature: Signature, last_valid: u64) {
        if self.accounts.change_holds(|holds| holds.send(id)).is_some() {
            // Sells need no limit here, because their holds have one.
            let _ = self.trading.signatures.track(now, id, Side::Sell, signature, Some(last_valid));
        }
    }

    /// The sender reports that a sell landed at `slot`: from now on no reader is served a state of
    /// the account from before that.
    pub fn landed(&mut self, now: Tick, id: TradeId, address: &Pubkey, slot: Slot) {
        self.trading.signatures.untrack(id);
        // A slot that the chain cannot have reached yet would block every read of the account.
        let slot = slot.min(self.links.slot_guard.reach(now));
        self.accounts.change_holds(|holds| {
            if holds.land(now, id, slot).is_none() {
                // The mirror found out first.
                holds.expect(now, address, slot);
            }
            Some(*address)
        });
    }

    /// The sender reports that a sell failed on chain.
    pub fn failed(&mut self, now: Tick, id: TradeId, address: &Pubkey, slot: Slot) {
        self.free(id);
        let slot = slot.min(self.links.slot_guard.reach(now));
        self.invalidate(now, address, slot);
    }

    /// The sender reports that a sell was never sent.
    pub fn not_sent(&mut self, id: TradeId) {
        self.free(id);
    }

    /// Stops following a sell, and frees its tokens.
    fn free(&mut self, id: TradeId) {
        self.trading.signatures.untrack(id);
        self.accounts.change_holds(|holds| holds.free(id));
    }

    /// Follows a buy's transaction until its outcome is known.
    pub fn track(
        &mut self,
        now: Tick,
        signature: Signature,
        last_valid: Option<u64>,
    ) -> Result<TradeId, TooManyTrades> {
        let id = self.trading.new_trade();
        self.trading.signatures.track(now, id, Side::Buy, signature, last_valid).map(|()| id)
    }

    /// Stops following a buy's transaction.
    pub fn untrack(&mut self, id: TradeId) {
        self.trading.signatures.untrack(id);
    }

    /// Whether tokens of the account are held, or a sell of them is not seen yet.
    pub fn has_holds(&self, address: &Pubkey) -> bool {
        self.accounts.holds().any(address)
    }

    /// The next inquiry about transactions to send to a node, if one is due.
    pub fn next_inquiry(&mut self, now: Tick) -> Option<Inquiry> {
        if self.stopped {
            return None;
        }
        let scheduler = &mut self.rpc.scheduler;
        self.trading.signatures.next_inquiry(now, |avoid| scheduler.open(now, avoid))
    }

    /// Takes in the answer to an inquiry.
    pub fn inquired(&mut self, now: Tick, number: u64, outcome: Result<Inquired, RpcFailure>) {
        let Some(endpoint) = self.trading.signatures.asked(number) else { return };
        let outcome = outcome.and_then(|answer| self.believe(now, endpoint, answer));
        if let Err(failure) = &outcome {
            self.rpc.scheduler.refused(now, endpoint, failure);
        }
        for ended in self.trading.signatures.inquired(now, number, &outcome) {
            self.conclude(now, ended);
        }
        self.follow(now);
    }

    /// Returns the answer if it can be true and is recent enough.
    fn believe(&mut self, now: Tick, endpoint: EndpointId, answer: Inquired) -> Result<Inquired, RpcFailure> {
        let newest = answer.slot.max(answer.statuses_slot);
        let landed = answer.statuses.iter().flatten().map(|status| status.slot).max().unwrap_or(0);
        if answer.height > answer.slot || landed > newest {
            let reason = "a block height or a status is past the answer's slot".to_owned();
            return Err(RpcFailure::Malformed { reason });
        }
        self.believe_slot(now, endpoint, newest)?;
        let proved = self.evidence().links.iter().filter(|link| link.ticking).map(|link| link.slot).max();
        let min_slot = proved.unwrap_or(0).saturating_sub(FAR_BEHIND);
        if answer.slot < min_slot {
            return Err(RpcFailure::Behind { min_slot });
        }
        Ok(answer)
    }

    /// Applies an outcome that the mirror found out.
    fn conclude(&mut self, now: Tick, Ended { id, signature, outcome }: Ended) {
        let held = self.accounts.holds().of(id);
        match outcome {
            TradeOutcome::Landed { slot } => self.accounts.change_holds(|holds| holds.land(now, id, slot)),
            TradeOutcome::Failed { .. } => self.accounts.change_holds(|holds| holds.free(id)),
            TradeOutcome::Expired { slot } => self.accounts.change_holds(|holds| holds.expire(now, id, slot)),
        };
        if let Some((address, amount)) = held {
            if let TradeOutcome::Failed { slot } = outcome {
                self.invalidate(now, &address, slot);
            }
            self.accounts.emit(EngineEvent::SellEnded { address, amount, signature, outcome });
        }
        self.trading.outcomes.push_back((id, outcome));
    }

    /// The next outcome of a followed transaction.
    pub fn next_outcome(&mut self) -> Option<(TradeId, TradeOutcome)> {
        self.trading.outcomes.pop_front()
    }

    /// Asks RPC for the accounts whose sells the links did not report.
    pub(super) fn read_untold(&mut self, now: Tick) {
        for (address, min_slot) in self.accounts.take_untold() {
            self.take_ask(now, Ask { min_slot, urgent: true, ..self.own_ask(now, address) });
        }
    }
}
