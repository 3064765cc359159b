//! The trading code: this is the part to copy. The other files are its stage.
//!
//! 1. The bot expects a buy before it sends it. So it knows what the account held before, and needs
//!    no sleeping or polling afterwards.
//! 2. The bot holds tokens before it sells them: no two strategies sell the same tokens.
//! 3. A hold becomes a sell in flight before the bot sends the sell. From then on its tokens become
//!    free only by what the chain shows, whatever happens to the connection, to RPC, or to this
//!    process's tasks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use balance_mirror::{
    BuyError, ExpectedBuy, HoldError, Mirror, Position, Pubkey, ReadError, Reading, SellOutcome, ServedFrom,
    SettleError, SettledBuy, Signature, Unsellable, WaitError,
};
use localnet::{Hash, Instruction, Keypair, Signer};
use solana_client::{
    client_error::ClientError, nonblocking::rpc_client::RpcClient, rpc_config::RpcSendTransactionConfig,
};
use solana_commitment_config::CommitmentConfig;
use solana_transaction::Transaction;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

/// How long to wait for a sell's outcome: longer than a transaction can live.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often to fetch the newest blockhash, so that no trade waits for one.
const BLOCKHASH_EVERY: Duration = Duration::from_millis(500);

/// A swap, as a router or a program's own crate returns it.
pub(crate) struct Swap {
    pub(crate) instructions: Vec<Instruction>,
    /// The signer besides the wallet.
    pub(crate) signers: Vec<Arc<Keypair>>,
}

/// A market to swap on.
pub(crate) trait Venue {
    /// A swap of SOL for `raw` units of a token, and the least that arrives: a Token-2022 transfer
    /// fee is withheld from what is sent.
    fn buy(&self, wallet: &Pubkey, mint: &Pubkey, amount: u64) -> (Swap, u64);
    /// A swap of raw units of a token for SOL.
    fn sell(&self, position: &Position, amount: u64) -> Swap;
}

/// A buy whose tokens have arrived and can be sold.
pub(crate) struct Bought {
    pub(crate) position: Position,
    pub(crate) settled: SettledBuy,
    /// The time from the send until the tokens arrived.
    pub(crate) took: Duration,
}

/// Why a buy brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotBought {
    #[error("it was not sent")]
    NotExpected(#[from] BuyError),
    #[error("it was not sent")]
    NoBlockhash(#[from] NoBlockhash),
    #[error(transparent)]
    NotSettled(#[from] SettleError),
}

/// A sell that was sent, and how it ended.
pub(crate) struct Sale {
    /// The balance that the decision to sell was based on.
    pub(crate) reading: Reading,
    pub(crate) served_from: ServedFrom,
    pub(crate) amount: u64,
    pub(crate) signature: Signature,
    pub(crate) outcome: SellOutcome,
    /// The time from the decision to sell until the tokens are held, ready to sign: what a balance
    /// costs on the sell path.
    pub(crate) held: Duration,
    /// The time from the decision to sell until the sell's outcome is known.
    pub(crate) took: Duration,
}

/// Why the bot sold nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSold {
    #[error("the balance is not known")]
    Unread(#[from] ReadError),
    #[error(transparent)]
    Unsellable(#[from] Unsellable),
    #[error(transparent)]
    NotHeld(#[from] HoldError),
    #[error("it was not sent")]
    NoBlockhash(#[from] NoBlockhash),
    /// The mirror still follows the sell: its tokens are not available until its outcome is known.
    #[error("its end is not known yet")]
    Pending(#[from] WaitError),
}

/// RPC has not returned a blockhash yet.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no blockhash is known yet")]
pub(crate) struct NoBlockhash;

/// How much of the available tokens to sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    Half,
    Third,
}

/// A wallet that trades. Strategies share one.
pub(crate) struct Trader<V> {
    pub(crate) mirror: Mirror,
    pub(crate) venue: V,
    rpc: Arc<RpcClient>,
    wallet: Keypair,
    /// The newest blockhash, and the last block height at which a transaction with it can land.
    blockhash: watch::Receiver<Option<(Hash, u64)>>,
    fetcher: JoinHandle<()>,
    sent: AtomicU64,
}

impl<V> Drop for Trader<V> {
    fn drop(&mut self) {
        self.fetcher.abort();
    }
}

impl<V: Venue> Trader<V> {
    pub(crate) fn new(mirror: Mirror, rpc: Arc<RpcClient>, wallet: Keypair, venue: V) -> Self {
        let (fetched, blockhash) = watch::channel(None);
        let fetcher = tokio::spawn(fetch_blockhashes(rpc.clone(), fetched));
        Self { mirror, venue, rpc, wallet, blockhash, fetcher, sent: AtomicU64::new(1) }
    }

    pub(crate) fn wallet(&self) -> Pubkey {
        self.wallet.pubkey()
    }

    /// Buys, and returns when the tokens have arrived.
    pub(crate) async fn buy(&self, mint: &Pubkey, amount: u64) -> Result<Bought, NotBought> {
        // Before the send: the account is subscribed, and what it holds without this buy is known.
        let position = self.mirror.expect_buy(&self.wallet(), mint, None).await?;
        let (swap, at_least) = self.venue.buy(&self.wallet(), mint, amount);
        let (transaction, last_valid) = self.sign(&swap)?;
        let sent = Instant::now();
        self.send(&transaction).await;
        let buy =
            ExpectedBuy::at_least(at_least).signature(transaction.signatures[0]).valid_until(last_valid);
        let settled = position.settled(buy).await?;
        Ok(Bought { position, settled, took: sent.elapsed() })
    }

    /// Sells a share of the available tokens, and returns when the sell's outcome is known.
    pub(crate) async fn sell(&self, position: &Position, share: Share) -> Result<Sale, NotSold> {
        let began = Instant::now();
        // Hold from memory: tokens that others hold or sell are not available, and the error names
        // what keeps the token from being sold. Only if memory is too old (the link has been down
        // for long), ask RPC and wait.
        let (sellable, served_from) = match position.sellable() {
            Err(Unsellable::Stale(_)) => {
                let balance = position.balance().await?;
                (position.sellable()?, balance.served_from)
            }
            told => (told?, ServedFrom::Cache),
        };
        let hold = match share {
            Share::All => position.hold_all()?,
            Share::Half => position.hold(sellable.amount.div_ceil(2))?,
            Share::Third => position.hold(sellable.amount.div_ceil(3))?,
        };
        let held = began.elapsed();
        // For the ledger: what was known, and as of which slot.
        let reading = position.reader().read();
        let swap = self.venue.sell(position, hold.amount());
        let (transaction, last_valid) = self.sign(&swap)?;
        let flight = hold.sending(transaction.signatures[0], last_valid);
        self.send(&transaction).await;
        // A bot that confirms its sells itself calls `flight.landed(Floor::confirmed(slot))`. Here
        // the mirror finds the outcome.
        let outcome = flight.outcome(PATIENCE).await?;
        let (amount, signature) = (flight.amount(), flight.signature());
        Ok(Sale { reading, served_from, amount, signature, outcome, held, took: began.elapsed() })
    }

    fn sign(&self, swap: &Swap) -> Result<(Transaction, u64), NoBlockhash> {
        let (blockhash, last_valid) = self.blockhash.borrow().ok_or(NoBlockhash)?;
        // Two equal transactions with one blockhash would be the same transaction. Their priority
        // fees make them differ.
        let mut instructions = vec![priority_fee(self.sent.fetch_add(1, Relaxed))];
        instructions.extend_from_slice(&swap.instructions);
        let mut signers: Vec<&Keypair> = vec![&self.wallet];
        signers.extend(swap.signers.iter().map(|signer| &**signer));
        let payer = self.wallet();
        let transaction =
            Transaction::new_signed_with_payer(&instructions, Some(&payer), &signers, blockhash);
        Ok((transaction, last_valid))
    }

    /// Sends without a preflight, which would cost a round trip. A send that fails may still have
    /// reached a leader. Only the chain shows the outcome, so the error is only logged.
    async fn send(&self, transaction: &Transaction) {
        let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
        let sent: Result<_, ClientError> = self.rpc.send_transaction_with_config(transaction, config).await;
        if let Err(error) = sent {
            // The error's text may contain the URL with its key, so log only its kind.
            tracing::warn!(kind = kind(&error), "a transaction may not have been sent");
        }
    }
}

/// The instruction that offers this many micro-lamports for each compute unit.
fn priority_fee(micro_lamports: u64) -> Instruction {
    let program = Pubkey::from_str_const("ComputeBudget111111111111111111111111111111");
    let mut data = vec![3];
    data.extend(micro_lamports.to_le_bytes());
    Instruction { program_id: program, accounts: Vec::new(), data }
}

async fn fetch_blockhashes(rpc: Arc<RpcClient>, fetched: watch::Sender<Option<(Hash, u64)>>) {
    let mut ticks = tokio::time::interval(BLOCKHASH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let newest = rpc.get_latest_blockhash_with_commitment(CommitmentConfig::confirmed()).await;
        // While RPC is down, keep the last blockhash: it is valid for 150 blocks.
        if let Ok(newest) = newest {
            fetched.send_replace(Some(newest));
        }
    }
}

fn kind(error: &ClientError) -> &'static str {
    use solana_client::client_error::ClientErrorKind;
    match error.kind() {
        ClientErrorKind::RpcError(_) => "the node answers with an error",
        ClientErrorKind::Reqwest(_) | ClientErrorKind::Io(_) => "the node cannot be reached",
        _ => "the client failed",
    }
}
