//! The settings: each has a default that says where its number comes from, and all are checked once.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use solana_commitment_config::CommitmentLevel;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;

use crate::{
    api::node::NodeConfig,
    core::{
        account::{evidence::FINALIZED_SETTLES, freshness::Policy, ledger::Rules, ttl::TtlBounds},
        base::{backoff::Backoff, ids::MAX_ENDPOINTS},
        engine::settings::EngineSettings,
        link::websocket::{NodeProfile, SessionSettings},
        nodes::failover::NodeMode,
        rpc::scheduler::BATCH,
    },
    error::ConfigError,
    sources::endpoint::Endpoint,
};

/// How a mirror is set up. Made by [`Mirror::builder`](crate::Mirror::builder), ended by
/// [`start`](MirrorBuilder::start).
#[derive(Clone)]
#[must_use]
pub struct MirrorBuilder {
    /// The one the builder began with; the others behind it.
    node: NodeConfig,
    more_nodes: Vec<NodeConfig>,
    mode: NodeMode,
    failback_after: Duration,
    processed: bool,
    max_connections: usize,
    max_per_connection: usize,
    subscribe_rate: u32,
    refresh_every: Duration,
    commitment: CommitmentLevel,
    max_lag: Option<Duration>,
    selling_age: Duration,
    general_age: Duration,
    dynamic_ttl: Option<RangeInclusive<Duration>>,
    canary_deadline: Duration,
    verify_every: Duration,
    audit_every: Duration,
    connect_timeout: Duration,
    rpc_timeout: Duration,
    read_deadline: Duration,
    reconnect_cap: Duration,
    health_interval: Duration,
    max_accounts: usize,
    max_pending_reads: usize,
    update_buffer: usize,
    linger: Duration,
    probe_after: Duration,
}

/// What [`MirrorBuilder::max_connections`] may be, at most.
const MAX_CONNECTIONS: usize = 100;

/// The settings, checked.
pub(crate) struct Settings {
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

impl MirrorBuilder {
    pub(crate) fn new(rpc_url: String) -> Self {
        Self {
            node: NodeConfig::new(rpc_url),
            more_nodes: Vec::new(),
            mode: NodeMode::default(),
            failback_after: Duration::from_secs(30),
            processed: false,
            max_connections: 10,
            max_per_connection: 1_000,
            subscribe_rate: 200,
            refresh_every: Duration::from_secs(3),
            commitment: CommitmentLevel::Confirmed,
            max_lag: None,
            selling_age: Duration::from_secs(30),
            general_age: Duration::from_secs(300),
            dynamic_ttl: None,
            canary_deadline: Duration::from_secs(5),
            verify_every: Duration::from_secs(300),
            audit_every: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            rpc_timeout: Duration::from_secs(3),
            read_deadline: Duration::from_secs(5),
            reconnect_cap: Duration::from_secs(30),
            health_interval: Duration::from_secs(10),
            max_accounts: 10_000,
            max_pending_reads: 1_024,
            update_buffer: 1_024,
            linger: Duration::from_secs(60),
            probe_after: Duration::from_millis(500),
        }
    }

    /// The node's WebSocket URL. Left out, it is derived from the RPC URL as Solana's CLI does it: an
    /// explicit port is followed by the next one; without one, the same authority.
    pub fn ws_url(mut self, url: impl Into<String>) -> Self {
        self.node = self.node.ws_url(url);
        self
    }

    /// An extra HTTP header for the WebSocket handshake, and for RPC unless [`rpc_client`](Self::rpc_client)
    /// is given: hosted nodes may want their key there.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.node = self.node.header(name, value);
        self
    }

    /// The bot's own RPC client, instead of one made from the RPC URL. It keeps its own bounds: retries,
    /// timeouts (each call is cut at [`rpc_timeout`](Self::rpc_timeout) all the same) and answer sizes.
    pub fn rpc_client(mut self, client: Arc<RpcClient>) -> Self {
        self.node = self.node.rpc_client(client);
        self
    }

    /// What kind of node it is; by default it is found out.
    pub fn profile(mut self, profile: NodeProfile) -> Self {
        self.node = self.node.profile(profile);
        self
    }

    /// One more node, less preferred than those before; four in all, at most.
    pub fn node(mut self, node: NodeConfig) -> Self {
        self.more_nodes.push(node);
        self
    }

    /// How several nodes are used: [`NodeMode::Failover`] (the default) or [`NodeMode::Race`].
    pub fn mode(mut self, mode: NodeMode) -> Self {
        self.mode = mode;
        self
    }

    /// In failover, how long a preferred node must be live again before the one behind it is given up. 30 s: a node
    /// that comes and goes costs no change of nodes each time.
    pub fn failback_after(mut self, spell: Duration) -> Self {
        self.failback_after = spell;
        self
    }

    /// Whether the processed bank is shown beside what is confirmed ([`Reading::processed`](crate::Reading::processed),
    /// [`MirrorUpdate::Processed`](crate::MirrorUpdate::Processed)): a hint some 300 ms earlier, which may be taken back, and is
    /// never served as a balance. It costs each connection a twin. Off by default.
    pub fn processed(mut self, shown: bool) -> Self {
        self.processed = shown;
        self
    }

    /// Connections to one node, at most. 10: with the default of [`max_per_connection`](Self::max_per_connection)
    /// enough for the default of [`max_accounts`](Self::max_accounts). Accounts beyond that are served by TTL and RPC.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = limit;
        self
    }

    /// Accounts subscribed on one connection, at most. 1 000, a limit that hosted nodes commonly set.
    pub fn max_per_connection(mut self, limit: usize) -> Self {
        self.max_per_connection = limit;
        self
    }

    /// Subscribes sent a second on one connection, at most, after a first burst of 64. 200.
    pub fn subscribe_rate(mut self, rate: u32) -> Self {
        self.subscribe_rate = rate;
        self
    }

    /// How often an account that no live link proves is read by RPC, in batches of 99, so that readers go on finding
    /// something fresh in memory. 3 s; up to ten times as long while the node refuses.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.refresh_every = interval;
        self
    }

    /// The commitment of everything the mirror serves: confirmed (the default) or finalized.
    ///
    /// At finalized a link proves what its node held 32 slots before, so that ages below some 15 s are only
    /// met by RPC, and an account goes live as much later: a lagging node may notify finalized changes late.
    pub fn commitment(mut self, commitment: CommitmentLevel) -> Self {
        self.commitment = commitment;
        self
    }

    /// How far a node's chain clock may be from this host's wall time for its word to prove anything. By default 20 s, and
    /// 40 s at finalized: the chain's Clock has whole seconds and strays from wall time by several, and
    /// finalized state is some 13 s old by nature.
    pub fn max_lag(mut self, lag: Duration) -> Self {
        self.max_lag = Some(lag);
        self
    }

    /// The greatest age of a balance to sell on: 30 s, as in the TTL caches this mirror replaces.
    pub fn selling_age(mut self, age: Duration) -> Self {
        self.selling_age = age;
        self
    }

    /// The greatest age of a balance for general use: 300 s, from the same source.
    pub fn general_age(mut self, age: Duration) -> Self {
        self.general_age = age;
        self
    }

    /// Lets each account's TTL follow how often it changes, between these bounds: half the usual interval between its
    /// changes. Without a live link, nothing older is served from memory, whatever age is asked for; on a live link
    /// it is without effect. [`TokenStats`](crate::TokenStats) tells what it has come to. Off by default: the age asked
    /// for alone decides.
    pub fn dynamic_ttl(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.dynamic_ttl = Some(bounds);
        self
    }

    /// How long a link may be without a canary before it proves nothing and is connected anew. 5 s: a
    /// validator under load notified the Clock every 370 ms, 479 ms at worst, and a leader's four slots may
    /// be skipped in a row.
    pub fn canary_deadline(mut self, deadline: Duration) -> Self {
        self.canary_deadline = deadline;
        self
    }

    /// How long a live link speaks for an account that was itself neither notified nor compared with RPC.
    /// 300 s: the bound on a single subscription that a server drops in silence.
    pub fn verify_every(mut self, interval: Duration) -> Self {
        self.verify_every = interval;
        self
    }

    /// How often each live account is compared with RPC, in batches of 99. 60 s, so that an RPC outage shorter
    /// than [`verify_every`](Self::verify_every) less that stops no live link from serving.
    pub fn audit_every(mut self, interval: Duration) -> Self {
        self.audit_every = interval;
        self
    }

    /// How long a connect may take, handshake included. 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one RPC call may take. 3 s.
    pub fn rpc_timeout(mut self, timeout: Duration) -> Self {
        self.rpc_timeout = timeout;
        self
    }

    /// How long [`balance`](crate::Mirror::balance) may take in all. 5 s.
    pub fn read_deadline(mut self, deadline: Duration) -> Self {
        self.read_deadline = deadline;
        self
    }

    /// The longest wait before the next connect, at the end of a doubling, jittered row from 250 ms. 30 s.
    pub fn reconnect_cap(mut self, cap: Duration) -> Self {
        self.reconnect_cap = cap;
        self
    }

    /// How often the health line is logged. 10 s.
    pub fn health_interval(mut self, interval: Duration) -> Self {
        self.health_interval = interval;
        self
    }

    /// How many accounts may be watched. 10 000; one more is refused with
    /// [`WatchError::TooMany`](crate::WatchError::TooMany).
    pub fn max_accounts(mut self, limit: usize) -> Self {
        self.max_accounts = limit;
        self
    }

    /// How many reads may wait for RPC. 1 024; one more is refused with
    /// [`ReadError::Busy`](crate::ReadError::Busy).
    pub fn max_pending_reads(mut self, limit: usize) -> Self {
        self.max_pending_reads = limit;
        self
    }

    /// How many updates are kept for a slow consumer of [`updates`](crate::Mirror::updates) before it
    /// misses some. 1 024.
    pub fn update_buffer(mut self, updates: usize) -> Self {
        self.update_buffer = updates;
        self
    }

    /// How long a [`Position`](crate::Position) that holds nothing is watched on, before it is swept: unsubscribed, and
    /// its memory returned. 60 s, so that what is sold and bought again within a minute is never subscribed anew.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long [`settled`](crate::Position::settled) waits for the notification of a buy before it asks RPC. 500 ms:
    /// a confirmed change is notified within a slot or so, and RPC knows it no sooner.
    pub fn probe_after(mut self, wait: Duration) -> Self {
        self.probe_after = wait;
        self
    }

    pub(crate) fn validate(self) -> Result<Settings, ConfigError> {
        if self.commitment == CommitmentLevel::Processed {
            return Err(ConfigError::Processed);
        }
        let finalized = self.commitment == CommitmentLevel::Finalized;
        let max_lag = self.max_lag.unwrap_or(Duration::from_secs(if finalized { 40 } else { 20 }));
        for (name, value) in [
            ("max_lag", max_lag),
            ("selling_age", self.selling_age),
            ("general_age", self.general_age),
            ("canary_deadline", self.canary_deadline),
            ("verify_every", self.verify_every),
            ("audit_every", self.audit_every),
            ("connect_timeout", self.connect_timeout),
            ("rpc_timeout", self.rpc_timeout),
            ("read_deadline", self.read_deadline),
            ("reconnect_cap", self.reconnect_cap),
            ("health_interval", self.health_interval),
            ("refresh_every", self.refresh_every),
            ("failback_after", self.failback_after),
            ("linger", self.linger),
            ("probe_after", self.probe_after),
        ] {
            if !(Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&value) {
                let value = format!("{value:?}");
                return Err(ConfigError::Range { name, value, range: "between a millisecond and a day" });
            }
        }
        for (name, value) in [
            ("max_accounts", self.max_accounts),
            ("max_pending_reads", self.max_pending_reads),
            ("update_buffer", self.update_buffer),
            ("max_per_connection", self.max_per_connection),
            ("subscribe_rate", self.subscribe_rate as usize),
        ] {
            if !(1..=1_000_000).contains(&value) {
                let value = value.to_string();
                return Err(ConfigError::Range { name, value, range: "between 1 and 1 000 000" });
            }
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.max_connections) {
            let value = self.max_connections.to_string();
            return Err(ConfigError::Range { name: "max_connections", value, range: "between 1 and 100" });
        }
        let nodes: Vec<NodeConfig> = std::iter::once(self.node).chain(self.more_nodes).collect();
        if nodes.len() > MAX_ENDPOINTS {
            let value = nodes.len().to_string();
            return Err(ConfigError::Range { name: "node", value, range: "at most four times in all" });
        }
        if self.audit_every > self.verify_every / 2 {
            let value = format!("{:?}", self.audit_every);
            return Err(ConfigError::Range {
                name: "audit_every",
                value,
                range: "at most half of verify_every",
            });
        }
        if self.canary_deadline < Duration::from_millis(500) {
            let value = format!("{:?}", self.canary_deadline);
            return Err(ConfigError::Range {
                name: "canary_deadline",
                value,
                range: "at least half a second, more than a slot",
            });
        }
        if max_lag < Duration::from_secs(2) {
            let value = format!("{max_lag:?}");
            return Err(ConfigError::Range {
                name: "max_lag",
                value,
                range: "at least 2 s: the chain's clock has whole seconds",
            });
        }
        let ttl = self.dynamic_ttl.map(|bounds| TtlBounds { least: *bounds.start(), most: *bounds.end() });
        if let Some(TtlBounds { least, most }) = ttl
            && !(Duration::from_millis(1) <= least && least <= most && most <= Duration::from_secs(86_400))
        {
            let value = format!("{least:?} to {most:?}");
            let range = "from a millisecond or more to a day or less";
            return Err(ConfigError::Range { name: "dynamic_ttl", value, range });
        }
        let policy = Policy { canary_deadline: self.canary_deadline, verify_every: self.verify_every, ttl };
        let session = SessionSettings {
            connect_timeout: self.connect_timeout,
            // A server that acknowledges later than it may tick is as dead as one that does not tick.
            subscribe_deadline: self.canary_deadline.max(Duration::from_secs(5)),
            canary_deadline: self.canary_deadline,
            max_lag,
            // Hosted nodes close connections that are idle for 60 s.
            keepalive: Duration::from_secs(30),
            audit_every: self.audit_every,
            audit_batch: BATCH,
            settled_after: if finalized { FINALIZED_SETTLES } else { 0 },
            // Longer than it takes a subscribe that is never answered to cost the connection.
            healthy_after: Duration::from_secs(8),
            backoff: Backoff::new(Duration::from_millis(250).min(self.reconnect_cap), self.reconnect_cap),
            in_flight: 64,
            subscribe_rate: self.subscribe_rate,
            profile: NodeProfile::default(),
        };
        let profiles = nodes.iter().map(|node| node.profile).collect();
        let endpoints = nodes.into_iter().map(|node| Ok((node.endpoint()?, node.rpc_client)));
        Ok(Settings {
            endpoints: endpoints.collect::<Result<_, ConfigError>>()?,
            commitment: self.commitment,
            engine: EngineSettings {
                session,
                rules: Rules { absence_twice: finalized, verify_every: self.verify_every },
                policy,
                endpoints: profiles,
                mode: self.mode,
                failback_after: self.failback_after,
                max_links: self.max_connections,
                max_per_link: self.max_per_connection,
                max_accounts: self.max_accounts,
                // Room for the links' own asks, which come in batches, beside one of each caller that may wait.
                max_asks: self.max_pending_reads + 4 * self.max_accounts + 1_024,
                max_lag,
                refresh_every: self.refresh_every,
                patience: self.rpc_timeout,
                processed: self.processed,
                linger: self.linger,
            },
            selling_age: self.selling_age,
            general_age: self.general_age,
            rpc_timeout: self.rpc_timeout,
            read_deadline: self.read_deadline,
            health_interval: self.health_interval,
            max_pending_reads: self.max_pending_reads,
            update_buffer: self.update_buffer,
            probe_after: self.probe_after,
        })
    }
}

impl fmt::Debug for MirrorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("commitment", &self.commitment)
            .field("selling_age", &self.selling_age)
            .field("general_age", &self.general_age)
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
        builder.validate().err().expect("settings that cannot work").to_string()
    }

    #[test]
    fn the_defaults_work_and_finalized_allows_for_its_age() {
        let settings = builder().validate().expect("defaults");
        assert_eq!((settings.selling_age.as_secs(), settings.general_age.as_secs()), (30, 300));
        let finalized = builder().commitment(CommitmentLevel::Finalized).validate().expect("finalized");
        assert!(finalized.engine.max_lag > settings.engine.max_lag);
    }

    #[test]
    fn each_setting_out_of_range_is_named() {
        assert!(refusal(builder().selling_age(Duration::ZERO)).contains("selling_age"));
        let ttl = |least, most| Duration::from_millis(least)..=Duration::from_millis(most);
        for bounds in [ttl(0, 1), ttl(2, 1), ttl(1, 86_400_001)] {
            assert!(refusal(builder().dynamic_ttl(bounds)).contains("dynamic_ttl"));
        }
        assert!(builder().dynamic_ttl(ttl(1, 86_400_000)).validate().is_ok());
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
