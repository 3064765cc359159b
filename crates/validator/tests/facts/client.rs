//! What `solana-pubsub-client` does, on the validator and on a server that keeps to a script.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, poll};
use serde_json::{Value, json};
use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding};
use solana_commitment_config::CommitmentConfig;
use solana_pubkey::Pubkey;
use solana_pubsub_client::nonblocking::pubsub_client::{PubsubClient, PubsubClientError};
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::client_error::ErrorKind;
use solana_rpc_client_api::config::RpcAccountInfoConfig;
use solana_rpc_client_api::response::Response;
use solana_sdk_ids::sysvar::clock;
use tokio_tungstenite::tungstenite::Message;

use crate::scripted::{Listener, Script, account, account_with, answer};
use crate::wire::soon;
use crate::world::{TOKEN, World, bytes};

async fn connect(url: &str) -> PubsubClient {
    soon("a client", PubsubClient::new(url)).await.expect("a client")
}

/// A client and the script that serves it.
async fn scripted() -> (PubsubClient, Script) {
    let listener = Listener::bind().await;
    let (client, script) = tokio::join!(connect(&listener.url), listener.accept());
    (client, script)
}

fn processed() -> Option<RpcAccountInfoConfig> {
    Some(RpcAccountInfoConfig {
        encoding: Some(UiAccountEncoding::Base64),
        commitment: Some(CommitmentConfig::processed()),
        ..RpcAccountInfoConfig::default()
    })
}

fn lamports(update: Option<Response<UiAccount>>) -> u64 {
    update.expect("the stream lives").value.lamports
}

pub(crate) async fn equal_parameters_on_one_client_end_the_first_stream(w: Arc<World>) {
    let client = connect(&w.ws_url).await;
    let subscribe = || client.account_subscribe(&clock::ID, processed());
    let (mut first, first_unsubscribe) = soon("an answer", subscribe()).await.expect("a stream");
    soon("a Clock", first.next()).await.expect("it lives");
    let (mut second, _unsubscribe) = soon("an answer", subscribe()).await.expect("a stream");
    soon("the end of the first", async { while first.next().await.is_some() {} }).await;
    soon("a Clock", second.next()).await.expect("the second lives");
    // The first one's unsubscribe takes the second with it.
    soon("an unsubscribe", first_unsubscribe()).await;
    soon("the end of the second", async { while second.next().await.is_some() {} }).await;
}

pub(crate) async fn a_cancelled_subscribe_ends_the_whole_client(w: Arc<World>) {
    let client = connect(&w.ws_url).await;
    let (mut clocks, _unsubscribe) =
        soon("an answer", client.account_subscribe(&clock::ID, processed())).await.expect("a stream");
    soon("a Clock", clocks.next()).await.expect("it lives");
    {
        let key = Pubkey::new_unique();
        let mut pending = Box::pin(client.account_subscribe(&key, processed()));
        assert!(poll!(&mut pending).is_pending(), "the request is on its way");
    }
    soon("the end of the other stream", async { while clocks.next().await.is_some() {} }).await;
    let again = soon("an answer", client.account_subscribe(&Pubkey::new_unique(), processed())).await;
    assert!(matches!(again, Err(PubsubClientError::ConnectionClosed(_))));
    drop((again, clocks));
    soon("the end", client.shutdown()).await.expect("no error is told");
}

pub(crate) async fn the_client_decodes_what_the_validator_notifies(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let client = connect(&w.ws_url).await;
    let config = RpcAccountInfoConfig {
        encoding: Some(UiAccountEncoding::Base64),
        commitment: Some(CommitmentConfig::confirmed()),
        ..RpcAccountInfoConfig::default()
    };
    let (mut stream, _unsubscribe) =
        soon("an answer", client.account_subscribe(&tokens.accounts[1], Some(config)))
            .await
            .expect("a stream");
    let landed = w.land(&[w.transfer(&tokens, 1, 9)], &[]).await;
    let update = soon("an update", stream.next()).await.expect("an update");
    assert_eq!((update.context.slot, update.value.rent_epoch), (landed, u64::MAX));
    let fetched = w.snapshot(&tokens.accounts[1..], "confirmed", landed).await;
    assert_eq!(update.value.data.decode().expect("base64"), bytes(&fetched.value[0]));
}

pub(crate) async fn a_refused_subscribe_carries_its_reason_and_code(w: Arc<World>) {
    let client = connect(&w.ws_url).await;
    let refused = soon("an answer", client.vote_subscribe()).await;
    let Err(PubsubClientError::SubscribeFailed { reason, .. }) = refused else {
        panic!("not enabled on this node");
    };
    assert_eq!(reason, "Method not found (-32601)");
    let (mut clocks, _unsubscribe) = soon("an answer", client.account_subscribe(&clock::ID, processed()))
        .await
        .expect("the connection lives");
    soon("a Clock", clocks.next()).await.expect("a Clock");
}

pub(crate) async fn unsubscribing_returns_once_answered_and_at_once_when_the_client_is_gone(w: Arc<World>) {
    let client = connect(&w.ws_url).await;
    let (mut stream, unsubscribe) =
        soon("an answer", client.account_subscribe(&clock::ID, processed())).await.expect("a stream");
    soon("an unsubscribe", unsubscribe()).await;
    soon("the end", async { while stream.next().await.is_some() {} }).await;
    drop(stream);
    let (stream, unsubscribe) =
        soon("an answer", client.account_subscribe(&clock::ID, processed())).await.expect("a stream");
    drop(stream);
    soon("the end", client.shutdown()).await.expect("an orderly end");
    soon("an unsubscribe", unsubscribe()).await;
}

pub(crate) async fn unsubscribing_hangs_on_a_silent_server(_: Arc<World>) {
    let (client, mut script) = scripted().await;
    let key = Pubkey::new_unique();
    let (answer, ()) = tokio::join!(client.account_subscribe(&key, None), script.acknowledge(7));
    let (_stream, unsubscribe) = answer.expect("a stream");
    let mut unsubscribe = unsubscribe();
    assert!(poll!(&mut unsubscribe).is_pending());
    let request = script.request().await;
    assert_eq!((&request["method"], &request["params"]), (&json!("accountUnsubscribe"), &json!([7])));
    // The server has it and is silent: nothing else of the client will wake it. Its answer does.
    assert!(poll!(&mut unsubscribe).is_pending());
    script.say(crate::scripted::answer(&request, json!(true))).await;
    soon("an unsubscribe", unsubscribe).await;
}

pub(crate) async fn a_notification_that_does_not_decode_is_dropped_silently(_: Arc<World>) {
    let (client, mut script) = scripted().await;
    let key = Pubkey::new_unique();
    let (answer, ()) = tokio::join!(client.account_subscribe(&key, None), script.acknowledge(7));
    let (mut stream, _unsubscribe) = answer.expect("a stream");
    script.say(account(7, 1)).await;
    // A rent epoch of 2^64, and one as a float, as some providers write it.
    let text = account_with(7, 2, json!(0)).to_string();
    script.say(text.replace("\"rentEpoch\":0", "\"rentEpoch\":18446744073709551616")).await;
    script.say(account_with(7, 3, json!(1.8446744073709552e19))).await;
    script.say(account(7, 4)).await;
    assert_eq!(lamports(soon("an update", stream.next()).await), 1);
    assert_eq!(lamports(soon("an update", stream.next()).await), 4);
}

pub(crate) async fn nothing_is_lost_between_the_answer_and_the_stream(_: Arc<World>) {
    let (client, mut script) = scripted().await;
    let key = Pubkey::new_unique();
    let (subscribed, ()) = tokio::join!(client.account_subscribe(&key, None), async {
        let request = script.request().await;
        script.say_together(&[answer(&request, json!(7)), account(7, 1), account(7, 2)]).await;
    });
    let (mut stream, _unsubscribe) = subscribed.expect("a stream");
    assert_eq!(lamports(soon("an update", stream.next()).await), 1);
    assert_eq!(lamports(soon("an update", stream.next()).await), 2);
}

pub(crate) async fn a_dropped_stream_is_unsubscribed_at_its_next_notification(_: Arc<World>) {
    let (client, mut script) = scripted().await;
    let (dropped, kept) = (Pubkey::new_unique(), Pubkey::new_unique());
    let (answer, ()) = tokio::join!(client.account_subscribe(&dropped, None), script.acknowledge(7));
    drop(answer);
    // A round trip after the drop brings no unsubscribe.
    let (answer, request) = tokio::join!(client.account_subscribe(&kept, None), async {
        let request = script.request().await;
        script.say(crate::scripted::answer(&request, json!(8))).await;
        request
    });
    assert!(answer.is_ok());
    assert_eq!(request["method"], "accountSubscribe");
    script.say(account(7, 1)).await;
    let request = script.request().await;
    assert_eq!((&request["method"], &request["params"]), (&json!("accountUnsubscribe"), &json!([7])));
}

pub(crate) async fn a_notification_of_an_unknown_id_is_answered_with_an_unsubscribe(_: Arc<World>) {
    let (_client, mut script) = scripted().await;
    script.say(account(99, 1)).await;
    let request = script.request().await;
    assert_eq!((&request["method"], &request["params"]), (&json!("accountUnsubscribe"), &json!([99])));
}

pub(crate) async fn malformed_answers_end_the_whole_connection(_: Arc<World>) {
    let cases: [(&str, Value, bool); 5] = [
        ("no object", json!([1]), false),
        ("a null id", json!({"id": null, "result": 1}), false),
        ("an id of text", json!({"id": "1", "result": 1}), false),
        ("a result of text", json!({"id": 1, "result": "x"}), false),
        ("an unknown id", json!({"id": 4711, "result": 1}), true),
    ];
    for (name, said, quietly) in cases {
        let (client, mut script) = scripted().await;
        let key = Pubkey::new_unique();
        let subscribed = tokio::join!(client.account_subscribe(&key, None), async {
            script.request().await;
            script.say(&said).await;
        })
        .0;
        assert!(matches!(subscribed, Err(PubsubClientError::ConnectionClosed(_))), "{name}");
        drop(subscribed);
        let end = soon("the end", client.shutdown()).await;
        assert_eq!(end.is_ok(), quietly, "{name}: {end:?}");
    }
}

pub(crate) async fn a_lost_connection_ends_the_streams_and_shutdown_tells_how(_: Arc<World>) {
    for orderly in [true, false] {
        let (client, mut script) = scripted().await;
        let key = Pubkey::new_unique();
        let (answer, ()) = tokio::join!(client.account_subscribe(&key, None), script.acknowledge(7));
        let (mut stream, _unsubscribe) = answer.expect("a stream");
        if orderly {
            script.close().await;
        }
        drop(script);
        assert!(soon("the end of the stream", stream.next()).await.is_none());
        drop(stream);
        let end = soon("the end", client.shutdown()).await;
        assert_eq!(end.is_ok(), orderly, "with a Close frame it is no error: {end:?}");
    }
}

pub(crate) async fn an_idle_client_pings_after_ten_seconds_and_a_busy_one_does_not(_: Arc<World>) {
    let (_idle, mut silent) = scripted().await;
    let (busy, mut talking) = scripted().await;
    let key = Pubkey::new_unique();
    let (answer, ()) = tokio::join!(busy.account_subscribe(&key, None), talking.acknowledge(7));
    let (_stream, _unsubscribe) = answer.expect("a stream");
    let started = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            message = silent.heard() => {
                assert!(matches!(message, Some(Message::Ping(_))), "{message:?}");
                break;
            }
            message = talking.heard() => panic!("a busy client said {message:?}"),
            _ = beat.tick() => talking.say(account(7, 1)).await,
        }
    }
    let waited = started.elapsed().as_secs_f64();
    println!("    the idle one pinged after {waited:.1} s");
    assert!((9.0..20.0).contains(&waited));
}

pub(crate) async fn too_many_requests_are_retried_five_times_inside_both_clients(_: Arc<World>) {
    let (socket, http) = (Listener::bind().await, Listener::bind().await);
    let (socket_url, http_url) = (socket.url.clone(), http.url.replace("ws://", "http://"));
    let (sockets, requests) = (socket.refuse_all(), http.refuse_all());
    let rpc = RpcClient::new(http_url);
    let started = Instant::now();
    let (connected, answered) =
        soon("refusals", async { tokio::join!(PubsubClient::new(socket_url.as_str()), rpc.get_slot()) })
            .await;
    assert!(matches!(connected, Err(PubsubClientError::ConnectionError(_))));
    let error = answered.expect_err("refused");
    assert!(matches!(error.kind(), ErrorKind::Reqwest(_)), "{error:?}");
    assert_eq!((sockets.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (6, 6));
    assert!(started.elapsed() >= Duration::from_millis(2500), "half a second each");
}

pub(crate) async fn an_rpc_error_prints_its_url(_: Arc<World>) {
    let listener = Listener::bind().await;
    let url = listener.url.replace("ws://", "http://");
    drop(listener);
    let rpc = RpcClient::new(format!("{url}?api-key=SECRET"));
    let error = soon("a refusal", rpc.get_slot()).await.expect_err("nobody listens");
    assert!(format!("{error}{error:?}").contains("SECRET"), "the key is in it");
}
