//! The stage: a cluster in this process, a market maker to swap with, and the faults.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use balance_mirror::{Position, Pubkey, TokenProgram};
use base64::{Engine, prelude::BASE64_STANDARD};
use localnet::{
    CommitmentConfig, Keypair, Localnet, SendError, Signer,
    tokens::{self, Extension},
};
use serde_json::Value;
use solana_client::{
    client_error,
    nonblocking::rpc_client::RpcClient,
    rpc_client::RpcClientConfig,
    rpc_request::RpcRequest,
    rpc_sender::{RpcSender, RpcTransportStats},
};
use solana_rpc_client::http_sender::HttpSender;
use solana_system_interface::instruction::transfer;
use tokio::time::sleep;

use crate::{
    ledger::Ledger,
    trade::{Swap, Venue},
};

/// The slot time is an eighth of mainnet's, so that the loss of a transaction is proved within some
/// eight seconds.
const SLOT: Duration = Duration::from_millis(50);
/// One of this many sends is lost.
const LOSES: u64 = 20;
/// One of this many sells fails on chain: the maker cannot pay.
const FAILS: u64 = 9;
/// The price: raw units for a lamport.
const PRICE: u64 = 1_000;
const SOL: u64 = 1_000_000_000;

pub(crate) struct Token {
    pub(crate) symbol: &'static str,
    pub(crate) program: TokenProgram,
    /// The transfer fee withheld from each transfer, in hundredths of a percent.
    fee: u16,
    mint: Keypair,
}

impl Token {
    pub(crate) fn mint(&self) -> Pubkey {
        self.mint.pubkey()
    }

    fn ata(&self, wallet: &Pubkey) -> Pubkey {
        self.program.associated_account(wallet, &self.mint())
    }
}

const DECIMALS: u8 = 6;

/// See the module.
pub(crate) struct Stage {
    pub(crate) net: Arc<Localnet>,
    /// The strategies do not buy the last one: it arrives unrequested.
    pub(crate) tokens: Arc<[Token; 5]>,
    maker: Arc<Keypair>,
}

impl Stage {
    /// Starts the cluster, and opens the market.
    pub(crate) fn open(wallet: &Pubkey) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let net = Localnet::builder().slot_time(SLOT).start()?;
        let token = |symbol, program, fee| Token { symbol, program, fee, mint: Keypair::new() };
        let tokens = [
            token("BONK", TokenProgram::Token, 0),
            token("WIF", TokenProgram::Token, 0),
            token("PUMP", TokenProgram::Token2022, 0),
            token("TAX", TokenProgram::Token2022, 200),
            token("GIFT", TokenProgram::Token, 0),
        ];
        let stage = Self { net: Arc::new(net), tokens: Arc::new(tokens), maker: Arc::new(Keypair::new()) };
        let (bank, maker) = (stage.net.payer().pubkey(), stage.maker.pubkey());
        stage.net.send(&[transfer(&bank, &maker, 1_000 * SOL), transfer(&bank, wallet, 1_000 * SOL)], &[])?;
        for token in &*stage.tokens {
            let (program, mint) = (token.program.id(), token.mint());
            let fee = [Extension::TransferFee { basis_points: token.fee, maximum: u64::MAX }];
            let extensions = if token.fee > 0 { &fee[..] } else { &[] };
            let mut create =
                tokens::create_mint(&program, &bank, &mint, DECIMALS, &bank, Some(&bank), extensions);
            create.push(tokens::create_ata(&program, &bank, &maker, &mint));
            create.push(tokens::mint_to(&program, &mint, &token.ata(&maker), &bank, u64::MAX / 4));
            stage.net.send(&create, &[&token.mint])?;
        }
        // The wallet holds something from an earlier run.
        stage.give(&stage.tokens[1], wallet)?;
        // Wait until it is confirmed, so that a caller that asks now finds it.
        stage.net.advance(3);
        Ok(stage)
    }

    fn give(&self, token: &Token, wallet: &Pubkey) -> Result<(), SendError> {
        let (program, mint, bank) = (token.program.id(), token.mint(), self.net.payer().pubkey());
        let account = token.ata(wallet);
        let create = tokens::create_ata(&program, &bank, wallet, &mint);
        self.net.send(&[create, tokens::mint_to(&program, &mint, &account, &bank, 77_000_000)], &[])?;
        Ok(())
    }

    pub(crate) fn market(&self) -> Market {
        Market { tokens: self.tokens.clone(), maker: self.maker.clone(), sells: AtomicU64::new(0) }
    }

    pub(crate) fn symbols(&self) -> HashMap<Pubkey, &'static str> {
        self.tokens.iter().map(|token| (token.mint(), token.symbol)).collect()
    }

    /// What a token account held at the end of a slot, by the chain's own history.
    pub(crate) fn held(&self, account: &Pubkey, slot: u64) -> u64 {
        let history = self.net.history(account);
        let state = history.iter().rev().find(|(written, _)| *written <= slot);
        let data = state.and_then(|(_, account)| account.as_ref()).map(|account| &account.data);
        let amount = data.and_then(|data| data.get(64..72)?.try_into().ok());
        amount.map_or(0, u64::from_le_bytes)
    }

    /// Plays the faults in the course of a run of this length.
    pub(crate) async fn trouble(&self, wallet: &Pubkey, length: Duration, ledger: &Ledger) {
        let part = |share: f64| length.mul_f64(share);
        let faults = self.net.faults();
        sleep(part(0.15)).await;
        ledger.note("fault", "the connection is cut, and no new one is let in");
        faults.refuse_connections(503, None, None);
        faults.cut_with_reset();
        sleep(part(0.15)).await;
        self.over(ledger);
        sleep(part(0.05)).await;
        ledger.note("market", "a stranger sends the wallet a token that it never bought");
        self.tell(ledger, self.give(&self.tokens[4], wallet));
        sleep(part(0.10)).await;
        ledger.note("fault", "RPC is down, and with it every send");
        faults.rpc_down(true);
        sleep(part(0.10)).await;
        self.over(ledger);
        sleep(part(0.05)).await;
        ledger.note("market", "the wallet's accounts that hold something are frozen");
        let bank = self.net.payer().pubkey();
        let frozen: Vec<(Pubkey, Pubkey, Pubkey)> = self
            .tokens
            .iter()
            .map(|token| (token.program.id(), token.ata(wallet), token.mint()))
            .filter(|(_, account, _)| self.held(account, u64::MAX) > 0)
            .collect();
        for (program, account, mint) in &frozen {
            self.tell(
                ledger,
                self.net.send(&[tokens::freeze(program, account, mint, &bank)], &[]).map(|_| ()),
            );
        }
        sleep(part(0.10)).await;
        ledger.note("market", "and thawed");
        for (program, account, mint) in &frozen {
            self.tell(ledger, self.net.send(&[tokens::thaw(program, account, mint, &bank)], &[]).map(|_| ()));
        }
        sleep(part(0.05)).await;
        ledger.note("fault", "RPC falls 20 slots behind, and the connection is cut once");
        faults.hold_rpc(20);
        faults.cut_with_close_frame();
        sleep(part(0.15)).await;
        self.over(ledger);
        std::future::pending().await
    }

    fn over(&self, ledger: &Ledger) {
        self.net.faults().clear();
        ledger.note("fault", "over");
    }

    fn tell(&self, ledger: &Ledger, sent: Result<(), SendError>) {
        if let Err(error) = sent {
            ledger.note("market", &format!("it did not come to be: {error}"));
        }
    }

    /// A bot's RPC client that loses a transaction now and then on the way to the node.
    pub(crate) fn client(&self) -> Arc<RpcClient> {
        let sender = Lossy { inner: HttpSender::new(self.net.rpc_url()), sent: AtomicU64::new(0) };
        let config = RpcClientConfig::with_commitment(CommitmentConfig::confirmed());
        Arc::new(RpcClient::new_sender(sender, config))
    }
}

/// A maker that takes any amount at a fixed price, and signs its side.
pub(crate) struct Market {
    tokens: Arc<[Token; 5]>,
    maker: Arc<Keypair>,
    sells: AtomicU64,
}

impl Market {
    pub(crate) fn tokens(&self) -> &[Token; 5] {
        &self.tokens
    }

    fn token(&self, mint: &Pubkey) -> Option<&Token> {
        self.tokens.iter().find(|token| token.mint() == *mint)
    }
}

impl Venue for Market {
    fn buy(&self, wallet: &Pubkey, mint: &Pubkey, amount: u64) -> (Swap, u64) {
        let maker = self.maker.pubkey();
        let mut instructions = vec![transfer(wallet, &maker, amount / PRICE)];
        let mut at_least = 0;
        if let Some(token) = self.token(mint) {
            let (program, from, to) = (token.program.id(), token.ata(&maker), token.ata(wallet));
            instructions.push(tokens::create_ata(&program, wallet, wallet, mint));
            instructions.push(tokens::transfer_checked(&program, &from, mint, &to, &maker, amount, DECIMALS));
            at_least = amount - (amount * u64::from(token.fee)).div_ceil(10_000);
        }
        (Swap { instructions, signers: vec![self.maker.clone()] }, at_least)
    }

    fn sell(&self, position: &Position, amount: u64) -> Swap {
        let (maker, wallet, mint) = (self.maker.pubkey(), position.wallet(), position.mint());
        let program = position.program();
        let to = program.associated_account(&maker, &mint);
        let fails = self.sells.fetch_add(1, Relaxed) % FAILS == FAILS - 1;
        let price = if fails { 1_000_000 * SOL } else { amount / PRICE };
        let instructions = vec![
            tokens::transfer_checked(
                &program.id(),
                &position.address(),
                &mint,
                &to,
                &wallet,
                amount,
                DECIMALS,
            ),
            transfer(&maker, &wallet, price),
        ];
        Swap { instructions, signers: vec![self.maker.clone()] }
    }
}

/// Accepts transactions, and drops one now and then.
struct Lossy {
    inner: HttpSender,
    sent: AtomicU64,
}

#[async_trait]
impl RpcSender for Lossy {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        if request == RpcRequest::SendTransaction
            && self.sent.fetch_add(1, Relaxed) % LOSES == LOSES - 1
            && let Some(signature) = signature(&params)
        {
            return Ok(signature.into());
        }
        self.inner.send(request, params).await
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        self.inner.get_transport_stats()
    }

    fn url(&self) -> String {
        self.inner.url()
    }
}

/// The first signature of the transaction being sent.
fn signature(params: &Value) -> Option<String> {
    let transaction = BASE64_STANDARD.decode(params[0].as_str()?).ok()?;
    // The signatures come after their count, which takes one byte.
    Some(bs58::encode(transaction.get(1..65)?).into_string())
}
