//! RPC reads: single-flight per account, batched, bounded, and owned by nobody's future.
//!
//! Everything that wants an account read by RPC (a caller whose memory is stale, the link's baselines,
//! rechecks and audits, mints) asks here. An ask joins a call under way where its answer will do; else it
//! waits for the next batch. A caller that goes away takes nothing with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use solana_pubkey::Pubkey;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use crate::{
    book::{Book, Shared},
    config::BATCH,
    core::{
        mint::Mint,
        observation::{Observation, Slot, Source},
        time::Tick,
        token::Presence,
    },
    error::RpcFailure,
    source::rpc::{Answer, RpcSource},
};

/// Calls under way at once.
const MAX_FLIGHTS: usize = 4;
/// How long asks without a hurry wait for others to share their call.
const GATHER: Duration = Duration::from_millis(3);
/// How soon a node that is behind is asked again: a quarter of a slot.
const BEHIND_PAUSE: Duration = Duration::from_millis(100);
/// How long nobody asks a node that limits its rate, unless it says.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How soon a mint that could not be read is asked for again.
const MINT_PAUSE: Duration = Duration::from_secs(2);

/// Where an ask is answered: with the slot of the answer, which is in the ledger by then.
pub(crate) type Reply = oneshot::Sender<Result<Slot, RpcFailure>>;

/// How often an address that shows no mint is asked for; an account of it that is seen later asks anew.
const MINT_TRIES: u8 = 30;

/// One account wanted from RPC.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) address: Pubkey,
    /// The answer must be of this slot or later.
    pub(crate) min_slot: Slot,
    /// The answer must have been asked for at this moment or later.
    pub(crate) not_before: Tick,
    /// Somebody waits: no gathering.
    pub(crate) urgent: bool,
    /// Who wants to hear of it; `None` where the ledger alone does.
    pub(crate) reply: Option<Reply>,
    /// Until when a node that is behind is asked again.
    pub(crate) patience: Tick,
}

impl Ask {
    fn answer(self, answer: Result<Slot, RpcFailure>) {
        if let Some(reply) = self.reply {
            // Whoever asked may be gone; the answer is in the ledger all the same.
            let _ = reply.send(answer);
        }
    }

    /// Whether whoever asked has gone away since.
    fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// Where asks are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    asks: mpsc::Sender<Vec<Ask>>,
}

/// An ask that was not taken.
#[derive(Debug)]
pub(crate) enum Untaken {
    /// As many wait as the queue holds.
    Full,
    /// Nobody takes asks any more.
    Stopped,
}

impl Fallback {
    pub(crate) fn new(limit: usize) -> (Self, mpsc::Receiver<Vec<Ask>>) {
        let (asks, queue) = mpsc::channel(limit);
        (Self { asks }, queue)
    }

    pub(crate) fn ask(&self, asks: Vec<Ask>) -> Result<(), Untaken> {
        self.asks.try_send(asks).map_err(|refused| match refused {
            TrySendError::Full(_) => Untaken::Full,
            TrySendError::Closed(_) => Untaken::Stopped,
        })
    }
}

/// One call: what is asked, and who waits for it.
#[derive(Debug)]
struct Flight {
    number: u64,
    sent: Tick,
    min_slot: Slot,
    accounts: BTreeMap<Pubkey, Vec<Ask>>,
    mints: BTreeMap<Pubkey, u8>,
}

/// Who wants what: pure bookkeeping, the calls themselves are elsewhere.
#[derive(Debug, Default)]
struct Desk {
    waiting: BTreeMap<Pubkey, Vec<Ask>>,
    /// Since when somebody waits, and whether in a hurry.
    gathering: Option<Tick>,
    urgent: bool,
    /// Asks for which the node was behind, and when they are due again.
    held: Vec<(Tick, Ask)>,
    /// Mints to read, and how often each was asked for in vain.
    mints: BTreeMap<Pubkey, u8>,
    mints_again: Option<Tick>,
    flights: Vec<Flight>,
    flown: u64,
    refused_until: Option<(Tick, RpcFailure)>,
}

impl Desk {
    fn take(&mut self, ask: Ask, now: Tick) {
        if let Some((until, failure)) = &self.refused_until
            && now < *until
        {
            ask.answer(Err(failure.clone()));
            return;
        }
        let joinable = self.flights.iter_mut().find_map(|flight| {
            let will_do = flight.sent >= ask.not_before && flight.min_slot >= ask.min_slot;
            flight.accounts.get_mut(&ask.address).filter(|_| will_do)
        });
        match joinable {
            Some(asks) => asks.push(ask),
            None => {
                self.gathering.get_or_insert(now);
                self.urgent |= ask.urgent;
                self.waiting.entry(ask.address).or_default().push(ask);
            }
        }
    }

    /// Keeps what a node was behind for, without a call under way meanwhile: until it is due again, its
    /// patience is over, or whoever asked is gone.
    fn hold(&mut self, ask: Ask, now: Tick, failure: &RpcFailure) {
        let due = now.plus(BEHIND_PAUSE);
        if due >= ask.patience {
            ask.answer(Err(failure.clone()));
        } else if !ask.is_abandoned() {
            self.held.push((due, ask));
        }
    }

    /// Takes the held asks that are due.
    fn resume(&mut self, now: Tick) {
        self.refused_until.take_if(|(until, _)| *until <= now);
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|(due, _)| *due <= now);
        self.held = held;
        for (_, ask) in due {
            if !ask.is_abandoned() {
                self.take(ask, now);
            }
        }
    }

    /// Prepares the next call, if it is time for one: what to ask, at which slot at least. `known` is the
    /// slot from which an answer about an account is worth having, `newest` the newest slot that RPC has
    /// answered at.
    fn depart(
        &mut self,
        now: Tick,
        newest: Slot,
        known: impl Fn(&Pubkey) -> Slot,
    ) -> Option<(u64, Vec<Pubkey>, Slot)> {
        let gathered = self.urgent || self.gathering.is_some_and(|since| now.since(since) >= GATHER);
        let mints_due = !self.mints.is_empty() && self.mints_again.is_none_or(|due| due <= now);
        if self.flights.len() >= MAX_FLIGHTS || !(gathered || mints_due) {
            return None;
        }
        if self.refused_until.as_ref().is_some_and(|(until, _)| now < *until) {
            return None;
        }
        let floor = |asks: &Vec<Ask>| asks.iter().map(|ask| ask.min_slot).max().unwrap_or(0);
        let needs = self.waiting.iter().map(|(address, asks)| (*address, floor(asks).max(known(address))));
        // What asks for more than RPC has shown may make its whole call fail: it flies after the rest, and
        // only with what asks for the same.
        let (early, mut boarding): (Vec<_>, Vec<_>) = needs.partition(|(_, need)| *need > newest);
        if boarding.is_empty()
            && let Some(least) = early.iter().map(|(_, need)| *need).min()
        {
            boarding = early.into_iter().filter(|(_, need)| *need == least).collect();
        }
        boarding.truncate(if gathered { BATCH } else { 0 });
        let min_slot = boarding.iter().map(|(_, need)| *need).max().unwrap_or(0);
        let mut accounts = BTreeMap::new();
        for (address, _) in &boarding {
            accounts.insert(*address, self.waiting.remove(address).unwrap_or_default());
        }
        let room = BATCH - accounts.len();
        let room = if mints_due { room } else { 0 };
        let mints: BTreeMap<Pubkey, u8> =
            self.mints.iter().take(room).map(|(mint, tries)| (*mint, *tries)).collect();
        self.mints.retain(|mint, _| !mints.contains_key(mint));
        if self.waiting.is_empty() {
            self.gathering = None;
            self.urgent = false;
        }
        let keys = accounts.keys().chain(mints.keys()).copied().collect();
        self.flown += 1;
        self.flights.push(Flight { number: self.flown, sent: now, min_slot, accounts, mints });
        Some((self.flown, keys, min_slot))
    }

    fn land(&mut self, number: u64) -> Option<Flight> {
        let place = self.flights.iter().position(|flight| flight.number == number)?;
        Some(self.flights.swap_remove(place))
    }

    fn next_deadline(&self) -> Option<Tick> {
        let gathered = self.gathering.map(|since| since.plus(GATHER));
        let mints = self.mints_again.filter(|_| !self.mints.is_empty());
        let held = self.held.iter().map(|(due, _)| *due).min();
        if self.flights.len() >= MAX_FLIGHTS {
            return held;
        }
        if let Some((until, _)) = &self.refused_until {
            return Some(*until);
        }
        gathered.into_iter().chain(mints).chain(held).min()
    }
}

/// Carries out the asks until told to stop.
pub(crate) async fn run(
    rpc: Arc<RpcSource>,
    shared: Arc<Shared>,
    book: Arc<Book>,
    max_lag: Duration,
    mut queue: mpsc::Receiver<Vec<Ask>>,
    mut stop: watch::Receiver<()>,
) {
    let mint_wanted = shared.lock().mint_wanted();
    let mut desk = Desk::default();
    let mut flights = FuturesUnordered::new();
    let mut newest: Slot = 0;
    loop {
        let now = book.clock.now();
        desk.resume(now);
        while let Some((number, keys, min_slot)) =
            desk.depart(now, newest, |address| shared.lock().wanted_slot(address))
        {
            let rpc = rpc.clone();
            book.stats.rpc_calls.add(1);
            flights.push(async move { (number, rpc.read(&keys, min_slot).await) });
        }
        let wake = desk.next_deadline().map(|due| due.since(now));
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            Some((number, outcome)) = flights.next(), if !flights.is_empty() => {
                if let Ok(answer) = &outcome {
                    newest = newest.max(answer.slot);
                }
                if let Some(flight) = desk.land(number) {
                    settle(flight, outcome, &mut desk, &shared, &book, max_lag);
                }
            }
            asks = queue.recv() => match asks {
                Some(asks) => {
                    let now = book.clock.now();
                    asks.into_iter().for_each(|ask| desk.take(ask, now));
                }
                None => return,
            },
            () = mint_wanted.notified() => {
                // Somebody has just seen or named it: it is worth asking at once.
                desk.mints.extend(shared.lock().take_mints().into_iter().map(|mint| (mint, 0)));
                desk.mints_again = None;
            }
            () = tokio::time::sleep(wake.unwrap_or(Duration::MAX)), if wake.is_some() => {}
        }
    }
}

/// Puts an answer into the ledger and tells who waits.
fn settle(
    flight: Flight,
    outcome: Result<Answer, RpcFailure>,
    desk: &mut Desk,
    shared: &Shared,
    book: &Book,
    max_lag: Duration,
) {
    let now = book.clock.now();
    let answer = match outcome {
        Ok(answer) => answer,
        Err(failure) => {
            book.stats.rpc_failures.add(1);
            tracing::debug!(error = %failure, accounts = flight.accounts.len(), "an RPC read failed");
            if let RpcFailure::RateLimited { retry_after } = &failure {
                let pause =
                    retry_after.unwrap_or(REFUSED_PAUSE).clamp(REFUSED_PAUSE, Duration::from_secs(30));
                desk.refused_until = Some((now.plus(pause), failure.clone()));
            }
            desk.mints.extend(flight.mints);
            desk.mints_again = Some(now.plus(MINT_PAUSE));
            let behind = matches!(failure, RpcFailure::Behind { .. });
            for ask in flight.accounts.into_values().flatten() {
                if behind {
                    desk.hold(ask, now, &failure);
                } else {
                    ask.answer(Err(failure.clone()));
                }
            }
            return;
        }
    };
    let lag = Duration::from_millis(answer.lag_ms.unsigned_abs());
    let (proof, told) = if lag > max_lag {
        (Tick::NEVER, Err(RpcFailure::Lagging { lag }))
    } else {
        (answer.sent, Ok(answer.slot))
    };
    let mut accounts = answer.accounts.into_iter();
    let mut publisher = shared.lock();
    publisher.note_chain_lag(answer.lag_ms);
    for ((address, asks), account) in flight.accounts.into_iter().zip(&mut accounts) {
        let told = match account {
            Ok(account) => {
                let presence = account.map_or(Presence::Absent, |account| account.presence());
                let seen = Observation { presence, slot: answer.slot, source: Source::Rpc, proof };
                publisher.apply(&address, &seen);
                told.clone()
            }
            Err(failure) => Err(failure),
        };
        asks.into_iter().for_each(|ask| ask.answer(told.clone()));
    }
    for ((address, tries), account) in flight.mints.into_iter().zip(accounts) {
        let account = account.ok().flatten();
        match account.and_then(|account| Mint::decode(&account.program, &account.data)) {
            Some(mint) => publisher.set_mint(address, mint),
            // Not there yet at this commitment, or no mint at all.
            None if tries < MINT_TRIES => {
                desk.mints.insert(address, tries + 1);
                desk.mints_again = Some(now.plus(MINT_PAUSE));
            }
            None => tracing::debug!(mint = %address, "not a mint, for all that RPC says"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_nanos(ms * 1_000_000)
    }

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    type Answered = oneshot::Receiver<Result<Slot, RpcFailure>>;

    fn ask(address: u8, min_slot: Slot, not_before: Tick, urgent: bool) -> (Ask, Answered) {
        let (reply, answer) = oneshot::channel();
        let reply = Some(reply);
        (Ask { address: key(address), min_slot, not_before, urgent, reply, patience: at(3_000) }, answer)
    }

    fn urgent(address: u8, not_before: Tick) -> Ask {
        ask(address, 0, not_before, true).0
    }

    #[test]
    fn asks_without_a_hurry_gather_and_share_one_call() {
        let mut desk = Desk::default();
        for n in 1..=3 {
            desk.take(ask(n, 0, at(0), false).0, at(10));
        }
        assert_eq!(desk.depart(at(11), 100, |_| 7), None);
        assert_eq!(desk.next_deadline(), Some(at(13)));
        let (_, keys, min_slot) = desk.depart(at(13), 100, |_| 7).expect("a call");
        assert_eq!((keys, min_slot), (vec![key(1), key(2), key(3)], 7));
        assert_eq!(desk.depart(at(99), 100, |_| 7), None, "nobody waits");
    }

    #[test]
    fn one_flight_serves_all_whom_it_will_do() {
        let mut desk = Desk::default();
        desk.take(urgent(1, at(0)), at(10));
        let (number, ..) = desk.depart(at(10), 100, |_| 0).expect("a call");
        desk.take(urgent(1, at(10)), at(12));
        assert_eq!(desk.depart(at(12), 100, |_| 0), None, "it joined");
        desk.take(urgent(1, at(11)), at(12));
        assert!(desk.depart(at(12), 100, |_| 0).is_some(), "asked later than the call was sent");
        desk.take(ask(1, 5, at(0), true).0, at(13));
        assert!(desk.depart(at(13), 100, |_| 0).is_some(), "wants a later slot than was asked");
        assert_eq!(desk.land(number).map(|flight| flight.accounts[&key(1)].len()), Some(2));
        assert!(desk.land(number).is_none());
    }

    #[test]
    fn a_caller_that_goes_away_takes_nothing_with_it() {
        let mut desk = Desk::default();
        let (first, gone) = ask(1, 0, at(0), true);
        desk.take(first, at(10));
        let (number, ..) = desk.depart(at(10), 100, |_| 0).expect("a call");
        drop(gone);
        let (second, mut waits) = ask(1, 0, at(0), true);
        desk.take(second, at(11));
        for ask in desk.land(number).expect("the flight").accounts.into_values().flatten() {
            ask.answer(Ok(42));
        }
        assert_eq!(waits.try_recv(), Ok(Ok(42)));
    }

    #[test]
    fn a_floor_ahead_of_the_chain_holds_up_nobody_else() {
        let mut desk = Desk::default();
        desk.take(ask(1, 1_000_000, at(0), true).0, at(10));
        desk.take(ask(2, 90, at(0), true).0, at(10));
        desk.take(ask(3, 102, at(0), true).0, at(10));
        desk.take(ask(4, 0, at(0), true).0, at(10));
        let known = |address: &Pubkey| if *address == key(4) { 102 } else { 0 };
        let departs: Vec<_> = std::iter::from_fn(|| desk.depart(at(10), 100, known))
            .map(|(_, keys, min_slot)| (keys, min_slot))
            .collect();
        assert_eq!(departs, [(vec![key(2)], 90), (vec![key(3), key(4)], 102), (vec![key(1)], 1_000_000),]);
    }

    #[test]
    fn a_node_that_is_behind_is_asked_again_without_a_call_under_way_meanwhile() {
        let mut desk = Desk::default();
        let behind = RpcFailure::Behind { min_slot: 9 };
        let (waits, mut answer) = ask(1, 9, at(0), true);
        let (leaves, gone) = ask(2, 9, at(0), true);
        let ledger_only = Ask { reply: None, ..ask(3, 9, at(0), false).0 };
        for ask in [waits, leaves, ledger_only] {
            desk.take(ask, at(10));
        }
        let (number, ..) = desk.depart(at(10), 100, |_| 0).expect("a call");
        for ask in desk.land(number).expect("the flight").accounts.into_values().flatten() {
            desk.hold(ask, at(20), &behind);
        }
        assert!(desk.flights.is_empty());
        assert_eq!(desk.next_deadline(), Some(at(120)));
        drop(gone);
        desk.resume(at(119));
        assert_eq!(desk.depart(at(119), 100, |_| 0), None);
        desk.resume(at(120));
        let (_, keys, _) = desk.depart(at(120), 100, |_| 0).expect("a call");
        assert_eq!(keys, [key(1), key(3)], "whoever asked for the other is gone");
        for ask in desk.flights.remove(0).accounts.into_values().flatten() {
            desk.hold(ask, at(2_950), &behind);
        }
        assert_eq!(answer.try_recv(), Ok(Err(behind)), "its patience is over");
    }

    #[test]
    fn a_batch_and_the_calls_at_once_are_bounded() {
        let mut desk = Desk::default();
        for n in 0..=250 {
            desk.take(urgent(n, at(0)), at(10));
        }
        let sizes: Vec<usize> =
            std::iter::from_fn(|| desk.depart(at(10), 100, |_| 0)).map(|(_, keys, _)| keys.len()).collect();
        assert_eq!(sizes, [99, 99, 53]);
        for n in 0..=9 {
            desk.take(urgent(n, at(11)), at(11 + u64::from(n)));
            desk.depart(at(11 + u64::from(n)), 100, |_| 0);
        }
        assert_eq!(desk.flights.len(), MAX_FLIGHTS);
        assert_eq!(desk.next_deadline(), None, "a landing wakes it, not the clock");
    }

    #[test]
    fn while_a_node_limits_its_rate_asks_are_answered_at_once() {
        let mut desk = Desk::default();
        let failure = RpcFailure::RateLimited { retry_after: None };
        desk.refused_until = Some((at(1_000), failure.clone()));
        let (first, mut answer) = ask(1, 0, at(0), true);
        desk.take(first, at(999));
        assert_eq!(answer.try_recv(), Ok(Err(failure)));
        assert_eq!(desk.depart(at(999), 100, |_| 0), None);
        // Nor does what waited already depart before.
        assert_eq!(desk.next_deadline(), Some(at(1_000)));
        desk.resume(at(1_000));
        desk.take(urgent(1, at(0)), at(1_000));
        assert!(desk.depart(at(1_000), 100, |_| 0).is_some());
    }
}
