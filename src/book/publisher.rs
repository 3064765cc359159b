//! The writer: the wanted set, every account's ledger, and what the link and the fallback have to hear of.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU8},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use solana_pubkey::Pubkey;
use tokio::sync::{Notify, broadcast};

use super::{Book, Cell, STOPPED, UNWATCHED};
use crate::{
    clock::Clock,
    core::{
        evidence::LinkEvidence,
        freshness::Policy,
        ledger::{Ledger, Rules, Verdict},
        mint::Mint,
        observation::{Generation, Observation, Slot},
        session::WatchId,
        state::Expected,
    },
    error::WatchError,
    stats::{Counter, Stats},
    updates::AccountUpdate,
};

/// Mints kept before those of accounts no longer watched are dropped.
const MAX_MINTS: usize = 4_096;

struct Watched {
    ledger: Ledger,
    cell: Arc<Cell>,
    watch: WatchId,
}

/// What the link has to hear of.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Accounts whose place in the wanted set changed, with the watch that wants them now.
    pub(crate) watches: Vec<(Pubkey, Option<WatchId>)>,
    /// Accounts whose subscription cannot be trusted.
    pub(crate) accused: Vec<Pubkey>,
}

/// The only writer. Not `Clone`: whoever holds the lock on it writes.
pub(crate) struct Publisher {
    book: Arc<Book>,
    watched: HashMap<Pubkey, Watched>,
    evidence: LinkEvidence,
    last_watch: WatchId,
    max_accounts: usize,
    rules: Rules,
    stopped: bool,
    changed: BTreeSet<Pubkey>,
    accused: BTreeSet<Pubkey>,
    /// Accounts whose notification should be under way.
    awaiting: BTreeSet<Pubkey>,
    mints_wanted: BTreeSet<Pubkey>,
    /// The smallest chain lag of the RPC answers since the link last asked.
    chain_lag: Option<i64>,
    updates: Option<broadcast::Sender<AccountUpdate>>,
    orders_given: Arc<Notify>,
    mint_wanted: Arc<Notify>,
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
    policy: Policy,
    max_accounts: usize,
    update_buffer: usize,
    absence_twice: bool,
) -> (Shared, Arc<Book>) {
    let book = Arc::new(Book {
        accounts: ArcSwap::default(),
        evidence: ArcSwap::default(),
        proved: Notify::new(),
        mints: ArcSwap::default(),
        clock,
        policy,
        stats: Stats::default(),
    });
    let publisher = Publisher {
        book: book.clone(),
        watched: HashMap::new(),
        evidence: LinkEvidence::default(),
        last_watch: WatchId::default(),
        max_accounts,
        rules: Rules { absence_twice, verify_every: policy.verify_every },
        stopped: false,
        changed: BTreeSet::new(),
        accused: BTreeSet::new(),
        awaiting: BTreeSet::new(),
        mints_wanted: BTreeSet::new(),
        chain_lag: None,
        updates: Some(broadcast::Sender::new(update_buffer)),
        orders_given: Arc::default(),
        mint_wanted: Arc::default(),
    };
    (Shared(Mutex::new(publisher)), book)
}

impl Publisher {
    /// Woken when there are orders to take.
    pub(crate) fn orders_given(&self) -> Arc<Notify> {
        self.orders_given.clone()
    }

    /// Woken when there are mints to read.
    pub(crate) fn mint_wanted(&self) -> Arc<Notify> {
        self.mint_wanted.clone()
    }

    /// `None` once stopped.
    pub(crate) fn updates(&self) -> Option<broadcast::Receiver<AccountUpdate>> {
        self.updates.as_ref().map(broadcast::Sender::subscribe)
    }

    // The wanted set.

    /// Watches all of them, or none.
    pub(crate) fn watch(&mut self, targets: &[(Pubkey, Expected)]) -> Result<Vec<Arc<Cell>>, WatchError> {
        if self.stopped {
            return Err(WatchError::Stopped);
        }
        let mut fresh: HashMap<Pubkey, Expected> = HashMap::new();
        let mut known: HashMap<Pubkey, Expected> = HashMap::new();
        for (address, expected) in targets {
            let before = match self.watched.get(address) {
                Some(watched) => known.entry(*address).or_insert(watched.ledger.expected()),
                None => fresh.entry(*address).or_default(),
            };
            *before = before.merge(*expected).ok_or(WatchError::Contradiction { address: *address })?;
        }
        if self.watched.len() + fresh.len() > self.max_accounts {
            return Err(WatchError::TooMany { limit: self.max_accounts });
        }
        for (address, expected) in known {
            if let Some(watched) = self.watched.get_mut(&address) {
                // Merged above without a contradiction.
                let _ = watched.ledger.expect(expected);
            }
        }
        self.insert(fresh);
        Ok(targets
            .iter()
            .filter_map(|(address, _)| self.watched.get(address))
            .map(|w| w.cell.clone())
            .collect())
    }

    fn insert(&mut self, fresh: HashMap<Pubkey, Expected>) {
        if fresh.is_empty() {
            return;
        }
        let mut accounts = HashMap::clone(&self.book.accounts.load());
        for (address, expected) in fresh {
            self.last_watch.0 += 1;
            let cell = Arc::new(Cell {
                address,
                record: ArcSwapOption::empty(),
                ended: AtomicU8::new(0),
                changed: Notify::new(),
                hits: Counter::default(),
                misses: Counter::default(),
            });
            accounts.insert(address, cell.clone());
            let ledger = Ledger::new(expected, self.rules);
            self.watched.insert(address, Watched { ledger, cell, watch: self.last_watch });
            self.changed.insert(address);
            if let Some(mint) = expected.mint {
                self.want_mint(mint);
            }
        }
        self.book.accounts.store(Arc::new(accounts));
        self.orders_given.notify_one();
    }

    pub(crate) fn unwatch(&mut self, address: &Pubkey) -> bool {
        let Some(watched) = self.watched.remove(address) else { return false };
        let mut accounts = HashMap::clone(&self.book.accounts.load());
        accounts.remove(address);
        self.book.accounts.store(Arc::new(accounts));
        self.book.stats.hits.add(watched.cell.hits.get());
        self.book.stats.misses.add(watched.cell.misses.get());
        watched.cell.end(UNWATCHED);
        self.awaiting.remove(address);
        self.accused.remove(address);
        self.changed.insert(*address);
        self.orders_given.notify_one();
        true
    }

    pub(crate) fn take_orders(&mut self) -> Orders {
        let changed = std::mem::take(&mut self.changed);
        Orders {
            watches: changed
                .into_iter()
                .map(|address| (address, self.watched.get(&address).map(|watched| watched.watch)))
                .collect(),
            accused: std::mem::take(&mut self.accused).into_iter().collect(),
        }
    }

    // Records.

    /// Takes in an observation of a watched account; one of any other address is nobody's business.
    pub(crate) fn apply(&mut self, address: &Pubkey, seen: &Observation) -> Option<Verdict> {
        let watched = self.watched.get_mut(address)?;
        let before = watched.ledger.record().copied();
        let verdict = watched.ledger.apply(seen, &self.evidence);
        let stats = &self.book.stats;
        match verdict {
            Verdict::Superseded => stats.superseded.add(1),
            Verdict::Disputed => stats.disputes.add(1),
            Verdict::Changed | Verdict::Renewed | Verdict::Deferred => {}
        }
        let was_covered = before.is_some_and(|before| before.cover.is_some());
        if verdict == Verdict::Disputed || verdict == Verdict::Deferred && was_covered {
            self.accused.insert(*address);
            self.orders_given.notify_one();
        }
        if watched.ledger.is_awaiting() {
            self.awaiting.insert(*address);
        } else {
            self.awaiting.remove(address);
        }
        let record = watched.ledger.record().copied();
        if record != before {
            self.publish(address);
        }
        if let Some(record) = record
            && before.is_none_or(|before| before.revision != record.revision)
        {
            if let Some(updates) = &self.updates {
                // Nobody listening is nobody missing anything.
                let _ = updates.send(AccountUpdate::new(*address, &record));
            }
            if let Some(token) = record.state.token() {
                self.want_mint(token.mint);
            }
        }
        Some(verdict)
    }

    /// The slot from which an RPC answer about the account is worth having.
    pub(crate) fn wanted_slot(&self, address: &Pubkey) -> Slot {
        self.watched.get(address).map_or(0, |watched| watched.ledger.wanted_slot())
    }

    fn publish(&self, address: &Pubkey) {
        if let Some(watched) = self.watched.get(address) {
            watched.cell.record.store(watched.ledger.record().copied().map(Arc::new));
            watched.cell.changed.notify_waiters();
        }
    }

    /// Notes by how much wall time was ahead of the chain's Clock in an RPC answer.
    pub(crate) fn note_chain_lag(&mut self, lag_ms: i64) {
        self.chain_lag = Some(self.chain_lag.map_or(lag_ms, |smallest| smallest.min(lag_ms)));
    }

    /// The smallest such lag since the last call.
    pub(crate) fn take_chain_lag(&mut self) -> Option<i64> {
        self.chain_lag.take()
    }

    // What the link proves.

    /// Puts an account under the link's canaries; `false` where its record is disputed or missing.
    pub(crate) fn cover(&mut self, address: &Pubkey, watch: WatchId, generation: Generation) -> bool {
        // Unwatched, or watched anew: the link is about to hear of it.
        let Some(watched) = self.watched.get_mut(address).filter(|watched| watched.watch == watch) else {
            return true;
        };
        let covered = watched.ledger.cover(generation);
        self.publish(address);
        covered
    }

    pub(crate) fn uncover(&mut self, address: &Pubkey) {
        let uncovered =
            self.watched.get_mut(address).is_some_and(|watched| watched.ledger.uncover(&self.evidence));
        self.awaiting.remove(address);
        if uncovered {
            self.publish(address);
        }
    }

    pub(crate) fn uncover_all(&mut self) {
        let addresses: Vec<Pubkey> = self.watched.keys().copied().collect();
        for address in addresses {
            self.uncover(&address);
        }
    }

    /// Publishes the link's proof; every record it speaks for has been published.
    pub(crate) fn prove(&mut self, evidence: LinkEvidence) {
        let missed: Vec<Pubkey> = self
            .awaiting
            .iter()
            .filter(|address| {
                self.watched.get(*address).is_some_and(|watched| watched.ledger.missed(&evidence))
            })
            .copied()
            .collect();
        for address in missed {
            tracing::warn!(account = %address, "a change that RPC showed was never notified: subscribing anew");
            self.book.stats.missed.add(1);
            self.uncover(&address);
            self.accused.insert(address);
            self.orders_given.notify_one();
        }
        self.evidence = evidence;
        self.book.evidence.store(Arc::new(evidence));
        self.book.proved.notify_waiters();
    }

    // Mints.

    fn want_mint(&mut self, mint: Pubkey) {
        if !self.book.mints.load().contains_key(&mint) && self.mints_wanted.insert(mint) {
            self.mint_wanted.notify_one();
        }
    }

    /// Mints whose configuration is wanted and not yet asked for.
    pub(crate) fn take_mints(&mut self) -> BTreeSet<Pubkey> {
        std::mem::take(&mut self.mints_wanted)
    }

    pub(crate) fn set_mint(&mut self, address: Pubkey, mint: Mint) {
        let mut mints = HashMap::clone(&self.book.mints.load());
        if mints.len() >= MAX_MINTS {
            // Those of accounts no longer watched have served.
            let watched: HashSet<Pubkey> =
                self.watched.values().filter_map(|watched| watched.ledger.expected().mint).collect();
            mints.retain(|mint, _| watched.contains(mint));
        }
        mints.insert(address, mint);
        self.book.mints.store(Arc::new(mints));
        self.book.proved.notify_waiters();
    }

    /// Ends everything: every reader is stale from here on.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        for watched in self.watched.values() {
            watched.cell.end(STOPPED);
        }
        self.updates = None;
        self.book.proved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::core::{
        observation::Source,
        time::Tick,
        token::{Presence, TokenProgram, tests::account_bytes},
    };

    const LINK: Generation = Generation(1);

    fn holding(amount: u64) -> Presence {
        let (mint, owner) = (Pubkey::new_from_array([1; 32]), Pubkey::new_from_array([2; 32]));
        Presence::decode(&TokenProgram::Token.id(), 1, &account_bytes(mint, owner, amount))
    }

    fn opened() -> (Shared, Arc<Book>) {
        let policy =
            Policy { canary_deadline: Duration::from_secs(5), verify_every: Duration::from_secs(300) };
        open(Clock::new(), policy, 3, 16, false)
    }

    fn target(byte: u8) -> (Pubkey, Expected) {
        (Pubkey::new_from_array([byte; 32]), Expected::default())
    }

    #[test]
    fn a_reader_never_joins_a_proof_with_a_record_it_does_not_cover() {
        const SLOTS: u64 = 40_000;
        let (shared, book) = opened();
        let cell = shared.lock().watch(&[target(9)]).expect("room").remove(0);
        let over = AtomicBool::new(false);
        // Each slot writes its own number into the account, then proves itself.
        let write = |slot: u64| {
            let now = book.clock.now();
            let seen =
                Observation { presence: holding(slot), slot, source: Source::Subscription(LINK), proof: now };
            let mut publisher = shared.lock();
            publisher.apply(&cell.address, &seen);
            publisher.cover(&cell.address, WatchId(1), LINK);
            let ticking = true;
            publisher.prove(LinkEvidence {
                generation: LINK,
                ticking,
                slot,
                proof: now,
                arrived: now,
                valid_from: Tick::NEVER,
            });
        };
        write(1);
        let read = || {
            let mut last = (0, 0);
            let mut reads = 0u64;
            while !over.load(Ordering::Relaxed) {
                let reading = book.read(&cell);
                let (slot, as_of) = (reading.slot().expect("seen"), reading.as_of().expect("seen"));
                assert!(slot >= as_of, "slot {as_of} is proved of a record of slot {slot}");
                assert!((slot, as_of) >= last, "back from {last:?} to {:?}", (slot, as_of));
                last = (slot, as_of);
                reads += 1;
            }
            reads
        };
        std::thread::scope(|scope| {
            let readers = [scope.spawn(read), scope.spawn(read)];
            (2..=SLOTS).for_each(write);
            over.store(true, Ordering::Relaxed);
            for reader in readers {
                assert!(reader.join().expect("no violation") > 0);
            }
        });
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
    fn orders_tell_the_last_word_on_each_account() {
        let (shared, _book) = opened();
        let mut publisher = shared.lock();
        publisher.watch(&[target(1), target(2)]).expect("room");
        publisher.unwatch(&target(1).0);
        let orders = publisher.take_orders().watches;
        assert!(matches!(orders[..], [(_, None), (second, Some(_))] if second == target(2).0), "{orders:?}");
        publisher.watch(&[target(1)]).expect("room");
        assert_eq!(publisher.take_orders().watches, [(target(1).0, Some(WatchId(3)))]);
        assert!(publisher.take_orders().watches.is_empty());
    }
}
