//! The server under strain: a subscriber that does not read, a notifier that falls behind, the
//! limit of subscriptions. These run alone: the notification ring and its thread serve the whole
//! node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_rpc_client_api::response::Response;
use solana_sdk_ids::sysvar::{clock, slot_hashes};
use solana_signature::Signature;

use tokio::task::JoinHandle;

use crate::wire::{End, Wire, soon};
use crate::world::{TOKEN, World, amount};
use crate::{LARGE, MAX_SUBSCRIPTIONS};

/// Subscribes many times, and returns the first refusal with the number of subscriptions before it.
async fn flood(wire: &mut Wire, method: &str, params: impl Iterator<Item = Value>) -> Option<(usize, Value)> {
    let all: Vec<Value> = params.collect();
    for (chunk, part) in all.chunks(256).enumerate() {
        for params in part {
            wire.ask(method, params.clone()).await;
        }
        for nth in 0..part.len() {
            let mut answer = wire.response().await;
            if !answer["result"].is_u64() {
                return Some((chunk * 256 + nth, answer["error"].take()));
            }
        }
    }
    None
}

/// `accountSubscribe` at processed, once for each length of a slice.
fn slices(account: Pubkey, lengths: std::ops::Range<usize>) -> impl Iterator<Item = Value> {
    lengths.map(move |length| {
        json!([account.to_string(), {"encoding": "base64", "commitment": "processed",
            "dataSlice": {"offset": 0, "length": length}}])
    })
}

pub(crate) async fn a_subscriber_that_stops_reading_is_cut_off_without_a_close_frame(w: Arc<World>) {
    let mut watch = w.wire().await;
    let ticks = watch.clock("processed").await;
    let mut slow = Wire::connect_with(&w.ws_url, Some(4096)).await;
    // 20 large notifications in each slot fill the buffers of the connection; 600 small ones then
    // overflow the ring of
    // 1000. A burst alone does not.
    let (large, small) = (slices(slot_hashes::ID, 0..20), slices(clock::ID, 10_000..10_600));
    assert_eq!(flood(&mut slow, "accountSubscribe", large.chain(small)).await, None);
    slow.forget();
    watch.ticks(ticks, 20).await;
    let resumed = watch.note_of(ticks).await.slot;
    let mut read = 0;
    let end = loop {
        match slow.try_note().await {
            Ok(note) => {
                read += 1;
                assert!(note.slot < resumed, "still notified, at {}", note.slot);
            }
            Err(end) => break end,
        }
    };
    println!("    {read} notifications were still to be read, then: {end:?}");
    assert!(matches!(end, End::Dropped(_)), "{end:?}");
    // A reader of the same node goes on.
    watch.note_of(ticks).await;
}

pub(crate) async fn subscriptions_above_the_nodes_limit_are_refused(w: Arc<World>) {
    let mut wire = w.wire().await;
    let absent = Pubkey::new_unique();
    let (count, error) = flood(&mut wire, "accountSubscribe", slices(absent, 0..MAX_SUBSCRIPTIONS + 1))
        .await
        .expect("a refusal");
    assert_eq!(count, MAX_SUBSCRIPTIONS);
    assert_eq!(
        error,
        json!({"code": -32603,
            "message": "Internal Error: Subscription refused. Node subscription limit reached"})
    );
}

/// How often an account changes while finalized checks are slow.
const CHANGES: u64 = 5;

/// A connection whose subscriptions cost the notifier two seconds or more for each slot in which
/// [`LARGE`] changes: each compresses 8 MiB. It has one thread for all, so that everything else
/// waits behind them.
async fn burden(w: &World, commitment: &str) -> JoinHandle<()> {
    let mut wire = w.wire().await;
    let slow = (0..1200).map(|length| {
        json!([LARGE.to_string(), {"encoding": "base64+zstd", "commitment": commitment,
            "dataSlice": {"offset": 0, "length": length}}])
    });
    assert_eq!(flood(&mut wire, "accountSubscribe", slow).await, None);
    // It must keep reading, not to be cut off.
    tokio::spawn(async move { while wire.try_note().await.is_ok() {} })
}

/// A snapshot of a confirmed bank at or after the slot of a transaction. It asks RPC alone: the
/// notifier is slow.
async fn confirmed(w: &World, signature: Signature, account: Pubkey, ahead: u64) -> (u64, Response<Value>) {
    soon("a confirmed state", async {
        let slot = loop {
            if let Some(slot) = w.landed(&[signature]).await[0] {
                break slot;
            }
        };
        loop {
            let snapshot = w.snapshot(&[account], "confirmed", 0).await;
            if snapshot.context.slot >= slot + ahead {
                return (slot, snapshot);
            }
        }
    })
    .await
}

pub(crate) async fn a_late_notification_is_older_than_a_snapshot_taken_before_it(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let account = tokens.accounts[1];
    let burden = burden(&w, "processed").await;
    let mut wire = w.wire().await;
    let id = wire.subscribe(&account, "confirmed").await;
    let reader = tokio::spawn(async move { wire.note_of(id).await });
    let both = [w.transfer(&tokens, 1, 1), w.lamports(&LARGE, 1)];
    let sent = w.send(&both, &[]).await;
    let (_, snapshot) = confirmed(&w, sent, account, 1).await;
    let taken = Instant::now();
    assert_eq!(amount(&snapshot.value[0]), 1);
    let note = soon("a notification", reader).await.expect("one");
    burden.abort();
    println!(
        "    a snapshot of slot {}, then, {:?} later, a notification of slot {}",
        snapshot.context.slot,
        note.at.saturating_duration_since(taken),
        note.slot
    );
    assert!(note.at > taken, "it came after the snapshot");
    assert!(note.slot < snapshot.context.slot, "and is older");
}

pub(crate) async fn a_subscription_can_take_effect_after_its_acknowledgement(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 6).await;
    let burden = burden(&w, "processed").await;
    // The notifier must stay busy until the change is confirmed: usually in the first round.
    for to in 1..tokens.accounts.len() {
        let account = tokens.accounts[to];
        let mut wire = w.wire().await;
        let clock = wire.clock("confirmed").await;
        let kick = w.send(&[w.lamports(&LARGE, 1)], &[]).await;
        confirmed(&w, kick, account, 0).await;

        let id = wire.subscribe(&account, "confirmed").await;
        let barrier = wire.barrier("confirmed", 3000 + to).await;
        // Acknowledged; only now the account changes.
        let sent = w.send(&[w.transfer(&tokens, to, 5)], &[]).await;
        let (changed, _) = confirmed(&w, sent, account, 0).await;
        let mut notes = wire.until(barrier, 0).await;
        let first = notes.last().expect("the barrier's").slot;
        notes.extend(wire.until(clock, changed.max(first) + 1).await);
        if notes.iter().any(|note| note.subscription == id) {
            continue;
        }
        println!(
            "    acknowledged, then changed at {changed}, never notified; the barrier showed at {first}"
        );
        assert!(first >= changed, "the barrier covers the change");
        let recheck = w.snapshot(&[account], "confirmed", first).await;
        assert_eq!(amount(&recheck.value[0]), 5, "the recheck heals it");
        // The next change is notified.
        let sent = w.send(&[w.transfer(&tokens, to, 1)], &[]).await;
        let (changed, _) = confirmed(&w, sent, account, 0).await;
        let note = wire.note_of(id).await;
        assert_eq!((note.slot, amount(&note.value)), (changed, 6));
        burden.abort();
        return;
    }
    panic!("every change after an acknowledgement was notified");
}

pub(crate) async fn a_check_skipped_at_finalized_heals_at_the_next_bank_whose_slot_it_carries(w: Arc<World>) {
    let tokens = w.tokens(TOKEN, 2).await;
    let account = tokens.accounts[1];
    let mut wire = w.wire().await;
    let canary = wire.clock("finalized").await;
    // Many subscriptions of one account, scattered among those that are slow.
    let mut copies = BTreeSet::new();
    for length in 0..100 {
        let config = json!({"encoding": "base64", "commitment": "finalized",
            "dataSlice": {"offset": 0, "length": length}});
        copies.insert(wire.subscribe_with(&account, config).await);
    }
    let burden = burden(&w, "finalized").await;
    // Past the account's creation.
    wire.until(canary, w.slot("processed").await + 1).await;

    // The account and the burden change in every other slot or so.
    let mut pace = w.wire().await;
    let clock = pace.clock("processed").await;
    let mut sent = Vec::new();
    for _ in 0..CHANGES {
        let both = [w.transfer(&tokens, 1, 1), w.lamports(&LARGE, 1)];
        sent.push(w.send(&both, &[]).await);
        pace.ticks(clock, 2).await;
    }
    let changed: BTreeSet<u64> = w.all_landed(&sent).await.into_iter().collect();
    let last = *changed.last().expect("some");

    let (mut on_time, mut healed, mut behind_canary, mut newest) = (0, 0, 0, 0);
    let mut shown = BTreeMap::new();
    for note in wire.until(canary, last + 8).await {
        if note.subscription == canary {
            newest = note.slot;
            continue;
        }
        shown.insert(note.subscription, amount(&note.value));
        if changed.contains(&note.slot) {
            on_time += 1;
        } else {
            healed += 1;
            let change = changed.range(..note.slot).next_back().expect("a change before it");
            behind_canary += usize::from(newest > *change);
        }
    }
    burden.abort();
    println!(
        "    {} changes, {} copies: {on_time} notified with the slot of a change, {healed} at a later bank; \
         {behind_canary} of these after the Clock of a slot newer than the change",
        changed.len(),
        copies.len()
    );
    assert!(healed > 0, "none was skipped: every bank outlived the check of its slot");
    let all = copies.iter().map(|copy| (*copy, CHANGES)).collect();
    assert_eq!(shown, all, "in the end all copies show all changes");
}
