//! What `accountSubscribe` takes, shares, sends and does not send.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use solana_pubkey::Pubkey;
use solana_sdk_ids::sysvar::clock;
use solana_signer::Signer;

use crate::wire::{End, soon};
use crate::world::{COMMITMENTS, SUPPLY, TOKEN, TOKEN_2022, World, amount, bytes};

const SYSTEM: &str = "11111111111111111111111111111111";

pub(crate) async fn an_absent_account_can_be_subscribed_and_its_creation_is_notified(w: Arc<World>) {
    let account = Pubkey::new_unique();
    let mut wire = w.wire().await;
    let clock = wire.clock("confirmed").await;
    let id = wire.subscribe(&account, "confirmed").await;
    for note in wire.ticks(clock, 2).await {
        assert_eq!(note.subscription, clock, "nothing before it exists");
    }
    let landed = w.land(&[w.lamports(&account, 5_000_000)], &[]).await;
    let note = wire.note_of(id).await;
    assert_eq!(note.slot, landed);
    assert_eq!(note.lamports(), 5_000_000);
    assert_eq!(note.value["owner"], SYSTEM);
}

pub(crate) async fn a_subscription_sends_no_initial_state(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 1).await;
    let mut wire = w.wire().await;
    for commitment in COMMITMENTS {
        let clock = wire.clock(commitment).await;
        // Until the account's own change is behind at this commitment.
        let known = w.slot("processed").await;
        wire.until(clock, known + 1).await;
        let id = wire.subscribe(&tokens.accounts[0], commitment).await;
        for note in wire.ticks(clock, 4).await {
            assert_ne!(note.subscription, id, "at {commitment}: {note:?}");
        }
    }
}

pub(crate) async fn a_closed_account_is_notified_as_empty_and_owned_by_the_system(w: Arc<World>) {
    for program in [TOKEN, TOKEN_2022] {
        let tokens = w.tokens(program, 1).await;
        let mut wire = w.wire().await;
        let id = wire.subscribe(&tokens.accounts[0], "confirmed").await;
        let landed = w.land(&w.close(&tokens, SUPPLY), &[]).await;
        let note = wire.note_of(id).await;
        assert_eq!(note.slot, landed);
        assert_eq!(
            note.value,
            json!({"lamports": 0, "owner": SYSTEM, "data": ["", "base64"],
                "executable": false, "rentEpoch": 0, "space": 0})
        );
        let snapshot = w.snapshot(&tokens.accounts, "confirmed", landed).await;
        assert!(snapshot.value[0].is_null(), "RPC says null: {snapshot:?}");
    }
}

pub(crate) async fn a_closed_account_created_again_is_notified_at_the_same_subscription(w: Arc<World>) {
    let tokens = w.tokens(TOKEN_2022, 1).await;
    let mut wire = w.wire().await;
    let id = wire.subscribe(&tokens.accounts[0], "confirmed").await;
    w.land(&w.close(&tokens, SUPPLY), &[]).await;
    assert_eq!(wire.note_of(id).await.lamports(), 0);
    let create = spl_associated_token_account_interface::instruction::create_associated_token_account(
        &w.payer.pubkey(),
        &tokens.owners[0],
        &tokens.mint,
        &tokens.program,
    );
    let landed = w.land(&[create], &[]).await;
    let note = wire.note_of(id).await;
    assert_eq!((note.slot, amount(&note.value)), (landed, 0));
    assert_eq!(note.value["owner"], TOKEN_2022.to_string());
}

pub(crate) async fn an_account_untouched_since_genesis_is_closed_without_a_notification(w: Arc<World>) {
    let mut wire = w.wire().await;
    let clock = wire.clock("confirmed").await;
    let untouched = wire.subscribe(&w.untouched.pubkey(), "confirmed").await;
    let touched = wire.subscribe(&w.touched.pubkey(), "confirmed").await;
    // The control: touched once, it is closed with a notification.
    w.land(&[w.lamports(&w.touched.pubkey(), 1)], &[]).await;
    assert!(wire.note_of(touched).await.lamports() > 0);

    let mut last = 0;
    for key in [&w.untouched, &w.touched] {
        let balance = soon("a balance", w.rpc.get_balance(&key.pubkey())).await.expect("a balance");
        assert!(balance > 0);
        let drain = solana_system_interface::instruction::transfer(&key.pubkey(), &w.payer.pubkey(), balance);
        last = w.land(&[drain], &[key]).await;
    }
    let notes = wire.until(clock, last + 1).await;
    let closed = |id| notes.iter().filter(|note| note.subscription == id && note.lamports() == 0).count();
    assert_eq!((closed(untouched), closed(touched)), (0, 1));
    let keys = [w.untouched.pubkey(), w.touched.pubkey()];
    assert_eq!(w.snapshot(&keys, "confirmed", last).await.value, json!([null, null]));
}

pub(crate) async fn several_writes_in_one_slot_show_as_one(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let mut wire = w.wire().await;
    let clock = wire.clock("confirmed").await;
    let id = wire.subscribe(&tokens.accounts[1], "confirmed").await;
    for round in 0..5 {
        let mut sent = Vec::new();
        for n in 1..=8 {
            sent.push(w.send(&[w.transfer(&tokens, 1, n)], &[]).await);
        }
        let slots = w.all_landed(&sent).await;
        let distinct: BTreeSet<u64> = slots.iter().copied().collect();
        let last = *distinct.last().expect("some");
        let notes = wire.until(clock, last + 1).await;
        let notified: Vec<u64> =
            notes.iter().filter(|note| note.subscription == id).map(|note| note.slot).collect();
        assert_eq!(notified, distinct.iter().copied().collect::<Vec<_>>());
        let shown = notes.iter().rfind(|note| note.subscription == id).expect("one");
        assert_eq!(amount(&shown.value), (round + 1) * 36, "the last state of the slot");
        if distinct.len() < slots.len() {
            println!(
                "    {} writes in {} slots, {} notifications",
                slots.len(),
                distinct.len(),
                notified.len()
            );
            return;
        }
    }
    panic!("no two of eight transactions came into one slot, in five rounds");
}

pub(crate) async fn the_default_commitment_is_finalized(w: Arc<World>) {
    let account = Pubkey::new_unique();
    let mut wire = w.wire().await;
    let default = wire.subscribe_with(&account, json!({"encoding": "base64"})).await;
    let confirmed = wire.subscribe(&account, "confirmed").await;
    let processed = wire.subscribe(&account, "processed").await;
    let finalized = wire.subscribe(&account, "finalized").await;
    assert_eq!(default, finalized, "equal parameters share an id");
    assert_eq!(BTreeSet::from([processed, confirmed, finalized]).len(), 3);

    let landed = w.land(&[w.lamports(&account, 1_000_000)], &[]).await;
    assert_eq!(wire.note_of(confirmed).await.slot, landed);
    assert!(w.slot("finalized").await < landed, "finality takes longer");
    assert!(wire.note_of(default).await.slot >= landed);
    assert!(w.slot("finalized").await >= landed);
}

pub(crate) async fn the_default_encoding_is_an_error_text_beyond_128_bytes(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let mut wire = w.wire().await;
    let plain = json!({"commitment": "confirmed"});
    let clock = wire.subscribe_with(&clock::ID, plain.clone()).await;
    let id = wire.subscribe_with(&tokens.accounts[1], plain).await;
    w.land(&[w.transfer(&tokens, 1, 1)], &[]).await;
    let note = wire.note_of(id).await;
    assert_eq!(note.value["data"], "error: data too large for bs58 encoding");
    // The Clock's 40 bytes fit, as bare base58 text.
    let data = wire.note_of(clock).await.value["data"].take();
    assert!(data.as_str().is_some_and(|text| !text.contains("error")), "{data}");
}

pub(crate) async fn equal_parameters_share_one_id_on_all_connections(w: Arc<World>) {
    let account = Pubkey::new_unique();
    let mut wire = w.wire().await;
    let mut other = w.wire().await;
    let id = wire.subscribe(&account, "confirmed").await;
    assert_eq!(wire.subscribe(&account, "confirmed").await, id);
    assert_eq!(other.subscribe(&account, "confirmed").await, id);
    assert_ne!(wire.subscribe(&account, "processed").await, id);

    // One unsubscribe ends both on its connection, and neither on the other.
    assert_eq!(wire.request("accountUnsubscribe", json!([id])).await, true);
    let clock = wire.clock("confirmed").await;
    let again = wire.try_request("accountUnsubscribe", json!([id])).await;
    assert_eq!(again, Err(json!({"code": -32602, "message": "Invalid subscription id."})));
    let landed = w.land(&[w.lamports(&account, 1_000_000)], &[]).await;
    assert_eq!(other.note_of(id).await.slot, landed);
    for note in wire.until(clock, landed + 1).await {
        assert_ne!(note.subscription, id, "after the unsubscribe: {note:?}");
    }
}

pub(crate) async fn an_unsubscribed_id_is_silent_from_the_answer_on(w: Arc<World>) {
    let mut wire = w.wire().await;
    let barrier = wire.barrier("processed", 1001).await;
    let clock = wire.clock("processed").await;
    wire.note_of(barrier).await;
    assert_eq!(wire.request("accountUnsubscribe", json!([barrier])).await, true);
    // Whatever came before the answer has been read by now.
    wire.forget();
    for note in wire.ticks(clock, 3).await {
        assert_ne!(note.subscription, barrier, "after the answer: {note:?}");
    }
}

pub(crate) async fn a_slice_makes_another_subscription_and_is_ignored_in_the_data(w: Arc<World>) {
    let mut wire = w.wire().await;
    let clock = wire.clock("processed").await;
    let first = wire.barrier("processed", 1002).await;
    let second = wire.barrier("processed", 3).await;
    assert_eq!(BTreeSet::from([clock, first, second]).len(), 3);
    assert_eq!(wire.barrier("processed", 1002).await, first);
    for id in [first, second] {
        assert_eq!(bytes(&wire.note_of(id).await.value).len(), 40, "the whole Clock");
    }
}

pub(crate) async fn min_context_slot_is_ignored_in_a_subscription(w: Arc<World>) {
    let account = Pubkey::new_unique();
    let mut wire = w.wire().await;
    let id = wire
        .subscribe_with(
            &account,
            json!({"encoding": "base64", "commitment": "processed", "minContextSlot": u64::MAX}),
        )
        .await;
    assert_eq!(wire.subscribe(&account, "processed").await, id, "no part of the key");
    w.land(&[w.lamports(&account, 1_000_000)], &[]).await;
    assert_eq!(wire.note_of(id).await.lamports(), 1_000_000);
}

pub(crate) async fn a_client_message_may_have_4096_bytes(w: Arc<World>) {
    let message = |length: usize| {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": "getVersion", "params": []}).to_string();
        format!("{text}{}", " ".repeat(length - text.len()))
    };
    let mut wire = w.wire().await;
    wire.say(message(4096)).await;
    let answer = wire.response().await;
    assert!(answer["result"]["solana-core"].is_string(), "{answer}");
    wire.say(message(4097)).await;
    let end = wire.end().await;
    println!("    after 4097 bytes: {end:?}");
    assert!(matches!(end, End::Dropped(_)), "without a Close frame: {end:?}");
}

pub(crate) async fn a_refused_subscription_leaves_the_connection_alive(w: Arc<World>) {
    let mut wire = w.wire().await;
    let refused = wire.try_request("accountSubscribe", json!(["no key"])).await;
    assert_eq!(refused.expect_err("refused")["code"], -32602);
    let refused = wire.try_request("voteSubscribe", json!([])).await;
    assert_eq!(refused.expect_err("not enabled")["code"], -32601);
    let clock = wire.clock("processed").await;
    wire.note_of(clock).await;
}

pub(crate) async fn a_token_account_is_notified_with_the_rent_epoch_u64_max(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let mut wire = w.wire().await;
    let id = wire.subscribe(&tokens.accounts[1], "confirmed").await;
    w.land(&[w.transfer(&tokens, 1, 7)], &[]).await;
    let note = wire.note_of(id).await;
    assert_eq!(note.value["rentEpoch"], u64::MAX);
    assert_eq!(note.value["space"], 165);
}

pub(crate) async fn a_program_subscription_never_reports_a_close(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let mut wire = w.wire().await;
    let clock = wire.clock("confirmed").await;
    let mint = tokens.mint.to_string();
    let id = wire
        .request(
            "programSubscribe",
            json!([TOKEN.to_string(), {"encoding": "base64", "commitment": "confirmed",
                "filters": [{"memcmp": {"offset": 0, "bytes": mint}}]}]),
        )
        .await;
    let id = id.as_u64().expect("an id");
    let account = wire.subscribe(&tokens.accounts[0], "confirmed").await;
    let moved = w.land(&[w.transfer(&tokens, 1, 7)], &[]).await;
    let closed = w.land(&w.close(&tokens, SUPPLY - 7), &[]).await;
    let notes = wire.until(clock, closed + 1).await;
    let of = |id, slot| notes.iter().filter(|note| note.subscription == id && note.slot == slot).count();
    assert!(closed > moved);
    assert_eq!(of(id, moved), 2, "both ends of the transfer");
    assert_eq!((of(account, closed), of(id, closed)), (1, 0), "the close");
}

pub(crate) async fn a_slot_notification_precedes_the_accounts_of_its_slot(w: Arc<World>) {
    let mut wire = w.wire().await;
    let slots = wire.request("slotSubscribe", json!([])).await.as_u64().expect("an id");
    let clock = wire.clock("processed").await;
    wire.note_of(clock).await;
    wire.note_of(slots).await;
    let mut announced = BTreeSet::new();
    let mut later = 0;
    for note in wire.ticks(clock, 8).await {
        if note.subscription == slots {
            announced.insert(note.slot);
        } else if announced.contains(&note.slot) {
            later += 1;
        } else {
            assert!(announced.is_empty(), "the Clock of {} came before its slot", note.slot);
        }
    }
    assert!(later >= 6, "{later} of 8 slots were announced before their accounts");
}
