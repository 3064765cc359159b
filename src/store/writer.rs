//! The writer: the engine behind a lock, and how its results reach readers, callers and listeners.

mod positions;
mod trading;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use solana_pubkey::Pubkey;
use tokio::sync::{Notify, broadcast, oneshot, watch};

use super::{Entry, STOPPED, Store};
use crate::{
    clock::{Clock, JumpDetector, wall_ms},
    core::{
        base::{
            failure::RpcFailure,
            ids::{AskId, EndpointId, LinkId, Slot, TradeId},
            time::Tick,
        },
        chain::state::Expected,
        engine::{
            Engine,
            events::{CallAnswer, EngineEvent, LinkEvent, WatchError},
            settings::EngineSettings,
        },
        link::{feed::LinkPhase, websocket::LinkCommand},
        rpc::scheduler::{Ask, Call, Crowded, Reply},
        trade::signatures::{Inquiry, TradeOutcome},
    },
    observability::{counters::Stats, link_log::LinkLog, log_target},
    store::updates::MirrorUpdate,
};

pub(crate) use trading::OutcomeReceiver;

/// The only writer. It is not `Clone`: only the holder of its lock can write.
pub(crate) struct Writer {
    store: Arc<Store>,
    engine: Engine,
    jumps: JumpDetector,
    entries: HashMap<Pubkey, Arc<Entry>>,
    stopped: bool,
    callers: BTreeMap<AskId, oneshot::Sender<Result<Slot, RpcFailure>>>,
    last_ask: u64,
    outcomes: BTreeMap<TradeId, watch::Sender<Option<TradeOutcome>>>,
    updates: Option<broadcast::Sender<MirrorUpdate>>,
    pub(crate) link_log: LinkLog,
    drivers: Vec<Waker>,
    rpc_driver: Waker,
}

/// Wakes a driver loop that sleeps until the engine has something for it.
#[derive(Debug, Default)]
struct Waker {
    wake: Arc<Notify>,
    /// The deadline that the loop knows of.
    armed: Option<Tick>,
}

impl Waker {
    /// Wakes the loop if there is work, or if its deadline has moved to an earlier time.
    fn wake_if_sooner(&mut self, work: bool, due: Option<Tick>) {
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

/// The lock on the writer. Its holders keep it for a few instructions, never across an await.
pub(crate) struct SharedWriter(Mutex<Writer>);

impl SharedWriter {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates the writer, and the store that readers use.
pub(crate) fn open(
    clock: Clock,
    settings: EngineSettings,
    seed: u64,
    update_buffer: usize,
    urls: Vec<String>,
) -> (SharedWriter, Arc<Store>) {
    let now = clock.now();
    let engine = Engine::new(settings.clone(), seed, now);
    let store = Arc::new(Store {
        accounts: ArcSwap::default(),
        evidence: ArcSwap::from_pointee(engine.evidence().clone()),
        proved: Notify::new(),
        mints: ArcSwap::default(),
        clock,
        policy: settings.policy,
        stats: Stats::default(),
        bytes_each: settings.bytes_each(),
    });
    let link_log = LinkLog::new(&engine, urls, now);
    let mut writer = Writer {
        store: store.clone(),
        jumps: JumpDetector::new(now, wall_ms()),
        entries: HashMap::new(),
        stopped: false,
        callers: BTreeMap::new(),
        last_ask: 0,
        outcomes: BTreeMap::new(),
        updates: Some(broadcast::Sender::new(update_buffer)),
        drivers: engine.links().map(|_| Waker::default()).collect(),
        rpc_driver: Waker::default(),
        link_log,
        engine,
    };
    writer.publish(now);
    (SharedWriter(Mutex::new(writer)), store)
}

impl Writer {
    /// Runs a step of the engine and publishes the result. It checks for a jump of the host's
    /// clocks first, so that nothing that came after the jump is believed before the jump is
    /// handled.
    fn step<T>(&mut self, step: impl FnOnce(&mut Engine, Tick) -> T) -> T {
        let now = self.store.clock.now();
        if self.jumps.jumped(now, wall_ms()) {
            tracing::warn!(target: log_target::LOG, "the host's clocks jumped: nothing known before counts as fresh, and reads ask RPC until the links have proved it anew; if this comes again, check the host's time service, and whether it is suspended");
            self.engine.clock_jumped(now);
        }
        let outcome = step(&mut self.engine, now);
        self.publish(now);
        outcome
    }

    /// Publishes changed records first and the links' evidence second, and then wakes those that
    /// wait.
    fn publish(&mut self, now: Tick) {
        let touched = self.engine.take_touched();
        for address in &touched {
            if let Some(entry) = self.entries.get(address) {
                entry.record.store(self.engine.record(address).copied().map(Arc::new));
                entry.overlay.store(self.engine.overlay(address).copied().map(Arc::new));
                self.store_mint(entry);
            }
        }
        let proved = **self.store.evidence.load() != *self.engine.evidence();
        if proved {
            self.store.evidence.store(Arc::new(self.engine.evidence().clone()));
        }
        let mints = self.engine.take_mints();
        let new_mints = mints.is_some();
        if let Some(mints) = mints {
            let mints = mints.iter().map(|(address, mint)| (*address, *mint)).collect();
            self.store.mints.store(Arc::new(mints));
            self.entries.values().for_each(|entry| self.store_mint(entry));
        }
        let mut swept = Vec::new();
        while let Some(event) = self.engine.next_event() {
            if let EngineEvent::Swept { address } = event {
                swept.push(address);
            }
            self.take_event(event);
        }
        self.let_go(&swept);
        for entry in touched.iter().filter_map(|address| self.entries.get(address)) {
            entry.changed.notify_waiters();
        }
        if proved || new_mints {
            self.store.proved.notify_waiters();
        }
        while let Some((id, answer)) = self.engine.next_reply() {
            if let Some(caller) = self.callers.remove(&id) {
                // The caller may be gone; the ledger has the answer in any case.
                let _ = caller.send(answer);
            }
        }
        self.send_outcomes();
        self.link_log.log_phases(&self.engine, now);
        for (id, driver) in (0..).map(LinkId).zip(&mut self.drivers) {
            driver.wake_if_sooner(self.engine.has_commands(id), self.engine.link_deadline(id));
        }
        self.rpc_driver.wake_if_sooner(false, self.engine.next_deadline());
    }

    /// Stores what is known of the mint of an account's tokens with the account's entry.
    fn store_mint(&self, entry: &Entry) {
        let token = self.engine.record(&entry.address).and_then(|record| record.state.token());
        entry.mint.store(token.and_then(|token| self.engine.mint(&token.mint)));
    }

    fn take_event(&mut self, event: EngineEvent) {
        let stats = &self.store.stats;
        match &event {
            EngineEvent::Changed { .. }
            | EngineEvent::Overlaid { .. }
            | EngineEvent::Reverted { .. }
            | EngineEvent::Enabled { .. } => {}
            EngineEvent::SellEnded { outcome, .. } => {
                let failed = matches!(outcome, TradeOutcome::Failed { .. });
                stats.invalidations.add(u64::from(failed));
            }
            EngineEvent::Superseded => stats.superseded.add(1),
            EngineEvent::Disputed { .. } => stats.disputes.add(1),
            EngineEvent::Missed { .. } => stats.missed.add(1),
            EngineEvent::Quarantined { .. } | EngineEvent::Foreign { .. } => stats.quarantines.add(1),
            EngineEvent::Reset { .. } => stats.resets.add(1),
            EngineEvent::Swept { .. } => stats.swept.add(1),
        }
        self.link_log.log(&event, &self.engine);
        if let Some(update) = MirrorUpdate::of(&event)
            && let Some(updates) = &self.updates
        {
            // The send fails only if nobody listens, and then nothing is missed.
            let _ = updates.send(update);
        }
    }

    /// `None` once the mirror has stopped.
    pub(crate) fn updates(&self) -> Option<broadcast::Receiver<MirrorUpdate>> {
        self.updates.as_ref().map(broadcast::Sender::subscribe)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    // Callers.

    /// Watches all of the accounts, or none.
    pub(crate) fn watch(&mut self, targets: &[(Pubkey, Expected)]) -> Result<Vec<Arc<Entry>>, WatchError> {
        self.watch_by(targets, |engine, now| engine.watch(now, targets))
    }

    fn watch_by(
        &mut self,
        targets: &[(Pubkey, Expected)],
        watch: impl FnOnce(&mut Engine, Tick) -> Result<(), WatchError>,
    ) -> Result<Vec<Arc<Entry>>, WatchError> {
        // Creates the entries first, because records are published into them.
        let fresh: Vec<Pubkey> = targets
            .iter()
            .map(|(address, _)| *address)
            .filter(|address| !self.entries.contains_key(address))
            .collect();
        for address in &fresh {
            self.entries.insert(*address, Arc::new(Entry::new(*address)));
        }
        if let Err(refused) = self.step(watch) {
            for address in &fresh {
                self.entries.remove(address);
            }
            return Err(refused);
        }
        if !fresh.is_empty() {
            self.store.accounts.store(Arc::new(self.entries.clone()));
        }
        Ok(targets.iter().filter_map(|(address, _)| self.entries.get(address).cloned()).collect())
    }

    pub(crate) fn unwatch(&mut self, address: &Pubkey) -> bool {
        if !self.entries.contains_key(address) {
            return false;
        }
        self.let_go(&[*address]);
        self.step(|engine, now| engine.unwatch(now, address));
        true
    }

    /// Marks what is known of the account as in doubt until RPC has confirmed it, at `min_slot` or
    /// later.
    pub(crate) fn invalidate(&mut self, address: &Pubkey, min_slot: Slot) -> bool {
        let known = self.step(|engine, now| engine.invalidate(now, address, min_slot));
        self.store.stats.invalidations.add(u64::from(known));
        if let Some(entry) = self.entries.get(address) {
            entry.counters.invalidations.add(u64::from(known));
        }
        known
    }

    /// Has an account read by RPC for a caller. The result is the answer's slot (the ledger has the
    /// answer by then), or what failed.
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

    /// Cancels an ask whose caller has gone.
    pub(crate) fn cancel(&mut self, id: AskId) {
        if self.callers.remove(&id).is_some() {
            self.engine.cancel(id);
        }
    }

    // RPC answers that are not about a single account.

    /// The endpoints to ask, and the newest slot that they should have reached. `None` once the
    /// mirror has stopped.
    pub(crate) fn to_ask(&self) -> Option<(Vec<EndpointId>, Slot)> {
        (!self.stopped).then(|| (self.engine.to_ask(self.store.clock.now()), self.engine.newest_slot()))
    }

    /// Checks whether to believe an endpoint's claim of this slot, and of this Clock if the answer
    /// carried one.
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

    // The driver loops.

    /// Notified when there is a command for the link's driver, or a deadline that it does not know
    /// of.
    pub(crate) fn driver_wake(&self, link: LinkId) -> Arc<Notify> {
        self.drivers.get(usize::from(link.0)).map(|driver| driver.wake.clone()).unwrap_or_default()
    }

    /// Notified when there is an RPC call to make, or a deadline that the RPC driver does not know
    /// of.
    pub(crate) fn rpc_driver_wake(&self) -> Arc<Notify> {
        self.rpc_driver.wake.clone()
    }

    pub(crate) fn handle(&mut self, link: LinkId, events: impl IntoIterator<Item: Into<LinkEvent>>) {
        self.step(|engine, now| events.into_iter().for_each(|event| engine.handle(now, link, event)));
    }

    pub(crate) fn next_command(&mut self, link: LinkId) -> Option<LinkCommand> {
        self.engine.next_command(link)
    }

    /// Acts on the link's deadlines that have passed. Returns the next one.
    pub(crate) fn expire_link(&mut self, link: LinkId) -> Option<Tick> {
        self.step(|engine, now| engine.expire_link(now, link));
        self.engine.link_deadline(link)
    }

    pub(crate) fn phase(&self, link: LinkId) -> LinkPhase {
        self.engine.link(link).map_or(LinkPhase::Stopped, |(phase, ..)| phase)
    }

    /// Acts on passed deadlines that do not belong to a link. Returns the calls and the inquiry to
    /// make, and when to call again.
    pub(crate) fn expire(&mut self) -> (Vec<Call>, Option<Inquiry>, Option<Tick>) {
        let (calls, inquiry) = self.step(|engine, now| {
            engine.expire(now);
            let calls = std::iter::from_fn(|| engine.next_call(now)).collect::<Vec<_>>();
            (calls, engine.next_inquiry(now))
        });
        let due = self.engine.next_deadline();
        self.rpc_driver.armed = due;
        (calls, inquiry, due)
    }

    pub(crate) fn answered(&mut self, number: u64, answer: Result<CallAnswer, RpcFailure>) {
        self.step(|engine, now| engine.answered(now, number, answer));
    }

    /// Ends everything: from here on every reading is stale.
    pub(crate) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        for entry in self.entries.values() {
            entry.end(STOPPED);
        }
        self.step(|engine, now| engine.stop(now));
        self.updates = None;
        self.callers.clear();
        self.outcomes.clear();
        self.store.proved.notify_waiters();
        self.rpc_driver.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use crate::core::link::websocket::SessionEvent;
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::{
        Health, Reader,
        api::builder::MirrorBuilder,
        core::{
            account::sellable::MintSays,
            chain::{
                mint::MintInfo,
                token::{Presence, TokenProgram, tests::account_bytes},
            },
            engine::events::CallAnswer,
        },
    };

    const LINK: LinkId = LinkId(0);

    fn holding(amount: u64) -> Presence {
        let (mint, owner) = (Pubkey::new_from_array([1; 32]), Pubkey::new_from_array([2; 32]));
        Presence::decode(&TokenProgram::Token.id(), 1, &account_bytes(mint, owner, amount))
    }

    pub(super) fn opened() -> (SharedWriter, Arc<Store>) {
        opened_for(3)
    }

    fn opened_for(accounts: usize) -> (SharedWriter, Arc<Store>) {
        let builder = MirrorBuilder::new("http://127.0.0.1:8899".to_owned()).max_accounts(accounts);
        let settings = builder.check().expect("settings");
        open(Clock::new(), settings.engine, 1, 16, vec![String::new()])
    }

    fn target(byte: u8) -> (Pubkey, Expected) {
        (Pubkey::new_from_array([byte; 32]), Expected::default())
    }

    /// Answers the wanted RPC calls with this slot and amount until there are no more.
    fn answer_calls(writer: &mut Writer, slot: Slot, amount: u64, deadline: &mut u32) {
        loop {
            let (calls, ..) = writer.expire();
            let any = !calls.is_empty();
            for call in calls {
                let sent = writer.store.clock.now();
                let accounts = call.accounts.iter().map(|_| Ok(holding(amount))).collect();
                let mints = call.mints.iter().map(|_| None).collect();
                writer.answered(call.number, Ok(CallAnswer { slot, sent, lag_ms: 0, accounts, mints }));
            }
            if any {
                return;
            }
            *deadline -= 1;
            assert!(*deadline > 0, "no call was wanted");
            std::thread::yield_now();
        }
    }

    /// Makes one account live on the first link: subscribes it, passes its barrier and recheck, and
    /// ticks twice.
    pub(super) fn live(shared: &SharedWriter) -> Arc<Entry> {
        let mut writer = shared.lock();
        let entry = writer.watch(&[target(9)]).expect("room").remove(0);
        writer.handle(LINK, [LinkEvent::Connected { genesis: None }]);
        let mut barrier = None;
        for slot in 1..4 {
            while let Some(command) = writer.next_command(LINK) {
                if let LinkCommand::Subscribe(subject) = command {
                    barrier = match subject {
                        crate::core::link::websocket::Subject::Barrier { length } => Some(length),
                        _ => barrier,
                    };
                    writer.handle(LINK, [SessionEvent::Acknowledged(subject)]);
                }
            }
            writer.handle(LINK, [SessionEvent::Canary { slot, lag_ms: 0 }]);
        }
        let length = barrier.expect("a barrier behind the account");
        writer.handle(LINK, [SessionEvent::Barrier { length, slot: 4 }]);
        let mut patience = 10_000_000;
        while !writer.store.read(&entry).is_live() {
            answer_calls(&mut writer, 4, 4, &mut patience);
        }
        entry
    }

    /// Answers the next read of the mint of what [`holding`] shows, which is due in two minutes.
    fn tell_mint(writer: &mut Writer, mint: MintInfo) {
        let call = writer.step(|engine, now| {
            let later = now.plus(Duration::from_secs(120));
            engine.expire(later);
            let later = later.plus(Duration::from_secs(6));
            std::iter::from_fn(|| engine.next_call(later)).find(|call| !call.mints.is_empty())
        });
        let call = call.expect("the mint is wanted");
        let sent = writer.store.clock.now();
        let accounts = call.accounts.iter().map(|_| Ok(holding(4))).collect();
        let mints = call.mints.iter().map(|_| Some(mint)).collect();
        writer.answered(call.number, Ok(CallAnswer { slot: 5, sent, lag_ms: 0, accounts, mints }));
    }

    #[test]
    fn a_reader_hears_what_the_mint_of_its_account_says_and_how_old_that_is() {
        let (shared, store) = opened();
        let entry = live(&shared);
        let mut writer = shared.lock();
        assert_eq!(store.read(&entry).mint, None);
        let paused = MintInfo { paused: true, slot: Some(0), ..MintInfo::plain(TokenProgram::Token, 6) };
        tell_mint(&mut writer, paused);
        assert_eq!(store.read(&entry).mint, Some(MintSays::of(&paused)));
        let now = store.clock.now();
        let after = |time: Duration| entry.mint.load(Tick::NEVER, now.plus(time), &store.policy);
        assert_eq!(after(store.policy.verify_every / 2), Some(MintSays::of(&paused)));
        assert_eq!(after(store.policy.verify_every * 2), Some(MintSays::of(&paused).outdated()));
        assert_eq!(
            entry.mint.load(now.plus(Duration::from_secs(1)), now, &store.policy),
            Some(MintSays::of(&paused).outdated())
        );
        let fixed = MintInfo::plain(TokenProgram::Token, 6);
        tell_mint(&mut writer, fixed);
        assert_eq!(
            entry.mint.load(now, now.plus(store.policy.verify_every * 9), &store.policy),
            Some(MintSays::of(&fixed))
        );
        // An account that is watched later gets the mint that is known already.
        let other = writer.watch(&[target(8)]).expect("room").remove(0);
        assert_eq!(store.read(&other).mint, None, "not seen yet");
        let (address, patience) = (other.address, store.clock.now());
        let asked = writer.ask(|reply| Ask {
            address,
            min_slot: 0,
            not_before: patience,
            urgent: true,
            reply,
            patience,
            avoid: None,
        });
        assert!(asked.is_ok());
        answer_calls(&mut writer, 5, 4, &mut 10_000_000);
        assert_eq!(store.read(&other).mint, Some(MintSays::of(&fixed)));
    }

    #[test]
    fn reads_waits_and_doubts_are_counted_with_their_account_and_outlive_it_in_the_totals() {
        let (shared, store) = opened();
        let entry = live(&shared);
        let reader = Reader::new(entry.clone(), store.clone());
        let (fresh, now) = (Duration::from_secs(30), Duration::ZERO);
        assert!(reader.fresh(fresh).is_ok() && reader.fresh(now).is_err());
        assert!(
            reader.sellable(fresh).is_ok() && reader.sellable(now).is_err() && reader.fresh(fresh).is_ok()
        );
        reader.count_fallback();
        let waiting = reader.waiting();
        let since = store.clock.now();
        while store.clock.now().since(since) < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        drop(waiting);
        let mut writer = shared.lock();
        assert!(writer.invalidate(&entry.address, 0) && !writer.invalidate(&target(1).0, 0));
        let stats = reader.stats();
        assert_eq!((stats.address, stats.hits, stats.misses, stats.fallbacks), (entry.address, 3, 2, 1));
        assert_eq!((stats.rpc_calls_avoided, stats.waits, stats.invalidations, stats.changes), (3, 1, 1, 1));
        assert!(stats.wait_max_us >= 2_000 && stats.wait_mean_us == stats.wait_max_us, "{stats:?}");
        writer.unwatch(&entry.address);
        drop(writer);
        let health = Health::of(&store, &shared.lock());
        assert_eq!((health.hits, health.misses, health.fallbacks, health.invalidations), (3, 2, 1, 1));
        assert_eq!((health.rpc_calls_avoided, health.wait_us.count), (3, 1));
        assert_eq!(health.wait_us.max, stats.wait_max_us);
    }

    #[test]
    fn the_memory_told_is_what_the_allocator_gave() {
        const ACCOUNTS: usize = 2_000;
        let (shared, store) = opened_for(ACCOUNTS);
        let mut writer = shared.lock();
        let targets: Vec<_> = (0..ACCOUNTS)
            .map(|n| {
                let mut address = [7; 32];
                address[..8].copy_from_slice(&n.to_be_bytes());
                (Pubkey::new_from_array(address), Expected::default())
            })
            .collect();
        let before = store.bytes();
        let given = allocation_counter::measure(|| {
            writer.watch(&targets).expect("room");
            writer.handle(LINK, [LinkEvent::Connected { genesis: None }]);
            let mut now = store.clock.now();
            while writer.entries.values().any(|entry| entry.record.load().is_none()) {
                now = now.plus(Duration::from_secs(1));
                let calls = writer.step(|engine, _| {
                    engine.expire(now);
                    std::iter::from_fn(|| engine.next_call(now)).collect::<Vec<_>>()
                });
                for call in calls {
                    let accounts = call.accounts.iter().map(|_| Ok(holding(4))).collect();
                    let mints = call.mints.iter().map(|_| None).collect();
                    let answer = CallAnswer { slot: 5, sent: now, lag_ms: 0, accounts, mints };
                    writer.step(|engine, _| engine.answered(now, call.number, Ok(answer)));
                }
            }
        });
        let given = usize::try_from(given.bytes_current).expect("more than before");
        let told = store.bytes() - before;
        println!("{} bytes told and {} given for each account", told / ACCOUNTS, given / ACCOUNTS);
        assert!(told <= given && given <= 2 * told, "{told} bytes told, {given} given");
    }

    #[test]
    fn a_reader_never_joins_a_proof_with_a_record_it_does_not_cover() {
        const SLOTS: u64 = 20_000;
        let (shared, store) = opened();
        let entry = live(&shared);
        let over = AtomicBool::new(false);
        let subject = crate::core::link::websocket::Subject::Account {
            address: entry.address,
            attempt: 0,
            own_parameters: false,
        };
        // Each slot writes its own number into the account, then ticks.
        let write = |slot: u64| {
            let presence = Some(holding(slot));
            let mut writer = shared.lock();
            writer.handle(
                LINK,
                [SessionEvent::Account { subject, slot, presence }, SessionEvent::Canary { slot, lag_ms: 0 }],
            );
        };
        let read = || {
            let mut last = (0, 0);
            let mut reads = 0u64;
            while !over.load(Ordering::Relaxed) {
                let reading = store.read(&entry);
                let (slot, as_of) = (reading.slot().expect("seen"), reading.as_of().expect("seen"));
                let held = reading.last_known().and_then(crate::AccountState::token_amount).expect("tokens");
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
        assert!(store.read(&entry).is_live());
    }

    fn urgent(address: Pubkey, now: Tick, reply: Reply) -> Ask {
        let patience = now.plus(Duration::from_secs(9));
        Ask { address, min_slot: 0, not_before: now, urgent: true, reply, patience, avoid: None }
    }

    #[test]
    fn all_are_watched_or_none() {
        let (shared, store) = opened();
        let mut writer = shared.lock();
        writer.watch(&[target(1), target(2)]).expect("room");
        let refused = writer.watch(&[target(3), target(4)]);
        assert_eq!(refused.err(), Some(WatchError::TooMany { limit: 3 }));
        let mint =
            |byte: u8| Expected { mint: Some(Pubkey::new_from_array([byte; 32])), ..Expected::default() };
        let refused = writer.watch(&[target(3), (target(1).0, mint(7)), (target(1).0, mint(8))]);
        assert_eq!(refused.err(), Some(WatchError::Contradiction { address: target(1).0 }));
        assert_eq!(store.entries().len(), 2, "nothing of a refused call stays");
        writer.watch(&[(target(1).0, mint(8))]).expect("the first one left no expectation behind");
    }

    #[test]
    fn a_caller_is_answered_and_one_that_has_gone_is_forgotten() {
        let (shared, _book) = opened();
        let mut writer = shared.lock();
        writer.watch(&[target(1)]).expect("room");
        let now = writer.store.clock.now();
        let ask = |reply| urgent(target(1).0, now, reply);
        let (_, mut answer) = writer.ask(ask).expect("room");
        let (gone, _) = writer.ask(ask).expect("room");
        writer.cancel(gone);
        answer_calls(&mut writer, 7, 1, &mut 1_000_000);
        assert_eq!(answer.try_recv(), Ok(Ok(7)));
        assert!(writer.callers.is_empty());
    }

    #[test]
    fn whoever_waits_wakes_on_the_notification_and_on_the_answer_whichever_comes() {
        use futures::FutureExt;
        let (shared, _) = opened();
        let entry = live(&shared);
        let mut writer = shared.lock();
        let subject = crate::core::link::websocket::Subject::Account {
            address: entry.address,
            attempt: 0,
            own_parameters: false,
        };
        let now = writer.store.clock.now();
        let ask = |reply| urgent(entry.address, now, reply);
        let (_, mut answer) = writer.ask(ask).expect("room");
        let calls = writer.expire().0;
        let call = calls.iter().find(|call| call.accounts == [entry.address]).expect("a call");

        let waits = entry.changed.notified();
        writer.handle(LINK, [SessionEvent::Account { subject, slot: 9, presence: Some(holding(9)) }]);
        assert!(waits.now_or_never().is_some(), "the notification wakes, with a call under way");
        assert!(answer.try_recv().is_err(), "which it does not take the place of");

        let waits = entry.changed.notified();
        let (accounts, mints) = (vec![Ok(holding(10))], vec![None; call.mints.len()]);
        writer.answered(call.number, Ok(CallAnswer { slot: 10, sent: now, lag_ms: 0, accounts, mints }));
        assert!(waits.now_or_never().is_some(), "and the answer does");
        assert_eq!(answer.try_recv(), Ok(Ok(10)));
        let reading = writer.store.read(&entry);
        assert_eq!(reading.last_known().and_then(crate::AccountState::token_amount), Some(10));
    }
}
