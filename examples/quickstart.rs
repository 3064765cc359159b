//! The crate on one screen: expect a buy, wait for its tokens, read them, hold them, sell them.
//! `cargo run --example quickstart` needs no node: it starts a Solana cluster in the process.

use std::time::Duration;

use balance_mirror::{ExpectedBuy, Mirror, Position, Pubkey, SellOutcome};
use localnet::{CommitmentConfig, Instruction, Keypair, Localnet, Signer, tokens};
use solana_client::{nonblocking::rpc_client::RpcClient, rpc_config::RpcSendTransactionConfig};
use solana_transaction::Transaction;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    // A token on a local cluster, whose payer is the wallet. A bot has a wallet, a mint and a node.
    let (net, mint) = (Localnet::start()?, Keypair::new());
    let (wallet, token) = (net.payer().pubkey(), mint.pubkey());
    net.send(&tokens::create_mint(&tokens::TOKEN, &wallet, &token, 6, &wallet, None, &[]), &[&mint])?;
    net.advance(2); // two slots: now it is confirmed
    let mirror = Mirror::builder(net.rpc_url()).start()?;
    let rpc = RpcClient::new_with_commitment(net.rpc_url(), CommitmentConfig::confirmed());
    trade(&mirror, &rpc, net.payer(), &token).await?;
    mirror.shutdown().await;
    Ok(())
}

async fn trade(mirror: &Mirror, rpc: &RpcClient, wallet: &Keypair, mint: &Pubkey) -> Result<()> {
    // Before the buy is sent: subscribe its token account, and note what that holds already.
    let position = mirror.expect_buy(&wallet.pubkey(), mint, None).await?;

    // Buy. `settled` returns as soon as the tokens are there, or says why they will not come.
    let (buy, last_valid) = sign(rpc, wallet, &buy(&position, 1_000_000)).await?;
    send(rpc, &buy).await;
    let expected = ExpectedBuy::at_least(1_000_000).signature(buy.signatures[0]).valid_until(last_valid);
    let settled = position.settled(expected).await?;
    println!("bought {} in {:?}, seen by {:?}", settled.received, settled.took, settled.through);

    // The sell path: memory, if it was proved within the last 30 s; else RPC.
    let balance = position.balance().await?;
    println!("{} to sell, read from {:?}", position.sellable()?.amount, balance.served_from);

    // Hold what is to be sold: no other strategy gets it. Tell the mirror before the sell is sent.
    let hold = position.hold_all()?;
    let (sell, last_valid) = sign(rpc, wallet, &sell(&position, hold.amount())).await?;
    let in_flight = hold.sending(sell.signatures[0], last_valid);
    send(rpc, &sell).await;
    match in_flight.outcome(Duration::from_secs(90)).await? {
        SellOutcome::Landed { slot } => println!("sold {}, landed at slot {slot}", in_flight.amount()),
        other => return Err(format!("the sell did not land: {other:?}").into()),
    }
    Ok(())
}

/// Sends without a preflight. An error here proves nothing, for the transaction may land all the
/// same: `settled` and `outcome` say how it ended. (A sell that was surely refused before it left
/// is `not_sent`.)
async fn send(rpc: &RpcClient, transaction: &Transaction) {
    let config = RpcSendTransactionConfig { skip_preflight: true, ..Default::default() };
    if rpc.send_transaction_with_config(transaction, config).await.is_err() {
        // Without the error: its text may hold the URL and its key.
        eprintln!("a transaction may not have been sent");
    }
}

/// Signs a transaction, and returns the last block height at which it can land.
async fn sign(rpc: &RpcClient, wallet: &Keypair, swap: &[Instruction]) -> Result<(Transaction, u64)> {
    let (blockhash, last_valid) = rpc.get_latest_blockhash_with_commitment(rpc.commitment()).await?;
    Ok((Transaction::new_signed_with_payer(swap, Some(&wallet.pubkey()), &[wallet], blockhash), last_valid))
}

/// Stands in for a swap: the wallet mints what it buys, as it is the mint's authority.
fn buy(to: &Position, amount: u64) -> [Instruction; 2] {
    let (program, wallet, mint) = (to.program().id(), to.wallet(), to.mint());
    let create = tokens::create_ata(&program, &wallet, &wallet, &mint);
    [create, tokens::mint_to(&program, &mint, &to.address(), &wallet, amount)]
}

/// Stands in for a swap: the wallet burns what it sells.
fn sell(from: &Position, amount: u64) -> [Instruction; 1] {
    [tokens::burn(&from.program().id(), &from.address(), &from.mint(), &from.wallet(), amount)]
}
