//! Signatures: tokens held, sells in flight, and what became of signatures.

use std::{collections::VecDeque, time::Duration};

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
        positions::Positions,
        signatures::{Ended, Inquired, Inquiry, Side, Signatures, TooManyTrades, TradeOutcome},
    },
};

/// A node so many slots behind what the links prove is asked in vain: expiry is proved by how far its bank is.
const FAR_BEHIND: Slot = 150;

/// What is traded: positions and the buys into them, and the transactions that are followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Trading {
    pub(super) positions: Positions,
    pub(super) signatures: Signatures,
    last_trade: u64,
    /// How followed transactions ended.
    outcomes: VecDeque<(TradeId, TradeOutcome)>,
}

impl Trading {
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            positions: Positions::new(linger),
            signatures: Signatures::default(),
            last_trade: 0,
            outcomes: VecDeque::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let due = [self.positions.next_deadline(), self.signatures.next_deadline()];
        due.into_iter().flatten().min()
    }

    fn new_trade(&mut self) -> TradeId {
        self.last_trade += 1;
        TradeId(self.last_trade)
    }
}

impl Engine {
    /// Sets tokens aside: so many, or all that are available, of a balance proved at most `max_age` ago.
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
        // A sale that is not seen yet is counted, so its slot need not be waited for.
        let state = reading.proved(max_age, now)?;
        // How much is free is told below.
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

    /// What the mint of a state says, as far as that is known: as readers have it.
    fn mint_says(&self, now: Tick, state: &AccountState) -> Option<MintSays> {
        let mint = self.rpc.mints.get(&state.token()?.mint)?;
        let (valid_from, policy) = (self.evidence().valid_from, &self.settings.policy);
        Some(MintSays::of(mint).trusted(mint.surely_so(), valid_from, now, policy))
    }

    /// A hold is dropped. What is in flight stays so.
    pub fn release(&mut self, id: TradeId) {
        self.accounts.change_holds(|holds| holds.release(id));
    }

    /// A hold's sell is about to be sent.
    pub fn sending(&mut self, now: Tick, id: TradeId, signature: Signature, last_valid: u64) {
        if self.accounts.change_holds(|holds| holds.send(id)).is_some() {
            // Sells have no limit here: their holds have.
            let _ = self.trading.signatures.track(now, id, Side::Sell, signature, Some(last_valid));
        }
    }

    /// A sell landed, by its sender's word: nobody is served the account from before that.
    pub fn sold(&mut self, now: Tick, id: TradeId, address: &Pubkey, slot: Slot) {
        self.trading.signatures.untrack(id);
        // A slot that the chain cannot have reached would stop every read of the account.
        let slot = slot.min(self.links.slot_guard.reach(now));
        self.accounts.change_holds(|holds| {
            if holds.land(now, id, slot).is_none() {
                // The mirror was first to know.
                holds.expect(now, address, slot);
            }
            Some(*address)
        });
    }

    /// A sell failed on chain, by its sender's word.
    pub fn failed(&mut self, now: Tick, id: TradeId, address: &Pubkey, slot: Slot) {
        self.refused(id);
        let slot = slot.min(self.links.slot_guard.reach(now));
        self.invalidate(now, address, slot);
    }

    /// A sell never left, by its sender's word.
    pub fn refused(&mut self, id: TradeId) {
        self.trading.signatures.untrack(id);
        self.accounts.change_holds(|holds| holds.free(id));
    }

    /// Asks what becomes of a buy from now on.
    pub fn track(
        &mut self,
        now: Tick,
        signature: Signature,
        last_valid: Option<u64>,
    ) -> Result<TradeId, TooManyTrades> {
        let id = self.trading.new_trade();
        self.trading.signatures.track(now, id, Side::Buy, signature, last_valid).map(|()| id)
    }

    /// Nobody cares about a buy any more.
    pub fn untrack(&mut self, id: TradeId) {
        self.trading.signatures.untrack(id);
    }

    /// Whether tokens of the account are held, or a sale of them is not seen yet.
    pub fn has_holds(&self, address: &Pubkey) -> bool {
        self.accounts.holds().any(address)
    }

    /// What to ask a node about transactions, if it is time to.
    pub fn next_inquiry(&mut self, now: Tick) -> Option<Inquiry> {
        if self.stopped {
            return None;
        }
        let scheduler = &mut self.rpc.scheduler;
        self.trading.signatures.next_inquiry(now, |avoid| scheduler.open(now, avoid))
    }

    /// Takes in what an inquiry came back with.
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

    /// An answer that can be true, and that says something of now.
    fn believe(&mut self, now: Tick, endpoint: EndpointId, answer: Inquired) -> Result<Inquired, RpcFailure> {
        let newest = answer.slot.max(answer.statuses_slot);
        let landed = answer.statuses.iter().flatten().map(|status| status.slot).max().unwrap_or(0);
        if answer.height > answer.slot || landed > newest {
            let reason = "a block height or a status past its slot".to_owned();
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

    /// The mirror has found out how a transaction ended.
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

    /// How a tracked transaction ended.
    pub fn next_outcome(&mut self) -> Option<(TradeId, TradeOutcome)> {
        self.trading.outcomes.pop_front()
    }

    /// Reads the accounts whose sells the links tell nothing of.
    pub(super) fn read_untold(&mut self, now: Tick) {
        for (address, min_slot) in self.accounts.take_untold() {
            self.take_ask(now, Ask { min_slot, urgent: true, ..self.own_ask(now, address) });
        }
    }
}
