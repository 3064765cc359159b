//! The settings that stay the same for the life of a mirror.

use std::time::Duration;

use super::accounts::Accounts;
use crate::core::{
    account::{freshness::Policy, ledger::Rules},
    link::{
        placement::Placement,
        websocket::{NodeProfile, Session, SessionSettings},
    },
    nodes::failover::NodeMode,
};

/// The settings that stay the same for the life of a mirror.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EngineSettings {
    pub session: SessionSettings,
    pub rules: Rules,
    pub policy: Policy,
    /// In the order of preference.
    pub endpoints: Vec<NodeProfile>,
    pub mode: NodeMode,
    /// How long a preferred endpoint must be live again before the one behind it is given up.
    pub failback_after: Duration,
    /// The most connections to one endpoint.
    pub max_links: usize,
    /// The most accounts on one connection.
    pub max_per_link: usize,
    pub max_accounts: usize,
    /// The most RPC reads that may wait.
    pub max_asks: usize,
    pub max_lag: Duration,
    /// How often an account that no live link proves is read by RPC.
    pub refresh_every: Duration,
    /// How long the engine keeps asking a node that is behind.
    pub patience: Duration,
    /// Whether each connection has a twin at the processed commitment.
    pub processed: bool,
    /// How much longer a position is watched once it holds nothing.
    pub linger: Duration,
}

impl EngineSettings {
    /// Memory held for each account, in bytes: its entries here, and those of one connection to
    /// each endpoint.
    pub fn bytes_each(&self) -> usize {
        let connections = self.endpoints.len() * if self.processed { 2 } else { 1 };
        Accounts::BYTES_EACH
            + connections * Session::BYTES_EACH
            + self.endpoints.len() * Placement::BYTES_EACH
    }
}
