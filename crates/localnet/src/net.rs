//! The public handle: starting, driving and stopping a cluster.

use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use solana_account::{Account, AccountSharedData};
use solana_commitment_config::CommitmentConfig;
use solana_hash::Hash;
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use tokio::sync::watch;

use crate::{
    chain::{Chain, Depths},
    cluster::{Cluster, unix_now},
    faults::Faults,
    node::Node,
    send::{self, Landed, SendError},
    stats::Stats,
};

/// Settings of a cluster, each with a default.
#[derive(Clone, Debug)]
pub struct Builder {
    slot_time: Duration,
    depths: Depths,
    seed: u64,
    ring: usize,
    paused: bool,
    port: Option<u16>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            slot_time: Duration::from_millis(400),
            depths: Depths::default(),
            seed: 0,
            ring: 16_384,
            paused: false,
            port: None,
        }
    }
}

impl Builder {
    /// How long a slot lasts. Default 400 ms, as on mainnet; a few milliseconds work.
    pub fn slot_time(mut self, slot_time: Duration) -> Self {
        self.slot_time = slot_time;
        self
    }

    /// How many blocks the confirmed one is below the processed tip. Default 1.
    pub fn confirmed_depth(mut self, blocks: u64) -> Self {
        self.depths.confirmed = blocks;
        self
    }

    /// How many blocks the finalized one is below the processed tip, at least: it moves four blocks
    /// at a time. Default 31.
    pub fn finalized_depth(mut self, blocks: u64) -> Self {
        self.depths.finalized = blocks;
        self
    }

    /// For how many blocks a blockhash stays valid. Default 150, as on mainnet. Where slots take a few
    /// milliseconds, a busy machine may need longer to sign and send.
    pub fn blockhash_age(mut self, blocks: u64) -> Self {
        self.depths.blockhash = blocks;
        self
    }

    /// What keys, blockhashes and the order within a slot are derived from. Default 0. Clusters of
    /// different seeds have different genesis hashes.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many notifications may wait for one connection; one more, and it is dropped without a
    /// Close frame. Default 16384.
    pub fn ring(mut self, notifications: usize) -> Self {
        self.ring = notifications.max(1);
        self
    }

    /// Start with the clock stopped: slots come from [`Localnet::advance`] alone.
    pub fn paused(mut self) -> Self {
        self.paused = true;
        self
    }

    /// Serve JSON-RPC on this port and WebSockets on the next: for a cluster that takes another's
    /// place. By default two free ones are found.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the cluster.
    ///
    /// # Errors
    ///
    /// When no ports can be bound, or no threads started.
    pub fn start(self) -> io::Result<Localnet> {
        let depths = Depths { finalized: self.depths.finalized.max(self.depths.confirmed), ..self.depths };
        let chain = Chain::genesis(self.seed, depths, unix_now());
        let payer = chain.payer.insecure_clone();
        let cluster = Cluster::new(chain, self.ring, self.paused);
        let first = Node::start(&cluster, self.seed, self.port)?;
        // From here on, dropping this stops whatever was started.
        let mut net = Localnet { first, cluster: Arc::clone(&cluster), payer, seed: self.seed, clock: None };
        let clock = thread::Builder::new().name("localnet-clock".into());
        net.clock = Some(clock.spawn(move || cluster.keep_time(self.slot_time))?);
        Ok(net)
    }
}

/// What a new chain starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accounts {
    /// All accounts of the open bank, as if they were in the genesis block.
    Keep,
    /// Programs, sysvars and the payer, as at the first start.
    Fresh,
}

/// A running cluster. It lives on threads of its own, so that its methods can be called from
/// anywhere and no runtime is needed; dropping it stops everything and frees the ports.
pub struct Localnet {
    first: Node,
    cluster: Arc<Cluster>,
    payer: Keypair,
    seed: u64,
    clock: Option<JoinHandle<()>>,
}

impl fmt::Debug for Localnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Localnet").field("rpc_url", &self.rpc_url()).finish_non_exhaustive()
    }
}

impl Drop for Localnet {
    fn drop(&mut self) {
        self.cluster.stop();
        // A panic there was printed when it happened.
        let _ = self.clock.take().map(JoinHandle::join);
    }
}

/// Starting.
impl Localnet {
    /// Settings to start from.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a cluster with the default settings.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Starts a further node of the same chain, with connections, faults and counts of its own.
    /// What [`rpc_url`](Self::rpc_url), [`ws_url`](Self::ws_url), [`faults`](Self::faults),
    /// [`stats`](Self::stats) and [`subscribers`](Self::subscribers) are about is the first one.
    ///
    /// # Errors
    ///
    /// When no ports can be bound, or no threads started.
    pub fn add_node(&self) -> io::Result<Node> {
        Node::start(&self.cluster, self.seed, None)
    }

    /// Where the first node serves JSON-RPC: `http://127.0.0.1:PORT`.
    pub fn rpc_url(&self) -> String {
        self.first.rpc_url()
    }

    /// Where it serves WebSockets: on the next port, as on a validator.
    pub fn ws_url(&self) -> String {
        self.first.ws_url()
    }

    /// The key that pays for [`send`](Self::send) and for airdrops, richly funded at genesis.
    pub fn payer(&self) -> &Keypair {
        &self.payer
    }

    /// What can go wrong with the first node and with the chain, at will.
    pub fn faults(&self) -> &Faults {
        self.first.faults()
    }
}

/// Driving.
impl Localnet {
    /// The processed tip, as it moves. To be awaited from any runtime.
    pub fn slots(&self) -> watch::Receiver<u64> {
        self.cluster.slots.subscribe()
    }

    /// The newest slot at a commitment.
    pub fn slot(&self, commitment: CommitmentConfig) -> u64 {
        self.cluster.chain.lock().slot(commitment.commitment)
    }

    /// Stops the clock. When this returns, no slot ends any more but by [`advance`](Self::advance).
    pub fn pause_slots(&self) {
        self.cluster.pause();
    }

    /// Lets the clock run again.
    pub fn resume_slots(&self) {
        self.cluster.resume();
    }

    /// Ends so many slots at once, whether the clock runs or not, and returns the new processed
    /// tip.
    ///
    /// What is subscribed before this is called has its baseline from before these slots, and their
    /// notifications are on their way when it returns. (With the clock running, a subscription may
    /// be slower than the next slot.)
    pub fn advance(&self, slots: u64) -> u64 {
        let mut tip = self.slot(CommitmentConfig::processed());
        for _ in 0..slots {
            self.cluster.settle();
            tip = self.cluster.tick();
        }
        self.cluster.settle();
        tip
    }

    /// Executes instructions in the open bank, at once, as one transaction that the payer signs
    /// first and pays for. They show at `processed` when the slot ends. Equal transactions may be
    /// sent again and again.
    ///
    /// # Errors
    ///
    /// When a signer is missing, and when the transaction is refused or fails.
    pub fn send(&self, instructions: &[Instruction], signers: &[&Keypair]) -> Result<Landed, SendError> {
        let mut chain = self.cluster.chain.lock();
        send::send(&mut chain, &self.payer, instructions, signers)
    }

    /// Writes an account in the open bank, whatever is in it, and returns the slot. No lamports
    /// means closed.
    ///
    /// # Panics
    ///
    /// When the account is a sysvar's or a program's and cannot be one.
    pub fn set_account(&self, address: &Pubkey, account: Account) -> u64 {
        let account = AccountSharedData::from(account);
        let written = self.cluster.chain.lock().set_account(*address, account);
        match written {
            Ok(slot) => slot,
            Err(error) => panic!("{address} cannot hold that: {error}"),
        }
    }
}

/// Starting over.
impl Localnet {
    /// Begins a new chain: another genesis hash, slots from 1 on. The nodes are restarted: every
    /// connection of each is reset, and subscriptions are gone. Faults go on, but for
    /// [`Faults::freeze_rpc`]: no node knows the old chain.
    pub fn new_chain(&self, accounts: Accounts) {
        self.cluster.settle();
        self.cluster.begin_anew(accounts);
        self.cluster.settle();
    }

    /// Sets the same chain back by so many slots, as a cluster that is restarted from an older
    /// snapshot, and returns the new tip, which is finalized: the newest remembered bank that is
    /// old enough. What came after it is forgotten, and the next slots carry the old numbers again.
    /// The nodes are restarted as by [`new_chain`](Self::new_chain).
    pub fn roll_back(&self, slots: u64) -> u64 {
        self.cluster.settle();
        let tip = self.cluster.roll_back(slots);
        self.cluster.settle();
        tip
    }
}

/// Looking.
impl Localnet {
    /// What tells this chain from others.
    pub fn genesis_hash(&self) -> Hash {
        self.cluster.chain.lock().genesis_hash()
    }

    /// The true state of an account, and the slot of the bank that was read.
    pub fn account(&self, address: &Pubkey, commitment: CommitmentConfig) -> (u64, Option<Account>) {
        let chain = self.cluster.chain.lock();
        let slot = chain.slot(commitment.commitment);
        let account = chain.store.account(slot, address).cloned();
        (slot, account.map(Account::from))
    }

    /// The true states of an account over the confirmed chain: for each slot at whose end it was
    /// another than before, that slot and the state. Slots ascend. `None` is a closed account. Of
    /// an account with many writes only the last 4096 are remembered.
    pub fn history(&self, address: &Pubkey) -> Vec<(u64, Option<Account>)> {
        let chain = self.cluster.chain.lock();
        let confirmed = chain.slot(CommitmentConfig::confirmed().commitment);
        let mut states: Vec<(u64, Option<AccountSharedData>)> = Vec::new();
        for version in chain.store.versions(address) {
            let before = states.last().and_then(|(_, account)| account.as_ref());
            let same = before == version.account.as_ref();
            if version.slot <= confirmed && !same {
                states.push((version.slot, version.account.clone()));
            }
        }
        drop(chain);
        let owned = |(slot, account): (u64, Option<AccountSharedData>)| (slot, account.map(Account::from));
        states.into_iter().map(owned).collect()
    }

    /// How many connections are subscribed to an account, counted once for each set of parameters.
    pub fn subscribers(&self, address: &Pubkey) -> usize {
        self.first.subscribers(address)
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.first.stats()
    }
}
