//! What keeps a position, and when it is swept; mints that a caller waits for.

use std::time::Duration;

use super::*;
use crate::core::{
    base::{failure::RpcFailure, ids::ClaimId},
    chain::token::Presence,
};

const LINGER: Duration = Duration::from_secs(60);

impl World {
    /// Opens an account as a position, and waits until it is live.
    fn open(&mut self, byte: u8) {
        self.open_until(byte, Tick::NEVER);
        self.until("live", |world| world.is_live(byte));
    }

    fn open_until(&mut self, byte: u8, keep_until: Tick) {
        let opened = self.engine.open_positions(self.now, &[(key(byte), Expected::default())], keep_until);
        opened.expect("room");
        self.settle();
    }

    fn claim(&mut self, byte: u8) -> ClaimId {
        self.engine.claim(&key(byte))
    }

    /// Slots, for so long at least.
    fn slots_for(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while self.now < end {
            self.write(&[]);
        }
    }

    fn is_watched(&self, byte: u8) -> bool {
        let watched = self.engine.accounts.watch_of(&key(byte)).is_some();
        let swept = self.events.iter().any(|event| *event == EngineEvent::Swept { address: key(byte) });
        assert_ne!(watched, swept, "what goes is told, once");
        watched
    }
}

#[test]
fn a_position_that_holds_nothing_is_swept_after_its_linger_and_unsubscribed() {
    let mut world = World::failover(1);
    world.open(2);
    world.slots_for(LINGER - 2 * SECOND);
    assert!(world.is_watched(2) && world.subject(FIRST, 2).is_some());
    world.slots_for(4 * SECOND);
    assert!(!world.is_watched(2));
    assert_eq!((world.subject(FIRST, 2), world.engine.record(&key(2))), (None, None));
    assert_eq!(world.engine.positions(), [], "and nothing is left of it");
    world.slots_for(2 * LINGER);
    assert!(world.engine.accounts.watch_of(&key(1)).is_some(), "what is watched by hand stays");
    world.events.clear();
    world.open(2);
    assert!(world.is_watched(2), "and it can be opened anew");
}

#[test]
fn what_is_watched_by_hand_is_not_swept_whichever_came_first() {
    let mut world = World::failover(1);
    world.watch(2);
    world.open(2);
    world.open(3);
    world.watch(3);
    world.slots_for(3 * LINGER);
    assert!(world.is_watched(2) && world.is_watched(3));
}

#[test]
fn tokens_keep_a_position_and_their_end_begins_its_linger_anew() {
    let mut world = World::failover(1);
    world.open(2);
    world.slots_for(LINGER - 5 * SECOND);
    world.write(&[(2, holding(7))]);
    world.slots_for(3 * LINGER);
    assert!(world.is_watched(2));
    world.write(&[(2, Presence::Absent)]);
    world.slots_for(LINGER - 5 * SECOND);
    assert!(world.is_watched(2));
    world.slots_for(10 * SECOND);
    assert!(!world.is_watched(2));
}

#[test]
fn an_open_buy_keeps_its_account_and_a_failed_one_lets_it_go_at_once() {
    let mut world = World::failover(1);
    world.open(2);
    let (buy, waiter) = (world.claim(2), world.claim(2));
    world.slots_for(3 * LINGER);
    assert!(world.is_watched(2));
    world.engine.unclaim(world.now, &key(2), waiter);
    world.slots_for(3 * LINGER);
    assert!(world.is_watched(2));
    world.engine.end_buy(world.now, &key(2), buy, false);
    world.slots(1);
    assert!(!world.is_watched(2));

    world.open(3);
    let (failed, other) = (world.claim(3), world.claim(3));
    world.engine.end_buy(world.now, &key(3), failed, false);
    world.slots_for(3 * LINGER);
    assert!(world.is_watched(3), "another buy is open");
    world.engine.drop_buy(world.now, &key(3), other);
    world.slots_for(LINGER - 2 * SECOND);
    assert!(world.is_watched(3), "whose end is not known: it lingers");
    world.slots_for(4 * SECOND);
    assert!(!world.is_watched(3));
}

#[test]
fn what_is_kept_ahead_of_a_buy_stays_for_as_long_as_it_was_to() {
    let mut world = World::failover(1);
    let kept = world.now.plus(5 * LINGER);
    world.open_until(2, kept);
    let buy = world.claim(2);
    world.engine.end_buy(world.now, &key(2), buy, false);
    world.slots_for(5 * LINGER - 2 * SECOND);
    assert!(world.is_watched(2));
    world.slots_for(4 * SECOND);
    assert!(!world.is_watched(2));
}

#[test]
fn what_is_not_surely_empty_is_not_swept_until_it_is() {
    let mut world = World::failover(1);
    world.open(2);
    world.slots_for(LINGER - 20 * SECOND);
    world.nodes[0].rpc = false;
    world.fell(0);
    // Bought while the node is down.
    world.chain.entry(key(2)).or_default().insert(world.slot, holding(7));
    world.slots_for(2 * LINGER);
    assert!(world.is_watched(2), "the last word is that it holds nothing, and it is old");
    (world.nodes[0].rpc, world.nodes[0].up) = (true, true);
    world.until("live", |world| world.is_live(2));
    assert_eq!((world.is_watched(2), world.held(2)), (true, Some(7)));
    world.write(&[(2, holding(0))]);
    world.engine.invalidate(world.now, &key(2), world.slot + 10_000);
    world.slots_for(2 * LINGER);
    assert!(world.is_watched(2), "in doubt");
}

#[test]
fn what_is_held_or_may_still_be_sold_is_not_swept() {
    let mut world = World::failover(1);
    world.chain.insert(key(2), BTreeMap::from([(1, holding(7))]));
    world.open(2);
    let (hold, _) = world.engine.hold(world.now, &key(2), None, LINGER).expect("tokens");
    world.engine.sending(world.now, hold, Default::default(), 10_000);
    // Gone, and the mirror has not heard by which transaction.
    world.write(&[(2, Presence::Absent)]);
    world.slots_for(3 * LINGER);
    assert!(world.is_watched(2));
    world.engine.not_sent(hold);
    world.slots_for(LINGER + 2 * SECOND);
    assert!(!world.is_watched(2));
}

#[test]
fn a_mint_that_somebody_waits_for_is_read_though_no_account_names_it() {
    let mut world = World::failover(1);
    world.by_hand = true;
    world.engine.name_mint(world.now, key(50));
    world.engine.name_mint(world.now, key(50));
    world.engine.name_mint(world.now, nowhere());
    world.pass(STEP);
    let call = world.calls.pop().expect("a call");
    assert_eq!(call.mints, [key(50), nowhere()]);
    // It fails; an answer to something else comes before it is asked for again.
    world.engine.answered(world.now, call.number, Err(RpcFailure::Timeout { after: SECOND }));
    world.ask(1, 0, 1);
    world.by_hand = false;
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call);
    }
    world.pass(5 * SECOND);
    assert_eq!(world.engine.take_mints().and_then(|mints| mints.get(&key(50))), Some(&MINT));
    assert_eq!((world.engine.no_mint(&key(50)), world.engine.no_mint(&nowhere())), (None, Some(world.slot)));
    world.engine.unname_mint(&key(50));
    world.engine.unname_mint(&nowhere());
    assert_eq!(world.engine.no_mint(&nowhere()), None);
    world.engine.unname_mint(&key(50));
    world.engine.unname_mint(&key(50));
}
