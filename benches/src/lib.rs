//! What a bot author may use instead of a mirror: TTL caches, filled by RPC.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use balance_mirror::Pubkey;
use dashmap::DashMap;
use tokio::sync::RwLock;

/// The older design: one lock over a map from the account's address as text to a balance and its
/// age.
#[derive(Debug, Default)]
pub struct LockedCache(RwLock<HashMap<String, (u64, Instant)>>);

impl LockedCache {
    /// Puts a balance in, as after a buy.
    pub async fn put(&self, address: &Pubkey, amount: u64) {
        self.0.write().await.insert(address.to_string(), (amount, now()));
    }

    /// The balance, if it was put in at most `max_age` ago.
    pub async fn get(&self, address: &str, max_age: Duration) -> Option<u64> {
        let cache = self.0.read().await;
        let (amount, put) = cache.get(address)?;
        (now().duration_since(*put) <= max_age).then_some(*amount)
    }
}

/// The same on a sharded concurrent map, keyed by the address itself.
#[derive(Debug, Default)]
pub struct ShardedCache(DashMap<Pubkey, (u64, Instant)>);

impl ShardedCache {
    /// Puts a balance in, as after a buy.
    pub fn put(&self, address: Pubkey, amount: u64) {
        self.0.insert(address, (amount, now()));
    }

    /// The balance, if it was put in at most `max_age` ago.
    pub fn get(&self, address: &Pubkey, max_age: Duration) -> Option<u64> {
        let entry = self.0.get(address)?;
        (now().duration_since(entry.1) <= max_age).then_some(entry.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "what such caches do")]
fn now() -> Instant {
    Instant::now()
}
