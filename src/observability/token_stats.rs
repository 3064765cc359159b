//! The counts of one account.

use std::time::Duration;

use solana_pubkey::Pubkey;

use crate::store::{Entry, Store};

/// A snapshot of one account's counts since it was first watched.
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
    /// Reads that fell back to RPC. Concurrent ones share one call.
    pub fallbacks: u64,
    /// How often a caller waited: for a read that fell back to RPC, or for
    /// [`ready`](crate::Reader::ready) and [`wait_for`](crate::Reader::wait_for). A wait is counted
    /// when it ends, however it ends, also if the caller gave up.
    pub waits: u64,
    /// The mean wait, in microseconds.
    pub wait_mean_us: u64,
    /// The longest wait, in microseconds.
    pub wait_max_us: u64,
    /// Notifications received for the account.
    pub notifications: u64,
    /// How late notifications were on average, in milliseconds: the wall time of the arrival minus
    /// the chain's Clock at that slot, as the same connection notifies it. The Clock has whole
    /// seconds and differs from wall time by several; a Clock ahead of wall time counts as no lag.
    pub notification_lag_mean_ms: u64,
    /// The greatest lag of a notification, in milliseconds.
    pub notification_lag_max_ms: u64,
    /// How often the bot invalidated the account.
    pub invalidations: u64,
    /// RPC calls that had the account among their keys, for whatever purpose: up to 99 accounts
    /// share a call.
    pub rpc_reads: u64,
    /// RPC calls that were not made: one for each hit, because a bot without a mirror would ask its
    /// node.
    pub rpc_calls_avoided: u64,
    /// How often the account's state changed, the first observation included.
    pub changes: u64,
    /// Recent changes in a minute, with a [dynamic TTL](crate::MirrorBuilder::dynamic_ttl); `None`
    /// before the second change.
    pub changes_per_minute: Option<f64>,
    /// The current TTL that follows from these changes, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// The memory held for the account, in bytes: the size of each entry kept for it, without the
    /// allocator's own overhead and spare capacity. Waiting callers need more.
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
