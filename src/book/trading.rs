//! The writer's side of trades: holds, sells in flight, and buys whose signature is asked after.

use std::time::Duration;

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::sync::watch;

use super::Publisher;
use crate::core::{
    holds::HoldError,
    observation::Slot,
    trades::{TooManyTrades, TradeId, TradeOutcome},
};

impl Publisher {
    /// Sets tokens aside: so many, or all that are available. `max_age` is how old the balance may be.
    pub(crate) fn hold(
        &mut self,
        address: &Pubkey,
        amount: Option<u64>,
        max_age: Duration,
    ) -> Result<(TradeId, u64), HoldError> {
        let _ = (address, amount, max_age);
        todo!()
    }

    /// A hold is dropped, unsent.
    pub(crate) fn release(&mut self, id: TradeId) {
        let _ = id;
        todo!()
    }

    /// A hold's sell is about to be sent; its end, once the mirror has found it out.
    pub(crate) fn sending(
        &mut self,
        id: TradeId,
        signature: Signature,
        last_valid: u64,
    ) -> watch::Receiver<Option<TradeOutcome>> {
        let _ = (id, signature, last_valid);
        todo!()
    }

    /// A sell landed at `slot`, by the caller's word.
    pub(crate) fn sold(&mut self, id: TradeId, address: &Pubkey, slot: Slot) {
        let _ = (id, address, slot);
        todo!()
    }

    /// A sell failed on chain at `slot`, by the caller's word.
    pub(crate) fn failed(&mut self, id: TradeId, address: &Pubkey, slot: Slot) {
        let _ = (id, address, slot);
        todo!()
    }

    /// A sell never left, by the caller's word.
    pub(crate) fn refused(&mut self, id: TradeId) {
        let _ = id;
        todo!()
    }

    /// Asks what becomes of a buy's signature until its end is known, or [`untrack`](Self::untrack) is called. The value is
    /// `None` until then; it closes without one where the mirror shuts down.
    pub(crate) fn track(
        &mut self,
        signature: Signature,
        last_valid: Option<u64>,
    ) -> Result<(TradeId, watch::Receiver<Option<TradeOutcome>>), TooManyTrades> {
        let _ = (signature, last_valid);
        todo!()
    }

    /// Nobody cares about a buy's signature any more.
    pub(crate) fn untrack(&mut self, id: TradeId) {
        let _ = id;
        todo!()
    }
}
