//! Counters that cost a relaxed add each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What the mirror counts about itself; [`Health`](crate::Health) shows it.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connects: Counter,
    pub(crate) losses: Counter,
    pub(crate) notifications: Counter,
    pub(crate) superseded: Counter,
    pub(crate) disputes: Counter,
    pub(crate) missed: Counter,
    pub(crate) refused: Counter,
    pub(crate) fallbacks: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) quarantines: Counter,
    pub(crate) resets: Counter,
    pub(crate) adopted: Counter,
    pub(crate) swept: Counter,
    pub(crate) rpc_calls: Counter,
    pub(crate) rpc_failures: Counter,
    /// Hits and misses of accounts no longer watched.
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
}
