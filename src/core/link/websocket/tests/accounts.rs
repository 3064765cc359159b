//! The life of one account on a connection.

use super::*;
use crate::core::link::feed::FeedRead;

#[test]
fn subscribe_first_then_baseline_then_barrier_then_recheck_then_live() {
    let mut world = World::live();
    assert_eq!(world.watch(1, 1), [SessionOutput::Command(LinkCommand::Subscribe(account(1, 0)))]);
    assert_eq!(world.session.counts(), (0, 0));
    world.bring_to_life(account(1, 0));
    assert_eq!(world.session.counts(), (1, 1));
}

#[test]
fn nothing_is_covered_before_a_recheck_as_of_the_barrier() {
    let mut world = World::live();
    world.watch(1, 1);
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.acknowledge(Subject::Barrier { length });
    assert_eq!(world.rechecked(1, 0, Some(9_999)), [], "nobody asked yet");
    world.hear(SessionEvent::Barrier { length, slot: 2_000 });
    assert_eq!(world.rechecked(1, 0, Some(1_999)), [], "an answer from before the barrier");
    assert_eq!(world.session.counts(), (1, 0));
    let again = world.pass(Duration::from_secs(1));
    assert!(
        matches!(
            &again[..],
            [SessionOutput::Event(FeedEvent::Read(FeedRead::Recheck { min_slot: 2_000, .. }))]
        ),
        "{again:?}"
    );
    assert_eq!(world.rechecked(1, 0, Some(2_000)), [world.cover(1)]);
}

#[test]
fn an_unsubscribe_that_overtakes_its_subscribe_is_sent_when_the_answer_comes() {
    let mut world = World::live();
    world.watch(1, 1);
    assert_eq!(world.unwatch(1), []);
    assert_eq!(world.session.account(account(1, 0)), None, "its notifications are nobody's");
    assert_eq!(
        world.acknowledge(account(1, 0)),
        [SessionOutput::Command(LinkCommand::Unsubscribe(account(1, 0)))]
    );
    assert_eq!(world.acknowledge(account(1, 0)), [], "an answer nobody waits for");
}

#[test]
fn an_account_watched_anew_never_reuses_the_parameters_of_its_last_subscription() {
    let mut world = World::with_live_account();
    assert_eq!(world.unwatch(1), [SessionOutput::Command(LinkCommand::Unsubscribe(account(1, 0)))]);
    assert_eq!(world.watch(1, 2), [SessionOutput::Command(LinkCommand::Subscribe(account_again(1, 1)))]);
    assert_eq!(world.session.account(account(1, 0)), None);
    world.bring_to_life(account_again(1, 1));
    // Unwatched and watched again between two looks of the driver.
    let actions = world.watch(1, 3);
    assert_eq!(
        actions,
        [
            SessionOutput::Command(LinkCommand::Unsubscribe(account_again(1, 1))),
            SessionOutput::Command(LinkCommand::Subscribe(account_again(1, 2)))
        ]
    );
    assert_eq!(
        world.watch(2, 9),
        [SessionOutput::Command(LinkCommand::Subscribe(account(2, 2)))],
        "another address has nothing to avoid"
    );
    assert_eq!(world.watch(1, 3), [], "the same watch");
}

#[test]
fn one_refused_subscription_is_retried_alone() {
    let mut world = World::with_live_account();
    world.watch(2, 2);
    assert_eq!(world.hear(SessionEvent::Refused(account(2, 0))), []);
    assert_eq!(world.session.phase(), LinkPhase::Live);
    assert_eq!(world.session.counts(), (1, 1));
    let again = world.pass(Duration::from_millis(250));
    assert_eq!(again, [SessionOutput::Command(LinkCommand::Subscribe(account(2, 1)))]);
    // The next wait is longer.
    world.hear(SessionEvent::Refused(account(2, 1)));
    assert_eq!(world.pass(Duration::from_millis(249)), []);
    assert_eq!(
        world.pass(Duration::from_millis(251)),
        [SessionOutput::Command(LinkCommand::Subscribe(account(2, 2)))]
    );
    world.bring_to_life(account(2, 2));
    assert_eq!(World::subscribes(&world.done).iter().filter(|s| **s == account(1, 0)).count(), 1);
}

#[test]
fn an_accused_subscription_is_replaced_alone() {
    let mut world = World::with_live_account();
    world.watch(2, 2);
    world.bring_to_life(account(2, 0));
    let actions = world.tell(FeedInput::Accused { address: key(1) });
    assert_eq!(
        actions,
        [
            SessionOutput::Event(FeedEvent::Uncover { address: key(1) }),
            SessionOutput::Command(LinkCommand::Unsubscribe(account(1, 0)))
        ]
    );
    assert_eq!(world.session.account(account(1, 0)), None);
    assert_eq!(world.session.counts(), (1, 1));
    assert_eq!(
        world.pass(Duration::from_millis(250)),
        [SessionOutput::Command(LinkCommand::Subscribe(account_again(1, 2)))]
    );
    world.bring_to_life(account_again(1, 2));
    // Accused again and again, it is replaced less and less often.
    world.tell(FeedInput::Accused { address: key(1) });
    assert_eq!(world.pass(Duration::from_millis(249)), []);
    assert_eq!(World::subscribes(&world.pass(Duration::from_millis(251))).len(), 1);
}

#[test]
fn a_record_that_cannot_be_covered_is_rechecked_later() {
    let mut world = World::with_live_account();
    assert_eq!(world.tell(FeedInput::NotCovered { address: key(1) }), []);
    assert_eq!(world.session.counts(), (1, 0));
    let again = world.pass(Duration::from_millis(250));
    assert!(
        matches!(again[..], [SessionOutput::Event(FeedEvent::Read(FeedRead::Recheck { .. }))]),
        "{again:?}"
    );
    assert_eq!(world.rechecked(1, 0, Some(world.slot)), [world.cover(1)]);
}

#[test]
fn live_accounts_are_audited_once_a_period() {
    let mut world = World::with_live_account();
    let mut audits = 0;
    for _ in 0..(180_000 / 400) {
        world.pass(SLOT);
        world.canary(500);
        let audited: Vec<_> = world.done.drain(..).collect();
        for action in audited {
            match action {
                SessionOutput::Event(FeedEvent::Read(FeedRead::Audit(accounts))) => {
                    assert_eq!(accounts, [key(1)]);
                    audits += 1;
                }
                SessionOutput::Command(LinkCommand::Subscribe(subject @ Subject::Keepalive { .. })) => {
                    world.acknowledge(subject);
                }
                _ => {}
            }
        }
    }
    assert_eq!(audits, 3);
}

#[test]
fn watched_anew_while_its_subscribe_is_under_way_it_shares_no_id_with_what_is_about_to_be_ended() {
    let mut world = World::live();
    assert_eq!(world.watch(1, 1), [SessionOutput::Command(LinkCommand::Subscribe(account(1, 0)))]);
    world.unwatch(1);
    assert_eq!(world.watch(1, 2), [SessionOutput::Command(LinkCommand::Subscribe(account_again(1, 1)))]);
    // The first is answered late, and ended at once: the second lives on.
    assert!(
        world
            .acknowledge(account(1, 0))
            .contains(&SessionOutput::Command(LinkCommand::Unsubscribe(account(1, 0))))
    );
    world.bring_to_life(account_again(1, 1));
    assert_eq!(world.session.counts(), (1, 1));
}
