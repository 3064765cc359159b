//! What a notification of the Clock sysvar proves, at each commitment, while transfers stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use crate::wire::Wire;
use crate::world::{COMMITMENTS, TOKEN, TOKEN_2022, Tokens, World, amount};

/// Transfers that were sent while somebody listened.
struct Stream {
    /// The account that each changed (beside the payer's), with its signature.
    sent: Vec<(Pubkey, Signature)>,
}

impl Stream {
    /// Sends `each` transfers in each of `rounds` slots, to all accounts in turn.
    async fn run(w: &World, tokens: &[Tokens], rounds: usize, each: usize) -> Self {
        let mut wire = w.wire().await;
        let clock = wire.clock("processed").await;
        let mut sent = Vec::new();
        for _ in 0..rounds {
            for _ in 0..each {
                let nth = sent.len();
                let tokens = &tokens[nth % tokens.len()];
                let to = 1 + (nth / 2) % (tokens.accounts.len() - 1);
                let signature = w.send(&[w.transfer(tokens, to, 1)], &[]).await;
                sent.push((tokens.accounts[to], signature));
            }
            wire.note_of(clock).await;
        }
        Self { sent }
    }

    /// The slots in which each account changed.
    async fn landed(&self, w: &World) -> BTreeMap<Pubkey, BTreeSet<u64>> {
        let signatures: Vec<Signature> = self.sent.iter().map(|(_, signature)| *signature).collect();
        let slots = w.all_landed(&signatures).await;
        let mut landed = BTreeMap::<Pubkey, BTreeSet<u64>>::new();
        for ((account, _), slot) in self.sent.iter().zip(slots) {
            landed.entry(*account).or_default().insert(slot);
        }
        landed
    }
}

/// What one commitment said on a socket, in order: the Clock (`None`) or an account, and the slot.
#[derive(Default)]
struct Log {
    lines: Vec<(Option<Pubkey>, u64, Instant)>,
}

impl Log {
    fn clocks(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.lines.iter().filter(|(account, ..)| account.is_none()).map(|(_, slot, at)| (*slot, *at))
    }

    /// Account notifications, those after a Clock of their own slot, those after a Clock of a newer
    /// slot.
    fn order(&self) -> (usize, usize, usize) {
        let mut clock = 0;
        let mut counts = (0, 0, 0);
        for (account, slot, _) in &self.lines {
            if account.is_none() {
                assert!(*slot > clock, "Clocks ascend");
                clock = *slot;
            } else {
                counts.0 += 1;
                counts.1 += usize::from(*slot == clock);
                counts.2 += usize::from(*slot < clock);
            }
        }
        counts
    }

    /// How many changes had not shown when the first Clock of a newer slot came.
    fn unseen(&self, account: &Pubkey, slots: &BTreeSet<u64>) -> usize {
        slots
            .iter()
            .filter(|changed| {
                let canary = self
                    .lines
                    .iter()
                    .position(|(account, slot, _)| account.is_none() && slot > *changed)
                    .expect("a Clock came after the change");
                !self.lines[..canary]
                    .iter()
                    .any(|(seen, slot, _)| *seen == Some(*account) && slot >= *changed)
            })
            .count()
    }

    /// The median and the longest time between two Clocks.
    fn gaps(&self) -> (Duration, Duration) {
        let clocks: Vec<Instant> = self.clocks().map(|(_, at)| at).collect();
        let mut gaps: Vec<Duration> = clocks.windows(2).map(|two| two[1] - two[0]).collect();
        gaps.sort();
        (gaps[gaps.len() / 2], *gaps.last().expect("several"))
    }
}

/// A canary and all accounts of `tokens` but the payer's, at all commitments on one socket.
async fn subscribe_all(wire: &mut Wire, tokens: &[Tokens]) -> BTreeMap<u64, (usize, Option<Pubkey>)> {
    let mut subscriptions = BTreeMap::new();
    for (level, commitment) in COMMITMENTS.into_iter().enumerate() {
        subscriptions.insert(wire.clock(commitment).await, (level, None));
        for account in tokens.iter().flat_map(|tokens| &tokens.accounts[1..]) {
            let id = wire.subscribe(account, commitment).await;
            subscriptions.insert(id, (level, Some(*account)));
        }
    }
    subscriptions
}

pub(crate) async fn a_clock_follows_every_account_notification_of_older_slots(w: Arc<World>) {
    let tokens = [w.tokens(TOKEN, 5).await, w.tokens(TOKEN_2022, 5).await];
    let mut wire = w.wire().await;
    let subscriptions = subscribe_all(&mut wire, &tokens).await;
    let world = Arc::clone(&w);
    let stream = tokio::spawn(async move {
        let stream = Stream::run(&world, &tokens, 30, 9).await;
        (stream.landed(&world).await, stream.sent.len())
    });

    let mut logs: [Log; 3] = Default::default();
    let mut stream = Some(stream);
    let mut landed = BTreeMap::new();
    let mut last = u64::MAX;
    // Until finality has passed the last change.
    while logs[2].clocks().last().is_none_or(|(slot, _)| slot <= last) {
        let note = wire.note().await;
        let (level, account) = subscriptions[&note.subscription];
        logs[level].lines.push((account, note.slot, note.at));
        if let Some(finished) = stream.take_if(|stream| stream.is_finished()) {
            let (slots, sent) = finished.await.expect("the stream ran");
            last = slots.values().flatten().copied().max().expect("some");
            println!("    {sent} transfers");
            landed = slots;
        }
    }

    for (commitment, log) in COMMITMENTS.into_iter().zip(&logs) {
        let (accounts, same, late) = log.order();
        let unseen: usize = landed.iter().map(|(account, slots)| log.unseen(account, slots)).sum();
        let clocks: Vec<u64> = log.clocks().map(|(slot, _)| slot).collect();
        let skipped = clocks.windows(2).filter(|two| two[1] != two[0] + 1).count();
        let (median, worst) = log.gaps();
        println!(
            "    {commitment}: {accounts} account notifications, {same} after a Clock of their slot, {late} after a \
             newer one; {} Clocks, {skipped} jumps, every {median:?}, at worst {worst:?}",
            clocks.len()
        );
        assert!(accounts > 100, "a stream");
        assert_eq!(late, 0, "an account of an older slot came after a Clock at {commitment}");
        assert_eq!(unseen, 0, "a change did not show before the next slot's Clock at {commitment}");
    }
    assert_eq!(wire.pings, 0, "the server sends no pings");
}

pub(crate) async fn nothing_is_missed_after_a_barrier(w: Arc<World>) {
    let tokens = [w.tokens(TOKEN, 4).await];
    let stream = {
        let (w, tokens) = (Arc::clone(&w), [w.tokens(TOKEN, 2).await]);
        // Beside the accounts under test, some traffic of others.
        tokio::spawn(async move { Stream::run(&w, &tokens, 20, 4).await.sent.len() })
    };
    let rounds = COMMITMENTS.into_iter().enumerate().map(|(level, commitment)| {
        let (w, tokens) = (Arc::clone(&w), &tokens);
        async move {
            // The change under way while the subscription is made.
            let account = tokens[0].accounts[1 + level];
            let mut sent = Vec::new();
            for _ in 0..4 {
                sent.push((account, w.send(&[w.transfer(&tokens[0], 1 + level, 1)], &[]).await));
            }
            let mut wire = w.wire().await;
            let clock = wire.clock(commitment).await;
            let before = wire.note_of(clock).await.slot;
            let id = wire.subscribe(&account, commitment).await;
            let asked = Instant::now();
            let barrier = wire.barrier(commitment, 2000 + level).await;
            let mut log = Log::default();
            let mut first = None;
            let mut shown = 0;
            let mut snapshot = None;
            let mut landed = None;
            loop {
                let note = wire.note().await;
                if note.subscription == barrier {
                    if first.is_none() {
                        first = Some(note.slot);
                        println!(
                            "    {commitment}: the barrier showed {} slots after the last Clock, in {:?}",
                            note.slot - before,
                            asked.elapsed()
                        );
                        assert!(note.slot > before);
                        // The recheck, and what comes after it.
                        let recheck = w.snapshot(&[account], commitment, note.slot).await;
                        assert!(recheck.context.slot >= note.slot);
                        snapshot = Some((recheck.context.slot, amount(&recheck.value[0])));
                        for _ in 0..3 {
                            let transfer = w.transfer(&tokens[0], 1 + level, 1);
                            sent.push((account, w.send(&[transfer], &[]).await));
                        }
                        landed = Some(
                            Stream { sent: sent.clone() }.landed(&w).await.remove(&account).expect("some"),
                        );
                    }
                    continue;
                }
                let what = (note.subscription == id).then_some(account);
                if what.is_some() {
                    shown = amount(&note.value);
                }
                log.lines.push((what, note.slot, note.at));
                if let Some(slots) = &landed
                    && note.subscription == clock
                    && note.slot > *slots.last().expect("some")
                {
                    break;
                }
            }
            let first = first.expect("it showed");
            let after: BTreeSet<u64> = landed.expect("landed").split_off(&(first + 1));
            assert!(!after.is_empty(), "some came after the barrier");
            assert_eq!(log.unseen(&account, &after), 0, "missed after the barrier at {commitment}");
            assert_eq!(shown, 7, "all transfers");
            let (slot, balance) = snapshot.expect("a recheck");
            assert!(balance <= 7, "the recheck at {slot}");
        }
    });
    join_all(rounds).await;
    assert_eq!(stream.await.expect("traffic"), 80);
}

pub(crate) async fn the_clock_is_notified_with_40_bytes_and_the_unix_time_at_32(w: Arc<World>) {
    let mut wire = w.wire().await;
    let clock = wire.clock("confirmed").await;
    let note = wire.note_of(clock).await;
    let data = crate::world::bytes(&note.value);
    assert_eq!(data.len(), 40);
    let number = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("8 bytes"));
    assert_eq!(number(0), note.slot, "its own slot");
    let time = soon_block_time(&w, note.slot).await;
    assert_eq!(number(32), time, "the block's time");
}

async fn soon_block_time(w: &World, slot: u64) -> u64 {
    // Known once the block is in the blockstore's index; the Clock ticks meanwhile.
    let mut wire = w.wire().await;
    let clock = wire.clock("processed").await;
    for _ in 0..100 {
        let answer = w.call("getBlockTime", json!([slot])).await;
        if let Some(time) = answer["result"].as_u64() {
            return time;
        }
        wire.note_of(clock).await;
    }
    panic!("no block time for {slot}");
}

pub(crate) async fn the_node_that_notified_answers_at_that_slot_at_once(w: Arc<World>) {
    for commitment in COMMITMENTS {
        let mut wire = w.wire().await;
        let clock = wire.clock(commitment).await;
        for _ in 0..4 {
            let note = wire.note_of(clock).await;
            let account = [solana_sdk_ids::sysvar::clock::ID];
            // An error if the RPC were behind its own notification.
            let snapshot = w.snapshot(&account, commitment, note.slot).await;
            assert!(snapshot.context.slot >= note.slot);
        }
    }
}
