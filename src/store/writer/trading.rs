//! The writer's side of trading: holds, sells in flight, and buys whose transaction is followed.

use std::time::Duration;

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::sync::watch;

use super::Writer;
use crate::core::{
    base::{
        failure::RpcFailure,
        ids::{Slot, TradeId},
    },
    trade::{
        holds::HoldError,
        signatures::{Inquired, TooManyTrades, TradeOutcome},
    },
};

/// How a transaction ended; `None` until that is known.
pub(crate) type OutcomeReceiver = watch::Receiver<Option<TradeOutcome>>;

impl Writer {
    /// Sets tokens aside: `amount`, or all that are available. `max_age` is how old the balance may
    /// be.
    pub(crate) fn hold(
        &mut self,
        address: &Pubkey,
        amount: Option<u64>,
        max_age: Duration,
    ) -> Result<(TradeId, u64), HoldError> {
        self.step(|engine, now| engine.hold(now, address, amount, max_age))
    }

    /// Drops a hold whose sell was not sent.
    pub(crate) fn release(&mut self, id: TradeId) {
        self.step(|engine, _| engine.release(id));
    }

    /// Notes that a hold's sell is about to be sent. The returned channel yields its outcome once
    /// the mirror has found it out.
    pub(crate) fn sending(&mut self, id: TradeId, signature: Signature, last_valid: u64) -> OutcomeReceiver {
        let outcome = self.listen(id);
        self.step(|engine, now| engine.sending(now, id, signature, last_valid));
        outcome
    }

    /// The caller reports that a sell landed at `slot`.
    pub(crate) fn landed(&mut self, id: TradeId, address: &Pubkey, slot: Slot) {
        self.outcomes.remove(&id);
        self.step(|engine, now| engine.landed(now, id, address, slot));
    }

    /// The caller reports that a sell failed on chain at `slot`.
    pub(crate) fn failed(&mut self, id: TradeId, address: &Pubkey, slot: Slot) {
        self.outcomes.remove(&id);
        self.step(|engine, now| engine.failed(now, id, address, slot));
        self.store.stats.invalidations.add(1);
    }

    /// The caller reports that a sell was never sent.
    pub(crate) fn not_sent(&mut self, id: TradeId) {
        self.outcomes.remove(&id);
        self.step(|engine, _| engine.not_sent(id));
    }

    /// Follows a buy's transaction until its outcome is known, or until [`untrack`](Self::untrack)
    /// is called. The channel's value is `None` until then. If the mirror shuts down first, the
    /// channel closes without an outcome.
    pub(crate) fn track(
        &mut self,
        signature: Signature,
        last_valid: Option<u64>,
    ) -> Result<(TradeId, OutcomeReceiver), TooManyTrades> {
        let id = self.step(|engine, now| engine.track(now, signature, last_valid))?;
        Ok((id, self.listen(id)))
    }

    /// Stops following a buy's transaction.
    pub(crate) fn untrack(&mut self, id: TradeId) {
        self.outcomes.remove(&id);
        self.step(|engine, _| engine.untrack(id));
    }

    fn listen(&mut self, id: TradeId) -> OutcomeReceiver {
        let (teller, outcome) = watch::channel(None);
        // Once stopped, no outcome will come, so the sender is dropped and the channel is closed.
        if !self.stopped {
            self.outcomes.insert(id, teller);
        }
        outcome
    }

    /// Takes in the answer to an inquiry.
    pub(crate) fn inquired(&mut self, number: u64, outcome: Result<Inquired, RpcFailure>) {
        self.step(|engine, now| engine.inquired(now, number, outcome));
    }

    pub(super) fn send_outcomes(&mut self) {
        while let Some((id, outcome)) = self.engine.next_outcome() {
            if let Some(teller) = self.outcomes.remove(&id) {
                // The receiver may be gone; the holds have the outcome in any case.
                let _ = teller.send(Some(outcome));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::writer::tests::{live, opened};
    use crate::{
        api::{
            reader::Reader,
            trade::hold::{Hold, SellOutcome},
        },
        core::trade::signatures::{Inquiry, Status},
        error::WaitError,
        store::SharedWriter,
    };

    const AGE: Duration = Duration::from_secs(30);

    /// An account with four tokens, live.
    struct Bot {
        shared: Arc<SharedWriter>,
        reader: Reader,
    }

    impl Bot {
        fn new() -> Self {
            let (shared, store) = opened();
            let entry = live(&shared);
            Self { shared: Arc::new(shared), reader: Reader::new(entry, store) }
        }

        fn hold(&self, amount: u64) -> Result<Hold, HoldError> {
            let (id, amount) = self.shared.lock().hold(&self.reader.address(), Some(amount), AGE)?;
            Ok(Hold::new(self.shared.clone(), self.reader.clone(), id, amount))
        }

        fn available(&self) -> Option<u64> {
            self.reader.read().available()
        }

        fn inquiry(&self) -> Inquiry {
            loop {
                if let (_, Some(inquiry), _) = self.shared.lock().expire() {
                    return inquiry;
                }
                std::thread::yield_now();
            }
        }

        /// Answers the inquiry about the one transaction under way, as a node whose bank is at slot
        /// and height 4.
        fn tell(&self, status: Option<Status>) {
            let inquiry = self.inquiry();
            assert_eq!(inquiry.signatures, [signature()]);
            let told = Inquired { slot: 4, height: 4, statuses_slot: 4, statuses: vec![status] };
            self.shared.lock().inquired(inquiry.number, Ok(told));
        }
    }

    fn signature() -> Signature {
        [7; 64].into()
    }

    #[tokio::test]
    async fn a_reservation_is_freed_by_drop_and_a_sell_in_flight_by_its_end_alone() {
        let bot = Bot::new();
        let first = bot.hold(3).expect("available");
        let refused = HoldError::TooMuch { address: bot.reader.address(), wanted: 2, available: 1 };
        assert_eq!(bot.hold(2).err(), Some(refused));
        drop(first);
        assert_eq!(bot.available(), Some(4));

        let sell = bot.hold(3).expect("available").sending(signature(), 3);
        assert_eq!((sell.amount(), sell.signature()), (3, signature()));
        let early = sell.outcome(Duration::from_millis(1)).await;
        assert!(matches!(early, Err(WaitError::Deadline { .. })), "{early:?}");
        bot.tell(None);
        assert_eq!(bot.available(), Some(1));
        // The history does not contain it either.
        bot.tell(None);
        let outcome = sell.outcome(AGE).await;
        assert_eq!(outcome, Ok(SellOutcome::Expired { last_valid_block_height: 3 }));
        assert_eq!(bot.available(), Some(4));

        drop(bot.hold(3).expect("available").sending(signature(), 100));
        assert_eq!(bot.available(), Some(1), "nobody has it in hand, and it may land");
        bot.tell(Some(Status { slot: 4, failed: true, settled: true }));
        assert_eq!(bot.available(), Some(4));
        assert!(bot.hold(1).is_err(), "what is known is in doubt");
        assert!(bot.shared.lock().outcomes.is_empty());
    }

    #[tokio::test]
    async fn what_its_sender_says_ends_a_sell_and_a_mirror_that_stops_says_nothing_more() {
        let bot = Bot::new();
        bot.hold(3).expect("available").sending(signature(), 100).not_sent();
        assert_eq!(bot.available(), Some(4));
        bot.hold(3).expect("available").sending(signature(), 100).landed(crate::Floor::confirmed(4));
        assert_eq!(bot.available(), Some(4), "the account was seen at that slot: it is deducted there");
        let sell = bot.hold(1).expect("available").sending(signature(), 100);
        bot.shared.lock().stop();
        assert!(matches!(sell.outcome(AGE).await, Err(WaitError::Ended { .. })));
        assert!(bot.hold(1).is_err());
        let late = bot.shared.lock().sending(TradeId(99), signature(), 100);
        assert!(late.has_changed().is_err(), "nobody will tell");
    }
}
