//! Finds the token accounts that a wallet holds: at the start, after a restart in the middle of a
//! trade, and when tokens arrive that nobody asked for.
//!
//! 1. The search does not silently skip a token account that holds something: it watches the
//!    account, or names it with the reason why not, or fails as a whole.
//! 2. A node that is behind cannot hide an account: the node must have reached the newest slot that
//!    the mirror knows, its Clock must be near wall time, and its slots are checked by the same
//!    rules as all others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use solana_pubkey::Pubkey;
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    core::{
        base::{
            backoff::Backoff,
            ids::{EndpointId, Slot},
            time::Tick,
        },
        chain::{state::Expected, token::TokenProgram},
        engine::events::WatchError,
    },
    error::{AdoptError, RpcFailure},
    observability::log_target,
    sources::rpc::{
        RpcSource,
        wallet::{Holding, Owned, Unanswered},
    },
    store::{Entry, SharedWriter, Store},
};

/// How many accounts are watched in one step. The lock is free in between, so readers and links do
/// not wait for the whole wallet.
const CHUNK: usize = 100;
/// How soon a node that is behind is asked again: a quarter of a slot.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The wait after a failed search: it doubles from the first value (or the search interval, if that
/// is shorter) up to the second (or the interval, if that is longer).
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A token account that holds something but is not watched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOutAccount {
    /// The account.
    pub address: Pubkey,
    /// The mint whose tokens it holds.
    pub mint: Pubkey,
    /// The token program that owns it.
    pub program: TokenProgram,
    /// How many raw units it holds.
    pub amount: u64,
    /// Why it is not watched.
    pub why: WatchError,
}

/// The result of a search.
pub(crate) struct Search {
    pub(crate) slot: Slot,
    pub(crate) watched: Vec<(Arc<Entry>, Holding)>,
    pub(crate) newly_watched: usize,
    pub(crate) left_out: Vec<LeftOutAccount>,
}

/// Searches wallets. It does not keep the mirror running.
pub(crate) struct WalletSearch {
    rpcs: Vec<Arc<RpcSource>>,
    shared: Arc<SharedWriter>,
    store: Arc<Store>,
    /// How long to keep asking a node that is behind.
    patience: Duration,
    /// Allows one search at a time, because an answer may be large.
    turn: tokio::sync::Mutex<()>,
    kept: Mutex<HashMap<Pubkey, AbortHandle>>,
}

impl WalletSearch {
    pub(crate) fn new(
        rpcs: Vec<Arc<RpcSource>>,
        shared: Arc<SharedWriter>,
        store: Arc<Store>,
        patience: Duration,
    ) -> Self {
        let (turn, kept) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { rpcs, shared, store, patience, turn, kept }
    }

    /// Finds what the wallet holds, and watches it.
    pub(crate) async fn adopt(&self, wallet: &Pubkey) -> Result<Search, AdoptError> {
        let _turn = self.turn.lock().await;
        let (slot, holdings) = self.search(wallet).await?;
        let mut search = Search { slot, watched: Vec::new(), newly_watched: 0, left_out: Vec::new() };
        for chunk in holdings.chunks(CHUNK) {
            self.watch(wallet, chunk, &mut search)?;
            // Lets readers and links run first.
            tokio::task::yield_now().await;
        }
        self.store.stats.adopted.add(search.newly_watched as u64);
        Ok(search)
    }

    /// Asks one node after the other until one answers.
    async fn search(&self, wallet: &Pubkey) -> Result<(Slot, Vec<Holding>), AdoptError> {
        let (endpoints, newest) = self.shared.lock().to_ask().ok_or(AdoptError::Stopped)?;
        let mut failed: Option<AdoptError> = None;
        for endpoint in endpoints {
            match self.search_at(endpoint, wallet, newest).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::debug!(target: log_target::LOG, wallet = %wallet, %error, "a node failed to list what the wallet holds");
                    // A transient error is reported rather than a lasting one, because a later try
                    // may succeed.
                    let better = error.is_transient() || failed.is_none();
                    failed = if better { Some(error) } else { failed };
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            let reason = "every node is on another chain, or not trusted at present".to_owned();
            AdoptError::Rpc { wallet: *wallet, source: RpcFailure::Unreachable { reason } }
        }))
    }

    /// Asks one node: first for its bank's slot, then for the accounts under each program in that
    /// bank or a later one.
    async fn search_at(
        &self,
        endpoint: EndpointId,
        wallet: &Pubkey,
        newest: Slot,
    ) -> Result<(Slot, Vec<Holding>), AdoptError> {
        let failed = |source| AdoptError::Rpc { wallet: *wallet, source };
        let Some(rpc) = self.rpcs.get(usize::from(endpoint.0)) else {
            return Err(failed(RpcFailure::Unreachable { reason: "no such node".to_owned() }));
        };
        let bank = self.patiently(|failure| failure, || rpc.read(&[], newest)).await.map_err(failed)?;
        self.shared.lock().hear(endpoint, bank.slot, Some(bank.lag_ms)).map_err(failed)?;
        let (mut as_of, mut newest, mut holdings) = (None, bank.slot, Vec::new());
        for program in TokenProgram::ALL {
            let owned = self.patiently(Unanswered::failure, || rpc.owned(wallet, program, newest)).await;
            let owned: Owned = owned.map_err(|unanswered| match unanswered {
                Unanswered::TooLarge(source) => AdoptError::TooLarge { wallet: *wallet, program, source },
                Unanswered::NoIndex(source) => AdoptError::NoIndex { wallet: *wallet, program, source },
                Unanswered::Failed(source) => failed(source),
            })?;
            self.shared.lock().hear(endpoint, owned.slot, None).map_err(failed)?;
            // The second program's answer may be of a later bank, so the result as a whole is as of
            // the first answer.
            as_of.get_or_insert(owned.slot);
            newest = newest.max(owned.slot);
            holdings.extend(owned.holdings);
        }
        Ok((as_of.unwrap_or(newest), holdings))
    }

    /// Makes a call, and repeats it as long as the node is merely behind.
    async fn patiently<T, E, C: Future<Output = Result<T, E>>>(
        &self,
        failure: impl Fn(&E) -> &RpcFailure,
        call: impl Fn() -> C,
    ) -> Result<T, E> {
        let began = self.store.clock.now();
        loop {
            self.store.stats.rpc_calls.add(1);
            let answer = call().await;
            let Err(error) = &answer else { return answer };
            self.store.stats.rpc_failures.add(1);
            let behind = matches!(failure(error), RpcFailure::Behind { .. });
            if !behind || self.store.clock.now().since(began) >= self.patience {
                return answer;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Watches a chunk. If not all of it can be watched, watches each account that can be.
    /// (Invariant 1)
    fn watch(&self, wallet: &Pubkey, chunk: &[Holding], search: &mut Search) -> Result<(), AdoptError> {
        let mut writer = self.shared.lock();
        let target = |holding: &Holding| {
            let Holding { address, program, mint, .. } = *holding;
            (address, Expected { program: Some(program), mint: Some(mint), owner: Some(*wallet) })
        };
        let before = self.store.entries();
        let mut found = |entries: Vec<Arc<Entry>>, holdings: &[Holding]| {
            search.newly_watched +=
                entries.iter().filter(|entry| !before.contains_key(&entry.address)).count();
            search.watched.extend(entries.into_iter().zip(holdings.iter().copied()));
        };
        let targets: Vec<_> = chunk.iter().map(target).collect();
        if let Ok(entries) = writer.open_positions(&targets, Tick::NEVER) {
            found(entries, chunk);
            return Ok(());
        }
        for (holding, target) in chunk.iter().zip(targets) {
            match writer.open_positions(&[target], Tick::NEVER) {
                Ok(entries) => found(entries, &[*holding]),
                Err(WatchError::Stopped) => return Err(AdoptError::Stopped),
                Err(why) => {
                    let Holding { address, program, mint, amount } = *holding;
                    search.left_out.push(LeftOutAccount { address, mint, program, amount, why });
                }
            }
        }
        Ok(())
    }

    /// Searches the wallet now and at each interval, until `stop` changes.
    pub(crate) async fn run(
        self: Arc<Self>,
        wallet: Pubkey,
        every: Duration,
        seed: u64,
        mut stop: watch::Receiver<()>,
    ) {
        tokio::select! {
            biased;
            _ = stop.changed() => {}
            () = self.go_on(&wallet, every, seed) => {}
        }
    }

    /// Keeps the newest task that searches a wallet, and ends the one before.
    pub(crate) fn keep(&self, wallet: Pubkey, task: AbortHandle) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = kept.insert(wallet, task) {
            before.abort();
        }
    }

    async fn go_on(&self, wallet: &Pubkey, every: Duration, mut random: u64) {
        let mut backoff = Backoff::new(WAITS.0.min(every), WAITS.1.max(every));
        let mut left_out_before = Vec::new();
        loop {
            let began = self.store.clock.now();
            let wait = match self.adopt(wallet).await {
                Ok(search) => {
                    backoff.reset();
                    let took = self.store.clock.now().since(began);
                    self.log(wallet, &search, took, &mut left_out_before);
                    every
                }
                Err(AdoptError::Stopped) => return,
                Err(error) => {
                    let wait = backoff.next(&mut random).max(error.retry_after().unwrap_or_default());
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(target: log_target::LOG, wallet = %wallet, source, wait_ms = wait.as_millis(), "{error}");
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn log(
        &self,
        wallet: &Pubkey,
        search: &Search,
        took: Duration,
        left_out_before: &mut Vec<LeftOutAccount>,
    ) {
        let (found, newly_watched, slot) = (search.watched.len(), search.newly_watched, search.slot);
        if newly_watched > 0 {
            tracing::info!(target: log_target::LOG, wallet = %wallet, slot, found, newly_watched, took_ms = took.as_millis(), "adopted token accounts");
        } else {
            tracing::debug!(target: log_target::LOG, wallet = %wallet, slot, found, took_ms = took.as_millis(), "nothing new in the wallet");
        }
        // Warns once for each account, and not at every interval.
        for left_out in search.left_out.iter().filter(|one| !left_out_before.contains(one)) {
            let LeftOutAccount { address, mint, amount, why, .. } = left_out;
            tracing::warn!(target: log_target::LOG, account = %address, mint = %mint, amount, why = %why, "a token account of the wallet cannot be watched");
        }
        left_out_before.clone_from(&search.left_out);
    }
}

impl Unanswered {
    fn failure(&self) -> &RpcFailure {
        match self {
            Self::TooLarge(failure) | Self::NoIndex(failure) | Self::Failed(failure) => failure,
        }
    }
}
