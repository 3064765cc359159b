//! Which nodes are used, and what becomes of their connections.

use super::*;
use crate::core::link::websocket::SessionEvent;

#[test]
fn the_next_node_is_used_while_the_first_is_dark_and_left_when_that_is_steady_again() {
    let mut world = World::failover(2);
    world.slots(3);
    assert_eq!(world.enabled(), [0]);
    assert_eq!(world.phase(SECOND_NODE), LinkPhase::Parked, "not even connected before it is needed");
    world.fell(0);
    let dark = world.now;
    assert!(!world.is_live(1));
    world.until("a second node", |world| world.enabled() == [0, 1]);
    let waited = world.now.since(dark);
    assert!((5 * SECOND..6 * SECOND).contains(&waited), "called after {waited:?}, for a deadline of 5 s");
    world.until("live again", |world| world.is_live(1));
    assert_eq!(world.record(1).covers.iter().map(|one| one.link).collect::<Vec<_>>(), [SECOND_NODE]);

    world.nodes[0].up = true;
    world.until("the first node live", |world| world.phase(FIRST) == LinkPhase::Live);
    let live = world.now;
    let mut both = 0;
    while world.enabled() == [0, 1] {
        assert!(world.is_live(1), "no gap on the way back");
        world.write(&[]);
        both += 1;
        assert!(both < 200, "the second is given up");
    }
    let waited = world.now.since(live);
    assert!((30 * SECOND..32 * SECOND).contains(&waited), "given up after {waited:?} of steadiness");
    assert_eq!((world.enabled(), world.phase(SECOND_NODE)), (vec![0], LinkPhase::Parked));
    assert!(world.is_live(1), "nor at the end");
    assert_eq!(world.record(1).covers.iter().map(|one| one.link).collect::<Vec<_>>(), [FIRST]);
}

#[test]
fn a_first_node_that_flaps_keeps_the_second_in_use() {
    let mut world = World::failover(2);
    world.fell(0);
    world.until("a second node", |world| world.enabled() == [0, 1]);
    for _ in 0..4 {
        world.nodes[0].up = true;
        world.until("the first node live", |world| world.phase(FIRST) == LinkPhase::Live);
        world.slots(20);
        world.fell(0);
        assert_eq!(world.enabled(), [0, 1]);
        assert!(world.is_live(1), "the second carries it");
    }
}

#[test]
fn with_both_dark_the_third_is_called_and_no_other_is_beside_the_first_that_works() {
    let mut world = World::failover(3);
    world.nodes[1].up = false;
    world.fell(0);
    world.until("a third node", |world| world.enabled() == [0, 1, 2]);
    world.until("live again", |world| world.is_live(1));
    world.nodes[1].up = true;
    world.until("without the third", |world| world.enabled() == [0, 1]);
    assert!(world.is_live(1));
}

#[test]
fn in_a_race_all_nodes_cover_an_account_and_the_loss_of_one_costs_no_proof() {
    let mut world = World::race();
    assert_eq!((world.enabled(), world.covers(1)), (vec![0, 1], 2));
    world.fell(0);
    assert!(world.is_live(1), "the other proves it");
    assert_eq!(world.covers(1), 1);
    let (as_of, commands) = (world.as_of(1), world.commands.len());
    world.write(&[(1, holding(7))]);
    assert_eq!((world.held(1), world.is_live(1)), (Some(7), true));
    assert!(world.as_of(1) > as_of);
    assert_eq!(world.commands_since(commands, SECOND_NODE), [], "the other connection is left alone");
    world.nodes[0].up = true;
    world.until("both again", |world| world.covers(1) == 2);
}

#[test]
fn the_slower_node_of_a_race_takes_nothing_back() {
    let mut world = World::race();
    world.write(&[(1, holding(7))]);
    let record = world.record(1);
    let events = world.events.len();
    // What the first told at this slot comes from the second later, with what it told before that.
    world.notify(SECOND_NODE, 1, world.slot, holding(7));
    world.notify(SECOND_NODE, 1, world.slot - 3, holding(100));
    assert_eq!((world.held(1), world.record(1).revision), (Some(7), record.revision));
    assert!(!world.record(1).disputed);
    let changed = |event: &&EngineEvent| matches!(event, EngineEvent::Changed { .. });
    assert_eq!(world.events[events..].iter().filter(changed).count(), 0);
}

#[test]
fn subjects_alike_on_two_nodes_and_in_two_lives_are_never_taken_for_each_other() {
    let mut world = World::race();
    let [one, other] = [FIRST, SECOND_NODE].map(|link| world.subject(link, 1).expect("subscribed"));
    assert_eq!(one, other, "what a server's own numbers would be: the same on both");
    // The one cannot be read, and is replaced; the other goes on.
    let commands = world.commands.len();
    world.deliver(SECOND_NODE, SessionEvent::Account { subject: other, slot: world.slot, presence: None });
    assert_eq!(world.covers(1), 1);
    world.until("covered by both again", |world| world.covers(1) == 2);
    assert_eq!(world.commands_since(commands, FIRST), []);
    assert!(world.commands_since(commands, SECOND_NODE).contains(&LinkCommand::Unsubscribe(other)));
    assert_ne!(world.subject(SECOND_NODE, 1), Some(other));
    // The same place in its next life.
    let before: Vec<Generation> = world.record(1).covers.iter().collect();
    world.cut(FIRST);
    assert_eq!(world.record(1).covers.iter().collect::<Vec<_>>(), before[1..], "only what was cut");
    world.until("covered by both again", |world| world.covers(1) == 2);
    let now: Vec<Generation> = world.record(1).covers.iter().collect();
    assert!(now[0] > before[0] && now[1] == before[1], "{before:?}, {now:?}");
}

#[test]
fn accounts_beyond_a_connections_limit_take_the_next_one_and_leave_it_again() {
    let mut world = World::new(EngineSettings { max_per_link: 2, ..settings(1) });
    (1..=5).for_each(|byte| world.watch(byte));
    world.until("four live", |world| (1..=4).all(|byte| world.is_live(byte)));
    assert_eq!(world.engine.unplaced(EndpointId(0)), 1);
    assert!(!world.is_live(5), "no room: RPC and its age serve it");
    world.until("read by RPC", |world| world.held(5) == Some(0));
    world.unwatch(3);
    world.until("room for the fifth", |world| world.is_live(5));
    world.unwatch(4);
    world.unwatch(5);
    assert_eq!(world.phase(LinkId(1)), LinkPhase::Parked, "nobody is left on the second connection");
    assert!(world.is_live(1) && world.is_live(2));
}

#[test]
fn a_jump_of_the_clocks_voids_every_proof_until_there_are_new_ones() {
    let mut world = World::race();
    world.engine.clock_jumped(world.now);
    world.settle();
    assert_eq!(world.standing(1).map(|standing| (standing.live, standing.proof)), Some((false, Tick::NEVER)));
    assert_eq!(world.covers(1), 0);
    assert_eq!(world.held(1), Some(100), "still the last known");
    world.until("live again", |world| world.is_live(1));
}

#[test]
fn after_the_stop_nothing_is_wanted_and_nothing_proved() {
    let mut world = World::race();
    let commands = world.commands.len();
    world.engine.stop(world.now);
    world.settle();
    let goodbye = LinkCommand::Disconnect { overdue: None };
    assert_eq!(world.commands_since(commands, FIRST), std::slice::from_ref(&goodbye));
    assert_eq!(world.commands_since(commands, SECOND_NODE), [goodbye]);
    assert!(!world.is_live(1));
    let (commands, calls) = (world.commands.len(), world.made.len());
    world.pass(120 * SECOND);
    for event in
        [LinkEvent::Connected { genesis: None }, SessionEvent::Canary { slot: 2_000, lag_ms: 0 }.into()]
    {
        world.deliver(FIRST, event);
    }
    world.settle();
    assert_eq!((world.commands.len(), world.made.len()), (commands, calls));
    assert!(!world.is_live(1));
    let refused = world.engine.watch(world.now, &[(key(2), Expected::default())]);
    assert_eq!(refused, Err(WatchError::Stopped));
}
