//! The trading: what to copy. The other files are its stage.
//!
//! 1. A buy is expected before it is sent. So what was there before it is known, and nobody sleeps or polls after it.
//! 2. What is to be sold is held first: no two strategies sell the same tokens.
//! 3. A hold becomes a sell in flight before the sell is sent. From then on its tokens are free only when the chain says
//!    so, whatever happens to the connection, to RPC, or to this process's tasks.

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

/// How long the end of a sell is waited for: longer than a transaction can live.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the newest blockhash is fetched, so that no trade waits for one.
const BLOCKHASH_EVERY: Duration = Duration::from_millis(500);

/// A swap, as a router or a program's own crate gives it.
pub(crate) struct Swap {
    pub(crate) instructions: Vec<Instruction>,
    /// Who signs beside the wallet.
    pub(crate) signers: Vec<Arc<Keypair>>,
}

/// Where to swap.
pub(crate) trait Venue {
    /// A swap of SOL for so many raw units of a token, and how many arrive at the least: a Token-2022 transfer fee is
    /// kept from what is sent.
    fn buy(&self, wallet: &Pubkey, mint: &Pubkey, amount: u64) -> (Swap, u64);
    /// A swap of so many raw units for SOL.
    fn sell(&self, position: &Position, amount: u64) -> Swap;
}

/// A buy whose tokens are there to be sold.
pub(crate) struct Bought {
    pub(crate) position: Position,
    pub(crate) settled: SettledBuy,
    /// From the send to the tokens.
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
    /// What was known when it was decided.
    pub(crate) reading: Reading,
    pub(crate) served_from: ServedFrom,
    pub(crate) amount: u64,
    pub(crate) signature: Signature,
    pub(crate) outcome: SellOutcome,
    /// From the wish to sell to the tokens held, to be signed for: what a balance costs on the sell path.
    pub(crate) held: Duration,
    /// From the wish to sell to the sell's end.
    pub(crate) took: Duration,
}

/// Why nothing was sold.
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
    /// The mirror looks after its tokens all the same: they are not available until its end is known.
    #[error("its end is not known yet")]
    Pending(#[from] WaitError),
}

/// RPC has not told a blockhash yet.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no blockhash is known yet")]
pub(crate) struct NoBlockhash;

/// How much of what is available to sell.
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

    /// Buys, and resolves when the tokens are there.
    pub(crate) async fn buy(&self, mint: &Pubkey, amount: u64) -> Result<Bought, NotBought> {
        // Before the send: subscribed, and what the account holds without this buy is known.
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

    /// Sells a share of what is available, and resolves when the sell's end is known.
    pub(crate) async fn sell(&self, position: &Position, share: Share) -> Result<Sale, NotSold> {
        let began = Instant::now();
        // From memory: what others hold or sell is not available, and what the token forbids is told by name. Only where
        // memory is too old (the link has been down for long) RPC is asked, and waited for.
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
        // For the books: what was known, as of which slot.
        let reading = position.reader().read();
        let swap = self.venue.sell(position, hold.amount());
        let (transaction, last_valid) = self.sign(&swap)?;
        let flight = hold.sending(transaction.signatures[0], last_valid);
        self.send(&transaction).await;
        // A bot that confirms its sells itself says `flight.landed(Floor::confirmed(slot))`: here the mirror finds out.
        let outcome = flight.outcome(PATIENCE).await?;
        let (amount, signature) = (flight.amount(), flight.signature());
        Ok(Sale { reading, served_from, amount, signature, outcome, held, took: began.elapsed() })
    }

    fn sign(&self, swap: &Swap) -> Result<(Transaction, u64), NoBlockhash> {
        let (blockhash, last_valid) = self.blockhash.borrow().ok_or(NoBlockhash)?;
        // Two transactions alike, with one blockhash, would be one. Their priority fees tell them apart.
        let mut instructions = vec![priority_fee(self.sent.fetch_add(1, Relaxed))];
        instructions.extend_from_slice(&swap.instructions);
        let mut signers: Vec<&Keypair> = vec![&self.wallet];
        signers.extend(swap.signers.iter().map(|signer| &**signer));
        let payer = self.wallet();
        let transaction =
            Transaction::new_signed_with_payer(&instructions, Some(&payer), &signers, blockhash);
        Ok((transaction, last_valid))
    }

    /// Sends without a preflight, which would cost a round trip. A send that fails may have left all the same: what
    /// became of it is for the chain to say, and so its error is for the log alone.
    async fn send(&self, transaction: &Transaction) {
        let config = RpcSendTransactionConfig { skip_preflight: true, ..RpcSendTransactionConfig::default() };
        let sent: Result<_, ClientError> = self.rpc.send_transaction_with_config(transaction, config).await;
        if let Err(error) = sent {
            // Its text may hold the URL, key and all.
            tracing::warn!(kind = kind(&error), "a transaction may not have been sent");
        }
    }
}

/// The instruction that offers so many micro-lamports for each compute unit.
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
        // While RPC is down the last one serves: it is good for 150 blocks.
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
