//! What is counted of one account.

use std::time::Duration;

use solana_pubkey::Pubkey;

use crate::store::{Entry, Store};

/// A snapshot of what is counted of one account since it is watched.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TokenStats {
    /// The account.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_words"))]
    pub address: Pubkey,
    /// Reads served from memory.
    pub hits: u64,
    /// Reads for which memory had nothing fresh.
    pub misses: u64,
    /// Reads that RPC was asked for. Those at one time share one call.
    pub fallbacks: u64,
    /// Callers that waited: for a read that RPC was asked for, or for [`ready`](crate::Reader::ready) and
    /// [`wait_for`](crate::Reader::wait_for). Counted at the end of the wait, however it ended, given up included.
    pub waits: u64,
    /// How long they waited on average, in microseconds.
    pub wait_mean_us: u64,
    /// The longest wait, in microseconds.
    pub wait_max_us: u64,
    /// Notifications received of it.
    pub notifications: u64,
    /// How late they were on average, in milliseconds: the wall time of the arrival less the chain's Clock of that slot, as
    /// the same connection tells it. The Clock has whole seconds and strays from wall time by several; one ahead of
    /// wall time counts as no lag.
    pub notification_lag_mean_ms: u64,
    /// The latest one, in milliseconds.
    pub notification_lag_max_ms: u64,
    /// How often the bot invalidated it.
    pub invalidations: u64,
    /// RPC calls that had it among their keys, for whatever purpose: up to 99 accounts share a call.
    pub rpc_reads: u64,
    /// RPC calls that were not made: one a hit, as each is a read for which a bot without a mirror asks its node.
    pub rpc_calls_avoided: u64,
    /// How often its state changed, the first sight included.
    pub changes: u64,
    /// How often that is in a minute, of late, where the mirror has a [dynamic TTL](crate::MirrorBuilder::dynamic_ttl); `None`
    /// before the second change.
    pub changes_per_minute: Option<f64>,
    /// What the TTL has come to by that, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// What is held for it in memory, in bytes: the size of each entry kept for it, the allocator's own overhead and
    /// room kept free not counted. Waiting callers come on top.
    pub memory_bytes: usize,
}

impl TokenStats {
    pub(crate) fn of(entry: &Entry, store: &Store) -> Self {
        let counters = &entry.counters;
        let (waits, wait_mean_us, wait_max_us) = counters.waits.get();
        let (_, notification_lag_mean_ms, notification_lag_max_ms) = counters.notification_lag.get();
        let hits = counters.hits.get();
        let reading = store.read(entry);
        let per_minute = |every: Duration| 60.0 / every.max(Duration::from_millis(1)).as_secs_f64();
        Self {
            address: entry.address,
            hits,
            misses: counters.misses.get(),
            fallbacks: counters.fallbacks.get(),
            waits,
            wait_mean_us,
            wait_max_us,
            notifications: counters.notifications.get(),
            notification_lag_mean_ms,
            notification_lag_max_ms,
            invalidations: counters.invalidations.get(),
            rpc_reads: counters.rpc_reads.get(),
            rpc_calls_avoided: hits,
            changes: reading.revision(),
            changes_per_minute: reading.change_interval().map(per_minute),
            ttl_ms: reading.ttl().map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            memory_bytes: store.bytes_of(entry),
        }
    }
}

#[cfg(feature = "serde")]
fn in_words<S: serde::Serializer>(address: &Pubkey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}
