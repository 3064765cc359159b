//! What becomes of an account's record while notifications, answers and losses cross each other.

use super::*;
use crate::core::{
    base::ids::AskId,
    engine::events::CallAnswer,
    link::websocket::{SessionEvent, Subject},
};

fn changes(world: &World) -> Vec<Option<u64>> {
    let held = world.events.iter().filter_map(|event| match event {
        EngineEvent::Changed { record, .. } => Some(record.state.token_amount()),
        _ => None,
    });
    held.collect()
}

#[test]
fn a_write_between_the_snapshot_and_the_subscriptions_effect_is_found_before_live() {
    let mut world = World::new(settings(1));
    world.chain.insert(key(1), BTreeMap::from([(1, holding(100))]));
    world.watch(1);
    world.pass(5 * STEP);
    assert_eq!(world.held(1), Some(100), "its baseline");
    // Acknowledged, and without effect yet: the server has queued it behind a busy bank.
    world.dead.insert((FIRST, key(1)));
    world.write(&[(1, holding(150))]);
    world.dead.clear();
    world.until("live", |world| world.is_live(1));
    assert_eq!(world.held(1), Some(150), "in neither, and not lost");
    let before: Vec<_> = world.commands.iter().map(|(_, command)| command).collect();
    let account =
        before.iter().position(|command| matches!(command, LinkCommand::Subscribe(Subject::Account { .. })));
    let barrier =
        before.iter().position(|command| matches!(command, LinkCommand::Subscribe(Subject::Barrier { .. })));
    assert!(account.is_some() && account < barrier, "{before:?}");
}

#[test]
fn nothing_is_asked_for_before_it_is_subscribed() {
    let mut world = World::new(settings(1));
    world.refused.insert(key(1));
    world.watch(1);
    world.slots(2);
    assert_eq!(world.asked(0, 1), 0, "the snapshot comes second");
    let mut world = World::new(settings(1));
    world.watch(1);
    let subscribed = world.commands.len();
    world.slots(1);
    assert!(subscribed > 0 && world.asked(0, 1) == 1, "a baseline as soon as it is acknowledged");
}

#[test]
fn an_answer_of_a_node_that_is_behind_is_asked_of_nobody_and_believed_of_nobody() {
    let mut world = World::failover(1);
    world.write(&[(1, holding(7))]);
    world.fell(0);
    let known = world.as_of(1);
    world.by_hand = true;
    world.ask(1, 0, 1);
    let call = world.calls.pop().expect("a call");
    assert!(call.min_slot >= known, "{} for what is known as of {known}", call.min_slot);
    // A node that ignores the floor: what it says is older, whatever it says.
    let old = CallAnswer { slot: known - 1, ..world.told(&call, 1, known - 1) };
    assert_eq!(old.accounts, [Ok(holding(100))]);
    let proof = world.standing(1).map(|standing| standing.proof);
    world.engine.answered(world.now, call.number, Ok(old));
    assert_eq!(world.held(1), Some(7));
    assert_eq!(world.standing(1).map(|standing| standing.proof), proof, "nor is anything younger by it");
    assert_eq!(world.as_of(1), known);
}

#[test]
fn a_node_that_stands_still_and_says_that_it_is_well_serves_nothing_older() {
    let mut world = World::race();
    let slot = world.slot;
    (world.nodes[0].stands_at, world.nodes[1].stands_at) = (Some(slot), None);
    for amount in 1..=20 {
        world.write(&[(1, holding(amount))]);
    }
    assert_eq!((world.held(1), world.is_live(1)), (Some(20), true));
    let calls = world.made.len();
    world.ask(1, 0, 5);
    assert_eq!(world.held(1), Some(20));
    let asked: Vec<u8> = world.made[calls..].iter().map(|(_, call)| call.endpoint.0).collect();
    assert_eq!(asked, [0, 1], "it is behind what is known, and the other is asked");
    assert!(matches!(world.replies[..], [(AskId(5), Ok(told))] if told == world.slot));
    world.until("without it", |world| world.covers(1) == 1);
    assert_ne!(world.phase(FIRST), LinkPhase::Live);
}

#[test]
fn a_notification_and_an_answer_that_cross_are_both_taken_whichever_is_newer() {
    // The notification is newer than the answer under way.
    let mut world = World::failover(1);
    world.by_hand = true;
    world.ask(1, 0, 1);
    let call = world.calls.pop().expect("a call");
    let answer = world.told(&call, world.slot, world.slot);
    world.write(&[(1, holding(7))]);
    let slot = answer.slot;
    world.engine.answered(world.now, call.number, Ok(answer));
    world.settle();
    assert_eq!(world.held(1), Some(7), "the answer does not undo it");
    assert_eq!(world.replies, [(AskId(1), Ok(slot))], "and whoever asked hears of it");
    // The answer is newer than the notification under way.
    world.ask(1, 0, 2);
    let call = world.calls.pop().expect("a call");
    world.pass(SLOT);
    world.slot += 1;
    world.chain.entry(key(1)).or_default().insert(world.slot, holding(8));
    world.answer(&call);
    assert_eq!(world.held(1), Some(8), "it does not wait for the notification");
    let (revision, slot) = (world.record(1).revision, world.slot);
    world.notify(FIRST, 1, slot, holding(8));
    world.slots(2);
    assert_eq!((world.held(1), world.record(1).revision), (Some(8), revision));
    assert!(
        world.is_live(1) && !world.events.iter().any(|event| matches!(event, EngineEvent::Missed { .. }))
    );
    assert_eq!(changes(&world), [Some(100), Some(7), Some(8)]);
}

#[test]
fn an_answer_that_comes_late_changes_nothing_newer_and_nothing_that_is_watched_anew() {
    let mut world = World::failover(1);
    world.by_hand = true;
    world.ask(1, 0, 1);
    let late = world.calls.pop().expect("a call");
    let old = world.told(&late, world.slot, world.slot);
    world.write(&[(1, holding(7))]);
    world.ask(1, 0, 2);
    let newer = world.calls.pop().expect("an answer asked for before would not do");
    world.answer(&newer);
    world.engine.answered(world.now, late.number, Ok(old.clone()));
    assert_eq!(world.held(1), Some(7), "the first comes last");
    world.engine.answered(world.now, late.number, Ok(old.clone()));
    world.engine.answered(world.now, 9_999, Ok(old));
    world.settle();
    assert_eq!(world.replies.len(), 2, "nobody is answered twice: {:?}", world.replies);

    // Unwatched while a call is under way.
    world.ask(1, 0, 3);
    let call = world.calls.pop().expect("a call");
    world.unwatch(1);
    world.answer(&call);
    assert!(world.engine.record(&key(1)).is_none(), "nobody's");
    // Watched anew while its last subscription's recheck is under way: that says nothing of the new
    // one.
    world.watch(1);
    world.slots(3);
    world.unwatch(1);
    world.watch(1);
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call);
    }
    assert_eq!((world.held(1), world.covers(1)), (Some(7), 0), "seen, and covered by nothing yet");
    world.by_hand = false;
    world.until("live", |world| world.is_live(1));
}

#[test]
fn a_notification_for_what_is_unsubscribed_is_nobodys() {
    let mut world = World::failover(1);
    let old = world.subject(FIRST, 1).expect("subscribed");
    let late = |world: &World| SessionEvent::Account {
        subject: old,
        slot: world.slot + 1,
        presence: Some(holding(9_999)),
    };
    world.unwatch(1);
    world.deliver(FIRST, late(&world));
    assert!(world.engine.record(&key(1)).is_none());
    world.watch(1);
    world.until("live again", |world| world.is_live(1));
    world.deliver(FIRST, late(&world));
    assert_eq!(world.held(1), Some(100), "watched anew, under another subject");
    // A connection that is gone, or not open yet.
    world.fell(0);
    world.deliver(FIRST, SessionEvent::Canary { slot: world.slot + 1, lag_ms: 500 });
    world.deliver(FIRST, SessionEvent::Canary { slot: world.slot + 2, lag_ms: 500 });
    assert!(!world.is_live(1), "the canaries of a dead connection prove nothing");
}

#[test]
fn a_subscription_that_dies_in_silence_is_found_by_the_audit_and_replaced_alone() {
    let mut world = World::failover(1);
    world.watch(2);
    world.until("both live", |world| world.is_live(2));
    let commands = world.commands.len();
    world.dead.insert((FIRST, key(1)));
    world.write(&[(1, holding(7)), (2, holding(1))]);
    assert_eq!((world.held(1), world.held(2)), (Some(100), Some(1)), "nobody was told");
    let died = world.now;
    world.until("told", |world| world.held(1) == Some(7));
    assert!(world.now.since(died) <= 61 * SECOND, "by the first audit: {:?}", world.now.since(died));
    world.until("live again", |world| world.is_live(1));
    world.write(&[(1, holding(8))]);
    assert_eq!((world.held(1), world.is_live(2)), (Some(8), true));
    let disconnects = |command: &LinkCommand| matches!(command, LinkCommand::Disconnect { .. });
    assert!(!world.commands_since(commands, FIRST).iter().any(disconnects), "beside a connection that lives");
    let replaced = |command: &&LinkCommand| matches!(command, LinkCommand::Unsubscribe(Subject::Account { address, .. }) if *address == key(2));
    assert_eq!(world.commands_since(commands, FIRST).iter().filter(replaced).count(), 0);
}

#[test]
fn an_account_known_to_be_absent_is_not_asked_for_again_while_its_link_lives() {
    let mut world = World::new(settings(1));
    world.watch(3);
    world.until("live", |world| world.is_live(3));
    assert_eq!(
        (world.held(3), world.record(3).state),
        (Some(0), crate::core::chain::state::AccountState::Absent)
    );
    let (calls, began) = (world.made.len(), world.now);
    world.slots(500);
    assert!(world.is_live(3) && world.as_of(3) == world.slot - 1, "absence is proved like any other state");
    let audits = world.now.since(began).as_secs() as usize / 60 + 1;
    assert!(world.asked(calls, 3) <= audits, "{} calls, {audits} audits", world.asked(calls, 3));
    world.write(&[(3, holding(5))]);
    assert_eq!((world.held(3), world.is_live(3)), (Some(5), true), "and its end is notified");
}

#[test]
fn every_notification_of_a_hot_account_is_applied_as_it_comes() {
    let mut world = World::failover(1);
    let slot = world.slot + 1;
    for amount in 1..=200 {
        // All at one moment, some in one slot.
        world.notify(FIRST, 1, slot + amount / 3, holding(amount));
        assert_eq!(world.held(1), Some(amount));
    }
    assert_eq!(changes(&world).len(), 201);
    assert_eq!(world.record(1).revision, 201);
}

#[test]
fn a_slot_of_changes_during_which_the_server_cuts_the_connection_is_found_whole_after_it() {
    let mut world = World::new(EngineSettings { max_per_link: 1_000, ..settings(1) });
    let accounts: Vec<u8> = (1..=200).collect();
    accounts.iter().for_each(|byte| world.watch(*byte));
    world.until("all live", |world| accounts.iter().all(|byte| world.is_live(*byte)));
    // One slot changes them all; the ring overflows, and of its changes only some come before the
    // cut.
    world.slot += 1;
    for byte in &accounts {
        world.chain.entry(key(*byte)).or_default().insert(world.slot, holding(u64::from(*byte) + 5));
    }
    for byte in &accounts[..60] {
        world.notify(FIRST, *byte, world.slot, holding(u64::from(*byte) + 5));
    }
    world.cut(FIRST);
    world.until("all live again", |world| accounts.iter().all(|byte| world.is_live(*byte)));
    for byte in &accounts {
        assert_eq!(world.held(*byte), Some(u64::from(*byte) + 5), "account {byte}");
    }
}

#[test]
fn a_doubt_is_ended_by_no_canary_and_by_no_answer_that_was_under_way() {
    let mut world = World::failover(1);
    world.by_hand = true;
    world.ask(1, 0, 1);
    let before = world.calls.pop().expect("a call");
    let answer = world.told(&before, world.slot, world.slot + 1);
    world.pass(STEP);
    let failed_at = world.slot + 4;
    assert!(world.engine.invalidate(world.now, &key(1), failed_at));
    let doubted = |world: &World| world.record(1).invalidated.is_some();
    assert!(doubted(&world) && !world.is_live(1));
    world.engine.answered(world.now, before.number, Ok(answer));
    assert!(doubted(&world), "it was sent before");
    world.slots(10);
    assert!(doubted(&world) && !world.is_live(1), "canaries renew nothing that is in doubt");
    world.write(&[(1, holding(7))]);
    assert!(doubted(&world) && world.held(1) == Some(7), "nor does a notification");
    world.ask(1, 0, 2);
    let call = world.calls.pop().expect("a call");
    assert!(call.min_slot >= failed_at, "the answer must have seen the slot that is in doubt");
    world.answer(&call);
    assert!(!doubted(&world) && world.is_live(1), "only an answer sent since");
}

#[test]
fn a_mint_that_no_watched_account_names_is_asked_for_no_more() {
    let mut world = World::new(settings(1));
    let mint = nowhere();
    let expected = Expected { mint: Some(mint), ..Expected::default() };
    world.engine.watch(world.now, &[(key(5), expected)]).expect("room");
    world.pass(10 * SECOND);
    let asked = |world: &World| world.made.iter().filter(|(_, call)| call.mints.contains(&mint)).count();
    assert!(asked(&world) > 1, "not there yet: it is asked for again");
    world.engine.unwatch(world.now, &key(5));
    world.pass(3 * SECOND);
    let before = asked(&world);
    world.pass(30 * SECOND);
    assert_eq!(asked(&world), before);
    assert_eq!(world.engine.rpc.scheduler.mints_wanted(), 0);
}

/// A mint that its authority can pause.
fn pausable(paused: bool) -> MintInfo {
    let pause_authority = Some(key(203));
    MintInfo { pause_authority, paused, slot: Some(0), ..MintInfo::plain(TokenProgram::Token2022, 6) }
}

#[test]
fn a_mint_that_can_be_paused_is_read_again_beside_the_accounts_and_a_plain_one_is_not() {
    let mut world = World::new(settings(1));
    // The mint of what `holding` shows, and another one.
    world.mints.insert(key(201), pausable(false));
    let expected = Expected { mint: Some(key(60)), ..Expected::default() };
    world.engine.watch(world.now, &[(key(5), expected)]).expect("room");
    world = world.with_live_account();
    let known = *world.engine.mint(&key(201)).expect("read");
    assert!(!known.paused && known.slot.is_some_and(|slot| slot > 0 && slot <= world.slot));
    world.made.clear();
    world.mints.insert(key(201), pausable(true));
    world.until("paused", |world| world.engine.mint(&key(201)).is_some_and(|mint| mint.paused));
    let asked =
        |world: &World, mint| world.made.iter().filter(|(_, call)| call.mints.contains(&key(mint))).count();
    world.slots(750);
    // Five minutes: once a minute.
    let (again, plain) = (asked(&world, 201), asked(&world, 60));
    assert!((4..=6).contains(&again) && plain == 0, "{again} and {plain} times");
    let alone = world.made.iter().filter(|(_, call)| call.accounts.is_empty()).count();
    assert!(alone < again, "{alone} of {again} in calls of their own");

    world.engine.unwatch(world.now, &key(1));
    world.slots(200);
    world.made.clear();
    world.slots(400);
    assert_eq!(asked(&world, 201), 0, "nobody names it any more");
}

#[test]
fn after_a_new_beginning_of_the_chain_mints_are_believed_at_its_own_slots() {
    let mut world = World::failover(1);
    world.mints.insert(key(201), pausable(true));
    let mut mint = pausable(false);
    mint.slot = Some(900_000);
    world.engine.rpc.mints.read(world.now, key(201), mint, (900_000, world.now), BTreeSet::new);
    world.engine.reset(world.now);
    world.until("paused", |world| world.engine.mint(&key(201)).is_some_and(|mint| mint.paused));
    assert!(world.engine.mint(&key(201)).and_then(|mint| mint.slot).is_some_and(|slot| slot <= world.slot));
}

#[test]
fn with_a_dynamic_ttl_each_change_is_timed_and_the_first_sight_is_none() {
    let bounds = TtlBounds { least: SECOND, most: 30 * SECOND };
    let timed = |ttl| {
        let mut settings = settings(1);
        settings.policy.ttl = ttl;
        let mut world = World::new(settings).with_live_account();
        let sight = world.record(1).change_rate;
        for amount in 1..=3 {
            // Nine slots of 400 ms without a change, and one with.
            world.slots(9);
            world.write(&[(1, holding(amount))]);
        }
        (sight, world.record(1).change_rate, world.now)
    };
    let (sight, rate, now) = timed(Some(bounds));
    assert_eq!(sight, ChangeRate::default());
    assert_eq!(rate.interval(now), Some(4 * SECOND));
    assert_eq!(rate.ttl(now, &bounds), 2 * SECOND);
    assert_eq!(timed(None).1, ChangeRate::default(), "nobody asks for it");
}
