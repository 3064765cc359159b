//! The part that is the same for every cluster: shows balances, readings and health until the end.

use std::{
    collections::HashSet,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use balance_mirror::{AccountUpdate, MintInfo, Mirror, MirrorUpdate, MirrorUpdates, ProcessedUpdate, Pubkey};
use futures::{StreamExt, stream::FuturesUnordered};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(not(unix))]
use tokio::signal::windows::{CtrlC as Signal, ctrl_c as signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    Failure,
    events::{Change, Moment, Preview, Read, Registry},
    human::counted,
    output::Output,
};

/// How long, in total, the first lines may wait for the mints' decimals.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to look up a mint that is awaited.
const LOOK: Duration = Duration::from_millis(10);
/// How many sweeps of readings may run at once: while RPC is slow, a sweep begins before the
/// previous one ended.
const SWEEPS: usize = 8;

/// A run: the mirror, and the output that shows it.
pub(crate) struct Watch {
    pub(crate) mirror: Mirror,
    pub(crate) output: Arc<Output>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) max_age: Duration,
    pub(crate) read_interval: Duration,
    pub(crate) health_interval: Duration,
    pub(crate) tally: Tally,
}

/// Counts of what was shown.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    changes: AtomicU64,
    cache: AtomicU64,
    rpc: AtomicU64,
    errors: AtomicU64,
}

impl Watch {
    /// Shows everything until `work` ends or stdout is closed, then shuts the mirror down.
    pub(crate) async fn run<T>(&self, updates: MirrorUpdates, work: impl Future<Output = T>) -> Option<T> {
        let mut balances = pin!(self.balances(updates));
        let shown = async { tokio::join!(self.readings(), self.healths()) };
        let ended = tokio::select! {
            ended = work => Some(ended),
            () = &mut balances => None,
            _ = shown => None,
            () = self.output.closed() => None,
        };
        self.output.health(&self.mirror.health()).await;
        self.mirror.shutdown().await;
        if ended.is_some() {
            // The stream ends with the mirror: print what is left in it.
            let rest = tokio::time::timeout(PATIENCE, balances).await;
            if rest.is_err() {
                tracing::warn!(target: "watcher", "the last changes were not all shown");
            }
        }
        ended
    }

    async fn balances(&self, mut updates: MirrorUpdates) {
        let mut waited_for = HashSet::new();
        let mut patience = PATIENCE;
        while let Some(update) = updates.next().await {
            match update {
                MirrorUpdate::Account(update) => {
                    let change = self.change(update, &mut waited_for, &mut patience).await;
                    self.tally.changes.fetch_add(1, Relaxed);
                    self.output.change(&change).await;
                }
                MirrorUpdate::Processed(update) => {
                    let change = self.preview(update);
                    self.output.preview(&change).await;
                }
                MirrorUpdate::Reverted { address } => self.output.reverted(&address).await,
                MirrorUpdate::Reset { epoch } => self.output.reset(epoch).await,
                MirrorUpdate::Missed(count) => self.output.missed(count).await,
                _ => {}
            }
        }
    }

    async fn change(
        &self,
        update: AccountUpdate,
        waited_for: &mut HashSet<Pubkey>,
        patience: &mut Duration,
    ) -> Change {
        let at = Moment::now();
        let identity = self.registry.identify(&update.address, &update.state);
        let mut mint = identity.mint.and_then(|mint| self.mirror.mint(&mint));
        if let (None, Some(address)) = (&mint, identity.mint)
            && waited_for.insert(address)
        {
            mint = self.mint(&address, patience).await;
        }
        Change {
            at,
            account: update.address,
            identity,
            state: update.state,
            mint,
            slot: update.slot,
            origin: update.origin,
        }
    }

    fn preview(&self, update: ProcessedUpdate) -> Preview {
        let mint = update.state.token().and_then(|token| self.mirror.mint(&token.mint));
        let (account, state, slot) = (update.address, update.state, update.slot);
        Preview { at: Moment::now(), account, state, mint, slot }
    }

    /// The mirror asks for a mint when it first sees an account of it; the answer comes a moment
    /// later.
    async fn mint(&self, address: &Pubkey, patience: &mut Duration) -> Option<MintInfo> {
        let began = Instant::now();
        loop {
            let mint = self.mirror.mint(address);
            let waited = began.elapsed();
            if mint.is_some() || waited >= *patience {
                *patience = patience.saturating_sub(waited);
                return mint;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn readings(&self) {
        let mut ticks = interval(self.read_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = under_way.next() => {}
                _ = ticks.tick(), if under_way.len() < SWEEPS => under_way.push(self.sweep()),
            }
        }
    }

    /// Reads every account, as a bot does before it sells.
    async fn sweep(&self) {
        let mut accounts = self.mirror.watched();
        accounts.sort_unstable_by_key(|account| self.registry.name(account));
        let mut under_way: FuturesUnordered<_> =
            accounts.into_iter().map(|account| self.read(account)).collect();
        let mut reads = Vec::new();
        while let Some(read) = under_way.next().await {
            self.tally.count(&read);
            self.output.read(&read).await;
            reads.push(read);
        }
        self.output.sweep(&reads, &self.mirror).await;
    }

    async fn read(&self, account: Pubkey) -> Read {
        let began = Instant::now();
        let answer = self.mirror.balance(&account, self.max_age).await;
        Read { took: began.elapsed(), at: Moment::now(), account, answer }
    }

    async fn healths(&self) {
        let mut ticks = interval(self.health_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.output.health(&self.mirror.health()).await;
        }
    }
}

impl Tally {
    fn count(&self, read: &Read) {
        let counter = match read.served_from() {
            "cache" => &self.cache,
            "rpc" => &self.rpc,
            _ => &self.errors,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The counts in one sentence.
    pub(crate) fn summary(&self) -> String {
        let [changes, cache, rpc, errors] =
            [&self.changes, &self.cache, &self.rpc, &self.errors].map(|counter| counter.load(Relaxed));
        format!(
            "{} seen; {}: {cache} served from cache, {rpc} from rpc, {errors} refused with an error",
            counted(changes, "change"),
            counted(cache + rpc + errors, "reading")
        )
    }
}

/// When a run must end: on a signal, or because its time is over. Both count from [`End::of`] on: a
/// signal that came before a handler is set up would end the process at once.
pub(crate) struct End {
    signals: Vec<Signal>,
    until: Option<Instant>,
}

impl End {
    pub(crate) fn of(duration: Option<Duration>) -> Result<Self, Failure> {
        let until = duration.map(|duration| Instant::now() + duration);
        #[cfg(unix)]
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        #[cfg(not(unix))]
        let signals = [signal()];
        let signals = signals.into_iter().collect::<Result<_, _>>();
        let signals = signals.map_err(|error| Failure::Fatal(format!("Ctrl-C cannot be heard: {error}")))?;
        Ok(Self { signals, until })
    }

    pub(crate) async fn reached(&mut self) {
        let until = self.until;
        let time_is_up = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time_is_up => {}
            () = self.signalled() => {}
        }
    }

    /// Returns on Ctrl-C, or when the process is asked to terminate.
    pub(crate) async fn signalled(&mut self) {
        let signals = self.signals.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures::future::select_all(signals).await;
    }
}
