//! What the suite needs of a cluster.

use std::time::Duration;

use localnet::{Keypair, Localnet};

/// A running cluster of one node.
pub trait Cluster: Send + Sync {
    /// For the list of what passed where.
    fn name(&self) -> &str;
    /// Where JSON-RPC is served, on loopback.
    fn rpc_url(&self) -> String;
    /// Where WebSockets are served, on loopback.
    fn ws_url(&self) -> String;
    /// A rich key, which may airdrop nothing but pays for everything.
    fn payer(&self) -> &Keypair;
    /// How long a slot lasts: deadlines and ages scale with it.
    fn slot_time(&self) -> Duration;
    /// The local cluster itself, where this is it: its faults, and the truth about its accounts.
    fn local(&self) -> Option<&Localnet> {
        None
    }
}
