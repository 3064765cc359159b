//! A real Agave validator in the process of a test.
//!
//! [`Validator::start`] makes a new cluster of one node (its own genesis, ports and ledger
//! directory), waits until it confirms slots, and hands out its URLs and a rich payer. Dropping it
//! stops the node and removes the ledger.
//!
//! The SPL programs are part of its genesis, as `solana-program-binaries` carries them: Token
//! (p-token 1.0.0), Token-2022 (10.0.0), the associated token account program (1.1.1) and Memo.
//!
//! The node's RPC and WebSocket servers listen on all interfaces: `solana-test-validator` leaves no
//! choice. Everything else of it, and both URLs, are on the loopback interface.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use solana_commitment_config::CommitmentConfig;
use solana_keypair::Keypair;
use solana_net_utils::SocketAddrSpace;
use solana_net_utils::sockets::unique_port_range_for_tests;
use solana_pubkey::Pubkey;
use solana_rpc::rpc::JsonRpcConfig;
use solana_rpc::rpc_pubsub_service::PubSubConfig;
use solana_rpc_client::rpc_client::RpcClient;
use solana_signer::Signer;
use solana_test_validator::{TestValidator, TestValidatorGenesis};
use tempfile::TempDir;

/// How long a start may take before it counts as failed. Some seconds are usual.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a node that is coming up: there is nothing yet to be notified by.
const START_POLL: Duration = Duration::from_millis(50);
/// What the node binds beside RPC and WebSocket; its own minimum is 25.
const NODE_PORTS: u16 = 64;

/// Why a validator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No directory for the ledger.
    #[error("no temporary directory for the ledger")]
    Ledger(#[source] std::io::Error),
    /// The validator itself refused or panicked; its own words.
    #[error("the validator did not start: {0}")]
    Validator(String),
    /// It started, and confirmed no slot in time.
    #[error("the validator confirmed no slot within {0:?}")]
    NoSlot(Duration),
}

/// How a cluster agrees on its blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consensus {
    /// TowerBFT, which `solana-test-validator` runs unless it is told otherwise.
    #[default]
    TowerBft,
    /// Alpenglow, which mainnet, testnet and devnet run.
    Alpenglow,
}

impl Consensus {
    /// Both.
    pub const ALL: [Self; 2] = [Self::TowerBft, Self::Alpenglow];

    /// `TowerBFT` or `Alpenglow`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TowerBft => "TowerBFT",
            Self::Alpenglow => "Alpenglow",
        }
    }

    /// The time that a validator aims at for one slot. The feature gates that shorten it to 200 ms
    /// are all active in a new genesis; TowerBFT's test validator keeps 400 ms.
    pub fn slot_time(self) -> Duration {
        match self {
            Self::TowerBft => Duration::from_millis(400),
            Self::Alpenglow => Duration::from_millis(300),
        }
    }
}

/// What a validator starts with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    accounts: Vec<(Pubkey, u64, usize)>,
    max_subscriptions: Option<usize>,
    consensus: Consensus,
}

impl Options {
    /// The defaults of a test validator: 1000 items in the notification ring, a million
    /// subscriptions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a system account with `lamports` and `space` zero bytes to the genesis, so that its
    /// last modified slot is 0.
    #[must_use]
    pub fn account(mut self, address: Pubkey, lamports: u64, space: usize) -> Self {
        self.accounts.push((address, lamports, space));
        self
    }

    /// Refuses subscriptions above `count` on the whole node.
    #[must_use]
    pub fn max_subscriptions(mut self, count: usize) -> Self {
        self.max_subscriptions = Some(count);
        self
    }

    /// Runs this consensus from genesis on.
    #[must_use]
    pub fn consensus(mut self, consensus: Consensus) -> Self {
        self.consensus = consensus;
        self
    }

    fn genesis(&self, ledger: &Path, rpc_port: u16) -> TestValidatorGenesis {
        let node_ports = unique_port_range_for_tests(NODE_PORTS);
        let mut genesis = TestValidatorGenesis::default();
        genesis
            .ledger_path(ledger)
            .rpc_port(rpc_port)
            .gossip_port(0)
            .port_range((node_ports.start, node_ports.end))
            .bind_ip_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .rpc_config(JsonRpcConfig {
                enable_rpc_transaction_history: true,
                ..JsonRpcConfig::default_for_test()
            });
        if self.consensus == Consensus::Alpenglow {
            genesis.activate_alpenglow();
        }
        if let Some(max_active_subscriptions) = self.max_subscriptions {
            genesis.pubsub_config(PubSubConfig {
                max_active_subscriptions,
                ..PubSubConfig::default_for_tests()
            });
        }
        for (address, lamports, space) in &self.accounts {
            genesis.add_account(
                *address,
                solana_account::AccountSharedData::new(
                    *lamports,
                    *space,
                    &solana_sdk_ids::system_program::id(),
                ),
            );
        }
        genesis
    }
}

/// A running validator. Dropping it stops the node and removes its ledger.
pub struct Validator {
    // Before the ledger: a node must be gone when its directory goes.
    node: Option<TestValidator>,
    ledger: TempDir,
    payer: Keypair,
    rpc_url: String,
    ws_url: String,
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator")
            .field("rpc_url", &self.rpc_url)
            .field("ws_url", &self.ws_url)
            .field("payer", &self.payer.pubkey())
            .field("ledger", &self.ledger.path())
            .finish_non_exhaustive()
    }
}

impl Validator {
    /// Starts a validator with the default [`Options`]. Blocks for some seconds, also inside an
    /// async runtime: use `spawn_blocking` where that matters.
    ///
    /// # Errors
    ///
    /// A [`StartError`], when it cannot start or confirms no slot within two minutes.
    pub fn start() -> Result<Self, StartError> {
        Self::start_with(&Options::new())
    }

    /// Starts a validator with `options`. See [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(options: &Options) -> Result<Self, StartError> {
        let ledger = tempfile::Builder::new()
            .prefix("balance-mirror-validator-")
            .tempdir()
            .map_err(StartError::Ledger)?;
        // Below the temporary directory: the validator makes the directory of a new ledger itself.
        let genesis = options.genesis(&ledger.path().join("ledger"), free_port_pair());
        let payer = Keypair::new();
        let mint_address = payer.pubkey();
        // The start builds and blocks on runtimes of its own, which an async caller's thread must
        // not do.
        let node = thread::spawn(move || {
            genesis
                .start_with_mint_address(mint_address, SocketAddrSpace::Unspecified)
                .map_err(|error| error.to_string())
        })
        .join()
        .map_err(|panic| StartError::Validator(panic_text(panic.as_ref())))?
        .map_err(StartError::Validator)?;

        let validator =
            Self { rpc_url: node.rpc_url(), ws_url: node.rpc_pubsub_url(), node: Some(node), ledger, payer };
        validator.wait_for_confirmation()?;
        Ok(validator)
    }

    fn wait_for_confirmation(&self) -> Result<(), StartError> {
        let url = self.rpc_url.clone();
        let confirmed = thread::spawn(move || {
            let client = RpcClient::new_with_commitment(url, CommitmentConfig::confirmed());
            let started = Instant::now();
            loop {
                // Programs of the genesis run from slot 1 on.
                if client.get_slot().is_ok_and(|slot| slot > 0) {
                    return true;
                }
                if started.elapsed() > START_PATIENCE {
                    return false;
                }
                thread::sleep(START_POLL);
            }
        })
        .join()
        .unwrap_or(false);
        if confirmed { Ok(()) } else { Err(StartError::NoSlot(START_PATIENCE)) }
    }

    /// The JSON-RPC endpoint, `http://127.0.0.1:PORT`.
    pub fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    /// The WebSocket endpoint, `ws://127.0.0.1:PORT+1/`.
    pub fn ws_url(&self) -> &str {
        &self.ws_url
    }

    /// Owner of 500 million SOL.
    pub fn payer(&self) -> &Keypair {
        &self.payer
    }

    /// The directory that holds the ledger, and goes with the validator.
    pub fn ledger(&self) -> &Path {
        self.ledger.path()
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            // It drops runtimes of its own, which panics on an async caller's thread. A panic while
            // it stops has been printed, and has no receiver here.
            let _ = thread::spawn(move || drop(node)).join();
        }
    }
}

/// The first of two adjacent free ports: RPC, and WebSocket one above.
///
/// The range is reserved across the processes that use the same allocator, so that concurrent tests
/// do not meet; the binds exclude what else may run on the host.
fn free_port_pair() -> u16 {
    loop {
        let port = unique_port_range_for_tests(2).start;
        let free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if free(port) && free(port + 1) {
            return port;
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "panicked".into())
}
