//! The settings and their defaults. All are checked once, at start; the builder's docs say where
//! each number comes from.

use std::{ops::RangeInclusive, time::Duration};

use solana_commitment_config::CommitmentLevel;

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
    runtime::start::CheckedSettings,
};

/// The greatest value that [`max_connections`](crate::MirrorBuilder::max_connections) may have.
const MAX_CONNECTIONS: usize = 100;

/// The settings as the bot gives them, before the check.
#[derive(Clone)]
pub(super) struct UncheckedSettings {
    /// The node that the builder began with; `more_nodes` are less preferred.
    pub(super) node: NodeConfig,
    pub(super) more_nodes: Vec<NodeConfig>,
    pub(super) mode: NodeMode,
    pub(super) failback_after: Duration,
    pub(super) processed: bool,
    pub(super) max_connections: usize,
    pub(super) max_per_connection: usize,
    pub(super) subscribe_rate: u32,
    pub(super) refresh_every: Duration,
    pub(super) commitment: CommitmentLevel,
    pub(super) max_lag: Option<Duration>,
    pub(super) selling_age: Duration,
    pub(super) general_age: Duration,
    pub(super) dynamic_ttl: Option<RangeInclusive<Duration>>,
    pub(super) canary_deadline: Duration,
    pub(super) verify_every: Duration,
    pub(super) audit_every: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) rpc_timeout: Duration,
    pub(super) read_deadline: Duration,
    pub(super) reconnect_cap: Duration,
    pub(super) health_interval: Duration,
    pub(super) max_accounts: usize,
    pub(super) max_pending_reads: usize,
    pub(super) update_buffer: usize,
    pub(super) linger: Duration,
    pub(super) probe_after: Duration,
}

impl UncheckedSettings {
    pub(super) fn new(rpc_url: String) -> Self {
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

    /// Checks every setting, and derives the engine's settings from them.
    pub(super) fn check(self) -> Result<CheckedSettings, ConfigError> {
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
            let value = format!("called {} times", nodes.len() - 1);
            let range = "called at most three times: with the builder's own, a mirror has up to four nodes";
            return Err(ConfigError::Range { name: "node", value, range });
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
            let range = if least > most {
                "given with the shorter time first"
            } else {
                "between a millisecond and a day at both ends"
            };
            return Err(ConfigError::Range { name: "dynamic_ttl", value, range });
        }
        let policy = Policy { canary_deadline: self.canary_deadline, verify_every: self.verify_every, ttl };
        let session = SessionSettings {
            connect_timeout: self.connect_timeout,
            // A server that takes longer to acknowledge than a canary may take is as dead as one
            // without canaries.
            subscribe_deadline: self.canary_deadline.max(Duration::from_secs(5)),
            canary_deadline: self.canary_deadline,
            max_lag,
            // Hosted nodes close connections that are idle for 60 s.
            keepalive: Duration::from_secs(30),
            audit_every: self.audit_every,
            audit_batch: BATCH,
            settled_after: if finalized { FINALIZED_SETTLES } else { 0 },
            // Longer than the deadline after which an unanswered subscribe costs the connection.
            healthy_after: Duration::from_secs(8),
            backoff: Backoff::new(Duration::from_millis(250).min(self.reconnect_cap), self.reconnect_cap),
            in_flight: 64,
            subscribe_rate: self.subscribe_rate,
            profile: NodeProfile::default(),
        };
        let profiles = nodes.iter().map(|node| node.profile).collect();
        let endpoints = nodes.into_iter().map(|node| Ok((node.endpoint()?, node.rpc_client)));
        Ok(CheckedSettings {
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
                // Room for one request of each caller that may wait, and for the links' own
                // requests, which come in batches.
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
