//! Several nodes of one chain, and chains that start over.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use localnet::{Accounts, Signer, tokens};
use solana_client::nonblocking::pubsub_client::PubsubClient;
use support::{raw::Raw, *};

#[tokio::test]
async fn nodes_show_one_chain_and_fail_alone() {
    let net = stepped();
    let node = net.add_node().unwrap();
    assert_ne!(node.rpc_url(), net.rpc_url());
    let (mut first, mut second) = (Raw::connect(&net).await, Raw::connect(&node).await);
    first.subscribe(&address(1), "processed").await;
    second.subscribe(&address(1), "processed").await;
    let slot = write(&net, 1, 1);
    for raw in [&mut first, &mut second] {
        let seen = raw.seen().await;
        assert_eq!((seen.slot, seen.lamports), (slot, 1));
    }
    // Each has faults and counts of its own.
    net.faults().silence(true);
    write(&net, 1, 2);
    net.faults().silence(false);
    node.faults().drop_notifications(&address(1), 1);
    write(&net, 1, 3);
    write(&net, 1, 4);
    assert_eq!([first.seen().await.lamports, first.seen().await.lamports], [3, 4]);
    assert_eq!([second.seen().await.lamports, second.seen().await.lamports], [2, 4]);
    assert_eq!((net.subscribers(&address(1)), node.subscribers(&address(1))), (1, 1));
    node.faults().rpc_error(-32005, "not I");
    assert!(rpc(&node).get_slot().await.is_err());
    assert!(rpc(&net).get_slot().await.is_ok());
    assert_eq!((net.stats().rpc_calls("getSlot"), node.stats().rpc_calls("getSlot")), (1, 1));
    assert_eq!((net.stats().notifications, node.stats().notifications), (3, 3));
    node.faults().cut_with_reset();
    assert_eq!(second.message().await, None);
    write(&net, 1, 5);
    assert_eq!(first.seen().await.lamports, 5, "the other node's connection lives");
    // A node ends with its handle, the chain goes on.
    let url = node.ws_url();
    drop(node);
    assert!(soon("a failure", PubsubClient::new(url)).await.is_err());
    write(&net, 1, 6);
    assert_eq!(first.seen().await.lamports, 6);
}

#[tokio::test]
async fn a_further_node_ends_with_the_cluster() {
    let net = fast().start().unwrap();
    let node = net.add_node().unwrap();
    let mut raw = Raw::connect(&node).await;
    raw.subscribe(&CLOCK, "confirmed").await;
    raw.seen().await;
    drop(net);
    while raw.message().await.is_some() {}
    assert!(soon("a failure", PubsubClient::new(node.ws_url())).await.is_err());
}

#[tokio::test]
async fn a_node_lags_by_blocks() {
    let net = stepped();
    let node = net.add_node().unwrap();
    net.advance(10);
    node.faults().lag(3);
    let mut late = Raw::connect(&node).await;
    late.subscribe(&address(1), "confirmed").await;
    late.subscribe(&CLOCK, "confirmed").await;
    let written = write(&net, 1, 7);
    assert_eq!(rpc(&net).get_slot_with_commitment(PROCESSED).await.unwrap(), written);
    let slow = rpc(&node);
    assert_eq!(slow.get_slot_with_commitment(PROCESSED).await.unwrap(), written - 3);
    assert_eq!(slow.get_slot_with_commitment(CONFIRMED).await.unwrap(), written - 4);
    assert_eq!(slow.get_balance(&address(1)).await.unwrap(), 0);
    net.advance(3);
    // Four Clocks of older banks; the change comes with its own bank and not before.
    let mut seen = Vec::new();
    net.advance(1);
    while seen.last().is_none_or(|last: &support::raw::Seen| last.lamports != 7) {
        seen.push(late.seen().await);
    }
    assert_eq!(seen.last().unwrap().slot, written);
    assert!(seen.iter().all(|seen| seen.slot <= written), "{seen:?}");
    assert_eq!(slow.get_balance(&address(1)).await.unwrap(), 7);
    node.faults().clear();
    assert_eq!(slow.get_slot_with_commitment(PROCESSED).await.unwrap(), net.slot(PROCESSED));
}

#[tokio::test]
async fn a_node_lags_by_time() {
    let net = fast().start().unwrap();
    let node = net.add_node().unwrap();
    let mut slots = net.slots();
    soon("some slots", slots.wait_for(|slot| *slot >= 20)).await.unwrap();
    node.faults().lag_by(Duration::from_secs(3600));
    assert_eq!(
        rpc(&node).get_slot_with_commitment(PROCESSED).await.unwrap(),
        0,
        "an hour ago there was nothing"
    );
    let lag = Duration::from_millis(300);
    node.faults().lag_by(lag);
    let mut raw = Raw::connect(&node).await;
    raw.subscribe(&address(1), "confirmed").await;
    let begun = std::time::Instant::now();
    let slot = net.set_account(&address(1), lamports(5));
    let seen = raw.seen().await;
    assert!(begun.elapsed() >= lag, "after {:?}", begun.elapsed());
    assert!(seen.slot >= slot && seen.lamports == 5);
    let there = rpc(&node).get_slot_with_commitment(PROCESSED).await.unwrap();
    assert!(there < net.slot(PROCESSED), "{there}");
}

#[tokio::test]
async fn nodes_say_who_and_how_they_are() {
    let net = stepped();
    let node = net.add_node().unwrap();
    net.advance(5);
    let client = rpc(&node);
    assert_eq!(client.get_genesis_hash().await.unwrap(), net.genesis_hash());
    assert_eq!(client.get_block_height().await.unwrap(), 4, "of the confirmed bank");
    assert!(client.get_version().await.unwrap().solana_core.starts_with('4'));
    client.get_health().await.unwrap();
    node.faults().unhealthy(Some(42));
    let error = client.get_health().await.unwrap_err().to_string();
    assert!(error.contains("-32005") && error.contains("behind by 42 slots"), "{error}");
    node.faults().unhealthy(None);
    client.get_health().await.unwrap();
}

#[tokio::test]
async fn a_new_chain_begins() {
    let net = stepped();
    let node = net.add_node().unwrap();
    let token = token(&net, tokens::TOKEN, &[]);
    token.mint(&net, 5);
    net.advance(9);
    let old = net.genesis_hash();
    let (mut first, mut second) = (Raw::connect(&net).await, Raw::connect(&node).await);
    first.subscribe(&token.ata, "confirmed").await;
    second.subscribe(&CLOCK, "confirmed").await;
    net.faults().freeze_rpc(true);
    let connections = net.stats().rpc_connections;
    let http = Http::new(&net);
    http.call("getHealth", serde_json::json!([])).await;

    net.new_chain(Accounts::Keep);
    assert_eq!(first.message().await, None, "every connection is cut");
    assert_eq!(second.message().await, None);
    let genesis = net.genesis_hash();
    assert_ne!(genesis, old);
    assert_eq!(rpc(&node).get_genesis_hash().await.unwrap(), genesis);
    http.call("getHealth", serde_json::json!([])).await;
    assert_eq!(net.stats().rpc_connections, connections + 2, "the kept-alive one was cut, too");
    until(&net, "the end", |net| net.stats().subscriptions == 0 && net.stats().ws_open == 0).await;
    assert_eq!([PROCESSED, CONFIRMED, FINALIZED].map(|at| net.slot(at)), [0; 3]);
    assert_eq!(amount(&net.account(&token.ata, FINALIZED).1.unwrap()), 5, "accounts are kept");

    // It runs as a chain does: transactions, notifications, RPC past the slot at which it was
    // frozen.
    let mut first = Raw::connect(&net).await;
    first.subscribe(&token.ata, "confirmed").await;
    assert_eq!(token.mint(&net, 3), 1);
    net.advance(40);
    assert_eq!(first.seen().await.slot, 1);
    assert_eq!(amount(&net.account(&token.ata, CONFIRMED).1.unwrap()), 8);
    assert_eq!(rpc(&net).get_slot_with_commitment(PROCESSED).await.unwrap(), 40);

    net.new_chain(Accounts::Fresh);
    assert_ne!(net.genesis_hash(), genesis);
    assert_eq!(net.account(&token.ata, PROCESSED).1, None);
    assert!(net.account(&net.payer().pubkey(), PROCESSED).1.unwrap().lamports > 1_000_000_000);
    net.set_account(&address(1), lamports(1));
    assert_eq!(net.advance(1), 1);
}

#[tokio::test]
async fn the_chain_is_set_back() {
    let net = stepped();
    let token = token(&net, tokens::TOKEN, &[]);
    token.mint(&net, 5);
    net.advance(50);
    let genesis = net.genesis_hash();
    let client = pubsub(&net).await;
    let (mut updates, _) = client.account_subscribe(&token.ata, Some(base64(CONFIRMED))).await.unwrap();
    let landed = token.mint(&net, 3);
    net.advance(40);
    assert_eq!(soon("the mint", updates.next()).await.unwrap().context.slot, landed);
    let tip = net.slot(PROCESSED);
    assert_eq!(net.roll_back(45), tip - 45);
    assert!(soon("the end", updates.next()).await.is_none());
    assert_eq!(net.genesis_hash(), genesis);
    assert_eq!([PROCESSED, CONFIRMED, FINALIZED].map(|at| net.slot(at)), [tip - 45; 3]);
    assert_eq!(amount(&net.account(&token.ata, PROCESSED).1.unwrap()), 5, "the mint never was");
    // The same slots come again, and are notified.
    let client = pubsub(&net).await;
    let (mut updates, _) = client.account_subscribe(&token.ata, Some(base64(CONFIRMED))).await.unwrap();
    assert_eq!(token.mint(&net, 2), tip - 44);
    net.advance(2);
    let update = soon("the mint", updates.next()).await.unwrap();
    assert_eq!((update.context.slot, ui_amount(&update)), (tip - 44, 7));
    assert_eq!(net.roll_back(u64::MAX), 0, "not further than its beginning");
    assert_eq!(net.advance(1), 1);
}
