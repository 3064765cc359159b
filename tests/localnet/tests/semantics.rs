//! The semantics of a node, seen through Solana's own clients.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use futures_util::StreamExt;
use localnet::{Localnet, Signer, tokens};
use solana_client::rpc_config::RpcSendTransactionConfig;
use solana_keypair::Keypair;
use solana_transaction::Transaction;
use support::*;

#[tokio::test]
async fn a_transaction_goes_the_whole_way() {
    let net = fast().start().unwrap();
    let rpc = rpc(&net);
    let owner = Keypair::new();
    let airdrop = rpc.request_airdrop(&owner.pubkey(), 5_000_000_000).await;
    let signature = airdrop.unwrap();
    soon("the airdrop", async { while !rpc.confirm_transaction(&signature).await.unwrap() {} }).await;
    let token = token(&net, tokens::TOKEN_2022, &[]);
    let to = tokens::ata(&token.program, &owner.pubkey(), &token.mint);
    token.mint(&net, 700);
    let create = tokens::create_ata(&token.program, &owner.pubkey(), &owner.pubkey(), &token.mint);
    let payer = net.payer();
    let give =
        tokens::transfer_checked(&token.program, &token.ata, &token.mint, &to, &payer.pubkey(), 300, 6);
    let client = pubsub(&net).await;
    let (mut updates, unsubscribe) = client.account_subscribe(&to, Some(base64(CONFIRMED))).await.unwrap();
    let blockhash = rpc.get_latest_blockhash().await.unwrap();
    let tx = Transaction::new_signed_with_payer(
        &[create, give],
        Some(&owner.pubkey()),
        &[&owner, payer],
        blockhash,
    );
    rpc.send_and_confirm_transaction(&tx).await.unwrap();
    let update = soon("the notification", updates.next()).await.unwrap();
    assert_eq!(ui_amount(&update), 300);
    let balance = rpc.get_token_account_balance(&to).await.unwrap();
    assert_eq!(balance.ui_amount_string, "0.0003");
    drop(updates);
    soon("the unsubscription", unsubscribe()).await;
    assert_eq!(net.stats().subscriptions, 0);
}
