//! The builder that sets up a mirror.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use solana_commitment_config::CommitmentLevel;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;

use crate::{
    api::{mirror::Mirror, node::NodeConfig, settings::UncheckedSettings},
    core::{link::websocket::NodeProfile, nodes::failover::NodeMode},
    error::ConfigError,
    runtime::start::{CheckedSettings, start},
};

/// Sets up a mirror. Get one from [`Mirror::builder`], then call [`start`](MirrorBuilder::start).
#[derive(Clone)]
#[must_use]
pub struct MirrorBuilder(UncheckedSettings);

impl MirrorBuilder {
    pub(crate) fn new(rpc_url: String) -> Self {
        Self(UncheckedSettings::new(rpc_url))
    }

    /// The node's WebSocket URL. If you leave it out, it is derived from the RPC URL as Solana's
    /// CLI does it: host and path stay; an explicit port is increased by one.
    pub fn ws_url(mut self, url: impl Into<String>) -> Self {
        self.0.node = self.0.node.ws_url(url);
        self
    }

    /// Adds an HTTP header to the WebSocket handshake, and to RPC requests unless you give an
    /// [`rpc_client`](Self::rpc_client). Some hosted nodes want their key there.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.node = self.0.node.header(name, value);
        self
    }

    /// Uses the bot's own RPC client instead of one made from the RPC URL. That client keeps its
    /// own retries, timeouts and limits of answer sizes; each call is still cut off at
    /// [`rpc_timeout`](Self::rpc_timeout).
    pub fn rpc_client(mut self, client: Arc<RpcClient>) -> Self {
        self.0.node = self.0.node.rpc_client(client);
        self
    }

    /// What kind of node it is. By default the mirror finds out.
    pub fn profile(mut self, profile: NodeProfile) -> Self {
        self.0.node = self.0.node.profile(profile);
        self
    }

    /// Adds a node, less preferred than those before it. At most four nodes in all.
    pub fn node(mut self, node: NodeConfig) -> Self {
        self.0.more_nodes.push(node);
        self
    }

    /// How the mirror uses several nodes: [`NodeMode::Failover`] (the default) or
    /// [`NodeMode::Race`].
    pub fn mode(mut self, mode: NodeMode) -> Self {
        self.0.mode = mode;
        self
    }

    /// In failover, how long a preferred node must be live again before the mirror returns to it
    /// and gives up the less preferred one. Default: 30 s, so that a node that comes and goes does
    /// not cause a change of nodes each time.
    pub fn failback_after(mut self, spell: Duration) -> Self {
        self.0.failback_after = spell;
        self
    }

    /// Whether the mirror also shows processed state, beside the confirmed
    /// ([`Reading::processed`](crate::Reading::processed),
    /// [`MirrorUpdate::Processed`](crate::MirrorUpdate::Processed)). It is a hint that comes some
    /// 300 ms earlier; the chain may take it back, and the mirror never serves it as a balance. It
    /// needs a second connection for each connection. Default: off.
    pub fn processed(mut self, shown: bool) -> Self {
        self.0.processed = shown;
        self
    }

    /// The most connections to one node. Default: 10, which with the default of
    /// [`max_per_connection`](Self::max_per_connection) is enough for the default of
    /// [`max_accounts`](Self::max_accounts). Accounts beyond that are served by TTL and RPC.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.0.max_connections = limit;
        self
    }

    /// The most accounts subscribed on one connection. Default: 1 000, a limit that hosted nodes
    /// commonly set.
    pub fn max_per_connection(mut self, limit: usize) -> Self {
        self.0.max_per_connection = limit;
        self
    }

    /// The most subscribe requests sent each second on one connection, after a first burst of 64.
    /// Default: 200.
    pub fn subscribe_rate(mut self, rate: u32) -> Self {
        self.0.subscribe_rate = rate;
        self
    }

    /// How often the mirror reads an account by RPC while no live link proves it, in batches of 99,
    /// so that readers still find something fresh in memory. Default: 3 s; up to ten times as long
    /// while the node refuses.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.0.refresh_every = interval;
        self
    }

    /// The commitment of everything the mirror serves: confirmed (the default) or finalized.
    ///
    /// At finalized, a link proves what its node held 32 slots before. So only RPC can meet an age
    /// below some 15 s, and an account becomes live that much later, because a lagging node may
    /// notify finalized changes late.
    pub fn commitment(mut self, commitment: CommitmentLevel) -> Self {
        self.0.commitment = commitment;
        self
    }

    /// How far a node's chain clock may be from this host's wall time; what a node beyond that
    /// sends proves nothing. Default: 20 s, and 40 s at finalized. The chain's Clock has whole
    /// seconds and differs from wall time by several, and finalized state is always some 13 s old.
    pub fn max_lag(mut self, lag: Duration) -> Self {
        self.0.max_lag = Some(lag);
        self
    }

    /// The greatest age of a balance to sell on. Default: 30 s, as in the TTL caches that this
    /// mirror replaces.
    pub fn selling_age(mut self, age: Duration) -> Self {
        self.0.selling_age = age;
        self
    }

    /// The greatest age of a balance for general use. Default: 300 s, as in those TTL caches.
    pub fn general_age(mut self, age: Duration) -> Self {
        self.0.general_age = age;
        self
    }

    /// Adapts each account's TTL to how often the account changes: half the usual interval between
    /// its changes, kept within these bounds. Without a live link, memory then serves nothing older
    /// than the TTL, whatever age the caller allows; on a live link the TTL has no effect.
    /// [`TokenStats`](crate::TokenStats) shows the current TTL. Default: off, so that only the age
    /// the caller allows decides.
    pub fn dynamic_ttl(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.0.dynamic_ttl = Some(bounds);
        self
    }

    /// How long a link may go without a canary. After that it proves nothing, and the mirror
    /// reconnects it. Default: 5 s. A validator under load notified the Clock every 370 ms, 479 ms
    /// at worst, and a leader's four slots may be skipped in a row.
    pub fn canary_deadline(mut self, deadline: Duration) -> Self {
        self.0.canary_deadline = deadline;
        self
    }

    /// How long a live connection may vouch for an account that has had neither a notification nor
    /// an RPC check of its own. Bounds how long a silently dropped subscription goes unnoticed.
    /// Default: 300 s.
    pub fn verify_every(mut self, interval: Duration) -> Self {
        self.0.verify_every = interval;
        self
    }

    /// How often the mirror compares each live account with RPC, in batches of 99. Default: 60 s.
    /// Live links keep serving through an RPC outage shorter than
    /// [`verify_every`](Self::verify_every) minus this interval.
    pub fn audit_every(mut self, interval: Duration) -> Self {
        self.0.audit_every = interval;
        self
    }

    /// How long a connect may take, handshake included. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.connect_timeout = timeout;
        self
    }

    /// How long one RPC call may take. Default: 3 s.
    pub fn rpc_timeout(mut self, timeout: Duration) -> Self {
        self.0.rpc_timeout = timeout;
        self
    }

    /// How long [`balance`](crate::Mirror::balance) may take in all. Default: 5 s.
    pub fn read_deadline(mut self, deadline: Duration) -> Self {
        self.0.read_deadline = deadline;
        self
    }

    /// The longest wait before a reconnect. The waits are jittered and double, beginning at 250 ms.
    /// Default: 30 s.
    pub fn reconnect_cap(mut self, cap: Duration) -> Self {
        self.0.reconnect_cap = cap;
        self
    }

    /// How often the mirror logs its health line. Default: 10 s.
    pub fn health_interval(mut self, interval: Duration) -> Self {
        self.0.health_interval = interval;
        self
    }

    /// How many accounts may be watched. Default: 10 000. Beyond that,
    /// [`WatchError::TooMany`](crate::WatchError::TooMany) is returned.
    pub fn max_accounts(mut self, limit: usize) -> Self {
        self.0.max_accounts = limit;
        self
    }

    /// How many reads may wait for RPC at the same time. Default: 1 024. Beyond that,
    /// [`ReadError::Busy`](crate::ReadError::Busy) is returned.
    pub fn max_pending_reads(mut self, limit: usize) -> Self {
        self.0.max_pending_reads = limit;
        self
    }

    /// How many updates are kept for a slow consumer of [`updates`](crate::Mirror::updates) before
    /// it misses some. Default: 1 024.
    pub fn update_buffer(mut self, updates: usize) -> Self {
        self.0.update_buffer = updates;
        self
    }

    /// How long the mirror keeps watching the account of a [`Position`](crate::Position) that holds
    /// nothing. Then it sweeps the account: it unsubscribes and frees the memory. Default: 60 s, so
    /// that a token sold and bought again within a minute needs no new subscription.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.0.linger = linger;
        self
    }

    /// How long [`settled`](crate::Position::settled) waits for the notification of a buy before it
    /// asks RPC. Default: 500 ms. A confirmed change is notified within a slot or so, and RPC does
    /// not know it sooner.
    pub fn probe_after(mut self, wait: Duration) -> Self {
        self.0.probe_after = wait;
        self
    }

    /// Starts the mirror in the current tokio runtime. It does not wait for the network: a bot can
    /// start while its node is down, and the mirror serves it as soon as the node is up.
    ///
    /// # Errors
    /// A setting cannot work, or the caller is not in a tokio runtime. Nothing was started.
    pub fn start(self) -> Result<Mirror, ConfigError> {
        let settings = self.check()?;
        Ok(Mirror::running(start(&settings)?, &settings))
    }

    pub(crate) fn check(self) -> Result<CheckedSettings, ConfigError> {
        self.0.check()
    }
}

impl Mirror {
    /// Sets up a mirror that uses the node at this RPC URL. The WebSocket URL is derived from it
    /// unless you give one.
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
        assert!(refusal(builder().dynamic_ttl(ttl(2, 1))).contains("shorter time first"));
        assert!(builder().dynamic_ttl(ttl(1, 86_400_000)).check().is_ok());
        let node = || NodeConfig::new("http://127.0.0.1:8899");
        assert!(
            refusal(builder().node(node()).node(node()).node(node()).node(node())).contains("four nodes")
        );
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
