//! What is asked of RPC, and how much.

use super::*;
use crate::core::{
    base::{failure::RpcFailure, ids::AskId},
    engine::events::CallAnswer,
    rpc::scheduler::{Ask, Crowded},
};

#[test]
fn only_what_no_link_proves_is_refreshed_and_as_often_as_set() {
    let mut world = World::failover(1);
    world.refused.insert(key(2));
    world.watch(2);
    world.slots(2);
    let (calls, began) = (world.made.len(), world.now);
    world.slots(75);
    let periods = world.now.since(began).as_secs() as usize / 3;
    let refreshed = world.asked(calls, 2);
    assert!((periods - 1..=periods + 1).contains(&refreshed), "{refreshed} times in {periods} periods");
    assert!(world.asked(calls, 1) <= 1, "a live account is audited and no more");
    assert_eq!(world.held(2), Some(0), "so readers find something fresh");
    let age = world.standing(2).and_then(|standing| standing.age(world.now)).expect("a proof");
    assert!(age <= 4 * SECOND, "{age:?}");
}

#[test]
fn while_links_prove_everything_nothing_is_refreshed_and_nobody_is_woken_for_it() {
    let mut world = World::failover(1);
    world.slots(30);
    let calls = world.made.len();
    world.slots(100);
    assert!(world.made.len() - calls <= 1, "an audit");
    assert_eq!(world.engine.rpc.refresher.next_deadline(), None);
}

#[test]
fn an_rpc_that_is_down_with_its_link_is_asked_less_and_less_often() {
    let mut world = World::failover(1);
    (2..=50).for_each(|byte| world.watch(byte));
    world.until("all live", |world| (1..=50).all(|byte| world.is_live(byte)));
    world.nodes[0].rpc = false;
    world.fell(0);
    let calls = world.made.len();
    world.pass(300 * SECOND);
    let made = world.made.len() - calls;
    assert!((8..=20).contains(&made), "{made} calls in 300 s: a batch each 3 s would be 100, each 30 s 10");
    (world.nodes[0].rpc, world.nodes[0].up) = (true, true);
    world.until("all live again", |world| (1..=50).all(|byte| world.is_live(byte)));
}

#[test]
fn a_recheck_that_finds_no_room_is_made_later_and_its_account_comes_to_life() {
    let mut world = World::new(EngineSettings { max_asks: 2, ..settings(1) });
    world.by_hand = true;
    (1..=6).for_each(|byte| world.watch(byte));
    world.slots(3);
    assert!((1..=6).all(|byte| !world.is_live(byte)), "nothing is answered yet");
    world.by_hand = false;
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call);
    }
    world.until("all live", |world| (1..=6).all(|byte| world.is_live(byte)));
    let disconnects =
        |(_, command): &&(LinkId, LinkCommand)| matches!(command, LinkCommand::Disconnect { .. });
    assert_eq!(world.commands.iter().filter(disconnects).count(), 0, "and nothing else comes of it");
}

#[test]
fn more_asks_than_allowed_are_refused_and_say_so() {
    let mut world = World::new(EngineSettings { max_asks: 3, ..settings(1) });
    world.by_hand = true;
    let now = world.now;
    let ask = |caller| Ask {
        address: key(9),
        min_slot: 0,
        not_before: now,
        urgent: true,
        reply: Reply::Caller(AskId(caller)),
        patience: now,
        avoid: None,
    };
    for caller in 1..=3 {
        assert_eq!(world.engine.ask(now, ask(caller)), Ok(()));
    }
    assert_eq!(world.engine.ask(now, ask(4)), Err(Crowded(ask(4))));
    world.engine.cancel(AskId(2));
    assert_eq!(world.engine.ask(now, ask(4)), Ok(()));
}

#[test]
fn an_answer_too_short_or_too_long_for_its_question_moves_no_account() {
    for told in [vec![holding(1)], vec![], vec![holding(1), holding(2), holding(3)]] {
        let mut world = World::failover(1);
        world.watch(2);
        world.until("both live", |world| world.is_live(2));
        world.by_hand = true;
        for byte in [1, 2] {
            let ask = Ask {
                address: key(byte),
                min_slot: 0,
                not_before: world.now,
                urgent: false,
                reply: Reply::Caller(AskId(u64::from(byte))),
                patience: world.now,
                avoid: None,
            };
            world.engine.ask(world.now, ask).expect("room");
        }
        world.pass(2 * STEP);
        // Both at once, and then each alone, since its size may have been to blame.
        let mut keys = Vec::new();
        while let Some(call) = world.calls.pop() {
            keys.push(call.accounts.len());
            let told = if call.accounts.len() == 2 { told.clone() } else { Vec::new() };
            let answer = world.told(&call, world.slot, world.slot);
            let answer = CallAnswer { accounts: told.into_iter().map(Ok).collect(), ..answer };
            world.engine.answered(world.now, call.number, Ok(answer));
            world.settle();
        }
        assert_eq!(keys, [2, 1, 1]);
        assert_eq!((world.held(1), world.held(2)), (Some(100), Some(0)), "nobody gets another's account");
        let malformed = |(_, answer): &(AskId, _)| matches!(answer, Err(RpcFailure::Malformed { .. }));
        assert!(world.replies.len() == 2 && world.replies.iter().all(malformed), "{:?}", world.replies);
    }
}

#[test]
fn another_node_is_asked_to_audit_what_one_notifies() {
    let mut world = World::race();
    let calls = world.made.len();
    world.slots(160);
    let audits: BTreeSet<u8> = world.made[calls..].iter().map(|(_, call)| call.endpoint.0).collect();
    assert_eq!(audits, BTreeSet::from([0, 1]), "each one's subscription by the other");
}
