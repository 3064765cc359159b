//! The public handle.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures::FutureExt;
use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, watch},
    task::{AbortHandle, JoinHandle},
};

use crate::{
    api::{
        builder::MirrorBuilder,
        reader::{Balance, Reader, ServedFrom},
        target::WatchTarget,
        trade::hold::{Hold, HoldError},
    },
    clock::Clock,
    core::{
        account::{
            freshness::{StaleError, StaleReason},
            reading::{Floor, ReadQuery, Reading},
            sellable::{Sellable, Unsellable},
        },
        base::{ids::AskId, time::Tick},
        chain::mint::MintInfo,
        engine::events::Role,
        rpc::scheduler::Ask,
    },
    error::{ConfigError, ReadError, RpcFailure, WatchError},
    observability::{
        health::{self, Health},
        token_stats::TokenStats,
    },
    runtime::{link_driver::LinkDriver, rpc_driver, wallet_search::WalletSearch},
    sources::{endpoint::Redacted, rpc::RpcSource},
    store::{self, Entry, SharedWriter, Store, updates::MirrorUpdates},
};

/// How long shutting down may take before it is left to itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// A caller's ask, given up when dropped.
struct Asked<'a> {
    shared: &'a SharedWriter,
    id: AskId,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.lock().cancel(self.id);
    }
}

/// How soon RPC is asked again where its answer did not do: a quarter of a slot.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A real-time mirror of token accounts; see the [crate's documentation](crate). Clones are the same mirror.
/// Dropping the last one ends all its tasks, and every [`Reader`] goes stale.
#[derive(Clone)]
pub struct Mirror {
    pub(crate) inner: Arc<Inner>,
}

/// A mirror that this keeps not from ending.
#[derive(Clone, Debug)]
pub(crate) struct WeakMirror(Weak<Inner>);

impl WeakMirror {
    /// `None` where the last handle was dropped.
    pub(crate) fn upgrade(&self) -> Option<Mirror> {
        self.0.upgrade().map(|inner| Mirror { inner })
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

/// What [`Mirror`] is, for the other rooms of callers.
pub(crate) struct Inner {
    pub(crate) shared: Arc<SharedWriter>,
    pub(crate) store: Arc<Store>,
    stop: watch::Sender<()>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    commitment: CommitmentLevel,
    pub(crate) selling_age: Duration,
    general_age: Duration,
    rpc_timeout: Duration,
    pub(crate) wallet_search: Arc<WalletSearch>,
    runtime: Handle,
    pub(crate) read_deadline: Duration,
    pub(crate) probe_after: Duration,
    /// Reads that may wait for RPC at once.
    pending: Arc<tokio::sync::Semaphore>,
    max_pending: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.lock().stop();
        // The tasks hear of it when `stop` is dropped, next.
    }
}

impl Mirror {
    /// Sets up a mirror of one node: its RPC URL, from which the WebSocket URL follows unless given.
    pub fn builder(rpc_url: impl Into<String>) -> MirrorBuilder {
        MirrorBuilder::new(rpc_url.into())
    }

    /// Watches an account from now on: subscribed, baselined, and served. Watching twice is the same watch;
    /// expectations left open the first time are added.
    ///
    /// # Errors
    /// The limit of accounts is reached, other expectations are held already, or the mirror has shut down.
    pub fn watch(&self, target: WatchTarget) -> Result<Reader, WatchError> {
        let entries = self.inner.shared.lock().watch(&[(target.address, target.expected)])?;
        entries.into_iter().map(|entry| self.reader_of(entry)).next().ok_or(WatchError::Stopped)
    }

    /// Watches many accounts, or, if any of them cannot be watched, none. The readers come in the same order.
    ///
    /// # Errors
    /// As [`watch`](Mirror::watch).
    pub fn watch_all(
        &self,
        targets: impl IntoIterator<Item = WatchTarget>,
    ) -> Result<Vec<Reader>, WatchError> {
        let targets: Vec<_> = targets.into_iter().map(|target| (target.address, target.expected)).collect();
        let entries = self.inner.shared.lock().watch(&targets)?;
        Ok(entries.into_iter().map(|entry| self.reader_of(entry)).collect())
    }

    /// Stops watching; `false` if the account was not watched. Its readers go stale.
    pub fn unwatch(&self, address: &Pubkey) -> bool {
        self.inner.shared.lock().unwatch(address)
    }

    /// The reader of a watched account.
    pub fn reader(&self, address: &Pubkey) -> Option<Reader> {
        self.inner.store.entry(address).map(|entry| self.reader_of(entry))
    }

    /// Doubts what is known of an account: a sell failed, a verification did not match. The next read of it needs an RPC
    /// answer to a request sent after this call, not older than what was known, and of `floor` or later if given
    /// (the failed transaction's slot); no notification and no canary does. `false` if it is not watched.
    pub fn invalidate(&self, address: &Pubkey, floor: Option<Floor>) -> bool {
        self.inner.shared.lock().invalidate(address, floor.map_or(0, Floor::slot))
    }

    /// What memory holds of a watched account: one hash lookup more than a [`Reader`].
    pub fn read(&self, address: &Pubkey) -> Option<Reading> {
        self.inner.store.entry(address).map(|entry| self.inner.store.read(&entry))
    }

    /// What can be sold now of a watched account, under [`selling_age`](Mirror::selling_age), else why nothing can: one
    /// hash lookup more than [`Reader::sellable`].
    ///
    /// # Errors
    /// As [`Reader::sellable`]; stale as well where the account is not watched.
    pub fn sellable(&self, address: &Pubkey) -> Result<Sellable, Unsellable> {
        let unwatched = StaleError { address: *address, why: StaleReason::Unwatched, age: None };
        let reader = self.reader(address).ok_or(unwatched)?;
        reader.sellable(self.inner.selling_age)
    }

    /// The addresses watched, in no order.
    pub fn watched(&self) -> Vec<Pubkey> {
        self.inner.store.entries().keys().copied().collect()
    }

    /// The balance of a watched account under a [`ReadQuery`], or simply under a greatest age: from memory if
    /// that is fresh enough, else from RPC.
    ///
    /// Calls of many callers for one account share one RPC call, and accounts share calls. What RPC says is
    /// put into the mirror; a notification that arrives first, or with a later slot, wins. While a floor is
    /// not reached, the link's next canaries and RPC are waited for, whichever comes first.
    ///
    /// Cancel safe: a caller that goes away takes nothing from others.
    ///
    /// # Errors
    /// Memory is stale, and RPC failed, lags, or did not answer in time. Never an old number as a fresh one.
    pub async fn balance(&self, address: &Pubkey, query: impl Into<ReadQuery>) -> Result<Balance, ReadError> {
        let query = query.into();
        let inner = &*self.inner;
        let entry = inner.store.entry(address).ok_or(ReadError::NotWatched { address: *address })?;
        let reader = self.reader_of(entry);
        let asked = inner.store.clock.now();
        if let Ok(balance) = reader.meets(&query, asked, ServedFrom::Cache) {
            reader.count(true);
            return Ok(balance);
        }
        reader.count(false);
        let _place = self.place()?;
        reader.count_fallback();
        let _waiting = reader.waiting();
        self.ask_until(&reader, &query, asked).await
    }

    /// A place among the reads that wait for RPC.
    fn place(&self) -> Result<OwnedSemaphorePermit, ReadError> {
        let limit = self.inner.max_pending;
        self.inner.pending.clone().try_acquire_owned().map_err(|_| ReadError::Busy { limit })
    }

    /// Asks RPC for an account, whatever memory holds: the mirror's own question, and no caller's read.
    pub(crate) async fn probe(&self, reader: &Reader, query: &ReadQuery) -> Result<Balance, ReadError> {
        let _place = self.place()?;
        self.ask_until(reader, query, self.inner.store.clock.now()).await
    }

    async fn ask_until(&self, reader: &Reader, query: &ReadQuery, asked: Tick) -> Result<Balance, ReadError> {
        let inner = &*self.inner;
        let deadline = query.deadline.unwrap_or(inner.read_deadline);
        let answer = tokio::time::timeout(deadline, self.fall_back(reader, query, asked)).await;
        answer.unwrap_or_else(|_| {
            let stale = reader.meets(query, asked, ServedFrom::Rpc);
            stale.map_err(|stale| ReadError::Deadline { stale, deadline })
        })
    }

    /// Asks RPC until memory meets the query, by its answer or by what arrives meanwhile.
    async fn fall_back(&self, reader: &Reader, query: &ReadQuery, asked: Tick) -> Result<Balance, ReadError> {
        let inner = &*self.inner;
        let met = async {
            let met = reader.until(|reader| reader.meets(query, asked, ServedFrom::Rpc).ok()).await;
            met.map_err(|stale| match stale.why {
                StaleReason::Unwatched => ReadError::NotWatched { address: stale.address },
                _ => ReadError::Stopped,
            })
        };
        let mut met = pin!(met);
        loop {
            let ask = |reply| Ask {
                address: reader.address(),
                min_slot: query.floor.map_or(0, |floor| floor.slot()),
                not_before: asked.minus(query.max_age),
                urgent: true,
                reply,
                patience: inner.store.clock.now().plus(inner.rpc_timeout),
                avoid: None,
            };
            let asked_rpc = inner.shared.lock().ask(ask);
            let Ok((id, answer)) = asked_rpc else {
                return Err(ReadError::Busy { limit: inner.max_pending });
            };
            // A caller that goes away waits for nothing any more, and keeps no place.
            let _asked = Asked { shared: &inner.shared, id };
            let failure: Option<RpcFailure> = tokio::select! {
                biased;
                balance = &mut met => return balance,
                answer = answer => answer.map_err(|_| ReadError::Stopped)?.err(),
            };
            let stale = match reader.meets(query, asked, ServedFrom::Rpc) {
                Ok(balance) => return Ok(balance),
                Err(stale) => stale,
            };
            match failure {
                // Overtaken by something newer, or to be said twice (absence at finalized); or the chain has
                // not come to the floor, and the link may be first to see it there.
                None | Some(RpcFailure::Behind { .. }) => {}
                Some(_) if query.floor.is_some() && reader.read().is_live() => return met.await,
                Some(source) => return Err(ReadError::Rpc { stale, source }),
            }
            tokio::select! {
                biased;
                balance = &mut met => return balance,
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }

    /// Sets tokens of a watched account aside for a sell: so many, as a raw amount. Held by one, they are available to
    /// nobody else, however many strategies hold at once. Memory must be fresh under the [`selling_age`](Mirror::selling_age);
    /// no RPC call is made.
    ///
    /// # Errors
    /// Memory is stale, the account cannot sell, or fewer tokens are available.
    pub fn hold(&self, address: &Pubkey, amount: u64) -> Result<Hold, HoldError> {
        self.hold_of(address, Some(amount))
    }

    /// Sets aside all tokens of a watched account that are available; never none.
    ///
    /// # Errors
    /// As [`hold`](Mirror::hold), and where nothing is available.
    pub fn hold_all(&self, address: &Pubkey) -> Result<Hold, HoldError> {
        self.hold_of(address, None)
    }

    fn hold_of(&self, address: &Pubkey, amount: Option<u64>) -> Result<Hold, HoldError> {
        let inner = &*self.inner;
        let reader = self.reader(address).ok_or(HoldError::NotWatched { address: *address })?;
        let (id, amount) = inner.shared.lock().hold(address, amount, inner.selling_age)?;
        Ok(Hold::new(inner.shared.clone(), reader, id, amount))
    }

    /// The greatest age of a balance to sell on, as configured: 30 s by default. Hand it to
    /// [`balance`](Mirror::balance) or [`Reader::fresh`].
    pub fn selling_age(&self) -> Duration {
        self.inner.selling_age
    }

    /// The greatest age of a balance for general use, as configured: 300 s by default.
    pub fn general_age(&self) -> Duration {
        self.inner.general_age
    }

    /// The commitment of everything served.
    pub fn commitment(&self) -> CommitmentLevel {
        self.inner.commitment
    }

    /// A mint's configuration, once read: it is asked for by itself when an account of it is watched or seen, and again
    /// every minute where it can change to a holder's harm ([`MintInfo::slot`]).
    pub fn mint(&self, mint: &Pubkey) -> Option<MintInfo> {
        self.inner.store.mint(mint)
    }

    /// Waits until a mint's configuration is read; `None` if the deadline passes first. Cancel safe.
    pub async fn mint_ready(&self, mint: &Pubkey, deadline: Duration) -> Option<MintInfo> {
        tokio::time::timeout(deadline, self.inner.store.mint_ready(mint)).await.ok()
    }

    /// Every change of every watched account from now on. Bounded: a slow consumer is told how many it missed.
    pub fn updates(&self) -> MirrorUpdates {
        let receiver = self.inner.shared.lock().updates();
        MirrorUpdates(receiver.unwrap_or_else(|| tokio::sync::broadcast::Sender::new(1).subscribe()))
    }

    /// What is counted of a watched account: reads, waits, notifications, calls, memory.
    pub fn token_stats(&self, address: &Pubkey) -> Option<TokenStats> {
        self.reader(address).map(|reader| reader.stats())
    }

    /// How the mirror is.
    pub fn health(&self) -> Health {
        Health::of(&self.inner.store, &self.inner.shared.lock())
    }

    /// Closes the connection and ends every task; within two seconds also where the server is deaf. Every
    /// reader goes stale at once. The mirror cannot be started again.
    pub async fn shutdown(&self) {
        self.inner.shared.lock().stop();
        // Without a task left, nobody listens.
        let _ = self.inner.stop.send(());
        let tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = futures::future::join_all(tasks);
        if tokio::time::timeout(GOODBYE, ended).await.is_err() {
            tracing::warn!("shutting down takes longer than {GOODBYE:?}; it goes on in the background");
        }
    }

    /// Runs a task that hears when the mirror stops, and ends then.
    pub(crate) fn spawn<T>(
        &self,
        name: &'static str,
        task: impl FnOnce(watch::Receiver<()>) -> T,
    ) -> AbortHandle
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let inner = &*self.inner;
        let task = task(inner.stop.subscribe());
        let task = inner.runtime.spawn(guarded(name, inner.shared.clone(), task));
        let handle = task.abort_handle();
        let mut tasks = inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
        handle
    }

    pub(crate) fn rpc_timeout(&self) -> Duration {
        self.inner.rpc_timeout
    }

    pub(crate) fn downgrade(&self) -> WeakMirror {
        WeakMirror(Arc::downgrade(&self.inner))
    }

    pub(crate) fn reader_of(&self, entry: Arc<Entry>) -> Reader {
        Reader::new(entry, self.inner.store.clone())
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl MirrorBuilder {
    /// Starts the mirror in the tokio runtime that runs here. It does not wait for the network: a bot starts
    /// while its node is down, and is served as soon as the node is there.
    ///
    /// # Errors
    /// A setting cannot work, or no runtime runs here.
    pub fn start(self) -> Result<Mirror, ConfigError> {
        let settings = self.validate()?;
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let clock = Clock::new();
        let mut rpcs = Vec::new();
        for (endpoint, client) in &settings.endpoints {
            rpcs.push(Arc::new(RpcSource::new(endpoint, client.clone(), &settings, clock.clone())?));
        }
        let urls =
            settings.endpoints.iter().map(|(endpoint, _)| Redacted(&endpoint.ws).to_string()).collect();
        let (shared, store) =
            store::open(clock, settings.engine.clone(), seed(), settings.update_buffer, urls);
        let shared = Arc::new(shared);
        let (stop, stopped) = watch::channel(());
        let mut tasks = Vec::new();
        let places: Vec<_> =
            shared.lock().engine().links().map(|(id, endpoint, role, _)| (id, endpoint, role)).collect();
        for (id, endpoint, role) in places {
            let place = usize::from(endpoint.0);
            let commitment = match role {
                Role::Mirror => settings.commitment,
                Role::Processed => CommitmentLevel::Processed,
            };
            let (endpoint, rpc) = (settings.endpoints[place].0.clone(), rpcs[place].clone());
            let link = LinkDriver::new(id, shared.clone(), store.clone(), rpc, endpoint, commitment);
            tasks.push(runtime.spawn(guarded("link", shared.clone(), link.run(stopped.clone()))));
        }
        let wallet_search =
            WalletSearch::new(rpcs.clone(), shared.clone(), store.clone(), settings.rpc_timeout);
        let supervisor = rpc_driver::run(rpcs, shared.clone(), store.clone(), stopped.clone());
        let report = health::run(store.clone(), shared.clone(), settings.health_interval, stopped);
        tasks.push(runtime.spawn(guarded("supervisor", shared.clone(), supervisor)));
        tasks.push(runtime.spawn(guarded("health", shared.clone(), report)));
        Ok(Mirror {
            inner: Arc::new(Inner {
                shared,
                store,
                stop,
                tasks: Mutex::new(tasks),
                commitment: settings.commitment,
                selling_age: settings.selling_age,
                general_age: settings.general_age,
                rpc_timeout: settings.rpc_timeout,
                read_deadline: settings.read_deadline,
                wallet_search: Arc::new(wallet_search),
                runtime,
                probe_after: settings.probe_after,
                pending: Arc::new(tokio::sync::Semaphore::new(settings.max_pending_reads)),
                max_pending: settings.max_pending_reads,
            }),
        })
    }
}

/// A task that panicked must not leave a mirror behind that looks alive: every reader goes stale, and says so.
async fn guarded(name: &'static str, shared: Arc<SharedWriter>, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        tracing::error!(task = name, "a task of the mirror panicked: the mirror stops");
        shared.lock().stop();
    }
}

/// A number that differs between mirrors and processes: the standard library's own source of keys.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
