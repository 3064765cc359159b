//! Finding what a wallet holds: at start, after a restart in the middle of a trade, and what arrives uninvited.
//!
//! 1. No token account that holds something is passed over in silence: it is watched, or it is named with the
//!    reason, or the whole search fails.
//! 2. A node that is behind hides nothing: it must have come to the newest slot that the mirror knows, its Clock must be
//!    near wall time, and its slots are believed under the same rules as all others.

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
    sources::rpc::{
        RpcSource,
        wallet::{Holding, Owned, Unanswered},
    },
    store::{Entry, SharedWriter, Store},
};

/// Accounts watched in one step: readers wait for none of them.
const CHUNK: usize = 100;
/// How soon a node that is behind is asked again: a quarter of a slot.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The wait after a search that failed: doubled from the first to the second, or to the interval asked for.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A token account that holds something and is not watched for all that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOutAccount {
    /// The account.
    pub address: Pubkey,
    /// The mint whose tokens it holds.
    pub mint: Pubkey,
    /// The program that it is of.
    pub program: TokenProgram,
    /// How many raw units were found in it.
    pub amount: u64,
    /// Why it is not watched.
    pub why: WatchError,
}

/// What a search came to.
pub(crate) struct Search {
    pub(crate) slot: Slot,
    pub(crate) watched: Vec<(Arc<Entry>, Holding)>,
    pub(crate) fresh: usize,
    pub(crate) left_out: Vec<LeftOutAccount>,
}

/// Searches wallets. It outlives no mirror: it has no hold on one.
pub(crate) struct WalletSearch {
    rpcs: Vec<Arc<RpcSource>>,
    shared: Arc<SharedWriter>,
    store: Arc<Store>,
    /// How long a node that is behind is waited for.
    patience: Duration,
    /// One search at a time: an answer may be large.
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
        let mut search = Search { slot, watched: Vec::new(), fresh: 0, left_out: Vec::new() };
        for chunk in holdings.chunks(CHUNK) {
            self.watch(wallet, chunk, &mut search)?;
            // Readers and links come first.
            tokio::task::yield_now().await;
        }
        self.store.stats.adopted.add(search.fresh as u64);
        Ok(search)
    }

    /// Asks one node after the other.
    async fn search(&self, wallet: &Pubkey) -> Result<(Slot, Vec<Holding>), AdoptError> {
        let (endpoints, newest) = self.shared.lock().to_ask().ok_or(AdoptError::Stopped)?;
        let mut failed: Option<AdoptError> = None;
        for endpoint in endpoints {
            match self.search_at(endpoint, wallet, newest).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::debug!(wallet = %wallet, %error, "a node cannot say what the wallet holds");
                    // What may yet do better says more than what will not.
                    let better = error.is_transient() || failed.is_none();
                    failed = if better { Some(error) } else { failed };
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            let reason = "every node is on another chain, or not believed for now".to_owned();
            AdoptError::Rpc { wallet: *wallet, source: RpcFailure::Unreachable { reason } }
        }))
    }

    /// Asks one node: for its bank, and for the accounts under each program in that bank or a later one.
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
            // The second program's answer may be of a later bank: the whole is as of the first.
            as_of.get_or_insert(owned.slot);
            newest = newest.max(owned.slot);
            holdings.extend(owned.holdings);
        }
        Ok((as_of.unwrap_or(newest), holdings))
    }

    /// Makes a call, again and again while the node is merely behind.
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

    /// Watches a chunk, or, where not all of it can be, each that can. (Invariant 1)
    fn watch(&self, wallet: &Pubkey, chunk: &[Holding], search: &mut Search) -> Result<(), AdoptError> {
        let mut writer = self.shared.lock();
        let target = |holding: &Holding| {
            let Holding { address, program, mint, .. } = *holding;
            (address, Expected { program: Some(program), mint: Some(mint), owner: Some(*wallet) })
        };
        let before = self.store.entries();
        let mut found = |entries: Vec<Arc<Entry>>, holdings: &[Holding]| {
            search.fresh += entries.iter().filter(|entry| !before.contains_key(&entry.address)).count();
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

    /// Searches the wallet now and at each interval, until told to stop.
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

    /// Of several tasks that search one wallet, the last one goes on.
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
                    tracing::warn!(wallet = %wallet, source, wait_ms = wait.as_millis(), "{error}");
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
        let (found, fresh, slot) = (search.watched.len(), search.fresh, search.slot);
        if fresh > 0 {
            tracing::info!(wallet = %wallet, slot, found, fresh, took_ms = took.as_millis(), "adopted token accounts");
        } else {
            tracing::debug!(wallet = %wallet, slot, found, took_ms = took.as_millis(), "nothing new in the wallet");
        }
        // Each for itself once, and not at every interval.
        for left_out in search.left_out.iter().filter(|one| !left_out_before.contains(one)) {
            let LeftOutAccount { address, mint, amount, why, .. } = left_out;
            tracing::warn!(account = %address, mint = %mint, amount, why = %why, "tokens are not watched");
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
