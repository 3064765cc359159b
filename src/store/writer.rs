//! The writer: the one engine behind one lock, and what of it readers, callers and listeners get to see.

mod positions;
mod trading;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use solana_pubkey::Pubkey;
use tokio::sync::{Notify, broadcast, oneshot, watch};

use super::{Book, Cell, STOPPED};
use crate::{
    clock::{Clock, JumpDetector, wall_ms},
    core::{
        account::observation::{EndpointId, LinkId, Slot},
        base::{failure::RpcFailure, time::Tick},
        chain::state::Expected,
        engine::{
            Answer, Engine, EngineSettings, LinkEvent, Order,
            accounts::{Note, WatchError},
        },
        link::websocket::LinkPhase,
        rpc::scheduler::{Ask, AskId, Call, Crowded, Reply},
        trade::signatures::{Inquiry, TradeId, TradeOutcome},
    },
    observability::{counters::Stats, link_log::Reports},
    store::updates::Update,
};

pub(crate) use trading::Outcome;

/// The only writer. Not `Clone`: whoever holds the lock on it writes.
pub(crate) struct Publisher {
    book: Arc<Book>,
    engine: Engine,
    jumps: JumpDetector,
    cells: HashMap<Pubkey, Arc<Cell>>,
    stopped: bool,
    callers: BTreeMap<AskId, oneshot::Sender<Result<Slot, RpcFailure>>>,
    last_ask: u64,
    outcomes: BTreeMap<TradeId, watch::Sender<Option<TradeOutcome>>>,
    updates: Option<broadcast::Sender<Update>>,
    pub(crate) reports: Reports,
    drivers: Vec<Waker>,
    supervisor: Waker,
}

/// Wakes a loop that sleeps until the engine has something for it.
#[derive(Debug, Default)]
struct Waker {
    wake: Arc<Notify>,
    /// The deadline that it has heard of.
    armed: Option<Tick>,
}

impl Waker {
    /// Wakes the loop if there is work, or its deadline has moved forward.
    fn tell(&mut self, work: bool, due: Option<Tick>) {
        let sooner = match (due, self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if work || sooner {
            self.wake.notify_one();
        }
        self.armed = due;
    }
}

/// The lock on the writer. It is held for a few instructions and never across an await.
pub(crate) struct Shared(Mutex<Publisher>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Publisher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the writer and its readers' side.
pub(crate) fn open(
    clock: Clock,
    settings: EngineSettings,
    seed: u64,
    update_buffer: usize,
    urls: Vec<String>,
) -> (Shared, Arc<Book>) {
    let now = clock.now();
    let engine = Engine::new(settings.clone(), seed, now);
    let book = Arc::new(Book {
        accounts: ArcSwap::default(),
        evidence: ArcSwap::from_pointee(engine.evidence().clone()),
        proved: Notify::new(),
        mints: ArcSwap::default(),
        clock,
        policy: settings.policy,
        stats: Stats::default(),
        bytes_each: settings.bytes_each(),
    });
    let reports = Reports::new(&engine, urls, now);
    let mut publisher = Publisher {
        book: book.clone(),
        jumps: JumpDetector::new(now, wall_ms()),
        cells: HashMap::new(),
        stopped: false,
        callers: BTreeMap::new(),
        last_ask: 0,
        outcomes: BTreeMap::new(),
        updates: Some(broadcast::Sender::new(update_buffer)),
        drivers: engine.links().map(|_| Waker::default()).collect(),
        supervisor: Waker::default(),
        reports,
        engine,
    };
    publisher.publish(now);
    (Shared(Mutex::new(publisher)), book)
}

impl Publisher {
    /// Lets the engine take a step, and publishes what comes of it. A jump of the host's clocks is noticed before
    /// anything that came after it is believed.
    fn step<T>(&mut self, step: impl FnOnce(&mut Engine, Tick) -> T) -> T {
        let now = self.book.clock.now();
        if self.jumps.jumped(now, wall_ms()) {
            tracing::warn!("the host's clocks jumped: every proof is void");
            self.engine.clock_jumped(now);
        }
        let outcome = step(&mut self.engine, now);
        self.publish(now);
        outcome
    }

    /// Changed records first, the links' evidence second; then whoever waits is woken.
    fn publish(&mut self, now: Tick) {
        let touched = self.engine.take_touched();
        for address in &touched {
            if let Some(cell) = self.cells.get(address) {
                cell.record.store(self.engine.record(address).copied().map(Arc::new));
                cell.overlay.store(self.engine.overlay(address).copied().map(Arc::new));
                self.store_mint(cell);
            }
        }
        let proved = **self.book.evidence.load() != *self.engine.evidence();
        if proved {
            self.book.evidence.store(Arc::new(self.engine.evidence().clone()));
        }
        let mints = self.engine.take_mints();
        let new_mints = mints.is_some();
        if let Some(mints) = mints {
            let mints = mints.iter().map(|(address, mint)| (*address, *mint)).collect();
            self.book.mints.store(Arc::new(mints));
            self.cells.values().for_each(|cell| self.store_mint(cell));
        }
        let mut swept = Vec::new();
        while let Some(note) = self.engine.next_note() {
            if let Note::Swept { address } = note {
                swept.push(address);
            }
            self.take_note(note);
        }
        self.let_go(&swept);
        for cell in touched.iter().filter_map(|address| self.cells.get(address)) {
            cell.changed.notify_waiters();
        }
        if proved || new_mints {
            self.book.proved.notify_waiters();
        }
        while let Some((id, answer)) = self.engine.next_reply() {
            if let Some(caller) = self.callers.remove(&id) {
                // Whoever asked may be gone; the answer is in the ledger all the same.
                let _ = caller.send(answer);
            }
        }
        self.tell_outcomes();
        self.reports.look(&self.engine, now);
        for (id, driver) in (0..).map(LinkId).zip(&mut self.drivers) {
            driver.tell(self.engine.has_orders(id), self.engine.link_deadline(id));
        }
        self.supervisor.tell(false, self.engine.next_deadline());
    }

    /// What is known of the mint of an account, beside its record.
    fn store_mint(&self, cell: &Cell) {
        let token = self.engine.record(&cell.address).and_then(|record| record.state.token());
        cell.mint.store(token.and_then(|token| self.engine.mint(&token.mint)));
    }

    fn take_note(&mut self, note: Note) {
        let stats = &self.book.stats;
        match &note {
            Note::Changed { .. } | Note::Overlaid { .. } | Note::Reverted { .. } | Note::Enabled { .. } => {}
            Note::SellEnded { outcome, .. } => {
                let failed = matches!(outcome, TradeOutcome::Failed { .. });
                stats.invalidations.add(u64::from(failed));
            }
            Note::Superseded => stats.superseded.add(1),
            Note::Disputed { .. } => stats.disputes.add(1),
            Note::Missed { .. } => stats.missed.add(1),
            Note::Quarantined { .. } | Note::Foreign { .. } => stats.quarantines.add(1),
            Note::Reset { .. } => stats.resets.add(1),
            Note::Swept { .. } => stats.swept.add(1),
        }
        self.reports.log(&note, &self.engine);
        if let Some(update) = Update::of(&note)
            && let Some(updates) = &self.updates
        {
            // Nobody listening is nobody missing anything.
            let _ = updates.send(update);
        }
    }

    /// `None` once stopped.
    pub(crate) fn updates(&self) -> Option<broadcast::Receiver<Update>> {
        self.updates.as_ref().map(broadcast::Sender::subscribe)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    // Callers.

    /// Watches all of them, or none.
    pub(crate) fn watch(&mut self, targets: &[(Pubkey, Expected)]) -> Result<Vec<Arc<Cell>>, WatchError> {
        self.watch_by(targets, |engine, now| engine.watch(now, targets))
    }

    fn watch_by(
        &mut self,
        targets: &[(Pubkey, Expected)],
        watch: impl FnOnce(&mut Engine, Tick) -> Result<(), WatchError>,
    ) -> Result<Vec<Arc<Cell>>, WatchError> {
        // The cells first: a record is published into its cell.
        let fresh: Vec<Pubkey> = targets
            .iter()
            .map(|(address, _)| *address)
            .filter(|address| !self.cells.contains_key(address))
            .collect();
        for address in &fresh {
            self.cells.insert(*address, Arc::new(Cell::new(*address)));
        }
        if let Err(refused) = self.step(watch) {
            for address in &fresh {
                self.cells.remove(address);
            }
            return Err(refused);
        }
        if !fresh.is_empty() {
            self.book.accounts.store(Arc::new(self.cells.clone()));
        }
        Ok(targets.iter().filter_map(|(address, _)| self.cells.get(address).cloned()).collect())
    }

    pub(crate) fn unwatch(&mut self, address: &Pubkey) -> bool {
        if !self.cells.contains_key(address) {
            return false;
        }
        self.let_go(&[*address]);
        self.step(|engine, now| engine.unwatch(now, address));
        true
    }

    /// What is known of the account is in doubt until RPC has confirmed it, at `min_slot` or later.
    pub(crate) fn invalidate(&mut self, address: &Pubkey, min_slot: Slot) -> bool {
        let known = self.step(|engine, now| engine.invalidate(now, address, min_slot));
        self.book.stats.invalidations.add(u64::from(known));
        if let Some(cell) = self.cells.get(address) {
            cell.tally.invalidations.add(u64::from(known));
        }
        known
    }

    /// Has an account read by RPC for a caller; the answer's slot, which is in the ledger by then, or what failed.
    pub(crate) fn ask(
        &mut self,
        ask: impl FnOnce(Reply) -> Ask,
    ) -> Result<(AskId, oneshot::Receiver<Result<Slot, RpcFailure>>), Crowded> {
        let (caller, answer) = oneshot::channel();
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.callers.insert(id, caller);
        let taken = self.step(|engine, now| engine.ask(now, ask(Reply::Caller(id))));
        if taken.is_err() {
            self.callers.remove(&id);
        }
        taken.map(|()| (id, answer))
    }

    /// Whoever asked has gone.
    pub(crate) fn cancel(&mut self, id: AskId) {
        if self.callers.remove(&id).is_some() {
            self.engine.cancel(id);
        }
    }

    // Answers about no account by itself.

    /// The endpoints to ask, and the newest slot that they should know; `None` once stopped.
    pub(crate) fn to_ask(&self) -> Option<(Vec<EndpointId>, Slot)> {
        (!self.stopped).then(|| (self.engine.to_ask(self.book.clock.now()), self.engine.newest_slot()))
    }

    /// Whether what an endpoint said of this slot, and with this Clock if there was one, may be believed.
    pub(crate) fn hear(
        &mut self,
        endpoint: EndpointId,
        slot: Slot,
        lag_ms: Option<i64>,
    ) -> Result<(), RpcFailure> {
        self.step(|engine, now| match lag_ms {
            Some(lag_ms) => engine.hear_bank(now, endpoint, slot, lag_ms),
            None => engine.hear_slot(now, endpoint, slot),
        })
    }

    // The loops.

    /// Woken when a link has orders, or a deadline that it has not heard of.
    pub(crate) fn driver_wake(&self, link: LinkId) -> Arc<Notify> {
        self.drivers.get(usize::from(link.0)).map(|driver| driver.wake.clone()).unwrap_or_default()
    }

    /// Woken when there is an RPC call to make, or a deadline that the supervisor has not heard of.
    pub(crate) fn supervisor_wake(&self) -> Arc<Notify> {
        self.supervisor.wake.clone()
    }

    pub(crate) fn handle(&mut self, link: LinkId, events: impl IntoIterator<Item = LinkEvent>) {
        self.step(|engine, now| events.into_iter().for_each(|event| engine.handle(now, link, event)));
    }

    pub(crate) fn next_order(&mut self, link: LinkId) -> Option<Order> {
        self.engine.next_order(link)
    }

    /// Acts on the link's deadlines that have passed; when the next one is.
    pub(crate) fn expire_link(&mut self, link: LinkId) -> Option<Tick> {
        self.step(|engine, now| engine.expire_link(now, link));
        self.engine.link_deadline(link)
    }

    pub(crate) fn phase(&self, link: LinkId) -> LinkPhase {
        self.engine.link(link).map_or(LinkPhase::Stopped, |(phase, ..)| phase)
    }

    /// Acts on the deadlines that are no link's; the calls and the inquiry to make, and when to come again.
    pub(crate) fn expire(&mut self) -> (Vec<Call>, Option<Inquiry>, Option<Tick>) {
        let (calls, inquiry) = self.step(|engine, now| {
            engine.expire(now);
            let calls = std::iter::from_fn(|| engine.next_call(now)).collect::<Vec<_>>();
            (calls, engine.next_inquiry(now))
        });
        let due = self.engine.next_deadline();
        self.supervisor.armed = due;
        (calls, inquiry, due)
    }

    pub(crate) fn answered(&mut self, number: u64, answer: Result<Answer, RpcFailure>) {
        self.step(|engine, now| engine.answered(now, number, answer));
    }

    /// Ends everything: every reader is stale from here on.
    pub(crate) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        for cell in self.cells.values() {
            cell.end(STOPPED);
        }
        self.step(|engine, now| engine.stop(now));
        self.updates = None;
        self.callers.clear();
        self.outcomes.clear();
        self.book.proved.notify_waiters();
        self.supervisor.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::{
        Health, Reader,
        api::builder::Builder,
        core::{
            account::sellable::MintSays,
            chain::{
                mint::Mint,
                token::{Presence, TokenProgram, tests::account_bytes},
            },
            engine::Answer,
        },
    };

    const LINK: LinkId = LinkId(0);

    fn holding(amount: u64) -> Presence {
        let (mint, owner) = (Pubkey::new_from_array([1; 32]), Pubkey::new_from_array([2; 32]));
        Presence::decode(&TokenProgram::Token.id(), 1, &account_bytes(mint, owner, amount))
    }

    pub(super) fn opened() -> (Shared, Arc<Book>) {
        opened_for(3)
    }

    fn opened_for(accounts: usize) -> (Shared, Arc<Book>) {
        let builder = Builder::new("http://127.0.0.1:8899".to_owned()).max_accounts(accounts);
        let settings = builder.validate().expect("settings");
        open(Clock::new(), settings.engine, 1, 16, vec![String::new()])
    }

    fn target(byte: u8) -> (Pubkey, Expected) {
        (Pubkey::new_from_array([byte; 32]), Expected::default())
    }

    /// Answers every RPC call that is wanted with this slot and amount, until none is.
    fn answer_calls(publisher: &mut Publisher, slot: Slot, amount: u64, deadline: &mut u32) {
        loop {
            let (calls, ..) = publisher.expire();
            let any = !calls.is_empty();
            for call in calls {
                let sent = publisher.book.clock.now();
                let accounts = call.accounts.iter().map(|_| Ok(holding(amount))).collect();
                let mints = call.mints.iter().map(|_| None).collect();
                publisher.answered(call.number, Ok(Answer { slot, sent, lag_ms: 0, accounts, mints }));
            }
            if any {
                return;
            }
            *deadline -= 1;
            assert!(*deadline > 0, "no call was wanted");
            std::thread::yield_now();
        }
    }

    /// Brings one account live on the first link: subscribed, behind its barrier, rechecked, two canaries.
    pub(super) fn live(shared: &Shared) -> Arc<Cell> {
        let mut publisher = shared.lock();
        let cell = publisher.watch(&[target(9)]).expect("room").remove(0);
        publisher.handle(LINK, [LinkEvent::Connected { genesis: None }]);
        let mut barrier = None;
        for slot in 1..4 {
            while let Some(order) = publisher.next_order(LINK) {
                if let Order::Subscribe(subject) = order {
                    barrier = match subject {
                        crate::core::link::websocket::Subject::Barrier { length } => Some(length),
                        _ => barrier,
                    };
                    publisher.handle(LINK, [LinkEvent::Acknowledged(subject)]);
                }
            }
            publisher.handle(LINK, [LinkEvent::Canary { slot, lag_ms: 0 }]);
        }
        let length = barrier.expect("a barrier behind the account");
        publisher.handle(LINK, [LinkEvent::Barrier { length, slot: 4 }]);
        let mut patience = 10_000_000;
        while !publisher.book.read(&cell).is_live() {
            answer_calls(&mut publisher, 4, 4, &mut patience);
        }
        cell
    }

    /// The mint of what [`holding`] shows, as RPC tells of it when it is asked next, in two minutes.
    fn tell_mint(publisher: &mut Publisher, mint: Mint) {
        let call = publisher.step(|engine, now| {
            let later = now.plus(Duration::from_secs(120));
            engine.expire(later);
            let later = later.plus(Duration::from_secs(6));
            std::iter::from_fn(|| engine.next_call(later)).find(|call| !call.mints.is_empty())
        });
        let call = call.expect("the mint is wanted");
        let sent = publisher.book.clock.now();
        let accounts = call.accounts.iter().map(|_| Ok(holding(4))).collect();
        let mints = call.mints.iter().map(|_| Some(mint)).collect();
        publisher.answered(call.number, Ok(Answer { slot: 5, sent, lag_ms: 0, accounts, mints }));
    }

    #[test]
    fn a_reader_hears_what_the_mint_of_its_account_says_and_how_old_that_is() {
        let (shared, book) = opened();
        let cell = live(&shared);
        let mut publisher = shared.lock();
        assert_eq!(book.read(&cell).mint, None);
        let paused = Mint { paused: true, slot: Some(0), ..Mint::plain(TokenProgram::Token, 6) };
        tell_mint(&mut publisher, paused);
        assert_eq!(book.read(&cell).mint, Some(MintSays::of(&paused)));
        let now = book.clock.now();
        let after = |time: Duration| cell.mint.load(Tick::NEVER, now.plus(time), &book.policy);
        assert_eq!(after(book.policy.verify_every / 2), Some(MintSays::of(&paused)));
        assert_eq!(after(book.policy.verify_every * 2), Some(MintSays::of(&paused).outdated()));
        assert_eq!(
            cell.mint.load(now.plus(Duration::from_secs(1)), now, &book.policy),
            Some(MintSays::of(&paused).outdated())
        );
        let fixed = Mint::plain(TokenProgram::Token, 6);
        tell_mint(&mut publisher, fixed);
        assert_eq!(
            cell.mint.load(now, now.plus(book.policy.verify_every * 9), &book.policy),
            Some(MintSays::of(&fixed))
        );
        // An account that is watched later hears of a mint that is known already.
        let other = publisher.watch(&[target(8)]).expect("room").remove(0);
        assert_eq!(book.read(&other).mint, None, "not seen yet");
        let (address, patience) = (other.address, book.clock.now());
        let asked = publisher.ask(|reply| Ask {
            address,
            min_slot: 0,
            not_before: patience,
            urgent: true,
            reply,
            patience,
            avoid: None,
        });
        assert!(asked.is_ok());
        answer_calls(&mut publisher, 5, 4, &mut 10_000_000);
        assert_eq!(book.read(&other).mint, Some(MintSays::of(&fixed)));
    }

    #[test]
    fn reads_waits_and_doubts_are_counted_with_their_account_and_outlive_it_in_the_totals() {
        let (shared, book) = opened();
        let cell = live(&shared);
        let reader = Reader::new(cell.clone(), book.clone());
        let (fresh, now) = (Duration::from_secs(30), Duration::ZERO);
        assert!(reader.fresh(fresh).is_ok() && reader.fresh(now).is_err());
        assert!(
            reader.sellable(fresh).is_ok() && reader.sellable(now).is_err() && reader.fresh(fresh).is_ok()
        );
        reader.count_fallback();
        let waiting = reader.waiting();
        let since = book.clock.now();
        while book.clock.now().since(since) < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        drop(waiting);
        let mut publisher = shared.lock();
        assert!(publisher.invalidate(&cell.address, 0) && !publisher.invalidate(&target(1).0, 0));
        let stats = reader.stats();
        assert_eq!((stats.address, stats.hits, stats.misses, stats.fallbacks), (cell.address, 3, 2, 1));
        assert_eq!((stats.rpc_calls_avoided, stats.waits, stats.invalidations, stats.changes), (3, 1, 1, 1));
        assert!(stats.wait_max_us >= 2_000 && stats.wait_mean_us == stats.wait_max_us, "{stats:?}");
        publisher.unwatch(&cell.address);
        drop(publisher);
        let health = Health::of(&book, &shared.lock());
        assert_eq!((health.hits, health.misses, health.fallbacks, health.invalidations), (3, 2, 1, 1));
        assert_eq!((health.rpc_calls_avoided, health.wait_us.count), (3, 1));
        assert_eq!(health.wait_us.max, stats.wait_max_us);
    }

    #[test]
    fn the_memory_told_is_what_the_allocator_gave() {
        const ACCOUNTS: usize = 2_000;
        let (shared, book) = opened_for(ACCOUNTS);
        let mut publisher = shared.lock();
        let targets: Vec<_> = (0..ACCOUNTS)
            .map(|n| {
                let mut address = [7; 32];
                address[..8].copy_from_slice(&n.to_be_bytes());
                (Pubkey::new_from_array(address), Expected::default())
            })
            .collect();
        let before = book.bytes();
        let given = allocation_counter::measure(|| {
            publisher.watch(&targets).expect("room");
            publisher.handle(LINK, [LinkEvent::Connected { genesis: None }]);
            let mut now = book.clock.now();
            while publisher.cells.values().any(|cell| cell.record.load().is_none()) {
                now = now.plus(Duration::from_secs(1));
                let calls = publisher.step(|engine, _| {
                    engine.expire(now);
                    std::iter::from_fn(|| engine.next_call(now)).collect::<Vec<_>>()
                });
                for call in calls {
                    let accounts = call.accounts.iter().map(|_| Ok(holding(4))).collect();
                    let mints = call.mints.iter().map(|_| None).collect();
                    let answer = Answer { slot: 5, sent: now, lag_ms: 0, accounts, mints };
                    publisher.step(|engine, _| engine.answered(now, call.number, Ok(answer)));
                }
            }
        });
        let given = usize::try_from(given.bytes_current).expect("more than before");
        let told = book.bytes() - before;
        println!("{} bytes told and {} given for each account", told / ACCOUNTS, given / ACCOUNTS);
        assert!(told <= given && given <= 2 * told, "{told} bytes told, {given} given");
    }

    #[test]
    fn a_reader_never_joins_a_proof_with_a_record_it_does_not_cover() {
        const SLOTS: u64 = 20_000;
        let (shared, book) = opened();
        let cell = live(&shared);
        let over = AtomicBool::new(false);
        let subject = crate::core::link::websocket::Subject::Account {
            address: cell.address,
            attempt: 0,
            own_parameters: false,
        };
        // Each slot writes its own number into the account, then ticks.
        let write = |slot: u64| {
            let presence = Some(holding(slot));
            let mut publisher = shared.lock();
            publisher.handle(
                LINK,
                [LinkEvent::Account { subject, slot, presence }, LinkEvent::Canary { slot, lag_ms: 0 }],
            );
        };
        let read = || {
            let mut last = (0, 0);
            let mut reads = 0u64;
            while !over.load(Ordering::Relaxed) {
                let reading = book.read(&cell);
                let (slot, as_of) = (reading.slot().expect("seen"), reading.as_of().expect("seen"));
                let held = reading.last_known().and_then(crate::AccountState::held).expect("tokens");
                assert!(held >= as_of.min(slot), "slot {as_of} is proved of a record of slot {held}");
                assert!(slot >= as_of, "slot {as_of} is proved of a record of slot {slot}");
                assert!((slot, as_of) >= last, "back from {last:?} to {:?}", (slot, as_of));
                last = (slot, as_of);
                reads += 1;
            }
            reads
        };
        std::thread::scope(|scope| {
            let readers = [scope.spawn(read), scope.spawn(read)];
            (5..=SLOTS).for_each(write);
            over.store(true, Ordering::Relaxed);
            for reader in readers {
                assert!(reader.join().expect("no violation") > 0);
            }
        });
        assert!(book.read(&cell).is_live());
    }

    fn urgent(address: Pubkey, now: Tick, reply: Reply) -> Ask {
        let patience = now.plus(Duration::from_secs(9));
        Ask { address, min_slot: 0, not_before: now, urgent: true, reply, patience, avoid: None }
    }

    #[test]
    fn all_are_watched_or_none() {
        let (shared, book) = opened();
        let mut publisher = shared.lock();
        publisher.watch(&[target(1), target(2)]).expect("room");
        let refused = publisher.watch(&[target(3), target(4)]);
        assert_eq!(refused.err(), Some(WatchError::TooMany { limit: 3 }));
        let mint =
            |byte: u8| Expected { mint: Some(Pubkey::new_from_array([byte; 32])), ..Expected::default() };
        let refused = publisher.watch(&[target(3), (target(1).0, mint(7)), (target(1).0, mint(8))]);
        assert_eq!(refused.err(), Some(WatchError::Contradiction { address: target(1).0 }));
        assert_eq!(book.cells().len(), 2, "nothing of a refused call stays");
        publisher.watch(&[(target(1).0, mint(8))]).expect("the first one left no expectation behind");
    }

    #[test]
    fn a_caller_is_answered_and_one_that_has_gone_is_forgotten() {
        let (shared, _book) = opened();
        let mut publisher = shared.lock();
        publisher.watch(&[target(1)]).expect("room");
        let now = publisher.book.clock.now();
        let ask = |reply| urgent(target(1).0, now, reply);
        let (_, mut answer) = publisher.ask(ask).expect("room");
        let (gone, _) = publisher.ask(ask).expect("room");
        publisher.cancel(gone);
        answer_calls(&mut publisher, 7, 1, &mut 1_000_000);
        assert_eq!(answer.try_recv(), Ok(Ok(7)));
        assert!(publisher.callers.is_empty());
    }

    #[test]
    fn whoever_waits_wakes_on_the_notification_and_on_the_answer_whichever_comes() {
        use futures::FutureExt;
        let (shared, _) = opened();
        let cell = live(&shared);
        let mut publisher = shared.lock();
        let subject = crate::core::link::websocket::Subject::Account {
            address: cell.address,
            attempt: 0,
            own_parameters: false,
        };
        let now = publisher.book.clock.now();
        let ask = |reply| urgent(cell.address, now, reply);
        let (_, mut answer) = publisher.ask(ask).expect("room");
        let calls = publisher.expire().0;
        let call = calls.iter().find(|call| call.accounts == [cell.address]).expect("a call");

        let waits = cell.changed.notified();
        publisher.handle(LINK, [LinkEvent::Account { subject, slot: 9, presence: Some(holding(9)) }]);
        assert!(waits.now_or_never().is_some(), "the notification wakes, with a call under way");
        assert!(answer.try_recv().is_err(), "which it does not take the place of");

        let waits = cell.changed.notified();
        let (accounts, mints) = (vec![Ok(holding(10))], vec![None; call.mints.len()]);
        publisher.answered(call.number, Ok(Answer { slot: 10, sent: now, lag_ms: 0, accounts, mints }));
        assert!(waits.now_or_never().is_some(), "and the answer does");
        assert_eq!(answer.try_recv(), Ok(Ok(10)));
        let reading = publisher.book.read(&cell);
        assert_eq!(reading.last_known().and_then(crate::AccountState::held), Some(10));
    }
}
