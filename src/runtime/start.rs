//! Starting a mirror's tasks, and ending them.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use solana_commitment_config::CommitmentLevel;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::{AbortHandle, JoinHandle},
};

use super::{link_driver::LinkDriver, rpc_driver, wallet_search::WalletSearch};
use crate::{
    clock::Clock,
    core::engine::{events::Role, settings::EngineSettings},
    error::ConfigError,
    observability::{health, log_target},
    sources::{
        endpoint::{Endpoint, Redacted},
        rpc::RpcSource,
    },
    store::{self, SharedWriter, Store},
};

/// How long shutting down waits before it returns and leaves the rest to the background.
const GOODBYE: Duration = Duration::from_secs(2);

/// A mirror's settings, already checked.
pub(crate) struct CheckedSettings {
    pub(crate) endpoints: Vec<(Endpoint, Option<Arc<RpcClient>>)>,
    pub(crate) commitment: CommitmentLevel,
    pub(crate) engine: EngineSettings,
    pub(crate) selling_age: Duration,
    pub(crate) general_age: Duration,
    pub(crate) rpc_timeout: Duration,
    pub(crate) read_deadline: Duration,
    pub(crate) health_interval: Duration,
    pub(crate) max_pending_reads: usize,
    pub(crate) update_buffer: usize,
    pub(crate) probe_after: Duration,
}

/// A mirror's tasks and what they share. Dropping it ends them.
pub(crate) struct Running {
    pub(crate) shared: Arc<SharedWriter>,
    pub(crate) store: Arc<Store>,
    pub(crate) wallet_search: Arc<WalletSearch>,
    stop: watch::Sender<()>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    runtime: Handle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lock().stop();
        // The tasks notice when `stop` is dropped, which comes next.
    }
}

/// Starts a mirror's tasks in the current tokio runtime.
///
/// # Errors
/// There is no current runtime, or a node's URL cannot be used.
pub(crate) fn start(settings: &CheckedSettings) -> Result<Running, ConfigError> {
    let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
    let clock = Clock::new();
    let (commitment, timeout) = (settings.commitment, settings.rpc_timeout);
    let mut rpcs = Vec::new();
    for (endpoint, client) in &settings.endpoints {
        let rpc = RpcSource::new(endpoint, client.clone(), commitment, timeout, clock.clone())?;
        rpcs.push(Arc::new(rpc));
    }
    let urls = settings.endpoints.iter().map(|(endpoint, _)| Redacted(&endpoint.ws).to_string()).collect();
    let (shared, store) = store::open(clock, settings.engine.clone(), seed(), settings.update_buffer, urls);
    let shared = Arc::new(shared);
    let (stop, stopped) = watch::channel(());
    let mut tasks = Vec::new();
    let links: Vec<_> =
        shared.lock().engine().links().map(|(id, endpoint, role, _)| (id, endpoint, role)).collect();
    for (id, endpoint, role) in links {
        let place = usize::from(endpoint.0);
        let commitment = match role {
            Role::Mirror => settings.commitment,
            Role::Processed => CommitmentLevel::Processed,
        };
        let (endpoint, rpc) = (settings.endpoints[place].0.clone(), rpcs[place].clone());
        let link = LinkDriver::new(id, shared.clone(), store.clone(), rpc, endpoint, commitment);
        tasks.push(runtime.spawn(guarded("link", shared.clone(), link.run(stopped.clone()))));
    }
    let wallet_search = WalletSearch::new(rpcs.clone(), shared.clone(), store.clone(), timeout);
    let rpc_driver = rpc_driver::run(rpcs, shared.clone(), store.clone(), stopped.clone());
    let health = health::run(store.clone(), shared.clone(), settings.health_interval, stopped);
    tasks.push(runtime.spawn(guarded("rpc", shared.clone(), rpc_driver)));
    tasks.push(runtime.spawn(guarded("health", shared.clone(), health)));
    let (wallet_search, tasks) = (Arc::new(wallet_search), Mutex::new(tasks));
    Ok(Running { shared, store, wallet_search, stop, tasks, runtime })
}

impl Running {
    /// Ends every task and waits for them, but no longer than [`GOODBYE`].
    pub(crate) async fn shutdown(&self) {
        self.shared.lock().stop();
        // The send fails only if every task has ended already.
        let _ = self.stop.send(());
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = futures::future::join_all(tasks);
        if tokio::time::timeout(GOODBYE, ended).await.is_err() {
            tracing::warn!(target: log_target::LOG, "shutting down takes longer than {GOODBYE:?}; it continues in the background");
        }
    }

    /// Starts a task. Its receiver changes when the mirror stops; the task must end then.
    pub(crate) fn spawn<T>(
        &self,
        name: &'static str,
        task: impl FnOnce(watch::Receiver<()>) -> T,
    ) -> AbortHandle
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let task = task(self.stop.subscribe());
        let task = self.runtime.spawn(guarded(name, self.shared.clone(), task));
        let handle = task.abort_handle();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
        handle
    }
}

/// Runs a task, and stops the mirror if it panics. Otherwise the mirror would look alive without
/// that task; this way every reading is stale and gives the reason.
async fn guarded(name: &'static str, shared: Arc<SharedWriter>, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        tracing::error!(target: log_target::LOG, task = name, "a task of the mirror panicked: the mirror stops");
        shared.lock().stop();
    }
}

/// A number that differs between mirrors and processes. It comes from the standard library's source
/// of hash keys.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
