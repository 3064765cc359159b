//! Nodes that are wrong: of slots, of contents, or of the chain.

use std::time::Duration;

use super::*;
use crate::core::{
    base::{failure::RpcFailure, ids::AskId},
    engine::events::CallAnswer,
    link::websocket::Subject,
};

fn count(world: &World, is: impl Fn(&EngineEvent) -> bool) -> usize {
    world.events.iter().filter(|event| is(event)).count()
}

fn quarantines(world: &World) -> usize {
    count(world, |event| matches!(event, EngineEvent::Quarantined { .. }))
}

#[test]
fn of_a_node_whose_slots_cannot_be_nothing_is_kept() {
    for ahead in [u64::MAX, 1_000_000] {
        let mut world = World::race();
        world.write(&[(1, holding(101))]);
        // Canaries, barriers and accounts alike, from here on.
        world.nodes[1].ahead.0 = ahead;
        let honest = world.slot + 20;
        for amount in 102..=120 {
            world.write(&[(1, holding(amount))]);
            assert_eq!((world.held(1), world.is_live(1)), (Some(amount), true), "the other node goes on");
        }
        assert!(world.as_of(1) <= honest && world.record(1).slot <= honest, "{:?}", world.record(1));
        assert_eq!(world.covers(1), 1);
        assert_ne!(world.phase(SECOND_NODE), LinkPhase::Live, "it proves nothing");
        assert!(quarantines(&world) >= 1);
        world.nodes[1].ahead.0 = 0;
        world.until("believed again", |world| world.covers(1) == 2);
    }
}

#[test]
fn of_a_node_in_quarantine_not_even_what_could_be_is_taken() {
    let mut world = World::failover(1);
    world.notify(FIRST, 1, u64::MAX, holding(9_999));
    assert_eq!((world.held(1), world.is_live(1), quarantines(&world)), (Some(100), false, 1));
    world.until("connected anew", |world| world.subject(FIRST, 1).is_some());
    assert!(world.engine.links.slot_guard.quarantined(EndpointId(0), world.now));
    world.notify(FIRST, 1, world.slot + 1, holding(9_999));
    assert_eq!(world.held(1), Some(100));
    world.until("believed again", |world| world.is_live(1));
    world.write(&[(1, holding(7))]);
    assert_eq!((world.held(1), quarantines(&world)), (Some(7), 1));
}

#[test]
fn an_answer_of_a_slot_that_cannot_be_is_no_answer() {
    let mut world = World::failover(1);
    world.by_hand = true;
    world.ask(1, 0, 5);
    let call = world.calls.pop().expect("a call");
    let lie = CallAnswer { accounts: vec![Ok(holding(9_999))], ..world.told(&call, world.slot, u64::MAX) };
    world.engine.answered(world.now, call.number, Ok(lie));
    world.settle();
    let told = world.replies.pop().expect("it is told");
    assert!(matches!(told, (AskId(5), Err(RpcFailure::Implausible { slot: u64::MAX }))), "{told:?}");
    assert_eq!((world.held(1), world.as_of(1) <= world.slot), (Some(100), true));
}

#[test]
fn an_answer_whose_clock_is_far_from_wall_time_is_told_as_such() {
    for (lag_ms, near) in [(20_000, true), (20_001, false), (-20_000, true), (-20_001, false)] {
        let mut world = World::failover(1);
        world.by_hand = true;
        world.ask(1, 0, 5);
        let call = world.calls.pop().expect("a call");
        let answer = CallAnswer { lag_ms, ..world.told(&call, world.slot, world.slot) };
        world.engine.answered(world.now, call.number, Ok(answer));
        world.settle();
        let (_, told) = world.replies.pop().expect("it is told");
        let by = Duration::from_millis(20_001);
        let wanted = if near { Ok(world.slot) } else { Err(RpcFailure::Lagging { lag: by }) };
        assert_eq!(told, wanted, "{lag_ms}");
    }
}

#[test]
fn of_a_node_on_another_chain_nothing_is_kept_until_it_is_back() {
    let mut world = World::race();
    world.fell(1);
    (world.nodes[1].genesis, world.nodes[1].up) = ([2; 32], true);
    world.until("found out", |world| count(world, |event| matches!(event, EngineEvent::Foreign { .. })) == 1);
    assert_eq!(world.engine.endpoints().1, [EndpointId(1)], "left alone for a while");
    assert_eq!(world.enabled(), [0]);
    // Nor its RPC.
    world.by_hand = true;
    for caller in 1..=9 {
        world.ask(1, 0, caller);
    }
    world.pass(SLOT);
    assert!(!world.calls.is_empty() && world.calls.iter().all(|call| call.endpoint == EndpointId(0)));
    world.by_hand = false;
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call);
    }
    world.slots(100);
    assert!(world.is_live(1) && world.covers(1) == 1);
    assert_eq!(
        count(&world, |event| matches!(event, EngineEvent::Reset { .. })),
        0,
        "one word against a witness"
    );
    world.nodes[1].genesis = [1; 32];
    world.until("back", |world| world.covers(1) == 2);
}

#[test]
fn a_chain_that_begins_anew_does_not_leave_every_later_state_superseded() {
    let mut world = World::failover(1);
    world.write(&[(1, holding(7))]);
    let before = world.record(1);
    world.fell(0);
    // A test validator started anew: another genesis, low slots, other contents.
    world.slot = 3;
    world.chain.insert(key(1), BTreeMap::from([(1, holding(55))]));
    (world.nodes[0].genesis, world.nodes[0].up) = ([2; 32], true);
    world.until("a reset", |world| {
        count(world, |event| matches!(event, EngineEvent::Reset { epoch: 1 })) == 1
    });
    world.until("live again", |world| world.is_live(1));
    let record = world.record(1);
    assert_eq!((record.state.token_amount(), record.epoch), (Some(55), before.epoch + 1));
    assert!(record.slot < before.slot && record.revision > before.revision, "{record:?}");
    world.write(&[(1, holding(56))]);
    assert_eq!(world.held(1), Some(56));
}

#[test]
fn a_subscription_that_was_silent_of_a_change_is_accused_alone() {
    let mut world = World::race();
    world.watch(2);
    world.until("both live", |world| world.covers(2) == 2);
    let commands = world.commands.len();
    world.dead.insert((FIRST, key(1)));
    world.pass(SLOT);
    world.slot += 1;
    world.chain.entry(key(1)).or_default().insert(world.slot, holding(8));
    world.notify(SECOND_NODE, 1, world.slot, holding(8));
    // RPC confirms it before the other link's canary passes that slot, so it is not one node
    // against another.
    world.ask(1, 0, 1);
    world.slots(3);
    let missed = |event: &EngineEvent| matches!(event, EngineEvent::Missed { endpoint: EndpointId(0), .. });
    assert_eq!(
        (count(&world, missed), count(&world, |event| matches!(event, EngineEvent::Missed { .. }))),
        (1, 1)
    );
    world.until("covered by both again", |world| world.covers(1) == 2);
    let about_accounts =
        |command: &&LinkCommand| matches!(command, LinkCommand::Unsubscribe(Subject::Account { .. }));
    assert_eq!(
        world.commands_since(commands, FIRST).iter().filter(about_accounts).count(),
        1,
        "account 2 stays"
    );
    assert_eq!(world.commands_since(commands, SECOND_NODE).iter().filter(about_accounts).count(), 0);
}

#[test]
fn a_contradiction_is_served_to_nobody_and_every_subscription_in_it_is_replaced() {
    let mut world = World::race();
    world.write(&[(1, holding(7))]);
    let commands = world.commands.len();
    world.by_hand = true;
    // Both told the same; then the first says something else of the very slot.
    world.notify(FIRST, 1, world.slot, holding(9));
    assert!(world.record(1).disputed);
    assert_eq!(world.standing(1).map(|standing| standing.proof), Some(Tick::NEVER));
    world.settle();
    for link in [FIRST, SECOND_NODE] {
        let gone =
            |command: &LinkCommand| matches!(command, LinkCommand::Unsubscribe(Subject::Account { .. }));
        assert!(world.commands_since(commands, link).iter().any(gone), "{link:?}");
    }
    // Only an answer of a later slot settles it.
    world.ask(1, 0, 1);
    let call = world.calls.pop().expect("a call");
    assert_eq!(call.min_slot, world.slot + 1);
    world.by_hand = false;
    world.slots(1);
    world.answer(&call);
    assert_eq!((world.held(1), world.record(1).disputed), (Some(7), false));
    world.until("covered by both again", |world| world.covers(1) == 2);
}

#[test]
fn what_a_processed_twin_shows_is_a_hint_is_gated_and_goes_with_its_connection() {
    let settings = EngineSettings { processed: true, ..settings(1) };
    let mut world = World::new(settings).with_live_account();
    let twin = SECOND_NODE;
    let show = |world: &mut World, slot, amount| world.notify(twin, 1, slot, holding(amount));
    let shown =
        |world: &World| world.engine.overlay(&key(1)).map(|shown| (shown.state.token_amount(), shown.slot));

    let slot = world.slot + 2;
    show(&mut world, slot, 500);
    assert_eq!(shown(&world), Some((Some(500), slot)));
    assert_eq!((world.held(1), world.record(1).slot < slot), (Some(100), true), "the record is untouched");
    // The fork is abandoned: the node sends the old state again, of an earlier slot.
    show(&mut world, slot - 1, 100);
    assert_eq!(shown(&world), Some((Some(100), slot - 1)));
    // Another fork, for which the node does not send the old state again: the confirmed record
    // reaches its slot without the change.
    let slot = world.slot + 1;
    show(&mut world, slot + 1, 600);
    world.slots(4);
    assert_eq!(shown(&world), None);
    let reverted = |event: &EngineEvent| matches!(event, EngineEvent::Reverted { .. });
    assert_eq!(count(&world, reverted), 2, "one taken back, one that did not come to be");
    // A slot that cannot be would never be overtaken.
    show(&mut world, u64::MAX, 700);
    assert_eq!(shown(&world), None);
    assert!(quarantines(&world) >= 1);

    let mut world = World::new(EngineSettings { processed: true, ..self::settings(1) }).with_live_account();
    let slot = world.slot + 50;
    show(&mut world, slot, 800);
    world.cut(twin);
    assert_eq!(shown(&world), None, "nobody is left to say that it was reverted");
    assert!(world.is_live(1), "nothing that is served rests on it");
}
