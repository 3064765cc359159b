//! Tracks transactions whose outcome matters: sells in flight, and buys to settle. Decides when to
//! ask a node about them, and what its answer means.
//!
//! One inquiry asks one node two questions, in this order: first how far its bank is (slot X and
//! height H), then the signatures' statuses, from a bank of X or later.
//!
//! 1. A status counts once it is settled: it has reached the mirror's commitment.
//! 2. A transaction without a status has expired once H is past its last valid block height. No
//!    bank after X can include it, so what is known as of X contains it, or nothing ever will.
//!    Before that is believed, the node is asked once to search its history for it.
//! 3. One inquiry is under way at a time, no two begin within `PACE`, and one asks for no more than
//!    [`BATCH`] signatures. While nodes fail, the wait between inquiries doubles.
//! 4. A sell is never refused for lack of room: holding its tokens already counted towards the
//!    limit of holds.

use std::{collections::BTreeMap, time::Duration};

use solana_signature::Signature;

use crate::core::base::{
    failure::RpcFailure,
    ids::{EndpointId, Slot, TradeId},
    time::Tick,
};

/// The most signatures of one call: what `getSignatureStatuses` takes.
pub const BATCH: usize = 256;
/// How soon after it was sent a transaction is first asked about: one slot, plus some time to be
/// confirmed.
const FIRST: Duration = Duration::from_millis(500);
/// How often it is asked about after that.
const EVERY: Duration = Duration::from_secs(2);
/// The shortest time between the starts of two inquiries: at most four calls a second, each of
/// which is cheap.
const PACE: Duration = Duration::from_millis(500);
/// The most buys that are tracked.
pub const MAX_BUYS: usize = 4_096;
/// The longest wait between inquiries while they fail.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TradeOutcome {
    /// It succeeded in the bank of this slot.
    Landed { slot: Slot },
    /// It failed in the bank of this slot.
    Failed { slot: Slot },
    /// It has not landed and no longer can. A state known as of this slot or later shows everything
    /// it will ever have done.
    Expired { slot: Slot },
}

/// The limit of tracked transactions is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TooManyTrades {
    pub limit: usize,
}

/// What to ask a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inquiry {
    pub number: u64,
    pub endpoint: EndpointId,
    pub signatures: Vec<Signature>,
    /// Whether the node should also search its history, if it has one.
    pub history: bool,
}

/// A node's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inquired {
    /// Its bank at the mirror's commitment.
    pub slot: Slot,
    /// The block height of that bank.
    pub height: u64,
    /// The slot of the bank that the statuses come from.
    pub statuses_slot: Slot,
    /// In the order of the inquiry's signatures.
    pub statuses: Vec<Option<Status>>,
}

/// What a node knows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// The slot of the bank that includes it.
    pub slot: Slot,
    pub failed: bool,
    /// Whether that bank has reached the mirror's commitment.
    pub settled: bool,
}

/// A transaction whose end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    pub id: TradeId,
    pub signature: Signature,
    pub outcome: TradeOutcome,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Buy,
    Sell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Trade {
    side: Side,
    signature: Signature,
    /// Without one, the transaction never expires.
    last_valid: Option<u64>,
    due: Tick,
    /// Past its last valid block height, and without a status among the recent ones.
    late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingInquiry {
    number: u64,
    endpoint: EndpointId,
    trades: Vec<TradeId>,
    history: bool,
}

/// The tracked transactions, by the rules at the top of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signatures {
    tracked: BTreeMap<TradeId, Trade>,
    pending: Option<PendingInquiry>,
    inquiries_made: u64,
    /// No inquiry begins before this.
    ready: Tick,
    /// How many inquiries failed in a row, and (in `avoid`) at which endpoint the last one failed.
    failures: u32,
    avoid: Option<EndpointId>,
}

impl Signatures {
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.tracked.len()
    }

    /// Starts asking about a transaction. (Invariant 4)
    pub fn track(
        &mut self,
        now: Tick,
        id: TradeId,
        side: Side,
        signature: Signature,
        last_valid: Option<u64>,
    ) -> Result<(), TooManyTrades> {
        let buys = || self.tracked.values().filter(|trade| trade.side == Side::Buy).count();
        if side == Side::Buy && buys() >= MAX_BUYS {
            return Err(TooManyTrades { limit: MAX_BUYS });
        }
        let trade = Trade { side, signature, last_valid, due: now.plus(FIRST), late: false };
        self.tracked.insert(id, trade);
        Ok(())
    }

    /// Stops asking about a transaction: its outcome no longer matters, or is known from elsewhere.
    pub fn untrack(&mut self, id: TradeId) {
        self.tracked.remove(&id);
    }

    /// The next inquiry, if one is due. `route` picks the endpoint, if possible not the one passed
    /// to it, which failed last. (Invariant 3)
    pub fn next_inquiry(
        &mut self,
        now: Tick,
        route: impl FnOnce(Option<EndpointId>) -> Option<EndpointId>,
    ) -> Option<Inquiry> {
        if self.next_deadline().is_none_or(|due| now < due) {
            return None;
        }
        self.ready = now.plus(PACE);
        let endpoint = route(self.avoid)?;
        let due = self.tracked.iter().filter(|(_, trade)| trade.due <= now);
        let mut due: Vec<_> = due.map(|(id, trade)| (trade.due, *id, trade.late)).collect();
        due.sort_unstable();
        // A search in the history is expensive, so it covers only the transactions that need it.
        let history = due.first()?.2;
        let trades: Vec<TradeId> =
            due.into_iter().filter(|due| due.2 == history).map(|due| due.1).take(BATCH).collect();
        let signatures = trades.iter().filter_map(|id| Some(self.tracked.get(id)?.signature)).collect();
        self.inquiries_made += 1;
        let number = self.inquiries_made;
        self.pending = Some(PendingInquiry { number, endpoint, trades, history });
        Some(Inquiry { number, endpoint, signatures, history })
    }

    /// The endpoint that the inquiry under way asks.
    pub fn asked(&self, number: u64) -> Option<EndpointId> {
        self.pending.as_ref().filter(|pending| pending.number == number).map(|pending| pending.endpoint)
    }

    /// Applies the result of an inquiry. Returns the transactions that have ended; they are no
    /// longer tracked.
    pub fn inquired(&mut self, now: Tick, number: u64, outcome: &Result<Inquired, RpcFailure>) -> Vec<Ended> {
        let Some(pending) = self.pending.take_if(|pending| pending.number == number) else {
            return Vec::new();
        };
        let answer = match outcome {
            Ok(answer) if answer.statuses.len() == pending.trades.len() => answer,
            Ok(_) => return self.failed(now, pending.endpoint, Duration::ZERO),
            Err(RpcFailure::RateLimited { retry_after }) => {
                return self.failed(now, pending.endpoint, retry_after.unwrap_or_default());
            }
            Err(_) => return self.failed(now, pending.endpoint, Duration::ZERO),
        };
        (self.failures, self.avoid) = (0, None);
        let mut ended = Vec::new();
        for (id, status) in pending.trades.into_iter().zip(&answer.statuses) {
            let Some(trade) = self.tracked.get_mut(&id) else { continue };
            match trade.verdict(answer, *status, pending.history) {
                StatusVerdict::Pending => trade.due = now.plus(EVERY),
                StatusVerdict::Late => (trade.late, trade.due) = (true, now),
                StatusVerdict::Ended(outcome) => {
                    ended.push(Ended { id, signature: trade.signature, outcome });
                    self.tracked.remove(&id);
                }
            }
        }
        ended
    }

    /// An inquiry failed: its transactions stay due, and the next inquiry goes to another node if
    /// possible.
    fn failed(&mut self, now: Tick, endpoint: EndpointId, wait: Duration) -> Vec<Ended> {
        let doubled = PACE.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        self.avoid = Some(endpoint);
        self.ready = now.plus(doubled.max(wait).min(LONGEST_WAIT));
        Vec::new()
    }

    /// Call when slots have a new order: drops the inquiry under way, whose answer belongs to the
    /// old order.
    pub fn begin(&mut self) {
        self.pending = None;
    }

    /// When [`Signatures::next_inquiry`] next has something to do, unless an answer comes first.
    pub fn next_deadline(&self) -> Option<Tick> {
        let due = self.tracked.values().map(|trade| trade.due).min()?;
        self.pending.is_none().then(|| due.max(self.ready))
    }
}

enum StatusVerdict {
    Pending,
    /// It seems to have expired; first, the node must search its history.
    Late,
    Ended(TradeOutcome),
}

impl Trade {
    fn verdict(&self, answer: &Inquired, status: Option<Status>, searched: bool) -> StatusVerdict {
        match status {
            Some(Status { slot, failed: false, settled: true }) => {
                StatusVerdict::Ended(TradeOutcome::Landed { slot })
            }
            Some(Status { slot, failed: true, settled: true }) => {
                StatusVerdict::Ended(TradeOutcome::Failed { slot })
            }
            // The transaction may lie on a fork that is abandoned. (Invariant 1)
            Some(_) => StatusVerdict::Pending,
            // (Invariant 2) Statuses of an earlier bank do not cover what came since.
            None if answer.statuses_slot < answer.slot => StatusVerdict::Pending,
            None if self.last_valid.is_none_or(|last| answer.height <= last) => StatusVerdict::Pending,
            None if !searched => StatusVerdict::Late,
            None => StatusVerdict::Ended(TradeOutcome::Expired { slot: answer.slot }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: EndpointId = EndpointId(0);
    const OTHER: EndpointId = EndpointId(1);

    fn at(ms: u64) -> Tick {
        Tick::from_nanos(ms * 1_000_000)
    }

    fn signature(number: u64) -> Signature {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes.into()
    }

    fn track(trades: &mut Signatures, now: Tick, id: u64, last_valid: Option<u64>) {
        trades.track(now, TradeId(id), Side::Sell, signature(id), last_valid).expect("room");
    }

    /// One sell that is valid up to height 150, tracked at 0 ms.
    fn one() -> Signatures {
        let mut trades = Signatures::default();
        track(&mut trades, at(0), 1, Some(150));
        trades
    }

    fn next_inquiry(trades: &mut Signatures, now: Tick) -> Option<Inquiry> {
        trades.next_inquiry(now, |avoid| Some(if avoid == Some(NODE) { OTHER } else { NODE }))
    }

    /// What a bank of slot 1000 and of this height says, and the statuses of it.
    fn told(height: u64, statuses: &[Option<Status>]) -> Result<Inquired, RpcFailure> {
        Ok(Inquired { slot: 1_000, height, statuses_slot: 1_000, statuses: statuses.to_vec() })
    }

    fn status(failed: bool, settled: bool) -> Option<Status> {
        Some(Status { slot: 990, failed, settled })
    }

    /// Goes to the next deadline, and has that said there; when, and what ended.
    fn hear(trades: &mut Signatures, answer: &Result<Inquired, RpcFailure>) -> (Tick, Vec<TradeOutcome>) {
        let now = trades.next_deadline().expect("something is tracked");
        let inquiry = next_inquiry(trades, now).expect("due");
        let ended = trades.inquired(now, inquiry.number, answer);
        (now, ended.into_iter().map(|ended| ended.outcome).collect())
    }

    #[test]
    fn it_is_asked_soon_and_then_every_two_seconds_until_a_settled_status_ends_it() {
        for (failed, end) in
            [(false, TradeOutcome::Landed { slot: 990 }), (true, TradeOutcome::Failed { slot: 990 })]
        {
            let mut trades = one();
            assert_eq!(next_inquiry(&mut trades, at(499)), None);
            assert_eq!(hear(&mut trades, &told(100, &[None])), (at(500), vec![]));
            let processed = status(failed, false);
            assert_eq!(
                hear(&mut trades, &told(100, &[processed])),
                (at(2_500), vec![]),
                "it may be reverted"
            );
            assert_eq!(hear(&mut trades, &told(100, &[status(failed, true)])), (at(4_500), vec![end]));
            assert_eq!(trades.next_deadline(), None);
        }
    }

    #[test]
    fn it_has_expired_only_past_its_height_by_statuses_of_that_bank_and_of_the_history() {
        let mut trades = one();
        assert_eq!(hear(&mut trades, &told(150, &[None])).1, [], "the last valid height is valid");
        let earlier = Inquired { slot: 1_000, height: 151, statuses_slot: 999, statuses: vec![None] };
        assert_eq!(hear(&mut trades, &Ok(earlier)).1, [], "the statuses are of an earlier bank");
        assert_eq!(hear(&mut trades, &told(151, &[status(false, false)])).1, [], "one bank has it");
        let (now, ended) = hear(&mut trades, &told(151, &[None]));
        assert_eq!(ended, [], "the history was not searched");
        let again = trades.next_deadline().expect("at once, as pace allows");
        assert_eq!(again, now.plus(PACE));
        let inquiry = next_inquiry(&mut trades, again).expect("due");
        assert!(inquiry.history);
        let ended = trades.inquired(again, inquiry.number, &told(151, &[None]));
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].outcome, TradeOutcome::Expired { slot: 1_000 });
        assert_eq!(ended[0].signature, signature(1));
    }

    #[test]
    fn what_the_history_shows_has_landed() {
        let mut trades = one();
        hear(&mut trades, &told(900, &[None]));
        let landed = TradeOutcome::Landed { slot: 990 };
        assert_eq!(hear(&mut trades, &told(900, &[status(false, true)])).1, [landed]);
    }

    #[test]
    fn without_a_last_valid_height_nothing_expires() {
        let mut trades = Signatures::default();
        track(&mut trades, at(0), 1, None);
        for _ in 0..5 {
            assert_eq!(hear(&mut trades, &told(u64::MAX, &[None])).1, []);
        }
    }

    #[test]
    fn many_share_calls_of_a_bounded_size_at_a_bounded_pace() {
        let mut trades = Signatures::default();
        for id in 0..600 {
            track(&mut trades, at(0), id, None);
        }
        let mut inquiries_made = Vec::new();
        let mut now = at(500);
        while now < at(2_400) {
            if let Some(inquiry) = next_inquiry(&mut trades, now) {
                assert_eq!(next_inquiry(&mut trades, now.plus(PACE)), None, "one is under way");
                let statuses = vec![None; inquiry.signatures.len()];
                trades.inquired(now, inquiry.number, &told(1, &statuses));
                inquiries_made.push((now, inquiry.signatures));
            }
            now = now.plus(Duration::from_millis(10));
        }
        let shape: Vec<_> = inquiries_made.iter().map(|(now, signatures)| (*now, signatures.len())).collect();
        assert_eq!(shape, [(at(500), 256), (at(1_000), 256), (at(1_500), 88)]);
        let mut asked: Vec<_> = inquiries_made.into_iter().flat_map(|(_, signatures)| signatures).collect();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), 600, "each once before any twice");
    }

    #[test]
    fn the_history_is_searched_only_for_those_that_need_it() {
        let mut trades = one();
        track(&mut trades, at(0), 2, Some(5_000));
        let (now, _) = hear(&mut trades, &told(900, &[None, None]));
        let search = next_inquiry(&mut trades, now.plus(PACE)).expect("due");
        assert_eq!((search.history, search.signatures), (true, vec![signature(1)]));
        trades.inquired(now.plus(PACE), search.number, &told(900, &[None]));
        let usual = next_inquiry(&mut trades, now.plus(EVERY)).expect("due");
        assert_eq!((usual.history, usual.signatures), (false, vec![signature(2)]));
    }

    #[test]
    fn while_nodes_fail_the_wait_doubles_and_another_is_asked() {
        let mut trades = one();
        let mut now = at(500);
        for (wait, endpoint) in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
            .into_iter()
            .zip([NODE, OTHER].into_iter().cycle())
        {
            let inquiry = next_inquiry(&mut trades, now).expect("due");
            assert_eq!(inquiry.endpoint, endpoint);
            let down = Err(RpcFailure::Unreachable { reason: "down".to_owned() });
            assert_eq!(trades.inquired(now, inquiry.number, &down), []);
            now = now.plus(Duration::from_millis(wait));
            assert_eq!(trades.next_deadline(), Some(now), "{wait} ms");
        }
        let inquiry = next_inquiry(&mut trades, now).expect("due");
        trades.inquired(now, inquiry.number, &told(1, &[None]));
        assert_eq!(trades.next_deadline(), Some(now.plus(EVERY)), "an answer brings the pace back");
        let (now, _) =
            hear(&mut trades, &Err(RpcFailure::RateLimited { retry_after: Some(Duration::from_secs(9)) }));
        assert_eq!(trades.next_deadline(), Some(now.plus(Duration::from_secs(9))));
    }

    #[test]
    fn an_answer_of_another_length_is_none() {
        let mut trades = one();
        let landed = status(false, true);
        assert_eq!(hear(&mut trades, &told(1, &[])).1, []);
        assert_eq!(hear(&mut trades, &told(1, &[landed, landed])).1, []);
        assert_eq!(hear(&mut trades, &told(1, &[landed])).1.len(), 1);
    }

    #[test]
    fn what_is_untracked_or_answered_late_ends_nothing() {
        let mut trades = one();
        let inquiry = next_inquiry(&mut trades, at(500)).expect("due");
        trades.untrack(TradeId(1));
        assert_eq!(trades.inquired(at(600), inquiry.number, &told(1, &[status(false, true)])), []);

        let mut trades = one();
        let inquiry = next_inquiry(&mut trades, at(500)).expect("due");
        trades.begin();
        let late = trades.inquired(at(600), inquiry.number, &told(1, &[status(false, true)]));
        assert_eq!(late, [], "its slots are of an order that is over");
        assert_eq!(hear(&mut trades, &told(1, &[status(false, true)])).1.len(), 1, "it is asked anew");
    }

    #[test]
    fn buys_have_a_limit_and_sells_have_none() {
        let mut trades = Signatures::default();
        let mut track = |id, side| trades.track(at(0), TradeId(id), side, signature(id), None);
        for id in 0..MAX_BUYS as u64 {
            track(id, Side::Buy).expect("room");
        }
        assert_eq!(track(9_000, Side::Buy), Err(TooManyTrades { limit: MAX_BUYS }));
        for id in 10_000..10_000 + MAX_BUYS as u64 + 1 {
            track(id, Side::Sell).expect("its hold had the place");
        }
    }

    #[test]
    fn where_nobody_may_be_asked_it_is_tried_again_at_the_pace() {
        let mut trades = one();
        assert_eq!(trades.next_inquiry(at(500), |_| None), None);
        assert_eq!(trades.next_deadline(), Some(at(1_000)));
    }
}
