//! What the suite needs of a cluster.

use std::time::Duration;

use localnet::{Keypair, Localnet};

/// Blocks for which a blockhash is valid: 30 s of slots of 20 ms, for machines that are busy. What
/// expires in a scenario has a last valid height of its own.
const BLOCKHASH_AGE: u64 = 1_500;

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

/// The local cluster.
#[derive(Debug)]
pub struct Local {
    /// The cluster itself.
    pub net: Localnet,
    slot_time: Duration,
}

impl Local {
    /// A cluster whose keys and order of notifications follow from `seed`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(seed: u64, slot_time: Duration) -> Self {
        let net = Localnet::builder()
            .slot_time(slot_time)
            .finalized_depth(8)
            .blockhash_age(BLOCKHASH_AGE)
            .seed(seed)
            .start();
        Self { net: net.expect("a cluster"), slot_time }
    }
}

impl Cluster for Local {
    fn name(&self) -> &str {
        "the local cluster"
    }

    fn rpc_url(&self) -> String {
        self.net.rpc_url()
    }

    fn ws_url(&self) -> String {
        self.net.ws_url()
    }

    fn payer(&self) -> &Keypair {
        self.net.payer()
    }

    fn slot_time(&self) -> Duration {
        self.slot_time
    }

    fn local(&self) -> Option<&Localnet> {
        Some(&self.net)
    }
}
