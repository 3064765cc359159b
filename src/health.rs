//! What an operator wants to know, in one snapshot, and the line that logs it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::info;

use crate::{
    book::Book,
    core::{observation::Slot, session::LinkPhase, time::Tick},
    link::LinkStatus,
};

/// A snapshot of how the mirror is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// Where the link stands. It is what the session decided, not what a connect once promised.
    #[cfg_attr(feature = "serde", serde(serialize_with = "phase_name"))]
    pub phase: LinkPhase,
    /// For how long, in milliseconds.
    pub phase_ms: u64,
    /// Time since the newest canary that proved something, in milliseconds; `None` before the first.
    pub canary_age_ms: Option<u64>,
    /// Wall time less the chain's own at the newest canary, in milliseconds; the Clock has whole seconds.
    pub chain_lag_ms: Option<i64>,
    /// The slot of the newest canary of this connection.
    pub slot: Option<Slot>,
    /// Accounts watched.
    pub wanted: usize,
    /// Accounts whose subscription the server acknowledged.
    pub acknowledged: usize,
    /// Accounts subscribed, past their barrier and rechecked, while the link is live. What a read makes of
    /// each also depends on `verify_every`.
    pub live: usize,
    /// Connections opened.
    pub connects: u64,
    /// Connections opened after the first.
    pub reconnects: u64,
    /// Connections lost or given up.
    pub losses: u64,
    /// Why, the last time, or which other thing failed last on the link. Without credentials.
    pub last_error: Option<String>,
    /// Reads served from memory.
    pub hits: u64,
    /// Reads for which memory had nothing fresh.
    pub misses: u64,
    /// Reads that RPC was asked for.
    pub fallbacks: u64,
    /// RPC calls made, for whatever purpose.
    pub rpc_calls: u64,
    /// RPC calls that failed.
    pub rpc_failures: u64,
    /// Account notifications received.
    pub notifications: u64,
    /// Observations older than what was known.
    pub superseded: u64,
    /// Contradictions between sources.
    pub disputes: u64,
    /// Changes that a subscription should have notified and did not.
    pub missed: u64,
    /// Subscriptions that the server refused.
    pub refused: u64,
}

#[cfg(feature = "serde")]
fn phase_name<S: serde::Serializer>(phase: &LinkPhase, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(phase.name())
}

impl Health {
    pub(crate) fn of(book: &Book, status: &LinkStatus) -> Self {
        let now = book.clock.now();
        let evidence = book.evidence();
        let stats = &book.stats;
        let (hits, misses) = book.served();
        Self {
            phase: status.phase,
            phase_ms: millis(now.since(status.since)),
            canary_age_ms: (evidence.arrived != Tick::NEVER).then(|| millis(now.since(evidence.arrived))),
            chain_lag_ms: status.canary.map(|(_, lag)| lag),
            slot: status.canary.map(|(slot, _)| slot),
            wanted: book.cells().len(),
            acknowledged: status.acknowledged,
            live: status.live,
            connects: stats.connects.get(),
            reconnects: stats.connects.get().saturating_sub(1),
            losses: stats.losses.get(),
            last_error: status.last_error.clone(),
            hits,
            misses,
            fallbacks: stats.fallbacks.get(),
            rpc_calls: stats.rpc_calls.get(),
            rpc_failures: stats.rpc_failures.get(),
            notifications: stats.notifications.get(),
            superseded: stats.superseded.get(),
            disputes: stats.disputes.get(),
            missed: stats.missed.get(),
            refused: stats.refused.get(),
        }
    }

    fn log(&self) {
        info!(
            phase = self.phase.name(),
            canary_age_ms = self.canary_age_ms,
            chain_lag_ms = self.chain_lag_ms,
            slot = self.slot,
            wanted = self.wanted,
            acknowledged = self.acknowledged,
            live = self.live,
            reconnects = self.reconnects,
            hits = self.hits,
            misses = self.misses,
            fallbacks = self.fallbacks,
            rpc_failures = self.rpc_failures,
            last_error = self.last_error,
            "health"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Logs a line at each interval until told to stop.
pub(crate) async fn run(
    book: Arc<Book>,
    status: Arc<ArcSwap<LinkStatus>>,
    interval: Duration,
    mut stop: watch::Receiver<()>,
) {
    let mut interval = tokio::time::interval(interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval.tick().await;
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = interval.tick() => Health::of(&book, &status.load()).log(),
        }
    }
}
