//! Setting a mirror up.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use solana_commitment_config::CommitmentLevel;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;

use crate::{
    api::{mirror::Mirror, node::NodeConfig, settings::Options},
    core::{link::websocket::NodeProfile, nodes::failover::NodeMode},
    error::ConfigError,
    runtime::start::{Settings, start},
};

/// How a mirror is set up. Made by [`Mirror::builder`], ended by [`start`](MirrorBuilder::start).
#[derive(Clone)]
#[must_use]
pub struct MirrorBuilder(Options);

impl MirrorBuilder {
    pub(crate) fn new(rpc_url: String) -> Self {
        Self(Options::new(rpc_url))
    }

    /// The node's WebSocket URL. Left out, it is derived from the RPC URL as Solana's CLI does it: an
    /// explicit port is followed by the next one; without one, the same authority.
    pub fn ws_url(mut self, url: impl Into<String>) -> Self {
        self.0.node = self.0.node.ws_url(url);
        self
    }

    /// An extra HTTP header for the WebSocket handshake, and for RPC unless [`rpc_client`](Self::rpc_client)
    /// is given: hosted nodes may want their key there.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.node = self.0.node.header(name, value);
        self
    }

    /// The bot's own RPC client, instead of one made from the RPC URL. It keeps its own bounds: retries,
    /// timeouts (each call is cut at [`rpc_timeout`](Self::rpc_timeout) all the same) and answer sizes.
    pub fn rpc_client(mut self, client: Arc<RpcClient>) -> Self {
        self.0.node = self.0.node.rpc_client(client);
        self
    }

    /// What kind of node it is; by default it is found out.
    pub fn profile(mut self, profile: NodeProfile) -> Self {
        self.0.node = self.0.node.profile(profile);
        self
    }

    /// One more node, less preferred than those before; four in all, at most.
    pub fn node(mut self, node: NodeConfig) -> Self {
        self.0.more_nodes.push(node);
        self
    }

    /// How several nodes are used: [`NodeMode::Failover`] (the default) or [`NodeMode::Race`].
    pub fn mode(mut self, mode: NodeMode) -> Self {
        self.0.mode = mode;
        self
    }

    /// In failover, how long a preferred node must be live again before the one behind it is given up. 30 s: a node
    /// that comes and goes costs no change of nodes each time.
    pub fn failback_after(mut self, spell: Duration) -> Self {
        self.0.failback_after = spell;
        self
    }

    /// Whether the processed bank is shown beside what is confirmed ([`Reading::processed`](crate::Reading::processed),
    /// [`MirrorUpdate::Processed`](crate::MirrorUpdate::Processed)): a hint some 300 ms earlier, which may be taken back, and is
    /// never served as a balance. It costs each connection a twin. Off by default.
    pub fn processed(mut self, shown: bool) -> Self {
        self.0.processed = shown;
        self
    }

    /// Connections to one node, at most. 10: with the default of [`max_per_connection`](Self::max_per_connection)
    /// enough for the default of [`max_accounts`](Self::max_accounts). Accounts beyond that are served by TTL and RPC.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.0.max_connections = limit;
        self
    }

    /// Accounts subscribed on one connection, at most. 1 000, a limit that hosted nodes commonly set.
    pub fn max_per_connection(mut self, limit: usize) -> Self {
        self.0.max_per_connection = limit;
        self
    }

    /// Subscribes sent a second on one connection, at most, after a first burst of 64. 200.
    pub fn subscribe_rate(mut self, rate: u32) -> Self {
        self.0.subscribe_rate = rate;
        self
    }

    /// How often an account that no live link proves is read by RPC, in batches of 99, so that readers go on finding
    /// something fresh in memory. 3 s; up to ten times as long while the node refuses.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.0.refresh_every = interval;
        self
    }

    /// The commitment of everything the mirror serves: confirmed (the default) or finalized.
    ///
    /// At finalized a link proves what its node held 32 slots before, so that ages below some 15 s are only
    /// met by RPC, and an account goes live as much later: a lagging node may notify finalized changes late.
    pub fn commitment(mut self, commitment: CommitmentLevel) -> Self {
        self.0.commitment = commitment;
        self
    }

    /// How far a node's chain clock may be from this host's wall time for its word to prove anything. By default 20 s, and
    /// 40 s at finalized: the chain's Clock has whole seconds and strays from wall time by several, and
    /// finalized state is some 13 s old by nature.
    pub fn max_lag(mut self, lag: Duration) -> Self {
        self.0.max_lag = Some(lag);
        self
    }

    /// The greatest age of a balance to sell on: 30 s, as in the TTL caches this mirror replaces.
    pub fn selling_age(mut self, age: Duration) -> Self {
        self.0.selling_age = age;
        self
    }

    /// The greatest age of a balance for general use: 300 s, from the same source.
    pub fn general_age(mut self, age: Duration) -> Self {
        self.0.general_age = age;
        self
    }

    /// Lets each account's TTL follow how often it changes, between these bounds: half the usual interval between its
    /// changes. Without a live link, nothing older is served from memory, whatever age is asked for; on a live link
    /// it is without effect. [`TokenStats`](crate::TokenStats) tells what it has come to. Off by default: the age asked
    /// for alone decides.
    pub fn dynamic_ttl(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.0.dynamic_ttl = Some(bounds);
        self
    }

    /// How long a link may be without a canary before it proves nothing and is connected anew. 5 s: a
    /// validator under load notified the Clock every 370 ms, 479 ms at worst, and a leader's four slots may
    /// be skipped in a row.
    pub fn canary_deadline(mut self, deadline: Duration) -> Self {
        self.0.canary_deadline = deadline;
        self
    }

    /// How long a live link speaks for an account that was itself neither notified nor compared with RPC.
    /// 300 s: the bound on a single subscription that a server drops in silence.
    pub fn verify_every(mut self, interval: Duration) -> Self {
        self.0.verify_every = interval;
        self
    }

    /// How often each live account is compared with RPC, in batches of 99. 60 s, so that an RPC outage shorter
    /// than [`verify_every`](Self::verify_every) less that stops no live link from serving.
    pub fn audit_every(mut self, interval: Duration) -> Self {
        self.0.audit_every = interval;
        self
    }

    /// How long a connect may take, handshake included. 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.connect_timeout = timeout;
        self
    }

    /// How long one RPC call may take. 3 s.
    pub fn rpc_timeout(mut self, timeout: Duration) -> Self {
        self.0.rpc_timeout = timeout;
        self
    }

    /// How long [`balance`](crate::Mirror::balance) may take in all. 5 s.
    pub fn read_deadline(mut self, deadline: Duration) -> Self {
        self.0.read_deadline = deadline;
        self
    }

    /// The longest wait before the next connect, at the end of a doubling, jittered row from 250 ms. 30 s.
    pub fn reconnect_cap(mut self, cap: Duration) -> Self {
        self.0.reconnect_cap = cap;
        self
    }

    /// How often the health line is logged. 10 s.
    pub fn health_interval(mut self, interval: Duration) -> Self {
        self.0.health_interval = interval;
        self
    }

    /// How many accounts may be watched. 10 000; one more is refused with
    /// [`WatchError::TooMany`](crate::WatchError::TooMany).
    pub fn max_accounts(mut self, limit: usize) -> Self {
        self.0.max_accounts = limit;
        self
    }

    /// How many reads may wait for RPC. 1 024; one more is refused with
    /// [`ReadError::Busy`](crate::ReadError::Busy).
    pub fn max_pending_reads(mut self, limit: usize) -> Self {
        self.0.max_pending_reads = limit;
        self
    }

    /// How many updates are kept for a slow consumer of [`updates`](crate::Mirror::updates) before it
    /// misses some. 1 024.
    pub fn update_buffer(mut self, updates: usize) -> Self {
        self.0.update_buffer = updates;
        self
    }

    /// How long a [`Position`](crate::Position) that holds nothing is watched on, before it is swept: unsubscribed, and
    /// its memory returned. 60 s, so that what is sold and bought again within a minute is never subscribed anew.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.0.linger = linger;
        self
    }

    /// How long [`settled`](crate::Position::settled) waits for the notification of a buy before it asks RPC. 500 ms:
    /// a confirmed change is notified within a slot or so, and RPC knows it no sooner.
    pub fn probe_after(mut self, wait: Duration) -> Self {
        self.0.probe_after = wait;
        self
    }

    /// Starts the mirror in the tokio runtime that runs here. It does not wait for the network: a bot starts
    /// while its node is down, and is served as soon as the node is there.
    ///
    /// # Errors
    /// A setting cannot work, or no runtime runs here.
    pub fn start(self) -> Result<Mirror, ConfigError> {
        let settings = self.check()?;
        Ok(Mirror::running(start(&settings)?, &settings))
    }
}

impl MirrorBuilder {
    pub(crate) fn check(self) -> Result<Settings, ConfigError> {
        self.0.check()
    }
}

impl Mirror {
    /// Sets up a mirror of one node: its RPC URL, from which the WebSocket URL follows unless given.
    pub fn builder(rpc_url: impl Into<String>) -> MirrorBuilder {
        MirrorBuilder::new(rpc_url.into())
    }
}

impl fmt::Debug for MirrorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorBuilder")
            .field("commitment", &self.0.commitment)
            .field("selling_age", &self.0.selling_age)
            .field("general_age", &self.0.general_age)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> MirrorBuilder {
        MirrorBuilder::new("http://127.0.0.1:8899".to_owned())
    }

    fn refusal(builder: MirrorBuilder) -> String {
        builder.check().err().expect("settings that cannot work").to_string()
    }

    #[test]
    fn the_defaults_work_and_finalized_allows_for_its_age() {
        let settings = builder().check().expect("defaults");
        assert_eq!((settings.selling_age.as_secs(), settings.general_age.as_secs()), (30, 300));
        let finalized = builder().commitment(CommitmentLevel::Finalized).check().expect("finalized");
        assert!(finalized.engine.max_lag > settings.engine.max_lag);
    }

    #[test]
    fn each_setting_out_of_range_is_named() {
        assert!(refusal(builder().selling_age(Duration::ZERO)).contains("selling_age"));
        let ttl = |least, most| Duration::from_millis(least)..=Duration::from_millis(most);
        for bounds in [ttl(0, 1), ttl(2, 1), ttl(1, 86_400_001)] {
            assert!(refusal(builder().dynamic_ttl(bounds)).contains("dynamic_ttl"));
        }
        assert!(builder().dynamic_ttl(ttl(1, 86_400_000)).check().is_ok());
        assert!(refusal(builder().max_accounts(0)).contains("max_accounts"));
        assert!(refusal(builder().audit_every(Duration::from_secs(151))).contains("verify_every"));
        assert!(refusal(builder().canary_deadline(Duration::from_millis(499))).contains("canary_deadline"));
        assert!(refusal(builder().max_lag(Duration::from_millis(1_999))).contains("max_lag"));
        assert!(refusal(builder().commitment(CommitmentLevel::Processed)).contains("finalized"));
        assert!(refusal(builder().ws_url("http://host")).contains("WebSocket"));
    }

    #[test]
    fn debug_shows_no_url_and_no_header() {
        let builder = MirrorBuilder::new("https://host/s3cr3t".to_owned()).header("x-key", "s3cr3t");
        assert!(!format!("{builder:?}").contains("s3cr3t"));
    }
}
