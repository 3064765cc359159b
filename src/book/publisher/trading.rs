//! The writer's side of trades: holds, sells in flight, and buys whose signature is asked after.

use std::time::Duration;

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::sync::watch;

use super::Publisher;
use crate::core::{
    failure::RpcFailure,
    holds::HoldError,
    observation::Slot,
    trades::{Inquired, TooManyTrades, TradeId, TradeOutcome},
};

/// How a transaction ended, once that is known.
pub(crate) type Outcome = watch::Receiver<Option<TradeOutcome>>;

impl Publisher {
    /// Sets tokens aside: so many, or all that are available. `max_age` is how old the balance may be.
    pub(crate) fn hold(
        &mut self,
        address: &Pubkey,
        amount: Option<u64>,
        max_age: Duration,
    ) -> Result<(TradeId, u64), HoldError> {
        self.step(|engine, now| engine.hold(now, address, amount, max_age))
    }

    /// A hold is dropped, unsent.
    pub(crate) fn release(&mut self, id: TradeId) {
        self.step(|engine, _| engine.release(id));
    }

    /// A hold's sell is about to be sent; its end, once the mirror has found it out.
    pub(crate) fn sending(&mut self, id: TradeId, signature: Signature, last_valid: u64) -> Outcome {
        let outcome = self.listen(id);
        self.step(|engine, now| engine.sending(now, id, signature, last_valid));
        outcome
    }

    /// A sell landed at `slot`, by the caller's word.
    pub(crate) fn sold(&mut self, id: TradeId, address: &Pubkey, slot: Slot) {
        self.outcomes.remove(&id);
        self.step(|engine, now| engine.sold(now, id, address, slot));
    }

    /// A sell failed on chain at `slot`, by the caller's word.
    pub(crate) fn failed(&mut self, id: TradeId, address: &Pubkey, slot: Slot) {
        self.outcomes.remove(&id);
        self.step(|engine, now| engine.failed(now, id, address, slot));
        self.book.stats.invalidations.add(1);
    }

    /// A sell never left, by the caller's word.
    pub(crate) fn refused(&mut self, id: TradeId) {
        self.outcomes.remove(&id);
        self.step(|engine, _| engine.refused(id));
    }

    /// Asks what becomes of a buy's signature until its end is known, or [`untrack`](Self::untrack) is called. The value is
    /// `None` until then; it closes without one where the mirror shuts down.
    #[allow(dead_code, reason = "positions are built on it")]
    pub(crate) fn track(
        &mut self,
        signature: Signature,
        last_valid: Option<u64>,
    ) -> Result<(TradeId, Outcome), TooManyTrades> {
        let id = self.step(|engine, now| engine.track(now, signature, last_valid))?;
        Ok((id, self.listen(id)))
    }

    /// Nobody cares about a buy's signature any more.
    #[allow(dead_code, reason = "positions are built on it")]
    pub(crate) fn untrack(&mut self, id: TradeId) {
        self.outcomes.remove(&id);
        self.step(|engine, _| engine.untrack(id));
    }

    fn listen(&mut self, id: TradeId) -> Outcome {
        let (teller, outcome) = watch::channel(None);
        // Stopped, nobody will tell: the channel is closed.
        if !self.stopped {
            self.outcomes.insert(id, teller);
        }
        outcome
    }

    /// Takes in what an inquiry came back with.
    pub(crate) fn inquired(&mut self, number: u64, outcome: Result<Inquired, RpcFailure>) {
        self.step(|engine, now| engine.inquired(now, number, outcome));
    }

    pub(super) fn tell_outcomes(&mut self) {
        while let Some((id, outcome)) = self.engine.next_outcome() {
            if let Some(teller) = self.outcomes.remove(&id) {
                // Whoever cared may be gone; the holds know it all the same.
                let _ = teller.send(Some(outcome));
            }
        }
    }
}
