//! Providers that lack something that a node can do.

use super::*;
use crate::core::link::feed::FeedRead;

const KEEPALIVE: Duration = Duration::from_secs(30);

impl World {
    fn of(profile: NodeProfile) -> Self {
        let mut world = Self::new();
        world.session.probe = CapabilityProbe::new(profile);
        world
    }

    /// The connection that is tried now or next opens.
    fn opens(&mut self) {
        if self.session.phase() == LinkPhase::Waiting {
            assert_eq!(self.pass(Duration::from_secs(31)), [SessionOutput::Command(LinkCommand::Connect)]);
        }
        self.tell(FeedInput::Connected);
    }

    /// A connection that answers and does not tick, up to the canary's deadline.
    fn mute(&mut self) -> LinkPhase {
        self.opens();
        self.acknowledge(Subject::Canary);
        self.pass(Duration::from_secs(5));
        self.session.phase()
    }

    fn unproven(profile: NodeProfile) -> Self {
        let mut world = Self::of(profile);
        assert!((0..4).any(|_| world.mute() == LinkPhase::Unproven));
        world
    }

    /// Time in which every keepalive is answered; what else was done.
    fn answer_keepalives(&mut self, slots: u32) -> Vec<SessionOutput> {
        let mut others = Vec::new();
        for _ in 0..slots {
            for action in self.pass(SLOT) {
                match action {
                    SessionOutput::Command(LinkCommand::Subscribe(keepalive @ Subject::Keepalive { .. })) => {
                        assert_eq!(
                            self.acknowledge(keepalive),
                            [SessionOutput::Command(LinkCommand::Unsubscribe(keepalive))]
                        );
                    }
                    other => others.push(other),
                }
            }
        }
        others
    }

    fn slots(time: Duration) -> u32 {
        u32::try_from(time.as_millis() / SLOT.as_millis()).expect("few")
    }
}

#[test]
fn a_provider_that_never_ticks_is_made_do_with_as_soon_as_its_profile_says() {
    for (profile, patience) in
        [(NodeProfile::FanOut, 1), (NodeProfile::Auto, 3), (NodeProfile::LoadBalanced, 3)]
    {
        let mut world = World::of(profile);
        for _ in 0..patience {
            assert_eq!(world.session.capabilities().canary, None);
            assert_eq!(world.mute(), LinkPhase::Waiting, "{profile:?}");
        }
        assert_eq!(world.mute(), LinkPhase::Unproven, "{profile:?}");
        assert_eq!(world.session.capabilities().canary, Some(false));
    }
    let mut own = World::of(NodeProfile::OwnNode);
    for _ in 0..50 {
        assert_eq!(own.mute(), LinkPhase::Waiting);
    }
}

#[test]
fn a_refused_canary_counts_like_a_silent_one() {
    let mut world = World::of(NodeProfile::Auto);
    for _ in 0..3 {
        world.tell(FeedInput::Connected);
        let actions = world.hear(SessionEvent::Refused(Subject::Canary));
        assert!(
            actions.contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: None })),
            "{actions:?}"
        );
        world.pass(Duration::from_secs(31));
    }
    world.tell(FeedInput::Connected);
    assert_eq!(world.hear(SessionEvent::Refused(Subject::Canary)), []);
    assert_eq!(world.session.phase(), LinkPhase::Unproven);
}

#[test]
fn a_connection_that_answers_nothing_says_nothing_of_its_provider() {
    let mut world = World::of(NodeProfile::FanOut);
    world.session.settings.subscribe_deadline = Duration::from_secs(6);
    for _ in 0..10 {
        world.tell(FeedInput::Connected);
        let actions = world.pass(Duration::from_secs(5));
        assert!(
            actions
                .contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: Some(Timer::Canary) })),
            "{actions:?}"
        );
        world.pass(Duration::from_secs(31));
    }
    assert_eq!(world.session.capabilities(), Capabilities::default());
    assert_eq!(world.mute(), LinkPhase::Waiting, "the first that does");
}

#[test]
fn a_connection_that_stops_ticking_is_lost_however_mute_the_ones_before_it() {
    let mut world = World::unproven(NodeProfile::FanOut);
    world.canaries(2);
    assert_eq!(world.session.phase(), LinkPhase::Live);
    let actions = world.pass(Duration::from_secs(5));
    assert!(
        actions.contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: Some(Timer::Canary) })),
        "{actions:?}"
    );
    assert_eq!(world.mute(), LinkPhase::Waiting, "it did tick: the first that does not");
}

#[test]
fn an_unproven_connection_takes_notifications_and_covers_nobody() {
    let mut world = World::of(NodeProfile::Auto);
    world.watch(1, 1);
    for _ in 0..4 {
        world.opens();
        world.acknowledge(Subject::Canary);
        for barrier in World::subscribes(&world.acknowledge(account(1, 0))) {
            world.acknowledge(barrier);
        }
        world.pass(Duration::from_secs(5));
    }
    assert_eq!(world.session.phase(), LinkPhase::Unproven);
    let barriers = world.barriers();
    assert_eq!(barriers, 3, "of the connections before it");
    assert_eq!(world.watch(2, 2), [SessionOutput::Command(LinkCommand::Subscribe(account(2, 0)))]);
    assert_eq!(
        world.acknowledge(account(2, 0)),
        [SessionOutput::Event(FeedEvent::Read(FeedRead::Baseline(key(2))))]
    );
    assert_eq!(world.session.account(account(2, 0)), Some(key(2)));
    assert_eq!(world.answer_keepalives(500), []);
    assert_eq!((world.session.counts(), world.session.proof()), ((2, 0), Tick::NEVER));
    assert_eq!(world.barriers(), barriers, "nobody is brought under canaries that do not come");
    assert!(!world.done.iter().any(|action| matches!(action, SessionOutput::Event(FeedEvent::Cover { .. }))));
    assert!(proofs(&world.done).iter().all(|evidence| !evidence.ticking));
}

#[test]
fn a_canary_that_ticks_after_all_ends_the_unproven_state_at_once() {
    let mut world = World::unproven(NodeProfile::Auto);
    world.watch(1, 1);
    world.acknowledge(account(1, 0));
    let actions = world.canary(500);
    assert_eq!(world.session.phase(), LinkPhase::Probing);
    assert_eq!(world.session.capabilities().canary, Some(true));
    let length = World::barrier(&actions);
    world.acknowledge(Subject::Barrier { length });
    world.hear(SessionEvent::Barrier { length, slot: world.slot });
    assert_eq!(world.rechecked(1, 0, Some(world.slot)), [world.cover(1)]);
    for _ in 0..World::slots(Duration::from_secs(700)) {
        world.answer_keepalives(1);
        world.canary(500);
    }
    assert_eq!(world.session.phase(), LinkPhase::Live, "no other connection is tried");
    world.tell(FeedInput::Lost);
    assert_eq!(world.mute(), LinkPhase::Waiting, "its patience begins anew");
}

#[test]
fn an_unproven_connection_lives_by_its_keepalives() {
    let mut world = World::unproven(NodeProfile::Auto);
    assert_eq!(world.answer_keepalives(World::slots(Duration::from_secs(500))), []);
    assert_eq!(world.session.phase(), LinkPhase::Unproven);
    let mut waited = Duration::ZERO;
    while World::subscribes(&world.pass(SLOT)).is_empty() {
        waited += SLOT;
        assert!(waited < KEEPALIVE);
    }
    assert_eq!(world.pass(Duration::from_millis(4_999)), []);
    let actions = world.pass(Duration::from_millis(1));
    assert!(
        actions
            .contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: Some(Timer::Subscribe) })),
        "{actions:?}"
    );
}

#[test]
fn a_canary_that_is_never_answered_does_not_cost_an_unproven_connection() {
    let mut world = World::of(NodeProfile::Auto);
    world.watch(1, 1);
    for _ in 0..4 {
        world.opens();
        world.pass(Duration::from_secs(1));
        for barrier in World::subscribes(&world.acknowledge(account(1, 0))) {
            world.acknowledge(barrier);
        }
        world.pass(Duration::from_secs(4));
    }
    assert_eq!(world.session.phase(), LinkPhase::Unproven);
    assert_eq!(world.answer_keepalives(World::slots(Duration::from_secs(500))), []);
}

#[test]
fn a_keepalive_that_is_unanswered_is_not_sent_twice() {
    let mut world = World::live();
    // A server that paces its answers: the last one is never long ago.
    for n in 1..=4 {
        world.watch(n, u64::from(n));
    }
    world.session.settings.keepalive = SLOT;
    world.session.timers.set(Timer::Keepalive, world.now);
    let mut keepalives = Vec::new();
    for _ in 0..10 {
        keepalives.extend(World::subscribes(&world.pass(SLOT)));
        world.canary(500);
    }
    assert_eq!(keepalives, [Subject::Keepalive { round: 1 }]);
    world.acknowledge(keepalives[0]);
    assert_eq!(World::subscribes(&world.pass(SLOT)), [Subject::Keepalive { round: 2 }]);
}

#[test]
fn another_connection_is_tried_after_a_while_without_a_canary() {
    for (profile, minutes) in [(NodeProfile::Auto, 10), (NodeProfile::LoadBalanced, 2)] {
        let mut world = World::unproven(profile);
        let unproven = Duration::from_secs(minutes * 60);
        assert_eq!(world.answer_keepalives(World::slots(unproven) - 1), []);
        let actions = world.answer_keepalives(1);
        assert!(
            actions
                .contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: Some(Timer::Probe) })),
            "{actions:?}"
        );
        assert_eq!(
            world.pass(Duration::from_millis(250)),
            [SessionOutput::Command(LinkCommand::Connect)],
            "it was no failure"
        );
        world.tell(FeedInput::Connected);
        assert_eq!(world.session.phase(), LinkPhase::Probing);
        world.acknowledge(Subject::Canary);
        world.pass(Duration::from_secs(5));
        assert_eq!(world.session.phase(), LinkPhase::Unproven, "without losing three more for it");
        world.reconnect();
        world.acknowledge(Subject::Canary);
        world.canaries(2);
        assert_eq!(world.session.phase(), LinkPhase::Live);
    }
}

fn rechecks(actions: &[SessionOutput]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, SessionOutput::Event(FeedEvent::Read(FeedRead::Recheck { .. }))))
        .count()
}

/// Brings an account to life on a connection that is known to take no slices.
fn live_by_the_second_canary(world: &mut World, subject: Subject) {
    let Subject::Account { address, attempt, .. } = subject else { panic!("{subject:?}") };
    assert_eq!(
        world.acknowledge(subject),
        [SessionOutput::Event(FeedEvent::Read(FeedRead::Baseline(address)))],
        "no barrier"
    );
    assert_eq!(rechecks(&world.canary(500)), 0);
    let actions = world.canary(500);
    assert_eq!(rechecks(&actions), 1, "the second canary");
    assert!(
        !actions.iter().any(|action| matches!(action, SessionOutput::Command(LinkCommand::Unsubscribe(_)))),
        "{actions:?}"
    );
    let byte = address.as_ref()[0];
    assert_eq!(world.rechecked(byte, attempt, Some(world.slot)), [world.cover(byte)]);
}

#[test]
fn a_connection_that_refuses_a_barrier_is_not_asked_for_another() {
    let mut world = World::live();
    assert_eq!(world.session.capabilities().slices, None);
    world.watch(1, 1);
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.hear(SessionEvent::Refused(Subject::Barrier { length }));
    assert_eq!(world.session.capabilities().slices, Some(false));
    assert_eq!(rechecks(&world.canary(500)), 0);
    assert_eq!(rechecks(&world.canary(500)), 1, "the second canary");
    world.watch(2, 2);
    live_by_the_second_canary(&mut world, account(2, 0));
    // Another node may stand behind the next connection.
    world.tell(FeedInput::Unwatch { address: key(2) });
    world.reconnect();
    world.acknowledge(Subject::Canary);
    world.bring_to_life(account(1, 0));
    assert_eq!(world.session.capabilities().slices, Some(true));
}

#[test]
fn a_provider_that_took_a_barrier_for_the_canary_is_never_asked_for_one_again() {
    let mut world = World::with_live_account();
    world.watch(2, 2);
    let length = World::barrier(&world.acknowledge(account(2, 0)));
    world.acknowledge(Subject::Barrier { length });
    let actions = world.hear(SessionEvent::CanaryReplaced);
    assert_eq!(actions[0], SessionOutput::Event(FeedEvent::UncoverAll), "proofs end before anything else");
    assert!(actions.contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: None })));
    assert_eq!(world.session.capabilities().slices, Some(false));
    assert_eq!(world.hear(SessionEvent::CanaryReplaced), [], "the connection is gone");
    let barriers = world.barriers();
    world.unwatch(2);
    world.pass(Duration::from_secs(31));
    for _ in 0..2 {
        world.tell(FeedInput::Connected);
        world.acknowledge(Subject::Canary);
        live_by_the_second_canary(&mut world, account(1, 0));
        world.tell(FeedInput::Lost);
        world.pass(Duration::from_secs(31));
    }
    assert_eq!(world.barriers(), barriers);
}

#[test]
fn without_slices_an_address_is_subscribed_again_once_its_last_subscription_is_gone() {
    let mut world = World::with_live_account();
    world.hear(SessionEvent::CanaryReplaced);
    world.pass(Duration::from_secs(31));
    world.tell(FeedInput::Connected);
    world.acknowledge(Subject::Canary);
    live_by_the_second_canary(&mut world, account(1, 0));
    assert_eq!(world.unwatch(1), [SessionOutput::Command(LinkCommand::Unsubscribe(account(1, 0)))]);
    assert_eq!(world.watch(1, 2), [], "it would share an id with what is left of the last");
    assert_eq!(world.session.counts(), (0, 0));
    assert_eq!(
        world.watch(2, 3),
        [SessionOutput::Command(LinkCommand::Subscribe(account(2, 1)))],
        "nobody else waits"
    );
    let confirmed = world.hear(SessionEvent::Unsubscribed(account(1, 0)));
    assert_eq!(confirmed, [SessionOutput::Command(LinkCommand::Subscribe(account(1, 1)))]);
    // An unsubscribe that is never confirmed: the next connection knows nothing of it.
    world.acknowledge(account(1, 1));
    world.unwatch(1);
    assert_eq!(world.watch(1, 4), []);
    assert_eq!(world.unwatch(1), [], "the server holds nothing for it");
    assert_eq!(world.watch(1, 5), []);
    let opened = World::subscribes(&world.reconnect());
    assert!(opened.contains(&account(1, 0)), "{opened:?}");
}

#[test]
fn an_address_subscribed_before_keeps_to_own_parameters_also_when_nothing_is_left_of_that() {
    let mut world = World::with_live_account();
    world.unwatch(1);
    world.watch(1, 2);
    world.acknowledge(account_again(1, 1));
    world.hear(SessionEvent::Unsubscribed(account(1, 0)));
    world.unwatch(1);
    world.hear(SessionEvent::Unsubscribed(account_again(1, 1)));
    assert_eq!(world.watch(1, 3), [SessionOutput::Command(LinkCommand::Subscribe(account_again(1, 2)))]);
}
