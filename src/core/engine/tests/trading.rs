//! Holds, sells in flight, and what becomes of them: on a chain that takes the sells in.

mod market;

use std::time::Duration;

use solana_signature::Signature;

use super::*;
use crate::core::{
    account::{
        freshness::StaleReason,
        reading::{ReadQuery, Reading},
        record::Held,
        sellable::SellObstacle,
    },
    base::ids::TradeId,
    chain::token::Presence,
    rpc::scheduler::Call,
    trade::{
        holds::HoldError,
        signatures::{Inquired, Inquiry, Status, TradeOutcome},
    },
};

const SELLING_AGE: Duration = Duration::from_secs(30);

fn signature(id: TradeId) -> Signature {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&id.0.to_le_bytes());
    bytes.into()
}

impl World {
    fn hold(&mut self, byte: u8, amount: u64) -> Result<TradeId, HoldError> {
        self.engine.hold(self.now, &key(byte), Some(amount), SELLING_AGE).map(|(id, _)| id)
    }

    /// A hold of account 1 whose sell is on its way.
    fn sending(&mut self, amount: u64, last_valid: u64) -> TradeId {
        let id = self.hold(1, amount).expect("available");
        self.engine.sending(self.now, id, signature(id), last_valid);
        id
    }

    fn reading(&self, byte: u8) -> Reading {
        let (record, overlay) = (self.engine.record(&key(byte)).copied(), None);
        Reading::join(
            key(byte),
            self.engine.evidence(),
            record,
            overlay,
            self.now,
            &self.engine.settings.policy,
        )
    }

    fn available(&self, byte: u8) -> u64 {
        self.reading(byte).available().expect("seen")
    }

    /// Why a read fails, if it does.
    fn refusal(&self, byte: u8) -> Option<StaleReason> {
        let reading = self.reading(byte);
        reading.satisfies(&ReadQuery::max_age(SELLING_AGE), self.now).err().map(|stale| stale.why)
    }

    /// The next inquiry, when it is time for one.
    fn inquiry(&mut self) -> Inquiry {
        // While nodes fail it waits for half a minute.
        for _ in 0..100 {
            if let Some(inquiry) = self.engine.next_inquiry(self.now) {
                return inquiry;
            }
            self.slots(1);
        }
        panic!("no inquiry within forty seconds")
    }

    /// A node says so of every transaction that is asked after, at the chain's tip.
    fn inquire(&mut self, height: u64, status: Option<Status>) {
        let inquiry = self.inquiry();
        let statuses = vec![status; inquiry.signatures.len()];
        let told = Inquired { slot: self.slot, height, statuses_slot: self.slot, statuses };
        self.engine.inquired(self.now, inquiry.number, Ok(told));
        self.settle();
    }

    /// It can land no more, as two inquiries say: the second with the history.
    fn expires(&mut self, last_valid: u64) {
        self.inquire(last_valid + 1, None);
        self.inquire(last_valid + 1, None);
    }

    fn outcomes(&mut self) -> Vec<(TradeId, TradeOutcome)> {
        std::iter::from_fn(|| self.engine.next_outcome()).collect()
    }

    fn landed(&self) -> Option<Status> {
        Some(Status { slot: self.slot, failed: false, settled: true })
    }
}

#[test]
fn what_one_strategy_holds_no_other_gets() {
    let mut world = World::failover(1);
    let first = world.hold(1, 60).expect("available");
    let refused = HoldError::TooMuch { address: key(1), wanted: 41, available: 40 };
    assert_eq!(world.hold(1, 41), Err(refused));
    let (rest, amount) = world.engine.hold(world.now, &key(1), None, SELLING_AGE).expect("the rest");
    assert_eq!((amount, world.available(1)), (40, 0));
    let nothing = Err(HoldError::Nothing { address: key(1) });
    assert_eq!(world.engine.hold(world.now, &key(1), None, SELLING_AGE), nothing);
    assert_eq!(world.hold(1, 0).map(|id| (id, 0)), nothing);
    world.engine.release(first);
    assert_eq!(world.available(1), 60);
    world.engine.release(rest);
    assert_eq!(world.hold(1, 100).map(|_| ()), Ok(()));
    assert_eq!(world.refusal(1), None, "the balance itself is served all the same");
    assert_eq!(world.held(1), Some(100));
}

#[test]
fn nothing_is_held_of_what_is_stale_unseen_unwatched_frozen_or_stopped() {
    let mut world = World::failover(1);
    let why = |refused: Result<TradeId, HoldError>| match refused {
        Err(HoldError::Stale(stale)) => stale.why,
        other => panic!("{other:?}"),
    };
    assert_eq!(world.hold(9, 1), Err(HoldError::NotWatched { address: key(9) }));
    world.by_hand = true;
    world.watch(2);
    assert_eq!(why(world.hold(2, 1)), StaleReason::Unseen);
    world.by_hand = false;
    world.nodes[0].rpc = false;
    world.fell(0);
    world.pass(SELLING_AGE - 2 * SECOND);
    assert!(world.hold(1, 1).is_ok());
    world.pass(4 * SECOND);
    assert_eq!(why(world.hold(1, 1)), StaleReason::Expired);

    let mut world = World::failover(1);
    let mut frozen = account_bytes(key(201), key(202), 100);
    frozen[108] = 2;
    world.write(&[(1, Presence::decode(&TokenProgram::Token.id(), 1, &frozen))]);
    let refused = world.hold(1, 1).expect_err("frozen");
    assert!(
        matches!(refused, HoldError::Unsellable(why) if why.iter().eq([SellObstacle::Frozen])),
        "{refused}"
    );
    world.engine.stop(world.now);
    assert_eq!(world.hold(1, 1), Err(HoldError::Stopped));
}

#[test]
fn a_hold_dropped_after_its_sell_was_sent_stays_until_the_sell_has_ended() {
    let mut world = World::failover(1);
    let id = world.sending(70, 10_000);
    world.engine.release(id);
    assert_eq!(world.available(1), 30);
    for _ in 0..5 {
        world.inquire(100, None);
        assert_eq!((world.available(1), world.hold(1, 31).is_err()), (30, true), "it may still land");
    }
    // It lands: the inquiry hears of it first, then the notification, or the other way round.
    let inquiry = world.inquiry();
    world.slot += 1;
    let (slot, statuses) = (world.slot, vec![world.landed()]);
    let told = Inquired { slot, height: 100, statuses_slot: slot, statuses };
    world.engine.inquired(world.now, inquiry.number, Ok(told));
    assert_eq!((world.available(1), world.held(1)), (30, Some(100)));
    world.notify(FIRST, 1, world.slot, holding(30));
    assert_eq!((world.available(1), world.held(1)), (30, Some(30)));
    assert_eq!(world.outcomes().len(), 1);

    let mut world = World::failover(1);
    world.sending(70, 10_000);
    world.write(&[(1, holding(30))]);
    assert_eq!(world.available(1), 0, "too low for a moment, never too high");
    world.inquire(100, world.landed());
    assert_eq!(world.available(1), 30);
    assert!(!world.engine.has_holds(&key(1)));
}

#[test]
fn after_a_sale_the_rest_is_sold_at_once_and_reads_wait_for_the_sale() {
    let mut world = World::failover(1);
    let id = world.sending(70, 10_000);
    let landed = world.slot + 2;
    world.engine.landed(world.now, id, &key(1), landed);
    assert_eq!(world.available(1), 30);
    assert_eq!(world.refusal(1), Some(StaleReason::BelowFloor));
    let rest = world.hold(1, 30).expect("the rest");
    world.write(&[]);
    assert_eq!(world.refusal(1), Some(StaleReason::BelowFloor));
    world.write(&[(1, holding(30))]);
    assert_eq!((world.refusal(1), world.held(1), world.available(1)), (None, Some(30), 0));
    world.engine.release(rest);
    assert_eq!((world.available(1), world.record(1).held), (30, Held::default()));
    world.pass(5 * SECOND);
    assert_eq!(world.engine.next_inquiry(world.now), None, "nobody asks after what is known");
}

#[test]
fn a_sale_that_the_link_passes_in_silence_is_read_by_rpc_and_not_available_before() {
    let mut world = World::failover(1);
    let id = world.sending(70, 10_000);
    world.dead.insert((FIRST, key(1)));
    world.by_hand = true;
    world.write(&[(1, holding(30))]);
    world.engine.landed(world.now, id, &key(1), world.slot);
    for _ in 0..4 {
        world.slots(1);
        assert_eq!((world.held(1), world.available(1)), (Some(100), 30), "the canary proves nothing of it");
        assert_eq!(world.refusal(1), Some(StaleReason::BelowFloor));
    }
    let calls: Vec<Call> = world.calls.drain(..).filter(|call| call.accounts.contains(&key(1))).collect();
    assert_eq!(calls.len(), 1, "it is asked for, and not at each canary: {calls:?}");
    assert!(calls[0].min_slot >= world.slot - 4, "{calls:?}");
    world.by_hand = false;
    world.answer(&calls[0]);
    world.settle();
    world.until("settled", |world| world.refusal(1).is_none());
    assert_eq!((world.held(1), world.available(1)), (Some(30), 30));
    world.slots(3);
    world.until("live", |world| world.is_live(1));
    world.write(&[(1, holding(31))]);
    assert_eq!(world.held(1), Some(31), "the subscription was dead, and is made anew");
}

#[test]
fn a_sell_that_failed_on_chain_is_free_and_its_account_is_read_anew() {
    for told_by_the_caller in [true, false] {
        let mut world = World::failover(1);
        let id = world.sending(70, 10_000);
        world.slots(1);
        world.by_hand = true;
        if told_by_the_caller {
            world.engine.failed(world.now, id, &key(1), world.slot);
        } else {
            let slot = world.slot;
            world.inquire(100, Some(Status { slot, failed: true, settled: true }));
            assert_eq!(world.outcomes(), [(id, TradeOutcome::Failed { slot })]);
        }
        assert_eq!((world.available(1), world.refusal(1)), (100, Some(StaleReason::Invalidated)));
        assert!(matches!(world.hold(1, 1), Err(HoldError::Stale(_))), "not before RPC has confirmed it");
        world.by_hand = false;
        world.ask(1, 0, 1);
        assert_eq!(world.hold(1, 100).map(|_| ()), Ok(()));
    }
}

#[test]
fn a_sell_that_was_never_sent_is_free_at_once_and_nothing_is_doubted() {
    let mut world = World::failover(1);
    let id = world.sending(70, 10_000);
    world.engine.not_sent(id);
    assert_eq!((world.available(1), world.refusal(1)), (100, None));
    assert!(!world.engine.has_holds(&key(1)));
    world.pass(5 * SECOND);
    assert_eq!(world.engine.next_inquiry(world.now), None);
}

#[test]
fn an_expired_sell_is_free_once_the_account_is_known_as_of_the_bank_that_proves_it() {
    let mut world = World::failover(1);
    let id = world.sending(70, 500);
    world.inquire(500, None);
    world.inquire(501, Some(Status { slot: world.slot, failed: false, settled: false }));
    assert_eq!(world.available(1), 30, "a bank has taken it in that may be abandoned");
    world.expires(500);
    let slot = world.slot;
    assert_eq!(world.outcomes(), [(id, TradeOutcome::Expired { slot })]);
    let mut freed = false;
    for _ in 0..5 {
        freed |= world.as_of(1) >= slot;
        assert_eq!(world.available(1), if freed { 100 } else { 30 }, "as of {}, of {slot}", world.as_of(1));
        world.slots(1);
    }
    assert!(freed);
    assert_eq!(world.refusal(1), None, "nothing is doubted");
    assert!(!world.engine.has_holds(&key(1)));
}

#[test]
fn a_sell_that_landed_at_the_last_moment_is_not_freed_by_the_height_that_it_missed() {
    let mut world = World::failover(1);
    let id = world.sending(70, 500);
    // The node's statuses do not go back so far and it keeps no history: none is told, although it
    // landed.
    world.nodes[0].rpc = false;
    let told = world.dead.insert((FIRST, key(1)));
    assert!(told, "and its notification is lost");
    world.write(&[(1, holding(30))]);
    let landed = world.slot;
    world.nodes[0].rpc = true;
    world.inquire(501, Some(Status { slot: landed, failed: false, settled: true }));
    assert_eq!(world.outcomes(), [(id, TradeOutcome::Landed { slot: landed })]);
    for _ in 0..10 {
        assert_eq!(world.available(1), 30);
        world.slots(1);
    }
}

#[test]
fn holds_outlive_the_watch_of_their_account() {
    let mut world = World::failover(1);
    world.sending(70, 10_000);
    let reserved = world.hold(1, 10).expect("available");
    world.unwatch(1);
    assert!(world.engine.has_holds(&key(1)));
    world.watch(1);
    world.until("live", |world| world.is_live(1));
    assert_eq!(world.available(1), 20);
    world.unwatch(1);
    world.engine.release(reserved);
    // It lands while nobody watches, and a node that is behind answers first.
    world.slots(3);
    world.inquire(100, world.landed());
    world.chain.entry(key(1)).or_default().insert(world.slot, holding(30));
    world.nodes[0].stands_at = Some(world.slot - 2);
    world.watch(1);
    assert!(world.engine.record(&key(1)).is_none_or(|record| record.held.available(100) == 30));
    world.nodes[0].stands_at = None;
    world.until("live", |world| world.is_live(1));
    assert_eq!((world.held(1), world.available(1)), (Some(30), 30));
    assert!(!world.engine.has_holds(&key(1)));
}

#[test]
fn a_chain_that_begins_anew_frees_nothing_that_may_still_land_and_no_sale_before_it_is_seen() {
    let mut world = World::failover(1);
    let sold = world.sending(20, 10_000);
    world.sending(70, 15);
    world.engine.landed(world.now, sold, &key(1), world.slot + 300);
    assert_eq!(world.available(1), 10);
    world.nodes[0].genesis = [2; 32];
    world.slot = 20;
    world.by_hand = true;
    world.cut(FIRST);
    world.until("begun anew", |world| world.engine.links.slot_guard.epoch() == 1);
    let held = world.engine.accounts.holds().held(&key(1));
    assert_eq!(held, Held { in_flight: 70, debited: 20, ..Held::default() });
    world.by_hand = false;
    world.chain.insert(key(1), BTreeMap::from([(1, holding(80))]));
    world.until("live", |world| world.is_live(1));
    assert_eq!((world.held(1), world.available(1)), (Some(80), 10));
    world.expires(15);
    world.slots(3);
    assert_eq!(world.available(1), 80);
}

#[test]
fn what_a_node_says_of_transactions_is_believed_only_where_it_can_be() {
    let mut world = World::race();
    world.sending(70, 500);
    let slot = world.slot;
    for (slot, height, statuses_slot, status) in [
        // Heights are never past slots; nor is what was taken in past the bank that tells of it.
        (slot, slot + 1, slot, None),
        (slot, 501, slot, Some(Status { slot: slot + 1, failed: false, settled: true })),
        // It is far behind what the links show.
        (slot - 500, 501, slot, None),
        (slot + 1_000_000, 501, slot, None),
        (slot, 501, u64::MAX, Some(Status { slot: u64::MAX, failed: false, settled: true })),
    ] {
        for _ in 0..2 {
            let inquiry = world.inquiry();
            let told = Inquired { slot, height, statuses_slot, statuses: vec![status] };
            world.engine.inquired(world.now, inquiry.number, Ok(told));
            world.settle();
            assert_eq!(world.outcomes(), [], "{status:?} at {slot}");
        }
    }
    assert_eq!(world.available(1), 30);
    world.until("believed again", |world| world.engine.endpoints().1.is_empty());
    world.pass(60 * SECOND);
    world.until("live", |world| world.is_live(1));
    world.expires(500);
    assert_eq!(world.outcomes().len(), 1);
}

#[test]
fn after_a_sale_rpc_is_asked_for_the_account_as_of_it() {
    let mut world = World::failover(1);
    let id = world.sending(70, 10_000);
    let landed = world.slot + 2;
    world.engine.landed(world.now, id, &key(1), landed);
    let made = world.made.len();
    // A read that names no slot of its own.
    world.ask(1, 0, 1);
    let asked = world.made[made..].iter().find(|(_, call)| call.accounts.contains(&key(1)));
    assert_eq!(asked.map(|(_, call)| call.min_slot), Some(landed), "an older answer would not do");
}

#[test]
fn a_mirror_that_has_stopped_wants_nothing_for_its_trades() {
    let mut world = World::failover(1);
    let id = world.hold(1, 10).expect("available");
    world.sending(70, 10_000);
    world.engine.stop(world.now);
    world.engine.sending(world.now, id, signature(id), 10_000);
    world.now = world.now.plus(60 * SECOND);
    assert_eq!(world.engine.next_deadline(), None, "its loop would not sleep");
    assert_eq!(world.engine.next_inquiry(world.now), None);
}

#[test]
fn a_slot_that_cannot_be_stops_no_read_for_ever() {
    let mut world = World::failover(1);
    let id = world.sending(70, 500);
    world.engine.landed(world.now, id, &key(1), u64::MAX);
    let floor = world.record(1).held.floor;
    assert!(floor < world.slot + 2_000, "{floor}");
}

#[test]
fn a_buy_is_asked_after_until_its_end_and_no_longer_than_somebody_cares() {
    let mut world = World::failover(1);
    let buy = world.engine.track(world.now, signature(TradeId(77)), Some(500)).expect("room");
    let gone = world.engine.track(world.now, signature(TradeId(78)), None).expect("room");
    world.engine.untrack(gone);
    let inquiry = world.inquiry();
    assert_eq!(inquiry.signatures, [signature(TradeId(77))]);
    let told =
        Inquired { slot: world.slot, height: 9, statuses_slot: world.slot, statuses: vec![world.landed()] };
    world.engine.inquired(world.now, inquiry.number, Ok(told));
    assert_eq!(world.outcomes(), [(buy, TradeOutcome::Landed { slot: world.slot })]);
    world.pass(5 * SECOND);
    assert_eq!(world.engine.next_inquiry(world.now), None);
    assert!(!world.events.iter().any(|event| matches!(event, EngineEvent::SellEnded { .. })));
}
