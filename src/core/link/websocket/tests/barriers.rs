//! Barriers, and what replaces them.

use super::*;
use crate::core::link::feed::FeedRead;

#[test]
fn one_barrier_serves_all_that_were_acknowledged_meanwhile() {
    let mut world = World::live();
    for n in 1..=6 {
        world.watch(n, u64::from(n));
    }
    let sent = World::subscribes(&world.done);
    assert_eq!(sent.len(), 1 + 4, "the canary, and as many accounts as may be in flight");
    for n in 1..=5 {
        let actions = world.acknowledge(account(n, 0));
        assert!(!World::subscribes(&actions).iter().any(|s| matches!(s, Subject::Barrier { .. })) || n == 4);
    }
    let actions = world.acknowledge(account(6, 0));
    let length = World::barrier(&actions);
    world.acknowledge(Subject::Barrier { length });
    let actions = world.hear(SessionEvent::Barrier { length, slot: 3_000 });
    let rechecked = actions.iter().find_map(|action| match action {
        SessionOutput::Event(FeedEvent::Read(FeedRead::Recheck { accounts, .. })) => Some(accounts.len()),
        _ => None,
    });
    assert_eq!(rechecked, Some(2));
}

#[test]
fn a_barriers_length_is_never_used_twice() {
    let mut world = World::live();
    for n in 1..=200 {
        world.watch(n, u64::from(n));
        world.bring_to_life(account(n, 0));
    }
    let mut lengths: Vec<_> = World::subscribes(&world.done)
        .into_iter()
        .filter_map(|subject| match subject {
            Subject::Barrier { length } => Some(length),
            _ => None,
        })
        .collect();
    let raised = lengths.len();
    lengths.sort_unstable();
    lengths.dedup();
    assert!(raised == 200 && lengths.len() == raised && lengths[0] > 40, "{raised} barriers");
}

#[test]
fn where_a_barrier_is_refused_or_ignored_a_canary_stands_in() {
    let mut world = World::live();
    world.watch(1, 1);
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.hear(SessionEvent::Refused(Subject::Barrier { length }));
    let recheck = |actions: &[SessionOutput]| {
        actions.iter().any(|a| matches!(a, SessionOutput::Event(FeedEvent::Read(FeedRead::Recheck { .. }))))
    };
    assert!(!recheck(&world.canary(500)));
    assert!(recheck(&world.canary(500)), "the second canary");

    let mut world = World::live();
    world.watch(1, 1);
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.acknowledge(Subject::Barrier { length });
    for _ in 0..12 {
        world.pass(SLOT);
        assert!(!recheck(&world.canary(500)));
    }
    world.pass(SLOT);
    assert!(recheck(&world.canary(500)), "overdue: the next canary");
}

#[test]
fn a_young_barrier_is_not_overdue_with_an_old_one() {
    let mut world = World::live();
    world.watch(1, 1);
    let old = World::barrier(&world.acknowledge(account(1, 0)));
    world.acknowledge(Subject::Barrier { length: old });
    for _ in 0..12 {
        world.pass(SLOT);
        world.canary(500);
    }
    world.watch(2, 2);
    let young = World::barrier(&world.acknowledge(account(2, 0)));
    world.acknowledge(Subject::Barrier { length: young });
    world.pass(SLOT);
    let passed = world.canary(500);
    assert!(
        passed.contains(&SessionOutput::Command(LinkCommand::Unsubscribe(Subject::Barrier { length: old }))),
        "{passed:?}"
    );
    assert!(
        !passed
            .contains(&SessionOutput::Command(LinkCommand::Unsubscribe(Subject::Barrier { length: young }))),
        "{passed:?}"
    );
}

#[test]
fn a_canary_that_was_under_way_before_the_barrier_does_not_stand_in_for_it() {
    let mut world = World::live();
    // The notifier falls behind by six seconds, and comes on steadily from there.
    world.pass(Duration::from_secs(4));
    world.watch(1, 1);
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.acknowledge(Subject::Barrier { length });
    let rechecks = |actions: &[SessionOutput]| {
        actions.iter().any(|a| matches!(a, SessionOutput::Event(FeedEvent::Read(FeedRead::Recheck { .. }))))
    };
    for _ in 0..14 {
        world.pass(SLOT);
        assert!(!rechecks(&world.canary(6_500)), "the node held its slot before it took the subscription");
    }
    world.pass(SLOT);
    assert!(rechecks(&world.canary(6_500)), "six seconds after the barrier: now it says something of it");
}
