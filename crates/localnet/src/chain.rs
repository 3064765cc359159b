//! The chain: banks, transactions, commitments, forks.
//!
//! One bank is open and takes transactions; a tick freezes it and opens the next. Frozen banks form
//! the chain; the newest is the processed tip, older ones become confirmed and then finalized by
//! their depth. Invariants:
//!
//! 1. Slots only grow, also across a fork; the chain's slots ascend, with gaps where a fork was
//!    abandoned.
//! 2. The confirmed and the finalized slot are on the chain and never go back: only unconfirmed
//!    banks are reverted. Starting over (`begin_anew`, `roll_back`) is the exception to both.
//! 3. The SVM holds the open bank's state, the store every frozen one's.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::LazyLock,
    time::{Duration, Instant},
};

use litesvm::{LiteSVM, types::SimulatedTransactionInfo};
use solana_account::{AccountSharedData, ReadableAccount, WritableAccount};
use solana_clock::Clock;
use solana_commitment_config::CommitmentLevel;
use solana_hash::Hash;
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_sdk_ids::{system_program, sysvar};
use solana_signature::Signature;
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

use crate::{net::Accounts, rng::Rng, store::Store};

/// How many blocks a blockhash stays valid for.
const BLOCKHASH_AGE: u64 = 150;
/// How many blocks are remembered, with the statuses of their transactions.
const BLOCKS_KEPT: usize = 4096;
/// Finality comes in strides of this many blocks, as roots on a real cluster do.
const FINALITY_STRIDE: u64 = 4;
/// What the payer owns at genesis.
const PAYER_LAMPORTS: u64 = 100_000_000_000_000_000;
/// The fee of one signature.
pub(crate) const LAMPORTS_PER_SIGNATURE: u64 = 5000;

/// Loading the programs costs more than everything else at the start, so it is done once a process.
static GENESIS: LazyLock<LiteSVM> = LazyLock::new(|| {
    LiteSVM::new()
        // Both are this chain's own: many blockhashes are valid, and the history is longer.
        .with_blockhash_check(false)
        .with_transaction_history(0)
        // Signatures are checked before the chain is locked.
        .with_sigverify(false)
});

/// How deep a block is below the tip when it reaches a commitment, and when its blockhash expires.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depths {
    pub(crate) confirmed: u64,
    pub(crate) finalized: u64,
    pub(crate) blockhash: u64,
}

impl Default for Depths {
    fn default() -> Self {
        Self { confirmed: 1, finalized: 31, blockhash: BLOCKHASH_AGE }
    }
}

/// A frozen bank on the chain.
#[derive(Debug)]
struct Block {
    slot: u64,
    height: u64,
    blockhash: Hash,
    signatures: Vec<Signature>,
    frozen_at: Instant,
}

/// Where a transaction landed, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) slot: u64,
    pub(crate) err: Option<TransactionError>,
}

/// What one tick brought.
#[derive(Debug)]
pub(crate) struct Tick {
    /// The bank that froze: the new processed tip.
    pub(crate) frozen: u64,
    /// The slots newly confirmed, ascending.
    pub(crate) confirmed: Vec<u64>,
    /// The newest finalized slot, if it moved; it may have jumped over several.
    pub(crate) finalized: Option<u64>,
    /// The bank that opened.
    pub(crate) opened: u64,
}

/// A transaction that was refused or failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) err: TransactionError,
    pub(crate) logs: Vec<String>,
    /// The slot in which the failure was recorded and the fee charged, if it came so far.
    pub(crate) landed: Option<u64>,
}

pub(crate) struct Chain {
    svm: LiteSVM,
    pub(crate) store: Store,
    blocks: VecDeque<Block>,
    open: u64,
    open_signatures: Vec<Signature>,
    confirmed: u64,
    finalized: u64,
    depths: Depths,
    statuses: HashMap<Signature, Status>,
    /// Blockhash to the height of its block.
    blockhashes: HashMap<Hash, u64>,
    rng: Rng,
    genesis_hash: Hash,
    pub(crate) payer: Keypair,
    pub(crate) clock_frozen: bool,
    pub(crate) clock_behind: i64,
}

impl Chain {
    /// A chain of one frozen bank, slot 0, with slot 1 open.
    pub(crate) fn genesis(seed: u64, depths: Depths, unix_timestamp: i64) -> Self {
        let mut rng = Rng::new(seed);
        let payer = Keypair::new_from_array(rng.bytes());
        let svm = fresh_accounts(&payer);
        Self::from_accounts(svm, payer, rng, depths, unix_timestamp)
    }

    fn from_accounts(
        svm: LiteSVM,
        payer: Keypair,
        mut rng: Rng,
        depths: Depths,
        unix_timestamp: i64,
    ) -> Self {
        let genesis_hash = Hash::new_from_array(rng.bytes());
        let mut store = Store::default();
        for (address, account) in &svm.accounts_db().inner {
            store.write(0, *address, Some(account.clone()));
        }
        let block = Block {
            slot: 0,
            height: 0,
            blockhash: genesis_hash,
            signatures: Vec::new(),
            frozen_at: Instant::now(),
        };
        let mut chain = Self {
            svm,
            store,
            blockhashes: HashMap::from([(block.blockhash, 0)]),
            blocks: VecDeque::from([block]),
            open: 0,
            open_signatures: Vec::new(),
            confirmed: 0,
            finalized: 0,
            depths,
            statuses: HashMap::new(),
            rng,
            genesis_hash,
            payer,
            clock_frozen: false,
            clock_behind: 0,
        };
        chain.write_clock(unix_timestamp);
        chain.open = 1;
        chain.write_clock(unix_timestamp);
        chain
    }

    fn tip(&self) -> &Block {
        self.blocks.back().expect("the chain is never empty")
    }

    /// The slot of the open bank.
    pub(crate) fn open_slot(&self) -> u64 {
        self.open
    }

    pub(crate) fn genesis_hash(&self) -> Hash {
        self.genesis_hash
    }

    /// The newest slot at a commitment.
    pub(crate) fn slot(&self, commitment: CommitmentLevel) -> u64 {
        match commitment {
            CommitmentLevel::Processed => self.tip().slot,
            CommitmentLevel::Confirmed => self.confirmed,
            CommitmentLevel::Finalized => self.finalized,
        }
    }

    fn index(&self, slot: u64) -> usize {
        self.blocks.partition_point(|block| block.slot <= slot).saturating_sub(1)
    }

    /// Whether the slot is of a remembered bank that was not abandoned.
    pub(crate) fn is_on_chain(&self, slot: u64) -> bool {
        self.blocks[self.index(slot)].slot == slot
    }

    /// The slot `blocks` blocks before this one; the oldest known if that is too far.
    pub(crate) fn ancestor(&self, slot: u64, blocks: u64) -> u64 {
        let index = self.index(slot).saturating_sub(blocks as usize);
        self.blocks[index].slot
    }

    /// How many blocks froze less than so long ago.
    pub(crate) fn blocks_younger_than(&self, time: Duration) -> u64 {
        let young = self.blocks.iter().rev().take_while(|block| block.frozen_at.elapsed() < time);
        young.count() as u64
    }

    /// The block height of a slot on the chain.
    pub(crate) fn height(&self, slot: u64) -> u64 {
        self.blocks[self.index(slot)].height
    }

    /// The newest blockhash that the bank of `slot` knows, with the last height at which it is
    /// valid.
    pub(crate) fn blockhash(&self, slot: u64) -> (Hash, u64) {
        let block = &self.blocks[self.index(slot)];
        (block.blockhash, block.height + self.depths.blockhash)
    }

    /// Whether the bank of `slot` would take a transaction with this blockhash.
    pub(crate) fn is_blockhash_valid(&self, blockhash: &Hash, slot: u64) -> bool {
        let height = self.height(slot);
        let age = self.depths.blockhash;
        self.blockhashes.get(blockhash).is_some_and(|of| *of <= height && height <= of + age)
    }

    pub(crate) fn status(&self, signature: &Signature) -> Option<&Status> {
        self.statuses.get(signature)
    }

    pub(crate) fn minimum_balance(&self, space: usize) -> u64 {
        self.svm.minimum_balance_for_rent_exemption(space)
    }

    /// The chain's time as the bank of `slot` tells it.
    pub(crate) fn clock(&self, slot: u64) -> Clock {
        self.store
            .account(slot, &sysvar::clock::ID)
            .and_then(|account| bincode::deserialize(account.data()).ok())
            .unwrap_or_default()
    }

    fn write_clock(&mut self, unix_timestamp: i64) {
        if self.clock_frozen {
            return;
        }
        let clock =
            Clock { slot: self.open, unix_timestamp: unix_timestamp - self.clock_behind, ..Clock::default() };
        self.svm.set_sysvar(&clock);
        self.record(sysvar::clock::ID);
    }

    /// Copies an account of the open bank into the store.
    fn record(&mut self, address: Pubkey) {
        let account = self.svm.accounts_db().get_account(&address);
        self.store.write(self.open, address, account);
    }

    /// The same for an account that a transaction had writable: banks then mark it as exempt from
    /// rent.
    fn record_executed(&mut self, address: Pubkey) {
        let mut account = self.svm.accounts_db().get_account(&address);
        if let Some(account) = &mut account {
            account.set_rent_epoch(u64::MAX);
        }
        self.store.write(self.open, address, account);
    }

    /// Freezes the open bank and opens the next.
    pub(crate) fn tick(&mut self, unix_timestamp: i64) -> Tick {
        let height = self.tip().height + 1;
        let block = Block {
            slot: self.open,
            height,
            blockhash: Hash::new_from_array(self.rng.bytes()),
            signatures: std::mem::take(&mut self.open_signatures),
            frozen_at: Instant::now(),
        };
        self.blockhashes.insert(block.blockhash, height);
        self.blocks.push_back(block);
        if self.blocks.len() > BLOCKS_KEPT {
            self.forget_oldest_block();
        }
        let frozen = self.open;
        self.open += 1;
        self.write_clock(unix_timestamp);
        let before = self.confirmed;
        self.confirmed = before.max(self.ancestor(frozen, self.depths.confirmed));
        let confirmed = self
            .blocks
            .range(self.index(before) + 1..=self.index(self.confirmed))
            .map(|block| block.slot)
            .collect();
        let rooted = self.ancestor(frozen, self.depths.finalized);
        let moved = rooted > self.finalized && height.is_multiple_of(FINALITY_STRIDE);
        let finalized = moved.then_some(rooted);
        self.finalized = finalized.unwrap_or(self.finalized);
        Tick { frozen, confirmed, finalized, opened: self.open }
    }

    fn forget_oldest_block(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.blockhashes.remove(&block.blockhash);
            for signature in block.signatures {
                self.statuses.remove(&signature);
            }
        }
    }

    fn admit(&self, tx: &VersionedTransaction) -> Result<(), TransactionError> {
        let lookups = tx.message.address_table_lookups();
        if lookups.is_some_and(|lookups| !lookups.is_empty()) {
            return Err(TransactionError::UnsupportedVersion);
        }
        let signature = tx.signatures.first().ok_or(TransactionError::SignatureFailure)?;
        if self.statuses.contains_key(signature) {
            return Err(TransactionError::AlreadyProcessed);
        }
        // The open bank is one block above the tip.
        match self.blockhashes.get(tx.message.recent_blockhash()) {
            Some(height) if self.tip().height < height + self.depths.blockhash => Ok(()),
            _ => Err(TransactionError::BlockhashNotFound),
        }
    }

    /// Runs a transaction on the open bank without keeping its effects.
    pub(crate) fn simulate(&self, tx: VersionedTransaction) -> Result<SimulatedTransactionInfo, Failed> {
        self.admit(&tx).map_err(Failed::refused)?;
        self.simulate_unchecked(tx)
    }

    /// The same, whatever its blockhash.
    pub(crate) fn simulate_unchecked(
        &self,
        tx: VersionedTransaction,
    ) -> Result<SimulatedTransactionInfo, Failed> {
        self.svm.simulate_transaction(tx).map_err(|failed| Failed::ran(failed.err, failed.meta.logs, None))
    }

    /// Runs a transaction in the open bank. Its signatures have been checked.
    pub(crate) fn execute(&mut self, tx: VersionedTransaction) -> Result<u64, Failed> {
        self.admit(&tx).map_err(Failed::refused)?;
        let signature = tx.signatures[0];
        let message = &tx.message;
        let writable: Vec<Pubkey> = message
            .static_account_keys()
            .iter()
            .enumerate()
            .filter(|(index, _)| {
                let reserved = None::<&HashSet<Pubkey>>; // They are told apart below.
                message.is_maybe_writable_with_reserved_addresses(*index, reserved)
            })
            .map(|(_, address)| *address)
            .filter(|address| !self.is_reserved(address))
            .collect();
        match self.svm.send_transaction(tx) {
            Ok(_) => {
                // A bank stores every writable account, changed or not, and that counts as a write.
                for address in writable {
                    self.record_executed(address);
                }
                self.note(signature, None);
                Ok(self.open)
            }
            // A transaction that never ran leaves no trace; one that failed while running has paid
            // its fee.
            Err(failed) if failed.meta.signature == Signature::default() => {
                Err(Failed::ran(failed.err, failed.meta.logs, None))
            }
            Err(failed) => {
                self.record_executed(writable[0]);
                self.note(signature, Some(failed.err.clone()));
                Err(Failed::ran(failed.err, failed.meta.logs, Some(self.open)))
            }
        }
    }

    fn is_reserved(&self, address: &Pubkey) -> bool {
        let account = self.svm.accounts_db().get_account_ref(address);
        account.is_some_and(|a| a.executable() || a.owner() == &sysvar::ID)
    }

    fn note(&mut self, signature: Signature, err: Option<TransactionError>) {
        let slot = self.open;
        self.open_signatures.push(signature);
        self.statuses.insert(signature, Status { slot, err });
    }

    /// Writes an account in the open bank.
    pub(crate) fn set_account(&mut self, address: Pubkey, account: AccountSharedData) -> Result<u64, String> {
        self.svm.set_account(address, account.into()).map_err(|error| error.to_string())?;
        self.record(address);
        Ok(self.open)
    }

    /// Abandons the newest `blocks` unconfirmed blocks and what the open bank holds, and goes on
    /// from their parent. Returns the abandoned slots, ascending. The slot of the open bank stays.
    pub(crate) fn revert(&mut self, blocks: u64, unix_timestamp: i64) -> Vec<u64> {
        let mut abandoned = Vec::new();
        let mut dropped = std::mem::take(&mut self.open_signatures);
        while (abandoned.len() as u64) < blocks && self.tip().slot > self.confirmed {
            if let Some(block) = self.blocks.pop_back() {
                self.blockhashes.remove(&block.blockhash);
                dropped.extend(block.signatures);
                abandoned.insert(0, block.slot);
            }
        }
        self.restore(self.tip().slot, dropped);
        self.write_clock(unix_timestamp);
        abandoned
    }

    /// Forgets what was written after `root`, and these transactions.
    fn restore(&mut self, root: u64, dropped: Vec<Signature>) {
        for signature in dropped {
            self.statuses.remove(&signature);
        }
        for address in self.store.truncate_above(root) {
            let account = self.store.account(root, &address).cloned();
            // No lamports: the SVM removes the account.
            let account = account.unwrap_or_default();
            self.svm.set_account(address, account.into()).expect("the state was valid before");
        }
    }
}

/// Starting over.
impl Chain {
    /// Begins another chain, with the same payer.
    pub(crate) fn begin_anew(&mut self, accounts: Accounts, unix_timestamp: i64) {
        let svm = match accounts {
            Accounts::Keep => self.svm.clone(),
            Accounts::Fresh => fresh_accounts(&self.payer),
        };
        let (payer, rng) = (self.payer.insecure_clone(), self.rng.clone());
        let (clock_frozen, clock_behind) = (self.clock_frozen, self.clock_behind);
        *self = Self::from_accounts(svm, payer, rng, self.depths, unix_timestamp - clock_behind);
        (self.clock_frozen, self.clock_behind) = (clock_frozen, clock_behind);
    }

    /// Goes back to the newest remembered bank that is at least so many slots below the tip, which
    /// becomes the root, and returns its slot.
    pub(crate) fn roll_back(&mut self, slots: u64, unix_timestamp: i64) -> u64 {
        let kept = self.index(self.tip().slot.saturating_sub(slots)) + 1;
        let mut dropped = std::mem::take(&mut self.open_signatures);
        for block in self.blocks.drain(kept..) {
            self.blockhashes.remove(&block.blockhash);
            dropped.extend(block.signatures);
        }
        let root = self.tip().slot;
        (self.confirmed, self.finalized, self.open) = (root, root, root + 1);
        self.restore(root, dropped);
        self.write_clock(unix_timestamp);
        root
    }
}

/// Programs, sysvars and a funded payer.
fn fresh_accounts(payer: &Keypair) -> LiteSVM {
    let mut svm = GENESIS.clone();
    let funds = AccountSharedData::new(PAYER_LAMPORTS, 0, &system_program::id());
    svm.set_account(payer.pubkey(), funds.into()).expect("a system account is always valid");
    svm
}

impl Failed {
    fn refused(err: TransactionError) -> Self {
        Self::ran(err, Vec::new(), None)
    }

    fn ran(err: TransactionError, logs: Vec<String>, landed: Option<u64>) -> Self {
        Self { err, logs, landed }
    }
}
