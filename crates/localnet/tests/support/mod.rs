//! What the tests share: a fast cluster, Solana's own clients, and waiting with a deadline.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]

pub mod raw;

use std::{future::Future, time::Duration};

use futures_util::{Stream, StreamExt};
use localnet::{Account, Builder, CommitmentConfig, Keypair, Localnet, Node, Pubkey, Signer, tokens};
use solana_client::{
    nonblocking::{pubsub_client::PubsubClient, rpc_client::RpcClient},
    rpc_config::{RpcAccountInfoConfig, UiAccountEncoding},
    rpc_response::{Response, UiAccount},
};

/// The deadline of everything that is waited for.
pub const SOON: Duration = Duration::from_secs(30);
/// How long nothing must come to call it silence; some tens of slots.
pub const A_WHILE: Duration = Duration::from_millis(150);

pub const PROCESSED: CommitmentConfig = CommitmentConfig::processed();
pub const CONFIRMED: CommitmentConfig = CommitmentConfig::confirmed();
pub const FINALIZED: CommitmentConfig = CommitmentConfig::finalized();

pub const CLOCK: Pubkey = solana_sdk_ids::sysvar::clock::ID;

/// A cluster with slots of 5 ms.
pub fn fast() -> Builder {
    Localnet::builder().slot_time(Duration::from_millis(5))
}

/// A cluster whose slots come from `advance` alone.
pub fn stepped() -> Localnet {
    fast().paused().start().unwrap()
}

/// Writes an account and ends the slot.
pub fn write(net: &Localnet, account: u8, n: u64) -> u64 {
    net.set_account(&address(account), lamports(n));
    net.advance(1)
}

/// A connection that has subscribed the accounts at processed.
pub async fn subscribed(net: &Localnet, accounts: &[u8]) -> raw::Raw {
    let mut raw = raw::Raw::connect(net).await;
    for account in accounts {
        raw.subscribe(&address(*account), "processed").await;
    }
    raw
}

pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(SOON, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Whether the stream stays silent for a while.
pub async fn silent<S: Stream + Unpin>(stream: &mut S) -> bool {
    tokio::time::timeout(A_WHILE, stream.next()).await.is_err()
}

pub async fn until(net: &Localnet, what: &str, holds: impl Fn(&Localnet) -> bool) {
    let check = async {
        while !holds(net) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(what, check).await;
}

/// The faces of a cluster's first node, or of a further one.
pub trait Urls {
    fn rpc(&self) -> String;
    fn ws(&self) -> String;
}

impl Urls for Localnet {
    fn rpc(&self) -> String {
        self.rpc_url()
    }

    fn ws(&self) -> String {
        self.ws_url()
    }
}

impl Urls for Node {
    fn rpc(&self) -> String {
        self.rpc_url()
    }

    fn ws(&self) -> String {
        self.ws_url()
    }
}

pub fn rpc(net: &impl Urls) -> RpcClient {
    RpcClient::new_with_commitment(net.rpc(), CONFIRMED)
}

pub async fn pubsub(net: &impl Urls) -> PubsubClient {
    soon("a connection", PubsubClient::new(net.ws())).await.unwrap()
}

pub fn base64(commitment: CommitmentConfig) -> RpcAccountInfoConfig {
    RpcAccountInfoConfig {
        encoding: Some(UiAccountEncoding::Base64),
        commitment: Some(commitment),
        ..RpcAccountInfoConfig::default()
    }
}

/// A system account of so many lamports.
pub fn lamports(lamports: u64) -> Account {
    Account { lamports, ..Account::default() }
}

pub fn address(n: u8) -> Pubkey {
    Pubkey::from([n; 32])
}

/// A mint with a token account of the payer, who holds all authorities.
pub struct Token {
    pub program: Pubkey,
    pub mint: Pubkey,
    pub ata: Pubkey,
}

pub fn token(net: &Localnet, program: Pubkey, extensions: &[tokens::Extension]) -> Token {
    let (owner, mint) = (net.payer().pubkey(), Keypair::new());
    let address = mint.pubkey();
    let mut instructions =
        tokens::create_mint(&program, &owner, &address, 6, &owner, Some(&owner), extensions);
    instructions.push(tokens::create_ata(&program, &owner, &owner, &address));
    net.send(&instructions, &[&mint]).unwrap();
    Token { program, mint: address, ata: tokens::ata(&program, &owner, &address) }
}

impl Token {
    pub fn mint(&self, net: &Localnet, amount: u64) -> u64 {
        let owner = net.payer().pubkey();
        let mint = tokens::mint_to(&self.program, &self.mint, &self.ata, &owner, amount);
        net.send(&[mint], &[]).unwrap().slot
    }
}

/// The amount in a token account.
pub fn amount(account: &Account) -> u64 {
    u64::from_le_bytes(account.data[64..72].try_into().unwrap())
}

pub fn ui_amount(update: &Response<UiAccount>) -> u64 {
    amount(&update.value.to_account().unwrap())
}

/// JSON-RPC without a client in between.
pub struct Http {
    client: reqwest::Client,
    url: String,
}

impl Http {
    pub fn new(net: &impl Urls) -> Self {
        Self { client: reqwest::Client::new(), url: net.rpc() }
    }

    pub async fn send(&self, body: String) -> reqwest::Result<reqwest::Response> {
        soon("an answer", self.client.post(&self.url).body(body).send()).await
    }

    pub async fn post(&self, body: String) -> serde_json::Value {
        let text = self.send(body).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub async fn call(&self, method: &str, params: serde_json::Value) -> serde_json::Value {
        let request = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.post(request.to_string()).await
    }
}
