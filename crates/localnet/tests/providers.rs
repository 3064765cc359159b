//! What hosted providers do otherwise than a validator, and the faults as a list.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use localnet::{Aim, Fault, Localnet, TooMany};
use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use support::{raw::Raw, *};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn the_clock_is_acknowledged_and_never_ticks_or_is_refused() {
    let net = stepped();
    let aim = Aim { account: address(1), other: address(2), strength: 1 };
    net.faults().begin(Fault::SilenceClock, &aim);
    let mut raw = Raw::connect(&net).await;
    raw.subscribe(&CLOCK, "processed").await;
    raw.subscribe(&address(1), "processed").await;
    for n in 1..=3 {
        write(&net, 1, n);
        assert_eq!(raw.seen().await.lamports, n, "nothing but the account");
    }
    net.faults().end(Fault::SilenceClock);
    let tip = net.advance(1);
    assert_eq!(raw.seen().await.slot, tip);
    net.faults().begin(Fault::RefuseClock, &aim);
    let mut raw = Raw::connect(&net).await;
    assert_eq!(raw.subscribe_slice(&CLOCK, 40).await["error"]["code"], -32602);
    assert_eq!(raw.subscribe(&address(1), "processed").await, raw.subscribe(&address(1), "processed").await);
    net.faults().end(Fault::RefuseClock);
    raw.subscribe(&CLOCK, "processed").await;
}

#[tokio::test]
async fn slices_are_refused_or_make_no_difference() {
    let net = stepped();
    let mut raw = Raw::connect(&net).await;
    let canary = raw.subscribe(&CLOCK, "processed").await;
    assert_ne!(raw.subscribe_slice(&CLOCK, 40).await["result"], canary, "as on a validator");
    net.faults().refuse_slices(true);
    let refused = raw.subscribe_slice(&CLOCK, 41).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    raw.subscribe(&address(1), "processed").await;
    net.faults().refuse_slices(false);
    net.faults().ignore_slices(true);
    assert_eq!(raw.subscribe_slice(&CLOCK, 41).await["result"], canary);
    net.faults().ignore_slices(false);
    assert_ne!(raw.subscribe_slice(&CLOCK, 41).await["result"], canary);
}

#[tokio::test]
async fn subscriptions_of_a_connection_are_limited() {
    let net = stepped();
    net.faults().limit_subscriptions(Some(2), -32603, "Too many subscriptions for this connection");
    let mut raw = Raw::connect(&net).await;
    let first = raw.subscribe(&address(1), "processed").await;
    raw.subscribe(&address(2), "processed").await;
    let refused = raw.subscribe_slice(&address(3), 9).await;
    assert_eq!(refused["error"]["code"], -32603);
    assert_eq!(refused["error"]["message"], "Too many subscriptions for this connection");
    Raw::connect(&net).await.subscribe(&address(3), "processed").await;
    raw.call("accountUnsubscribe", json!([first])).await;
    raw.subscribe(&address(3), "processed").await;
    assert!(raw.subscribe_slice(&address(4), 9).await["error"].is_object());
    net.faults().limit_subscriptions(None, 0, "");
    raw.subscribe(&address(4), "processed").await;
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let net = fast().start().unwrap();
    let mut idle = Raw::connect(&net).await;
    idle.subscribe(&CLOCK, "processed").await;
    let limit = Duration::from_millis(800);
    let started = Instant::now();
    net.faults().close_idle(Some(limit));
    // A ping is enough to stay, whatever comes from the server is not.
    let mut busy = Raw::connect(&net).await;
    loop {
        match soon("the end", idle.socket.next()).await {
            Some(Ok(Message::Text(_))) => busy.socket.send(Message::Ping("".into())).await.unwrap(),
            Some(Ok(Message::Close(Some(_)))) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(started.elapsed() >= limit - Duration::from_millis(50), "{:?}", started.elapsed());
    busy.subscribe(&CLOCK, "processed").await;
    let longer = async |busy: &mut Raw, ping: bool| {
        let until = Instant::now() + limit * 3 / 2;
        while Instant::now() < until {
            busy.seen().await;
            if ping {
                busy.socket.send(Message::Ping("".into())).await.unwrap();
            }
        }
    };
    longer(&mut busy, true).await;
    net.faults().close_idle(None);
    longer(&mut busy, false).await;
}

#[tokio::test]
async fn fewer_keys_are_taken() {
    let net = stepped();
    let http = Http::new(&net);
    let request = |count: u8| {
        let keys: Vec<String> = (0..count).map(|n| address(n).to_string()).collect();
        json!({ "jsonrpc": "2.0", "id": 1, "method": "getMultipleAccounts", "params": [keys] }).to_string()
    };
    net.faults().limit_keys(Some(10), TooMany::InvalidParams);
    assert_eq!(http.post(request(11)).await["error"]["code"], -32602);
    assert_eq!(http.post(request(10)).await["result"]["value"].as_array().unwrap().len(), 10);
    net.faults().limit_keys(Some(10), TooMany::PayloadTooLarge);
    assert_eq!(http.send(request(11)).await.unwrap().status().as_u16(), 413);
    assert_eq!(http.send(format!("[{}]", request(11))).await.unwrap().status().as_u16(), 413);
    assert_eq!(http.post(request(10)).await["result"]["value"].as_array().unwrap().len(), 10);
    net.faults().limit_keys(None, TooMany::PayloadTooLarge);
    assert_eq!(http.post(request(100)).await["result"]["value"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn too_many_requests_with_and_without_advice() {
    let net = stepped();
    let http = Http::new(&net);
    let aim = Aim { account: address(1), other: address(2), strength: 1 };
    let health = || json!({ "jsonrpc": "2.0", "id": 1, "method": "getHealth" }).to_string();
    net.faults().begin(Fault::RpcTooManyRequests, &aim);
    let refused = http.send(health()).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers().get("retry-after")), (429, None));
    net.faults().begin(Fault::RpcTooManyRequestsWithRetryAfter, &aim);
    let refused = http.send(health()).await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    net.faults().end(Fault::RpcTooManyRequests);
    assert!(http.send(health()).await.unwrap().status().is_success());
}

/// What a client sees of a node that is at work: subscribing, being notified, reading.
async fn works(net: &Localnet, rpc: &RpcClient, n: u64) {
    let client = pubsub(net).await;
    let (mut updates, _) = client.account_subscribe(&address(1), Some(base64(PROCESSED))).await.unwrap();
    let (mut clock, _) = client.account_subscribe(&CLOCK, Some(base64(PROCESSED))).await.unwrap();
    let tip = write(net, 1, n);
    let update = soon("an update", updates.next()).await.unwrap();
    assert_eq!((update.context.slot, update.value.lamports), (tip, n));
    assert_eq!(soon("a Clock", clock.next()).await.unwrap().context.slot, tip);
    let keys = [address(1); 20];
    let found = rpc.get_multiple_ui_accounts_with_config(&keys, base64(PROCESSED)).await.unwrap();
    assert_eq!((found.context.slot, found.value[19].as_ref().unwrap().lamports), (tip, n));
    assert_eq!(found.value.len(), 20);
    rpc.get_health().await.unwrap();
}

#[tokio::test]
async fn every_fault_of_the_list_begins_and_ends() {
    let net = Localnet::builder().paused().confirmed_depth(4).start().unwrap();
    net.advance(20);
    let all = Fault::all();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "none is listed twice");
    // Making a client is slow.
    let (rpc, strengths) = (rpc(&net), [1, 10]);
    for (n, fault) in all.into_iter().enumerate() {
        let aim = Aim { account: address(1), other: address(2), strength: strengths[n % 2] };
        let before = net.faults().in_force();
        net.faults().begin(fault, &aim);
        assert_eq!(
            net.faults().in_force() != before,
            fault.lasts(),
            "{fault:?} is felt as a state, or is none"
        );
        net.advance(1);
        net.faults().end(fault);
        assert_eq!(net.faults().in_force(), before, "{fault:?} ends");
        net.faults().begin(fault, &aim);
        net.faults().clear();
        assert_eq!(net.faults().in_force(), before, "{fault:?} is cleared");
        if matches!(fault, Fault::HugeText | Fault::Revert | Fault::FreezeClock) || n % 10 == 0 {
            net.advance(1);
            works(&net, &rpc, n as u64 + 1).await;
        }
    }
}
