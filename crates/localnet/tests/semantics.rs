//! What a node does, seen through Solana's own clients and on the bare wire.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use std::collections::HashSet;

use futures_util::{SinkExt, StreamExt};
use localnet::{Localnet, Pubkey, SendError, Signer, tokens};
use serde_json::{Value, json};
use solana_client::{
    rpc_config::{RpcAccountInfoConfig, RpcSignatureSubscribeConfig, UiDataSliceConfig},
    rpc_request::{RpcRequest, TokenAccountsFilter},
    rpc_response::{RpcKeyedAccount, RpcSignatureResult},
};
use solana_keypair::Keypair;
use solana_transaction::Transaction;
use support::{raw::Raw, *};
use tokio_tungstenite::tungstenite::Message;

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
    let (payer, program) = (net.payer(), &token.program);
    let give = tokens::transfer_checked(program, &token.ata, &token.mint, &to, &payer.pubkey(), 300, 6);
    let client = pubsub(&net).await;
    let (mut updates, unsubscribe) = client.account_subscribe(&to, Some(base64(CONFIRMED))).await.unwrap();
    let blockhash = rpc.get_latest_blockhash().await.unwrap();
    let signers = [&owner, payer];
    let tx = Transaction::new_signed_with_payer(&[create, give], Some(&owner.pubkey()), &signers, blockhash);
    rpc.send_and_confirm_transaction(&tx).await.unwrap();
    let mut update = soon("the notification", updates.next()).await.unwrap();
    // A notifier that is late tells first that the account is absent from an older bank (see the
    // notifier's own test).
    while update.value.lamports == 0 {
        update = soon("the next notification", updates.next()).await.unwrap();
    }
    assert_eq!(ui_amount(&update), 300);
    let balance = rpc.get_token_account_balance(&to).await.unwrap();
    assert_eq!(balance.ui_amount_string, "0.0003");
    drop(updates);
    soon("the unsubscription", unsubscribe()).await;
    assert_eq!(net.stats().subscriptions, 0);
}

#[tokio::test]
async fn a_write_shows_at_each_commitment_in_its_time() {
    let net = Localnet::builder().paused().confirmed_depth(2).finalized_depth(5).start().unwrap();
    let a = address(1);
    let mut raw = Raw::connect(&net).await;
    let mut ids = Vec::new();
    for commitment in ["processed", "confirmed", "finalized"] {
        ids.push(raw.subscribe(&a, commitment).await);
    }
    net.advance(11);
    let written = net.set_account(&a, lamports(7));
    assert_eq!(written, 12);
    let (tip, before) = net.account(&a, PROCESSED);
    assert_eq!((tip, before), (11, None), "the open bank is not seen");
    net.advance(1);
    let told = raw.seen().await;
    assert_eq!((told.id, told.slot, told.lamports), (ids[0], written, 7), "and nothing before it");
    assert_eq!(net.account(&a, CONFIRMED).1, None);
    net.advance(2);
    let told = raw.seen().await;
    assert_eq!((told.id, told.slot), (ids[1], written), "each confirmed bank is checked");
    net.advance(6);
    let told = raw.seen().await;
    assert_eq!(told.id, ids[2]);
    assert!(told.slot > written, "finality came in a stride over the bank of the write: {told:?}");
    assert_eq!(net.slot(FINALIZED), told.slot);
}

#[tokio::test]
async fn writes_within_a_slot_show_once_and_as_the_last() {
    let net = stepped();
    let a = address(1);
    let mut raw = Raw::connect(&net).await;
    raw.subscribe(&a, "processed").await;
    for n in 1..=3 {
        net.set_account(&a, lamports(n));
    }
    net.advance(1);
    net.set_account(&a, lamports(9));
    net.advance(1);
    assert_eq!([raw.seen().await.lamports, raw.seen().await.lamports], [3, 9]);
}

#[tokio::test]
async fn rewriting_the_same_bytes_is_a_write() {
    let net = stepped();
    let a = address(1);
    net.set_account(&a, lamports(5));
    net.advance(1);
    let mut raw = Raw::connect(&net).await;
    raw.subscribe(&a, "processed").await;
    // An entry is in the notifier's queue before the next tick's check.
    let slot = net.set_account(&a, lamports(5));
    net.advance(1);
    assert_eq!(raw.seen().await.slot, slot);
    net.advance(3);
    assert_eq!(net.history(&a).len(), 1, "but history tells changes only");
}

#[tokio::test]
async fn the_clock_bounds_what_came_before_it() {
    let net = fast().seed(3).start().unwrap();
    let accounts: Vec<Pubkey> = (1..=20).map(address).collect();
    let mut raw = Raw::connect(&net).await;
    let clock = raw.subscribe(&CLOCK, "confirmed").await;
    for account in &accounts {
        raw.subscribe(account, "confirmed").await;
    }
    let (mut newest_clock, mut clocks) = (0, 0);
    let (mut before_clock, mut after_clock) = (0, 0);
    for round in 1.. {
        for account in accounts.iter().step_by(1 + round as usize % 3) {
            net.set_account(account, lamports(round));
        }
        let seen = raw.seen().await;
        if seen.id == clock {
            if newest_clock > 0 {
                assert_eq!(seen.slot, newest_clock + 1, "the Clock changes in every slot");
            }
            (newest_clock, clocks) = (seen.slot, clocks + 1);
        } else {
            assert!(seen.slot >= newest_clock, "{seen:?} came after the Clock of {newest_clock}");
            before_clock += u64::from(seen.slot > newest_clock);
            after_clock += u64::from(seen.slot == newest_clock);
        }
        if clocks == 100 {
            break;
        }
    }
    assert!(
        before_clock > 0 && after_clock > 0,
        "within a slot the order is any: {before_clock}, {after_clock}"
    );
}

#[tokio::test]
async fn equal_parameters_share_an_entry() {
    let net = stepped();
    let (a, other) = (address(1), address(2));
    let mut raw = Raw::connect(&net).await;
    let id = raw.subscribe(&a, "confirmed").await;
    assert_eq!(raw.subscribe(&a, "confirmed").await, id);
    assert_ne!(raw.subscribe(&a, "processed").await, id);
    assert_ne!(raw.subscribe(&other, "confirmed").await, id);
    assert_eq!(Raw::connect(&net).await.subscribe(&a, "confirmed").await, id, "on the whole node");
    let config =
        json!({ "encoding": "base64", "commitment": "confirmed", "dataSlice": { "offset": 0, "length": 1 } });
    let sliced = raw.call("accountSubscribe", json!([a.to_string(), config])).await["result"].clone();
    assert_ne!(sliced, id, "the slice is part of the key");

    let mut account = lamports(1);
    account.data = vec![1, 2, 3];
    net.set_account(&a, account);
    net.advance(2);
    let told = loop {
        let told = raw.notification().await;
        if told["params"]["subscription"] == sliced {
            break told;
        }
    };
    assert_eq!(told["params"]["result"]["value"]["data"][0], "AQID", "but the data is whole");

    let gone = raw.call("accountUnsubscribe", json!([id])).await;
    assert_eq!(gone["result"], true, "one unsubscribe removes both");
    let gone = raw.call("accountUnsubscribe", json!([id])).await;
    assert_eq!(gone["error"]["code"], -32602);
    until(&net, "the other connection's end", |net| net.stats().ws_open == 1).await;
    assert_ne!(raw.subscribe(&a, "confirmed").await, id, "the entry ended with its last holder");
}

#[tokio::test]
async fn a_late_twin_gets_the_entry_as_it_is() {
    let net = stepped();
    let a = address(1);
    let (mut first, mut second) = (Raw::connect(&net).await, Raw::connect(&net).await);
    first.subscribe(&a, "processed").await;
    net.set_account(&a, lamports(1));
    net.advance(1);
    assert_eq!(first.seen().await.lamports, 1);
    second.subscribe(&a, "processed").await;
    net.set_account(&a, lamports(2));
    net.advance(1);
    assert_eq!(second.seen().await.lamports, 2, "no initial state");
    assert_eq!(first.seen().await.lamports, 2);
}

#[tokio::test]
async fn defaults_are_finalized_and_base58() {
    let net = Localnet::builder().paused().finalized_depth(4).start().unwrap();
    let token = token(&net, tokens::TOKEN, &[]);
    net.advance(1);
    let mut raw = Raw::connect(&net).await;
    raw.call("accountSubscribe", json!([token.ata.to_string()])).await;
    let written = token.mint(&net, 5);
    net.advance(2);
    net.faults().inject(r#"{"nothing":"yet"}"#);
    assert_eq!(raw.notification().await["nothing"], "yet", "it is confirmed, not finalized");
    net.advance(10);
    let told = raw.notification().await;
    let result = &told["params"]["result"];
    assert!(result["context"]["slot"].as_u64().unwrap() >= written);
    assert_eq!(result["value"]["data"], "error: data too large for bs58 encoding");
}

#[tokio::test]
async fn a_closed_account_is_told_as_empty_unless_it_is_of_genesis() {
    let net = stepped();
    let token = token(&net, tokens::TOKEN, &[]);
    net.advance(1);
    let genesis: Pubkey = "StakeConfig11111111111111111111111111111111".parse().unwrap();
    assert!(net.account(&genesis, PROCESSED).1.is_some());
    let mut raw = Raw::connect(&net).await;
    raw.subscribe(&genesis, "processed").await;
    let id = raw.subscribe(&token.ata, "processed").await;
    let owner = net.payer().pubkey();
    net.set_account(&genesis, lamports(0));
    net.send(&[tokens::close(&token.program, &token.ata, &owner, &owner)], &[]).unwrap();
    let tip = net.advance(1);
    let told = raw.notification().await;
    let expected = json!({
        "lamports": 0, "data": ["", "base64"], "owner": "11111111111111111111111111111111",
        "executable": false, "rentEpoch": 0, "space": 0,
    });
    assert_eq!(told["params"]["subscription"], id);
    assert_eq!(told["params"]["result"], json!({ "context": { "slot": tip }, "value": expected }));
    assert_eq!(net.account(&genesis, PROCESSED).1, None);
    assert_eq!(net.history(&token.ata).len(), 1, "the close is not confirmed yet");
    // Both come alive again; a notification of the close of the other would have come before.
    net.set_account(&genesis, lamports(4));
    net.advance(1);
    assert_eq!(raw.seen().await.lamports, 4);
    assert_eq!(net.history(&token.ata).last().unwrap(), &(tip, None));
}

#[tokio::test]
async fn a_signature_is_told_once_and_slots_as_they_open() {
    let net = stepped();
    let client = pubsub(&net).await;
    let (mut slots, _) = client.slot_subscribe().await.unwrap();
    let landed = net.send(&[], &[]).unwrap();
    let config = RpcSignatureSubscribeConfig { commitment: Some(CONFIRMED), ..Default::default() };
    let (mut status, _) = client.signature_subscribe(&landed.signature, Some(config)).await.unwrap();
    net.advance(2);
    let told = soon("the signature", status.next()).await.unwrap();
    assert_eq!(told.context.slot, landed.slot);
    let RpcSignatureResult::ProcessedSignature(result) = told.value else { panic!("{told:?}") };
    assert_eq!(result.err, None);
    until(&net, "the subscription's end", |net| net.stats().subscriptions == 1).await;
    let opened = soon("a slot", slots.next()).await.unwrap();
    assert_eq!((opened.slot, opened.parent), (2, 1));
    assert_eq!(soon("a slot", slots.next()).await.unwrap().slot, 3);
}

#[tokio::test]
async fn errors_are_those_of_the_server() {
    let net = stepped();
    let mut raw = Raw::connect(&net).await;
    let code = |answer: Value| answer["error"]["code"].as_i64().unwrap_or(0);
    assert_eq!(code(raw.call("fooSubscribe", json!([])).await), -32601);
    assert_eq!(code(raw.call("accountSubscribe", json!(["nonsense"])).await), -32602);
    assert_eq!(code(raw.call("accountSubscribe", json!([])).await), -32602);
    let http = Http::new(&net);
    assert_eq!(code(http.call("getFoo", json!([])).await), -32601);
    let nonsense = http.call("getAccountInfo", json!(["nonsense"])).await;
    assert_eq!(nonsense["error"], json!({ "code": -32602, "message": "Invalid param: WrongSize" }));
    let a = address(1).to_string();
    let many = http.call("getMultipleAccounts", json!([vec![&a; 101]])).await;
    assert_eq!(many["error"]["message"], "Too many inputs provided; max 100");
    assert_eq!(code(many), -32602);
    let ahead = json!([[a], { "minContextSlot": 7, "commitment": "processed" }]);
    net.advance(6);
    let error = http.call("getMultipleAccounts", ahead.clone()).await["error"].clone();
    let expected = json!({
        "code": -32016, "message": "Minimum context slot has not been reached", "data": { "contextSlot": 6 },
    });
    assert_eq!(error, expected);
    net.advance(1);
    let answer = http.call("getMultipleAccounts", ahead).await;
    assert_eq!(answer["result"]["context"]["slot"], 7);
    assert_eq!(answer["result"]["value"], json!([null]));
    assert_eq!(code(http.post("nonsense".into()).await), -32700);
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "getSlot", "params": [{ "commitment": "processed" }] },
        { "jsonrpc": "2.0", "id": 2, "method": "getHealth" },
    ]);
    let answers = http.post(batch.to_string()).await;
    assert_eq!((&answers[0]["result"], &answers[1]["result"]), (&json!(7), &json!("ok")));
    assert_eq!(net.stats().rpc_calls("getMultipleAccounts"), 3);
}

#[tokio::test]
async fn one_bank_answers_for_all_accounts() {
    let net = fast().start().unwrap();
    let rpc = rpc(&net);
    let accounts = [address(1), address(2), address(3)];
    for round in 1..200 {
        // All or none within one slot, as a transaction would.
        net.pause_slots();
        for account in &accounts {
            net.set_account(account, lamports(round));
        }
        net.resume_slots();
        let found = rpc.get_multiple_ui_accounts_with_config(&accounts, base64(PROCESSED)).await.unwrap();
        let seen: HashSet<_> = found.value.iter().map(|a| a.as_ref().map(|a| a.lamports)).collect();
        assert_eq!(seen.len(), 1, "{found:?}");
    }
}

#[tokio::test]
async fn a_blockhash_is_valid_for_150_blocks() {
    let net = stepped();
    let rpc = rpc(&net);
    net.advance(10);
    let (blockhash, last) = rpc.get_latest_blockhash_with_commitment(PROCESSED).await.unwrap();
    assert_eq!(last, 160);
    let to = address(1);
    let send = async |lamports| {
        let transfer = solana_system_interface::instruction::transfer(&net.payer().pubkey(), &to, lamports);
        let payer = net.payer();
        let tx = Transaction::new_signed_with_payer(&[transfer], Some(&payer.pubkey()), &[payer], blockhash);
        rpc.send_transaction(&tx).await
    };
    net.advance(149);
    send(1_000_000).await.unwrap();
    let again = send(1_000_000).await.unwrap_err();
    assert!(again.to_string().contains("already been processed"), "{again}");
    net.advance(1);
    assert!(rpc.is_blockhash_valid(&blockhash, PROCESSED).await.unwrap());
    let late = send(2_000_000).await.unwrap_err();
    assert!(late.to_string().contains("Blockhash not found"), "{late}");
    net.advance(1);
    assert!(!rpc.is_blockhash_valid(&blockhash, PROCESSED).await.unwrap());
}

#[tokio::test]
async fn a_failed_transaction_pays_and_says_why() {
    let net = stepped();
    let rpc = rpc(&net);
    let token = token(&net, tokens::TOKEN, &[]);
    net.advance(2);
    let (payer, to) = (net.payer(), tokens::ata(&token.program, &address(9), &token.mint));
    let program = &token.program;
    let give = tokens::transfer_checked(program, &token.ata, &token.mint, &to, &payer.pubkey(), 1, 6);
    let funds = |net: &Localnet| net.account(&payer.pubkey(), PROCESSED).1.unwrap().lamports;
    let before = funds(&net);
    let failed = net.send(std::slice::from_ref(&give), &[]).unwrap_err();
    let SendError::Transaction { logs, landed: Some(landed), .. } = failed else { panic!("{failed}") };
    assert!(!logs.is_empty());
    net.advance(1);
    assert_eq!(before - funds(&net), 5000);
    let statuses = rpc.get_signature_statuses(&[landed.signature]).await.unwrap();
    let status = statuses.value[0].clone().unwrap();
    assert_eq!((status.slot, status.err.is_some()), (landed.slot, true));

    let blockhash = rpc.get_latest_blockhash().await.unwrap();
    let tx = Transaction::new_signed_with_payer(&[give], Some(&payer.pubkey()), &[payer], blockhash);
    let refused = rpc.send_transaction(&tx).await.unwrap_err();
    let text = format!("{refused:?}");
    assert!(text.contains("SendTransactionPreflightFailure") && text.contains("-32002"), "{text}");
}

#[test]
fn equal_transactions_can_be_sent_in_one_slot() {
    let net = stepped();
    let token = token(&net, tokens::TOKEN, &[]);
    let owner = net.payer().pubkey();
    let mint = [tokens::mint_to(&token.program, &token.mint, &token.ata, &owner, 5)];
    let signatures: HashSet<_> = (0..4).map(|_| net.send(&mint, &[]).unwrap().signature).collect();
    assert_eq!(signatures.len(), 4);
    net.advance(1);
    assert_eq!(amount(&net.account(&token.ata, PROCESSED).1.unwrap()), 20);
}

#[tokio::test]
async fn token_accounts_are_found_by_owner() {
    let net = stepped();
    let rpc = rpc(&net);
    let owner = net.payer().pubkey();
    let interest = [tokens::Extension::InterestBearing(500)];
    let made = [token(&net, tokens::TOKEN, &[]), token(&net, tokens::TOKEN_2022, &interest)];
    for token in &made {
        token.mint(&net, 1_500_000);
    }
    net.advance(2);
    for token in &made {
        let by_program = TokenAccountsFilter::ProgramId(token.program);
        let found = rpc.get_token_accounts_by_owner(&owner, by_program).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pubkey, token.ata.to_string());
        let parsed = json!(found[0].account.data);
        assert_eq!(parsed["parsed"]["info"]["tokenAmount"]["amount"], "1500000");
        let config = json!({ "encoding": "base64", "commitment": "confirmed", "dataSlice": { "offset": 64, "length": 8 } });
        let params = json!([owner.to_string(), { "mint": token.mint.to_string() }, config]);
        let found: Value = rpc.send(RpcRequest::GetTokenAccountsByOwner, params).await.unwrap();
        let found: Vec<RpcKeyedAccount> = serde_json::from_value(found["value"].clone()).unwrap();
        assert_eq!(found[0].account.data.decode().unwrap(), 1_500_000u64.to_le_bytes());
        assert_eq!(rpc.get_token_supply(&token.mint).await.unwrap().amount, "1500000");
    }
    let nobody = TokenAccountsFilter::ProgramId(tokens::TOKEN);
    assert!(rpc.get_token_accounts_by_owner(&address(3), nobody).await.unwrap().is_empty());
    let stranger = TokenAccountsFilter::ProgramId(address(3));
    assert!(rpc.get_token_accounts_by_owner(&owner, stranger).await.is_err());
}

#[tokio::test]
async fn both_token_programs_do_all_that_the_builders_say() {
    let net = stepped();
    let (owner, other) = (net.payer().pubkey(), Keypair::new());
    for program in [tokens::TOKEN, tokens::TOKEN_2022] {
        let Token { mint, ata, .. } = token(&net, program, &[]);
        let to = tokens::ata(&program, &other.pubkey(), &mint);
        let p = &program;
        let steps = [
            tokens::mint_to(p, &mint, &ata, &owner, 100),
            tokens::create_ata(p, &owner, &other.pubkey(), &mint),
            tokens::transfer_checked(p, &ata, &mint, &to, &owner, 40, 6),
            tokens::burn(p, &ata, &mint, &owner, 10),
            tokens::freeze(p, &ata, &mint, &owner),
            tokens::thaw(p, &ata, &mint, &owner),
            tokens::approve(p, &ata, &other.pubkey(), &owner, 5),
        ];
        net.send(&steps, &[]).unwrap();
        net.advance(1);
        let account = net.account(&ata, PROCESSED).1.unwrap();
        assert_eq!(amount(&account), 50);
        assert_eq!(account.data[72], 1, "a delegate");
        let kind = tokens::AuthorityType::CloseAccount;
        let closer = tokens::set_authority(p, &to, kind, &other.pubkey(), Some(&owner));
        let back = tokens::transfer_checked(p, &to, &mint, &ata, &other.pubkey(), 40, 6);
        net.send(&[closer, back, tokens::close(p, &to, &owner, &owner)], &[&other]).unwrap();
        net.advance(1);
        assert_eq!(net.account(&to, PROCESSED).1, None);
    }
    let all = [
        tokens::Extension::TransferFee { basis_points: 100, maximum: 10 },
        tokens::Extension::InterestBearing(100),
        tokens::Extension::PermanentDelegate(owner),
        tokens::Extension::DefaultFrozen,
        tokens::Extension::Pausable,
        tokens::Extension::TransferHook(address(7)),
        tokens::Extension::MintCloseAuthority,
    ];
    token(&net, tokens::TOKEN_2022, &all);
    token(&net, tokens::TOKEN_2022, &[tokens::Extension::ScaledUiAmount(2.0)]);
    token(&net, tokens::TOKEN_2022, &[tokens::Extension::NonTransferable]);
}

#[tokio::test]
async fn notifications_can_be_parsed_by_the_node() {
    let net = stepped();
    let token = token(&net, tokens::TOKEN_2022, &[tokens::Extension::ScaledUiAmount(2.0)]);
    net.advance(1);
    let mut raw = Raw::connect(&net).await;
    let config = json!({ "encoding": "jsonParsed", "commitment": "processed" });
    raw.call("accountSubscribe", json!([token.ata.to_string(), config])).await;
    token.mint(&net, 3_000_000);
    net.advance(1);
    let told = raw.notification().await;
    let info = &told["params"]["result"]["value"]["data"]["parsed"]["info"];
    assert_eq!(info["tokenAmount"]["uiAmountString"], "6");
}

#[tokio::test]
async fn long_messages_and_slow_readers_are_dropped() {
    let net = Localnet::builder().paused().ring(8).start().unwrap();
    let mut raw = Raw::connect(&net).await;
    raw.send("x".repeat(4096)).await;
    assert_eq!(raw.message().await.unwrap()["error"]["code"], -32700);
    // The server may go before it has read all.
    let _ = raw.socket.send(Message::text("x".repeat(4097))).await;
    assert_eq!(raw.message().await, None);

    let mut slow = Raw::connect_with_small_window(&net).await;
    let a = address(1);
    slow.subscribe(&a, "processed").await;
    let mut account = lamports(1);
    account.data = vec![0; 100_000];
    until(&net, "the slow one's end", |net| {
        net.set_account(&a, account.clone());
        net.advance(1);
        net.stats().ws_open == 0
    })
    .await;
    let end = soon("the end", async {
        loop {
            match slow.socket.next().await {
                Some(Ok(Message::Text(_))) => {}
                other => return other,
            }
        }
    })
    .await;
    assert!(matches!(end, Some(Err(_)) | None), "no Close frame: {end:?}");
}

#[tokio::test]
async fn info_methods_answer() {
    let net = stepped();
    let rpc = rpc(&net);
    net.advance(8);
    assert_eq!(rpc.get_slot().await.unwrap(), 7);
    assert_eq!(rpc.get_slot_with_commitment(PROCESSED).await.unwrap(), 8);
    assert_eq!(rpc.get_block_height().await.unwrap(), 7);
    rpc.get_health().await.unwrap();
    assert!(rpc.get_version().await.unwrap().solana_core.starts_with('4'));
    assert_eq!(rpc.get_epoch_info().await.unwrap().absolute_slot, 7);
    assert_eq!(rpc.get_minimum_balance_for_rent_exemption(165).await.unwrap(), 2_039_280);
    let other = Localnet::builder().seed(1).start().unwrap();
    let hashes =
        [rpc.get_genesis_hash().await.unwrap(), support::rpc(&other).get_genesis_hash().await.unwrap()];
    assert_ne!(hashes[0], hashes[1]);
    net.set_account(&address(1), lamports(3));
    net.advance(2);
    assert_eq!(rpc.get_balance(&address(1)).await.unwrap(), 3);
    let config = RpcAccountInfoConfig {
        data_slice: Some(UiDataSliceConfig { offset: 0, length: 8 }),
        ..base64(PROCESSED)
    };
    let clock = rpc.get_ui_account_with_config(&CLOCK, config).await.unwrap().value.unwrap();
    assert_eq!(clock.data.decode().unwrap(), 10u64.to_le_bytes());
}

#[tokio::test]
async fn time_can_be_stopped_and_the_ports_come_free() {
    let net = fast().start().unwrap();
    let mut slots = net.slots();
    soon("slots", slots.wait_for(|slot| *slot > 3)).await.unwrap();
    net.pause_slots();
    let tip = net.slot(PROCESSED);
    slots.mark_unchanged();
    assert!(tokio::time::timeout(A_WHILE, slots.changed()).await.is_err());
    assert_eq!(net.advance(2), tip + 2);
    net.resume_slots();
    soon("slots", slots.wait_for(|slot| *slot > tip + 4)).await.unwrap();
    let urls = [net.rpc_url(), net.ws_url()];
    let client = pubsub(&net).await;
    drop(net);
    let port = urls[0].rsplit_once(':').unwrap().1.parse().unwrap();
    let again = fast().seed(5).port(port).start().unwrap();
    assert_eq!([again.rpc_url(), again.ws_url()], urls, "another takes its place");
    pubsub(&again).await;
    assert!(fast().port(port).start().is_err());
    drop(client);
}
