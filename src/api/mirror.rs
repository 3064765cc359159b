//! The public handle.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;

use crate::{
    api::{reader::Reader, target::WatchTarget},
    core::{
        account::{
            freshness::{StaleError, StaleReason},
            reading::{Floor, Reading},
            sellable::{Sellable, Unsellable},
        },
        chain::mint::MintInfo,
    },
    error::WatchError,
    observability::{health::Health, token_stats::TokenStats},
    runtime::start::{CheckedSettings, Running},
    store::{Entry, updates::MirrorUpdates},
};

/// A real-time mirror of token accounts; see the [crate's documentation](crate). Clones share one
/// mirror. When the last clone is dropped, all its tasks end and every [`Reader`] goes stale.
#[derive(Clone)]
pub struct Mirror {
    pub(crate) inner: Arc<Inner>,
}

/// A weak handle; does not keep the mirror running.
#[derive(Clone, Debug)]
pub(crate) struct WeakMirror(Weak<Inner>);

impl WeakMirror {
    /// `None` if the last handle was dropped.
    pub(crate) fn upgrade(&self) -> Option<Mirror> {
        self.0.upgrade().map(|inner| Mirror { inner })
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

/// The contents of a [`Mirror`], for the other modules of the API.
pub(crate) struct Inner {
    pub(crate) running: Running,
    commitment: CommitmentLevel,
    pub(crate) selling_age: Duration,
    general_age: Duration,
    pub(crate) rpc_timeout: Duration,
    pub(crate) read_deadline: Duration,
    pub(crate) probe_after: Duration,
    /// One permit for each read that may wait for RPC at the same time.
    pub(crate) pending: Arc<tokio::sync::Semaphore>,
    pub(crate) max_pending: usize,
}

impl Mirror {
    /// Makes the handle to the tasks that were started.
    pub(super) fn running(running: Running, settings: &CheckedSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                running,
                commitment: settings.commitment,
                selling_age: settings.selling_age,
                general_age: settings.general_age,
                rpc_timeout: settings.rpc_timeout,
                read_deadline: settings.read_deadline,
                probe_after: settings.probe_after,
                pending: Arc::new(tokio::sync::Semaphore::new(settings.max_pending_reads)),
                max_pending: settings.max_pending_reads,
            }),
        }
    }

    /// Watches an account from now on: the mirror subscribes it, takes a baseline and serves it.
    /// Watching an account twice is one watch; the second call adds expectations that the first
    /// left open.
    ///
    /// # Errors
    /// The limit of accounts is reached, the account is already watched with other expectations, or
    /// the mirror has shut down.
    #[doc(alias = "accountSubscribe")]
    pub fn watch(&self, target: WatchTarget) -> Result<Reader, WatchError> {
        let entries = self.inner.running.shared.lock().watch(&[(target.address, target.expected)])?;
        entries.into_iter().map(|entry| self.reader_of(entry)).next().ok_or(WatchError::Stopped)
    }

    /// Watches many accounts; if any of them cannot be watched, watches none. The readers come in
    /// the order of the targets.
    ///
    /// # Errors
    /// As [`watch`](Mirror::watch).
    pub fn watch_all(
        &self,
        targets: impl IntoIterator<Item = WatchTarget>,
    ) -> Result<Vec<Reader>, WatchError> {
        let targets: Vec<_> = targets.into_iter().map(|target| (target.address, target.expected)).collect();
        let entries = self.inner.running.shared.lock().watch(&targets)?;
        Ok(entries.into_iter().map(|entry| self.reader_of(entry)).collect())
    }

    /// Stops watching an account; its readers go stale. Returns `false` if the account was not
    /// watched.
    pub fn unwatch(&self, address: &Pubkey) -> bool {
        self.inner.running.shared.lock().unwatch(address)
    }

    /// The reader of a watched account; `None` if it is not watched.
    pub fn reader(&self, address: &Pubkey) -> Option<Reader> {
        self.inner.running.store.entry(address).map(|entry| self.reader_of(entry))
    }

    /// Marks what memory holds of an account as doubtful; call it when a sell failed or a check did
    /// not match. The next read of the account then needs an RPC answer to a request sent after
    /// this call. The answer must not be older than what was known, and must be of `floor` or later
    /// if you give one (the failed transaction's slot). No notification and no canary removes the
    /// doubt. Returns `false` if the account is not watched.
    #[doc(alias = "minContextSlot")]
    pub fn invalidate(&self, address: &Pubkey, floor: Option<Floor>) -> bool {
        self.inner.running.shared.lock().invalidate(address, floor.map_or(0, Floor::slot))
    }

    /// What memory holds of a watched account; `None` if it is not watched. Costs one hash lookup
    /// more than a [`Reader`].
    pub fn read(&self, address: &Pubkey) -> Option<Reading> {
        self.inner.running.store.entry(address).map(|entry| self.inner.running.store.read(&entry))
    }

    /// What can be sold now of a watched account, under [`selling_age`](Mirror::selling_age), or
    /// why nothing can. Costs one hash lookup more than [`Reader::sellable`].
    ///
    /// # Errors
    /// As [`Reader::sellable`]; also stale if the account is not watched.
    pub fn sellable(&self, address: &Pubkey) -> Result<Sellable, Unsellable> {
        let unwatched = StaleError { address: *address, why: StaleReason::Unwatched, age: None };
        let reader = self.reader(address).ok_or(unwatched)?;
        reader.sellable(self.inner.selling_age)
    }

    /// The addresses watched, in no particular order.
    pub fn watched(&self) -> Vec<Pubkey> {
        self.inner.running.store.entries().keys().copied().collect()
    }

    /// The greatest age of a balance to sell on, as configured: 30 s by default. Pass it to
    /// [`balance`](Mirror::balance) or [`Reader::fresh`].
    pub fn selling_age(&self) -> Duration {
        self.inner.selling_age
    }

    /// The greatest age of a balance for general use, as configured: 300 s by default.
    pub fn general_age(&self) -> Duration {
        self.inner.general_age
    }

    /// The commitment of everything the mirror serves.
    pub fn commitment(&self) -> CommitmentLevel {
        self.inner.commitment
    }

    /// A mint's configuration; `None` until it is read. The mirror reads it by itself when an
    /// account of the mint is watched or seen, and again every minute if it can change to a
    /// holder's harm ([`MintInfo::slot`]).
    pub fn mint(&self, mint: &Pubkey) -> Option<MintInfo> {
        self.inner.running.store.mint(mint)
    }

    /// Waits until a mint's configuration is read. Returns `None` if the deadline passes first.
    /// Cancel safe.
    pub async fn mint_ready(&self, mint: &Pubkey, deadline: Duration) -> Option<MintInfo> {
        tokio::time::timeout(deadline, self.inner.running.store.mint_ready(mint)).await.ok()
    }

    /// Every change of every watched account from now on. The buffer is bounded: a slow consumer
    /// learns how many updates it missed.
    pub fn updates(&self) -> MirrorUpdates {
        let receiver = self.inner.running.shared.lock().updates();
        MirrorUpdates(receiver.unwrap_or_else(|| tokio::sync::broadcast::Sender::new(1).subscribe()))
    }

    /// The counts of a watched account: reads, waits, notifications, calls, memory. `None` if it is
    /// not watched.
    pub fn token_stats(&self, address: &Pubkey) -> Option<TokenStats> {
        self.reader(address).map(|reader| reader.stats())
    }

    /// A snapshot of the mirror's health.
    pub fn health(&self) -> Health {
        Health::of(&self.inner.running.store, &self.inner.running.shared.lock())
    }

    /// Closes the connections and ends every task, within two seconds even if a server does not
    /// respond. Every reader goes stale at once. The mirror cannot be started again.
    pub async fn shutdown(&self) {
        self.inner.running.shutdown().await;
    }

    pub(crate) fn rpc_timeout(&self) -> Duration {
        self.inner.rpc_timeout
    }

    pub(crate) fn downgrade(&self) -> WeakMirror {
        WeakMirror(Arc::downgrade(&self.inner))
    }

    pub(crate) fn reader_of(&self, entry: Arc<Entry>) -> Reader {
        Reader::new(entry, self.inner.running.store.clone())
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("health", &self.health()).finish_non_exhaustive()
    }
}
