//! RPC: snapshots, slots that a node has not reached, statuses, errors of the client.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use solana_account_decoder_client_types::UiAccountEncoding;
use solana_commitment_config::CommitmentConfig;
use solana_pubkey::Pubkey;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::client_error::ErrorKind;
use solana_rpc_client_api::config::RpcAccountInfoConfig;
use solana_rpc_client_api::request::{RpcError, RpcResponseErrorData};
use solana_signer::Signer;

use crate::wire::soon;
use crate::world::{COMMITMENTS, SUPPLY, TOKEN, TOKEN_2022, World, amount};

pub(crate) async fn a_snapshot_of_several_accounts_is_of_one_bank(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let mut wire = w.wire().await;
    let clock = wire.clock("processed").await;
    let keys = [tokens.accounts[0], tokens.accounts[1], solana_sdk_ids::sysvar::clock::ID];
    let (mut snapshots, mut states) = (0, std::collections::BTreeSet::new());
    for _ in 0..8 {
        for _ in 0..6 {
            w.send(&[w.transfer(&tokens, 1, 1)], &[]).await;
            let snapshot = w.snapshot(&keys, "processed", 0).await;
            let (from, to) = (amount(&snapshot.value[0]), amount(&snapshot.value[1]));
            assert_eq!(from + to, SUPPLY, "at slot {}", snapshot.context.slot);
            let clock = crate::world::bytes(&snapshot.value[2]);
            assert_eq!(clock[..8], snapshot.context.slot.to_le_bytes(), "the context is the bank's slot");
            snapshots += 1;
            states.insert(to);
        }
        wire.note_of(clock).await;
    }
    println!("    {snapshots} snapshots saw {} states", states.len());
    assert!(states.len() > 3, "the accounts changed meanwhile");
}

pub(crate) async fn a_snapshot_takes_at_most_100_keys(w: Arc<World>) {
    let keys: Vec<String> = (0..101).map(|_| Pubkey::new_unique().to_string()).collect();
    let answer = w.call("getMultipleAccounts", json!([keys[..100]])).await;
    assert_eq!(answer["result"]["value"], json!(vec![(); 100]), "absent ones are null");
    let answer = w.call("getMultipleAccounts", json!([keys])).await;
    assert_eq!(answer["error"], json!({"code": -32602, "message": "Too many inputs provided; max 100"}));
}

pub(crate) async fn a_slot_not_reached_is_refused_at_once(w: Arc<World>) {
    for commitment in COMMITMENTS {
        let started = Instant::now();
        let answer = w
            .call(
                "getMultipleAccounts",
                json!([[w.payer.pubkey().to_string()], {"commitment": commitment, "minContextSlot": u64::MAX}]),
            )
            .await;
        let error = &answer["error"];
        assert_eq!(error["code"], -32016, "{answer}");
        assert_eq!(error["message"], "Minimum context slot has not been reached");
        let context = error["data"]["contextSlot"].as_u64().expect("a slot");
        assert!(context <= w.slot(commitment).await);
        println!("    {commitment}: {error} in {:?}", started.elapsed());
    }
}

pub(crate) async fn the_client_keeps_the_code_of_a_slot_not_reached_and_drops_its_data(w: Arc<World>) {
    let error = soon("a refusal", w.rpc.get_multiple_ui_accounts_with_config(&[w.payer.pubkey()], ahead()))
        .await
        .expect_err("ahead of the node");
    let ErrorKind::RpcError(RpcError::RpcResponseError { code, data, .. }) = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(*code, -32016);
    assert!(matches!(data, RpcResponseErrorData::Empty), "{data:?}");
}

pub(crate) async fn one_account_calls_turn_every_error_into_account_not_found(w: Arc<World>) {
    let key = w.payer.pubkey();
    let error = soon("a refusal", w.rpc.get_ui_account_with_config(&key, ahead()))
        .await
        .expect_err("ahead of the node");
    let ErrorKind::RpcError(RpcError::ForUser(text)) = error.kind() else {
        panic!("{error:?}");
    };
    assert!(text.starts_with("AccountNotFound"), "{text}");

    // Nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = RpcClient::new(format!("http://{}", port.expect("a port")));
    let confirmed = CommitmentConfig::confirmed();
    let error = soon("a refusal", nobody.get_account_with_commitment(&key, confirmed))
        .await
        .expect_err("nobody listens");
    assert!(error.to_string().starts_with("AccountNotFound"), "{error}");
    let error = soon("a refusal", nobody.get_token_account_with_commitment(&key, confirmed))
        .await
        .expect_err("nobody listens");
    assert!(error.to_string().contains("AccountNotFound"), "{error}");
    let error = soon("a refusal", nobody.get_multiple_ui_accounts_with_config(&[key], base64()))
        .await
        .expect_err("nobody listens");
    assert!(matches!(error.kind(), ErrorKind::Reqwest(_)), "{error:?}");
}

pub(crate) async fn the_call_for_several_accounts_says_none_for_an_absent_one(w: Arc<World>) {
    let keys = [Pubkey::new_unique(), w.payer.pubkey()];
    let answer = soon("an answer", w.rpc.get_multiple_ui_accounts_with_config(&keys, base64()))
        .await
        .expect("an answer");
    assert!(answer.value[0].is_none());
    assert!(answer.value[1].is_some());
}

pub(crate) async fn a_signature_status_comes_from_the_processed_bank(w: Arc<World>) {
    let mut wire = w.wire().await;
    let clock = wire.clock("processed").await;
    // A transaction is seen as processed for a moment only: try some.
    for _ in 0..20 {
        let signature = w.send(&[w.lamports(&w.payer.pubkey(), 1)], &[]).await;
        let first = soon("a status", async {
            loop {
                let answer = w.call("getSignatureStatuses", json!([[signature.to_string()]])).await;
                if !answer["result"]["value"][0].is_null() {
                    return answer["result"].clone();
                }
            }
        })
        .await;
        if first["value"][0]["confirmationStatus"] == "processed" {
            let slot = first["value"][0]["slot"].as_u64().expect("a slot");
            assert!(first["context"]["slot"].as_u64().expect("a slot") >= slot);
            return;
        }
        wire.note_of(clock).await;
    }
    panic!("never seen before it was confirmed, in 20 tries");
}

pub(crate) async fn an_owners_token_accounts_are_listed_per_program_at_a_slot(w: Arc<World>) {
    let owner = w.payer.pubkey().to_string();
    for program in [TOKEN, TOKEN_2022] {
        let tokens = w.tokens(program, 1).await;
        let config =
            |slot: u64| json!({"encoding": "base64", "commitment": "confirmed", "minContextSlot": slot});
        let filter = json!({"programId": program.to_string()});
        let answer = w.call("getTokenAccountsByOwner", json!([owner, filter, config(1)])).await;
        let accounts = answer["result"]["value"].as_array().expect("accounts");
        let ours = tokens.accounts[0].to_string();
        let found = accounts.iter().find(|account| account["pubkey"] == ours).expect("ours");
        assert_eq!(amount(&found["account"]), SUPPLY);
        for account in accounts {
            assert_eq!(account["account"]["owner"], program.to_string(), "of one program only");
        }
        let answer = w.call("getTokenAccountsByOwner", json!([owner, filter, config(u64::MAX)])).await;
        assert_eq!(answer["error"]["code"], -32016);
    }
}

fn base64() -> RpcAccountInfoConfig {
    RpcAccountInfoConfig { encoding: Some(UiAccountEncoding::Base64), ..RpcAccountInfoConfig::default() }
}

fn ahead() -> RpcAccountInfoConfig {
    RpcAccountInfoConfig { min_context_slot: Some(u64::MAX), ..base64() }
}
