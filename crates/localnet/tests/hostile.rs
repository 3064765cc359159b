//! Servers that send what no honest one does.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use localnet::{BadAnswer, Flood, Forged, Huge, Junk, Malformed, tokens};
use serde_json::{Value, json};
use support::{raw::Raw, *};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};

async fn frame(raw: &mut Raw) -> Result<Message, Error> {
    soon("a frame", raw.socket.next()).await.unwrap()
}

#[tokio::test]
async fn junk_comes_as_it_is_called() {
    let net = stepped();
    for junk in Junk::ALL {
        let mut raw = Raw::connect(&net).await;
        raw.subscribe(&address(1), "processed").await;
        net.faults().send_junk(*junk);
        let frame = frame(&mut raw).await;
        let text = frame.as_ref().map(|frame| frame.to_text().unwrap_or_default().to_owned());
        let value = || serde_json::from_str::<Value>(text.as_ref().unwrap());
        match junk {
            Junk::EmptyArray => assert_eq!(value().unwrap(), json!([])),
            Junk::Null => assert_eq!(value().unwrap(), Value::Null),
            Junk::Number => assert_eq!(value().unwrap(), json!(42)),
            Junk::Truncated => assert!(text.as_ref().unwrap().starts_with('{') && value().is_err()),
            Junk::NotJson => assert!(value().is_err()),
            Junk::Binary => assert!(matches!(frame, Ok(Message::Binary(_)))),
            Junk::BadUtf8 => assert!(matches!(frame, Err(Error::Utf8(_))), "{frame:?}"),
            Junk::UnknownSubscription => {
                let value = value().unwrap();
                assert_eq!(value["method"], "accountNotification");
                assert!(value["params"]["subscription"].as_u64().unwrap() > 1_000_000);
            }
            Junk::UnknownAnswer => assert!(value().unwrap()["id"].as_u64().unwrap() > 1_000_000),
            Junk::NullAnswer => assert_eq!(value().unwrap()["id"], Value::Null),
            other => panic!("{other:?} is not looked at"),
        }
        // What does not end the connection leaves it at work.
        if frame.is_ok() {
            write(&net, 1, net.slot(PROCESSED) + 1);
            raw.seen().await;
        }
    }
}

#[tokio::test]
async fn a_frame_is_huge() {
    // Beyond the 16 MiB that the client takes; more of it only takes longer.
    const BYTES: usize = 20_000_000;
    let net = stepped();
    let generous = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
    let mut raw = Raw::connect_with(&net, generous).await;
    let id = raw.subscribe(&address(1), "processed").await;
    net.faults().send_huge_frame(Huge::Notification, BYTES);
    let notification = raw.notification().await;
    assert_eq!(notification["params"]["subscription"], id);
    let data = notification["params"]["result"]["value"]["data"][0].as_str().unwrap();
    assert_eq!(data.len(), BYTES);
    net.faults().send_huge_frame(Huge::Text, BYTES);
    assert_eq!(frame(&mut raw).await.unwrap().len(), BYTES);
    write(&net, 1, 1);
    assert_eq!(raw.seen().await.lamports, 1);
    // The usual limit of a frame is 16 MiB: the client's connection is over.
    let client = pubsub(&net).await;
    let (mut updates, _) = client.account_subscribe(&address(1), Some(base64(PROCESSED))).await.unwrap();
    net.faults().send_huge_frame(Huge::Notification, BYTES);
    assert!(soon("the end", updates.next()).await.is_none());
}

#[tokio::test]
async fn floods_come_at_their_rate_and_end() {
    let net = stepped();
    let mut raw = Raw::connect(&net).await;
    let id = raw.subscribe(&address(1), "processed").await;
    write(&net, 1, 9);
    raw.seen().await;
    let mut take = async |of, check: fn(u64, Value)| {
        net.faults().flood(of, 5000);
        let started = Instant::now();
        for _ in 0..1000 {
            check(id, raw.notification().await);
        }
        let took = started.elapsed();
        net.faults().clear();
        // What was sent before it ended is still under way; an answer comes behind it.
        raw.call("slotSubscribe", json!([])).await;
        raw.forget();
        assert!(silent(&mut raw.socket).await, "it has ended");
        took
    };
    let took = take(Flood::Account(address(1)), |id, notification| {
        assert_eq!(notification["params"]["subscription"], id);
        assert_eq!(notification["params"]["result"]["value"]["lamports"], 9);
    })
    .await;
    assert!(took > Duration::from_millis(150), "faster than it should: {took:?}");
    assert!(took < Duration::from_secs(2), "slower than it should: {took:?}");
    take(Flood::UnknownIds, |id, notification| {
        assert!(notification["params"]["subscription"].as_u64().unwrap() > id + 1_000_000);
    })
    .await;
    // Who did not subscribe to the account is not flooded with it.
    let mut other = Raw::connect(&net).await;
    net.faults().flood(Flood::Account(address(1)), 5000);
    assert!(silent(&mut other.socket).await);
}

#[tokio::test]
async fn acknowledgements_are_forged() {
    let net = stepped();
    for forged in Forged::ALL {
        let mut raw = Raw::connect(&net).await;
        let oldest = raw.subscribe(&address(1), "processed").await;
        net.faults().forge_acknowledgements(Some(*forged));
        raw.ask(7, &address(2)).await;
        let answer = raw.message().await.unwrap();
        let expected = match forged {
            Forged::WrongRequest => json!([1_000_007, answer["result"]]),
            Forged::NullRequest => json!([null, answer["result"]]),
            Forged::NoRequest => {
                assert!(answer.get("id").is_none());
                json!([null, answer["result"]])
            }
            Forged::TextRequest => json!(["7", answer["result"]]),
            Forged::SharedId => json!([7, oldest]),
            Forged::NullId => json!([7, null]),
            Forged::TextId => json!([7, "one"]),
            Forged::NegativeId => json!([7, -1]),
            other => panic!("{other:?} is not looked at"),
        };
        assert_eq!(json!([answer["id"], answer["result"]]), expected, "{forged:?}");
        net.faults().clear();
        // The subscription stands, under the id that was told if that is one.
        let value = net.slot(PROCESSED) + 100;
        write(&net, 2, value);
        let seen = raw.seen().await;
        assert_eq!((seen.lamports, seen.id == oldest), (value, *forged == Forged::SharedId));
    }
}

#[tokio::test]
async fn notifications_are_malformed() {
    let net = stepped();
    let token = token(&net, tokens::TOKEN, &[]);
    net.advance(2);
    let client = pubsub(&net).await;
    let (mut updates, _) = client.account_subscribe(&token.ata, Some(base64(PROCESSED))).await.unwrap();
    let mut raw = Raw::connect(&net).await;
    raw.subscribe(&token.ata, "processed").await;
    raw.subscribe(&address(1), "processed").await;
    for (n, malformed) in Malformed::ALL.iter().enumerate() {
        net.faults().malform(Some(*malformed), Some(&token.ata));
        token.mint(&net, 1);
        net.advance(1);
        let notification = raw.notification().await;
        let params = &notification["params"];
        let (slot, value) = (&params["result"]["context"]["slot"], &params["result"]["value"]);
        let data = value["data"][0].as_str().unwrap_or_default();
        match malformed {
            Malformed::BadBase64 => assert!(data.contains('*')),
            Malformed::WrongEncoding => assert_eq!(value["data"][1], "base58"),
            Malformed::ShortData => assert_eq!(data.len(), 82_usize.div_ceil(3) * 4),
            Malformed::HugeSpace => assert_eq!(value["space"], u64::MAX),
            Malformed::NegativeLamports => assert_eq!(value["lamports"], -1),
            Malformed::FloatLamports => assert_eq!(value["lamports"], 1.5),
            Malformed::NegativeSlot => assert_eq!(*slot, -1),
            Malformed::FloatSlot => assert_eq!(*slot, 1.5),
            Malformed::NoContext => assert!(params["result"].get("context").is_none()),
            Malformed::NullValue => assert!(value.is_null() && !slot.is_null()),
            Malformed::NoSubscription => assert!(params.get("subscription").is_none()),
            other => panic!("{other:?} is not looked at"),
        }
        // Others are told well, and so is this one when it is over.
        write(&net, 1, n as u64 + 1);
        assert_eq!(raw.seen().await.lamports, n as u64 + 1);
        net.faults().malform(None, None);
        token.mint(&net, 1);
        net.advance(1);
        let whole = raw.notification().await;
        assert_eq!(whole["params"]["result"]["value"]["data"][0].as_str().unwrap().len(), 165 / 3 * 4);
        // The client drops what it cannot read, and goes on.
        let amount = 2 * (n as u64 + 1);
        let read = async {
            loop {
                let update = updates.next().await.unwrap();
                if update.value.to_account().is_some_and(|a| a.data.len() == 165)
                    && ui_amount(&update) == amount
                {
                    break;
                }
            }
        };
        soon("the client's update", read).await;
    }
}

#[tokio::test]
async fn rpc_answers_badly() {
    let net = stepped();
    for n in 1..=3 {
        write(&net, n, n.into());
    }
    let http = Http::new(&net);
    let keys: Vec<String> = (1..=3).map(|n| address(n).to_string()).collect();
    let config = json!({ "encoding": "base64", "commitment": "processed" });
    let request =
        json!({ "jsonrpc": "2.0", "id": 5, "method": "getMultipleAccounts", "params": [keys, config] });
    let request = request.to_string();
    let honest = http.post(request.clone()).await;
    let lamports = |answer: &Value| -> Vec<Value> {
        let accounts = answer["result"]["value"].as_array().unwrap();
        accounts.iter().map(|account| account["lamports"].clone()).collect()
    };
    assert_eq!(lamports(&honest), [1, 2, 3]);
    for bad in BadAnswer::ALL {
        net.faults().bad_answers(Some(*bad));
        let response = http.send(request.clone()).await;
        if *bad == BadAnswer::Redirect {
            assert!(response.unwrap_err().is_redirect(), "round and round");
            continue;
        }
        let response = response.unwrap();
        assert!(response.status().is_success());
        if *bad == BadAnswer::Drip {
            let started = Instant::now();
            let whole = response.text();
            tokio::pin!(whole);
            assert!(tokio::time::timeout(A_WHILE * 4, &mut whole).await.is_err(), "not at once");
            net.faults().clear();
            assert_eq!(
                serde_json::from_str::<Value>(&soon("the rest", whole).await.unwrap()).unwrap(),
                honest
            );
            assert!(started.elapsed() < Duration::from_secs(5), "the rest comes at once");
            continue;
        }
        let text = soon("the body", response.text()).await;
        if *bad == BadAnswer::CutOff {
            assert!(text.is_err());
            continue;
        }
        let text = text.unwrap();
        if *bad == BadAnswer::Huge {
            assert!(text.len() > 60_000_000 && text.ends_with('}'));
            continue;
        }
        let answer = serde_json::from_str::<Value>(&text).unwrap_or_default();
        match bad {
            BadAnswer::Short => assert_eq!(lamports(&answer), [1, 2]),
            BadAnswer::Long => assert_eq!(lamports(&answer), [1, 2, 3, 3]),
            BadAnswer::Reversed => assert_eq!(lamports(&answer), [3, 2, 1]),
            BadAnswer::Nulls => assert_eq!(lamports(&answer), [Value::Null, Value::Null, Value::Null]),
            BadAnswer::NoContext => {
                assert!(answer["result"].get("context").is_none() && lamports(&answer).len() == 3);
            }
            BadAnswer::NullResult => assert!(answer["result"].is_null() && answer["id"] == 5),
            BadAnswer::WrongId => assert_eq!(answer["id"], 1_000_005),
            BadAnswer::NullId => assert!(answer["id"].is_null() && lamports(&answer).len() == 3),
            BadAnswer::Truncated => assert!(answer.is_null() && honest.to_string().starts_with(&text)),
            BadAnswer::NotJson => assert!(answer.is_null() && text.contains("html")),
            BadAnswer::Empty => assert_eq!(text, ""),
            other => panic!("{other:?} is not looked at"),
        }
    }
    net.faults().bad_answers(Some(BadAnswer::NotJson));
    net.faults().rpc_only(&["getSlot"]);
    assert_eq!(http.post(request.clone()).await, honest, "only the methods it is for");
    net.faults().bad_answers(None);
    net.faults().rpc_only(&[]);
    assert_eq!(http.post(request).await, honest);
}
