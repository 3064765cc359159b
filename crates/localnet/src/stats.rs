//! What happened so far, counted.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// Counts since the start, and what is open now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// RPC requests received, by method, whatever became of them. Each call of a batch counts.
    pub rpc: BTreeMap<String, u64>,
    /// HTTP connections accepted.
    pub rpc_connections: u64,
    /// TCP connections accepted on the WebSocket port, refused ones too.
    pub ws_connections: u64,
    /// WebSocket connections open now.
    pub ws_open: usize,
    /// Subscriptions held now, each counted once a connection.
    pub subscriptions: usize,
    /// Subscribe requests received.
    pub subscribes: u64,
    /// Unsubscribe requests received.
    pub unsubscribes: u64,
    /// Notifications written to sockets.
    pub notifications: u64,
}

impl Stats {
    /// RPC requests of one method.
    pub fn rpc_calls(&self, method: &str) -> u64 {
        self.rpc.get(method).copied().unwrap_or(0)
    }

    /// RPC requests of all methods.
    pub fn rpc_total(&self) -> u64 {
        self.rpc.values().sum()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rpc: Mutex<BTreeMap<String, u64>>,
    pub(crate) rpc_connections: Counter,
    pub(crate) ws_connections: Counter,
    pub(crate) subscribes: Counter,
    pub(crate) unsubscribes: Counter,
    pub(crate) notifications: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(crate) fn count_rpc(&self, method: &str) {
        *self.rpc.lock().entry(method.to_owned()).or_default() += 1;
    }
}
