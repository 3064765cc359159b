//! Every fault, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use localnet::{Localnet, Signer};
use serde_json::json;
use solana_client::nonblocking::pubsub_client::PubsubClient;
use support::{raw::Raw, *};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, Message},
};

/// The lamports of the next notifications.
async fn told<const N: usize>(raw: &mut Raw) -> [u64; N] {
    let mut told = [0; N];
    for lamports in &mut told {
        *lamports = raw.seen().await.lamports;
    }
    told
}

#[tokio::test]
async fn connections_end_in_each_way() {
    let net = stepped();
    let end = async |raw: &mut Raw| soon("the end", raw.socket.next()).await;

    let mut raw = subscribed(&net, &[1]).await;
    assert_eq!(net.faults().cut_with_reset(), 1);
    let Some(Err(tungstenite::Error::Io(error))) = end(&mut raw).await else { panic!("no reset") };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let mut raw = subscribed(&net, &[1]).await;
    until(&net, "only the new one", |net| net.stats().ws_open == 1).await;
    net.faults().cut_with_fin();
    let ended = end(&mut raw).await;
    let protocol = tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    assert!(matches!(ended, Some(Err(tungstenite::Error::Protocol(e))) if e == protocol));

    let mut raw = subscribed(&net, &[1]).await;
    until(&net, "only the new one", |net| net.stats().ws_open == 1).await;
    net.faults().cut_with_close_frame();
    assert!(matches!(end(&mut raw).await, Some(Ok(Message::Close(Some(_))))));
    until(&net, "the end", |net| net.stats().ws_open == 0 && net.stats().subscriptions == 0).await;

    // And the client sees what the real one would: a stream that ends.
    let client = pubsub(&net).await;
    let (mut updates, _) = client.account_subscribe(&address(1), Some(base64(PROCESSED))).await.unwrap();
    net.faults().cut_with_reset();
    assert!(soon("the end", updates.next()).await.is_none());
}

#[tokio::test]
async fn the_websocket_port_goes_down_and_up() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1]).await;
    net.faults().ws_down(true);
    assert_eq!(raw.message().await, None);
    assert!(soon("a failure", PubsubClient::new(net.ws_url())).await.is_err());
    net.faults().clear();
    pubsub(&net).await;
}

#[tokio::test]
async fn half_open_connections_swallow_everything() {
    let net = stepped();
    let mut old = subscribed(&net, &[1]).await;
    net.faults().ws_half_open(true);
    write(&net, 1, 1);
    old.send(json!({ "jsonrpc": "2.0", "id": 1, "method": "slotSubscribe" }).to_string()).await;
    let new = connect_async(net.ws_url());
    tokio::pin!(new);
    assert!(silent(&mut old.socket).await, "neither answers nor notifications");
    assert!(tokio::time::timeout(A_WHILE, &mut new).await.is_err(), "no handshake");
    net.faults().clear();
    assert_eq!(old.message().await, None, "then they are reset");
    assert!(soon("a failure", new).await.is_err());
    pubsub(&net).await;
}

#[tokio::test]
async fn handshakes_are_refused() {
    let net = stepped();
    net.faults().refuse_connections(503, Some(7), None);
    for _ in 0..2 {
        let Err(tungstenite::Error::Http(response)) = connect_async(net.ws_url()).await else {
            panic!("not refused")
        };
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"7".parse().unwrap())
        );
    }
    net.faults().clear();
    pubsub(&net).await;
    net.faults().refuse_connections(429, Some(0), Some(2));
    // The client tries again by itself.
    let before = net.stats().ws_connections;
    pubsub(&net).await;
    assert_eq!(net.stats().ws_connections, before + 3);
}

#[tokio::test]
async fn subscriptions_are_refused_or_ignored() {
    let net = stepped();
    let client = pubsub(&net).await;
    let subscribe = async |n| {
        let subscribed = client.account_subscribe(&address(n), Some(base64(PROCESSED))).await;
        subscribed.map(|_| ()).map_err(|error| error.to_string())
    };
    net.faults().refuse_subscriptions_to(&address(1), -32603, "no more");
    let refused = soon("a refusal", subscribe(1)).await.unwrap_err();
    assert!(refused.contains("no more (-32603)"), "{refused}");
    soon("a subscription", subscribe(2)).await.unwrap();
    net.faults().refuse_subscriptions(-32602, "none at all");
    assert!(soon("a refusal", subscribe(3)).await.unwrap_err().contains("none at all"));
    net.faults().clear();
    soon("a subscription", subscribe(1)).await.unwrap();

    let mut raw = Raw::connect(&net).await;
    net.faults().ignore_subscriptions_to(&address(4));
    let request = |n: u8| {
        let params = json!([address(n).to_string(), { "encoding": "base64", "commitment": "processed" }]);
        json!({ "jsonrpc": "2.0", "id": n, "method": "accountSubscribe", "params": params }).to_string()
    };
    raw.send(request(4)).await;
    raw.send(request(5)).await;
    assert_eq!(raw.message().await.unwrap()["id"], 5, "only the other is answered");
    net.faults().ignore_subscriptions(true);
    raw.send(request(6)).await;
    assert!(silent(&mut raw.socket).await);
    assert_eq!([4, 5, 6].map(|n| net.subscribers(&address(n))), [0, 1, 0]);
}

#[tokio::test]
async fn acknowledgements_come_late_but_before_their_notifications() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1]).await;
    let late = Duration::from_secs(2);
    net.faults().delay_acknowledgements(late);
    let started = Instant::now();
    let params = json!([address(2).to_string(), { "encoding": "base64", "commitment": "processed" }]);
    let request = json!({ "jsonrpc": "2.0", "id": 9, "method": "accountSubscribe", "params": params });
    raw.send(request.to_string()).await;
    until(&net, "the subscription", |net| net.subscribers(&address(2)) == 1).await;
    net.set_account(&address(2), lamports(2));
    write(&net, 1, 1);
    // In this order, however long each takes.
    assert_eq!(raw.seen().await.lamports, 1, "others are not held up");
    assert_eq!(raw.message().await.unwrap()["id"], 9);
    assert!(started.elapsed() >= late);
    assert_eq!(raw.seen().await.lamports, 2);
}

#[tokio::test]
async fn a_baseline_comes_late() {
    let net = stepped();
    net.faults().delay_baselines(2);
    let mut raw = subscribed(&net, &[1, 2]).await;
    write(&net, 1, 1);
    write(&net, 1, 2);
    write(&net, 1, 3);
    assert_eq!(told(&mut raw).await, [3], "what came before it is never told");
    write(&net, 2, 4);
    assert_eq!(told(&mut raw).await, [4]);
}

#[tokio::test]
async fn a_subscription_dies_beside_living_ones() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1, 2]).await;
    assert_eq!(net.faults().kill_subscriptions_to(&address(1)), 1);
    net.set_account(&address(1), lamports(1));
    write(&net, 2, 2);
    write(&net, 2, 3);
    assert_eq!(told(&mut raw).await, [2, 3]);
    assert_eq!(net.stats().subscriptions, 2, "as if nothing were");
    // Subscribing anew helps.
    raw.subscribe(&address(1), "processed").await;
    write(&net, 1, 4);
    assert_eq!(told(&mut raw).await, [4]);
}

#[tokio::test]
async fn notifications_are_lost() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1, 2]).await;
    net.faults().silence(true);
    write(&net, 1, 1);
    net.faults().silence(false);
    net.faults().silence_account(&address(1));
    write(&net, 1, 2);
    write(&net, 2, 3);
    net.faults().clear();
    write(&net, 1, 4);
    net.faults().drop_notifications(&address(1), 2);
    write(&net, 1, 5);
    write(&net, 1, 6);
    write(&net, 1, 7);
    assert_eq!(told(&mut raw).await, [3, 4, 7]);
}

#[tokio::test]
async fn notifications_come_late_and_twice() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1]).await;
    let late = Duration::from_millis(100);
    net.faults().delay_notifications(late);
    let started = Instant::now();
    write(&net, 1, 1);
    write(&net, 1, 2);
    assert_eq!(told(&mut raw).await, [1, 2]);
    assert!(started.elapsed() >= late);
    net.faults().delay_notifications(Duration::from_secs(3600));
    write(&net, 1, 3);
    net.faults().clear();
    assert_eq!(told(&mut raw).await, [3], "the end of a fault is felt at once");
    net.faults().duplicate_notifications(2);
    write(&net, 1, 4);
    assert_eq!(told(&mut raw).await, [4, 4, 4]);
}

#[tokio::test]
async fn notifications_are_reordered_between_accounts() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1, 2, 3]).await;
    net.faults().reorder_notifications(6);
    for n in 0..60 {
        write(&net, 1 + (n % 3) as u8, n + 1);
    }
    net.faults().clear();
    write(&net, 1, 61);
    let told: [u64; 61] = told(&mut raw).await;
    assert!(told.windows(2).any(|pair| pair[0] > pair[1]), "{told:?}");
    for account in 0..3 {
        let of: Vec<_> = told.iter().filter(|n| (*n - 1) % 3 == account).collect();
        assert!(of.is_sorted(), "one subscription stays in order: {told:?}");
    }
}

#[tokio::test]
async fn the_feed_lags_behind_the_chain() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1]).await;
    net.advance(10);
    net.faults().lag_notifications(3);
    let written = write(&net, 1, 1);
    net.advance(2);
    net.faults().inject(r#"{"nothing":"yet"}"#);
    assert_eq!(raw.message().await.unwrap()["nothing"], "yet");
    net.advance(1);
    assert_eq!(raw.seen().await.slot, written);
    write(&net, 1, 2);
    net.faults().clear();
    let tip = net.advance(1);
    let told = raw.seen().await;
    assert_eq!((told.slot, told.lamports), (tip, 2), "the newest bank is checked");
}

#[tokio::test]
async fn banks_go_unchecked_and_slots_are_forged() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1]).await;
    net.faults().check_every(4);
    for n in 1..=6 {
        write(&net, 1, n);
    }
    net.faults().check_every(1);
    net.advance(1);
    let seen = [raw.seen().await, raw.seen().await];
    assert_eq!(seen.map(|seen| (seen.slot, seen.lamports)), [(4, 4), (7, 6)]);
    net.faults().notifications_ahead(u64::MAX);
    net.faults().rpc_ahead(1000);
    let tip = write(&net, 1, 8);
    assert_eq!(raw.seen().await.slot, u64::MAX);
    let found = rpc(&net).get_multiple_ui_accounts_with_config(&[CLOCK], base64(PROCESSED)).await.unwrap();
    assert_eq!(found.context.slot, tip + 1000);
}

#[tokio::test]
async fn hostile_texts_reach_the_client() {
    let net = stepped();
    let mut raw = subscribed(&net, &[1]).await;
    net.faults().undecodable_rent_epoch(true);
    write(&net, 1, 1);
    let message = soon("a message", raw.socket.next()).await.unwrap().unwrap();
    assert!(message.to_text().unwrap().contains("\"rentEpoch\":18446744073709551616"));

    let client = pubsub(&net).await;
    let config = Some(base64(PROCESSED));
    let (mut updates, _) = client.account_subscribe(&address(1), config).await.unwrap();
    write(&net, 1, 2);
    net.faults().clear();
    write(&net, 1, 3);
    assert_eq!(soon("the decodable one", updates.next()).await.unwrap().value.lamports, 3);
    net.faults().inject("[]");
    assert!(soon("the end", updates.next()).await.is_none());
}

#[tokio::test]
async fn the_clock_stands_still_or_lags() {
    let net = stepped();
    let mut raw = Raw::connect(&net).await;
    raw.subscribe(&CLOCK, "processed").await;
    net.advance(1);
    assert_eq!(raw.seen().await.slot, 1);
    net.faults().freeze_clock(true);
    net.advance(5);
    net.faults().freeze_clock(false);
    net.advance(1);
    net.advance(1);
    // The bank that was open when it froze had its Clock already, the one open when it thawed has
    // none of its own.
    assert_eq!([raw.seen().await.slot, raw.seen().await.slot], [2, 8]);
    let time = |net: &Localnet| {
        let clock = net.account(&CLOCK, PROCESSED).1.unwrap();
        i64::from_le_bytes(clock.data[32..40].try_into().unwrap())
    };
    let honest = time(&net);
    net.faults().clock_behind(Duration::from_secs(100));
    net.advance(2);
    assert!((90..=100).contains(&(honest - time(&net))));
}

#[tokio::test]
async fn rpc_is_behind_the_feed() {
    let net = Localnet::builder().paused().finalized_depth(4).start().unwrap();
    let rpc = rpc(&net);
    net.advance(20);
    net.faults().hold_rpc(5);
    assert_eq!(rpc.get_slot_with_commitment(PROCESSED).await.unwrap(), 15);
    assert_eq!(rpc.get_slot_with_commitment(CONFIRMED).await.unwrap(), 14);
    assert_eq!(rpc.get_slot_with_commitment(FINALIZED).await.unwrap(), 11);
    let written = write(&net, 1, 7);
    let mut config = base64(PROCESSED);
    let found = rpc.get_multiple_ui_accounts_with_config(&[address(1)], config.clone()).await.unwrap();
    assert_eq!((found.context.slot, &found.value[0]), (written - 5, &None));
    config.min_context_slot = Some(written);
    let honest = rpc.get_multiple_ui_accounts_with_config(&[address(1)], config.clone()).await.unwrap_err();
    assert!(honest.to_string().contains("-32016"), "{honest}");
    net.faults().min_context_slot_as_internal_error(true);
    let wrapped = rpc.get_multiple_ui_accounts_with_config(&[address(1)], config.clone()).await.unwrap_err();
    let text = wrapped.to_string();
    assert!(text.contains("-32603") && text.contains("Minimum context slot"), "{text}");
    net.advance(5);
    assert!(rpc.get_multiple_ui_accounts_with_config(&[address(1)], config.clone()).await.is_ok());
    net.faults().clear();
    net.faults().freeze_rpc(true);
    let tip = net.slot(PROCESSED);
    net.advance(9);
    assert_eq!(rpc.get_slot_with_commitment(PROCESSED).await.unwrap(), tip);
    rpc.get_health().await.unwrap();
    net.faults().freeze_rpc(false);
    assert_eq!(rpc.get_slot_with_commitment(PROCESSED).await.unwrap(), tip + 9);
}

#[tokio::test]
async fn rpc_refuses() {
    let net = stepped();
    let http = Http::new(&net);
    let health = || json!({ "jsonrpc": "2.0", "id": 1, "method": "getHealth" }).to_string();
    net.faults().rpc_refuse(429, Some(3), Some(1));
    let refused = http.send(health()).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"3".parse().unwrap()));
    assert!(http.send(health()).await.unwrap().status().is_success(), "only once");
    net.faults().rpc_refuse(500, None, None);
    for _ in 0..3 {
        assert_eq!(http.send(health()).await.unwrap().status().as_u16(), 500);
    }
    net.faults().rpc_only(&["getSlot"]);
    assert!(http.send(health()).await.unwrap().status().is_success());
    net.faults().clear();
    net.faults().rpc_error(-32005, "Node is behind by 42 slots");
    let error = rpc(&net).get_slot().await.unwrap_err();
    assert!(error.to_string().contains("behind by 42 slots"), "{error}");
    net.faults().rpc_down(true);
    assert!(http.send(health()).await.is_err());
    net.faults().clear();
    assert!(http.send(health()).await.unwrap().status().is_success());
    assert_eq!(net.stats().rpc_calls("getHealth"), 7, "what never came through is not counted");
}

#[tokio::test]
async fn rpc_stalls_and_answers_late_or_short() {
    let net = stepped();
    let rpc = rpc(&net);
    net.faults().rpc_stall(true);
    let stalled = rpc.get_slot();
    tokio::pin!(stalled);
    assert!(tokio::time::timeout(A_WHILE, &mut stalled).await.is_err());
    net.faults().clear();
    assert!(soon("the end", stalled).await.is_err(), "never an answer");

    net.advance(3);
    net.faults().rpc_delay(Duration::from_millis(200));
    let started = Instant::now();
    let late = async {
        let slot = rpc.get_slot_with_commitment(PROCESSED).await.unwrap();
        (slot, started.elapsed())
    };
    let meanwhile = async {
        until(&net, "the request", |net| net.stats().rpc_calls("getSlot") == 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        net.advance(5);
    };
    let ((slot, took), ()) = tokio::join!(late, meanwhile);
    assert_eq!(slot, 3, "the answer is of the time of the request");
    assert!(took >= Duration::from_millis(200));
    net.faults().clear();

    net.faults().short_answers(true);
    let found = rpc.get_multiple_ui_accounts_with_config(&[address(1), address(2)], base64(PROCESSED)).await;
    assert_eq!(found.unwrap().value.len(), 1);
}

#[tokio::test]
async fn a_fork_is_reverted() {
    let net = Localnet::builder().paused().confirmed_depth(6).start().unwrap();
    let rpc = rpc(&net);
    net.advance(20);
    write(&net, 1, 1);
    net.advance(8);
    let mut raw = subscribed(&net, &[1, 2]).await;
    let confirmed = raw.subscribe(&address(1), "confirmed").await;
    let landed = net.send(&[], &[]).unwrap();
    net.set_account(&address(2), lamports(2));
    let tip = write(&net, 1, 10);
    assert_eq!(landed.slot, tip);
    let mut seen: [u64; 2] = told(&mut raw).await;
    seen.sort_unstable();
    assert_eq!(seen, [2, 10]);
    let funds = |net: &Localnet| net.account(&net.payer().pubkey(), PROCESSED).1.unwrap().lamports;
    let before = funds(&net);
    assert!(rpc.get_signature_statuses(&[landed.signature]).await.unwrap().value[0].is_some());

    assert_eq!(net.faults().revert(1), [tip]);
    assert_eq!(net.slot(PROCESSED), tip + 1, "slots go on");
    let mut seen = [raw.seen().await, raw.seen().await];
    seen.sort_unstable_by_key(|seen| seen.lamports);
    assert_eq!(seen.each_ref().map(|s| (s.slot, s.lamports)), [(tip + 1, 0), (tip + 1, 1)]);
    assert_eq!(funds(&net), before + 5000);
    assert!(rpc.get_signature_statuses(&[landed.signature]).await.unwrap().value[0].is_none());
    assert_eq!(rpc.get_block_height_with_commitment(PROCESSED).await.unwrap(), tip);

    // Confirmed subscribers hear nothing of it.
    let written = write(&net, 1, 20);
    assert_eq!(raw.seen().await.lamports, 20);
    net.advance(6);
    let seen = raw.seen().await;
    assert_eq!((seen.id, seen.slot, seen.lamports), (confirmed, written, 20));
    let history: Vec<_> =
        net.history(&address(1)).iter().map(|(_, a)| a.as_ref().unwrap().lamports).collect();
    assert_eq!(history, [1, 20]);
    assert_eq!(net.faults().revert(100).len(), 6, "what is confirmed stays");
    assert_eq!(net.send(&[], &[]).unwrap().slot, net.slot(PROCESSED) + 1, "and the chain goes on");
}

#[tokio::test]
async fn dropped_in_the_midst_of_faults_it_still_stops() {
    let net = fast().start().unwrap();
    let client = pubsub(&net).await;
    let (mut updates, _) = client.account_subscribe(&CLOCK, Some(base64(PROCESSED))).await.unwrap();
    soon("a Clock", updates.next()).await.unwrap();
    net.faults().rpc_stall(true);
    net.faults().ws_half_open(true);
    let rpc = rpc(&net);
    let stalled = tokio::spawn(async move { rpc.get_slot().await });
    until(&net, "the request", |net| net.stats().rpc_calls("getSlot") == 1).await;
    let started = Instant::now();
    drop(net);
    // Less than any client waits for an answer that does not come.
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(soon("the request's end", stalled).await.unwrap().is_err());
    while soon("the stream's end", updates.next()).await.is_some() {}
}
