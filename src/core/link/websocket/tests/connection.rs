//! The life of a connection: opened, paced, lost, parked, ended.

use super::*;
use crate::core::{base::ids::WatchId, link::feed::FeedRead};

#[test]
fn a_silent_or_half_open_connection_is_given_up_by_the_canary_deadline() {
    let mut world = World::with_live_account();
    assert_eq!(world.pass(Duration::from_millis(4_999)), []);
    let actions = world.pass(Duration::from_millis(1));
    assert_eq!(actions[0], SessionOutput::Event(FeedEvent::UncoverAll), "proofs end before anything else");
    assert!(!proofs(&actions)[0].ticking);
    assert_eq!(actions[2], SessionOutput::Command(LinkCommand::Disconnect { overdue: Some(Timer::Canary) }));
    assert_eq!(world.session.phase(), LinkPhase::Waiting);
    assert_eq!(world.session.counts(), (0, 0));
}

#[test]
fn an_unanswered_subscribe_costs_the_connection_and_is_never_cancelled() {
    let mut world = World::live();
    world.watch(1, 1);
    world.unwatch(1);
    for _ in 0..12 {
        world.pass(SLOT);
        world.canary(500);
    }
    assert!(!world.done.contains(&SessionOutput::Command(LinkCommand::Unsubscribe(account(1, 0)))));
    let disconnect = SessionOutput::Command(LinkCommand::Disconnect { overdue: Some(Timer::Subscribe) });
    assert!(!world.done.contains(&disconnect));
    assert!(world.pass(SLOT).contains(&disconnect));
}

#[test]
fn one_unanswered_subscribe_holds_up_nobody_and_costs_the_next_connection_nothing_at_once() {
    let mut world = World::live();
    world.watch(1, 1);
    world.watch(2, 2);
    assert!(World::subscribes(&world.acknowledge(account(2, 0))).is_empty(), "more may come: it gathers");
    world.pass(SLOT);
    let length = World::barrier(&world.canary(500));
    world.acknowledge(Subject::Barrier { length });
    world.hear(SessionEvent::Barrier { length, slot: world.slot });
    assert_eq!(world.rechecked(2, 0, Some(world.slot)), [world.cover(2)], "live beside the unanswered one");
    while world.session.phase() == LinkPhase::Live {
        world.pass(SLOT);
        world.canary(500);
    }
    world.pass(Duration::from_millis(250));
    let opened = World::subscribes(&world.tell(FeedInput::Connected));
    assert!(opened.contains(&account(2, 0)), "{opened:?}");
    assert!(!opened.iter().any(|s| matches!(s, Subject::Account { address, .. } if *address == key(1))));
    world.acknowledge(Subject::Canary);
    let length = World::barrier(&world.acknowledge(account(2, 0)));
    world.acknowledge(Subject::Barrier { length });
    let again = (1..=45).find(|_| {
        let subscribed = World::subscribes(&world.pass(SLOT));
        world.canary(500);
        subscribed.iter().any(|s| matches!(s, Subject::Account { address, .. } if *address == key(1)))
    });
    assert!(again >= Some(13), "as long again as the deadline: after {again:?} slots");
}

#[test]
fn every_reconnect_is_a_full_resync_with_each_account_once() {
    let mut world = World::live();
    for n in 1..=3 {
        world.watch(n, u64::from(n));
        world.bring_to_life(account(n, 0));
    }
    world.reconnect();
    // Lost again in the middle of resubscribing, with one more account watched meanwhile.
    world.tell(FeedInput::Lost);
    world.watch(4, 4);
    world.unwatch(2);
    assert_eq!(world.pass(Duration::from_secs(31)), [SessionOutput::Command(LinkCommand::Connect)]);
    let opened = World::subscribes(&world.tell(FeedInput::Connected));
    let answered = World::subscribes(&world.acknowledge(Subject::Canary));
    let subscribed: Vec<_> = opened.into_iter().chain(answered).collect();
    assert_eq!(subscribed, [Subject::Canary, account(1, 0), account(3, 0), account(4, 0)]);
}

#[test]
fn answers_of_an_earlier_connection_match_nothing() {
    let mut world = World::live();
    world.watch(1, 1);
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.acknowledge(Subject::Barrier { length });
    world.hear(SessionEvent::Barrier { length, slot: world.slot });
    let (generation, slot) = (world.session.generation(), world.slot);
    world.reconnect();
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.hear(SessionEvent::Barrier { length, slot });
    let late = FeedInput::Rechecked { generation, address: key(1), attempt: 0, slot: Some(slot) };
    assert_eq!(world.tell(late), []);
    assert_eq!(world.rechecked(1, 0, Some(slot)), [world.cover(1)]);
}

#[test]
fn the_backoff_is_reset_by_health_and_not_by_a_connect() {
    let mut world = World::new();
    let mut waits = Vec::new();
    for _ in 0..6 {
        world.tell(FeedInput::Connected);
        world.acknowledge(Subject::Canary);
        world.canaries(2);
        world.tell(FeedInput::Lost);
        waits.push(world.session.next_deadline().expect("a reconnect").since(world.now));
        world.pass(Duration::from_secs(31));
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    world.tell(FeedInput::Connected);
    world.acknowledge(Subject::Canary);
    world.canaries(2 + 25);
    world.tell(FeedInput::Lost);
    let wait = world.session.next_deadline().expect("a reconnect").since(world.now);
    assert!(wait <= Duration::from_millis(250), "{wait:?}");
}

#[test]
fn two_subscribes_that_are_never_answered_do_not_take_turns_in_killing_the_link() {
    let mut world = World::live();
    world.watch(1, 1);
    world.watch(2, 2);
    let (mut live_slots, mut losses) = (0, 0);
    for _ in 0..(300_000 / 400) {
        let mut actions = world.pass(SLOT);
        if actions.contains(&SessionOutput::Command(LinkCommand::Connect)) {
            world.tell(FeedInput::Connected);
            world.acknowledge(Subject::Canary);
        }
        actions.extend(world.canary(500));
        for subject in World::subscribes(&actions) {
            if matches!(subject, Subject::Barrier { .. }) {
                world.acknowledge(subject);
            }
        }
        losses += actions
            .iter()
            .filter(|action| matches!(action, SessionOutput::Command(LinkCommand::Disconnect { .. })))
            .count();
        live_slots += usize::from(world.session.phase() == LinkPhase::Live);
    }
    assert!(losses <= 30 && live_slots >= 650, "{losses} losses, live for {live_slots} of 750 slots");
}

#[test]
fn a_server_that_paces_its_answers_is_not_deaf() {
    let mut world = World::live();
    for n in 1..=4 {
        world.watch(n, u64::from(n));
    }
    for n in 1..=4 {
        for _ in 0..10 {
            world.pass(SLOT);
            world.canary(500);
        }
        world.acknowledge(account(n, 0));
    }
    assert_eq!(world.session.phase(), LinkPhase::Live, "the last answer came after 16 s");
}

#[test]
fn after_stop_nothing_happens_any_more() {
    let mut world = World::with_live_account();
    let actions = world.tell(FeedInput::Stop);
    assert!(
        actions.contains(&SessionOutput::Event(FeedEvent::UncoverAll))
            && actions.contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: None }))
    );
    assert_eq!(world.session.phase(), LinkPhase::Stopped);
    assert_eq!(world.session.next_deadline(), None);
    for input in
        [FeedInput::Connected, FeedInput::Lost, FeedInput::Watch { address: key(2), watch: WatchId(2) }]
    {
        assert_eq!(world.tell(input), []);
    }
}

#[test]
fn parked_means_no_connection_and_what_is_wanted_is_taken_up_at_the_start() {
    let mut world = World::with_live_account();
    let generation = world.session.generation();
    let actions = world.tell(FeedInput::Park);
    assert_eq!(actions[0], SessionOutput::Event(FeedEvent::UncoverAll), "proofs end before anything else");
    assert!(!proofs(&actions)[0].ticking);
    assert_eq!(actions[2..], [SessionOutput::Command(LinkCommand::Disconnect { overdue: None })]);
    assert_eq!((world.session.phase(), world.session.next_deadline()), (LinkPhase::Parked, None));
    assert_eq!(world.session.counts(), (0, 0));
    world.watch(2, 2);
    for input in
        [FeedInput::Lost, FeedInput::Connected, FeedInput::Park, FeedInput::Accused { address: key(2) }]
    {
        assert_eq!(World::subscribes(&world.tell(input)), []);
    }
    assert_eq!(world.pass(Duration::from_secs(3_600)), []);
    assert_eq!(world.tell(FeedInput::Start), [SessionOutput::Command(LinkCommand::Connect)]);
    assert!(world.session.generation() > generation);
    assert_eq!(world.tell(FeedInput::Start), [], "it has started");
    let opened = World::subscribes(&world.tell(FeedInput::Connected));
    assert_eq!(opened, [Subject::Canary, account(1, 0), account(2, 0)]);
}

#[test]
fn a_session_that_starts_parked_does_nothing_before_it_is_started() {
    let settings = World::new().session.settings;
    let mut session = Session::parked(settings, LinkId(3), 7);
    assert_eq!((session.phase(), session.next_deadline()), (LinkPhase::Parked, None));
    assert_eq!(session.generation(), Generation { link: LinkId(3), life: 0 });
    session.handle(Tick::from_nanos(1), FeedInput::Watch { address: key(1), watch: WatchId(1) });
    assert_eq!(session.next_output(), None);
    session.handle(Tick::from_nanos(2), FeedInput::Start);
    assert_eq!(session.next_output(), Some(SessionOutput::Command(LinkCommand::Connect)));
    assert_eq!(session.generation(), Generation { link: LinkId(3), life: 1 });
}

#[test]
fn to_park_and_to_start_again_is_no_way_round_the_backoff() {
    let mut world = World::new();
    let mut connects = 0;
    for _ in 0..(60_000 / 50) {
        world.tell(FeedInput::Lost);
        world.tell(FeedInput::Park);
        let mut actions = world.tell(FeedInput::Start);
        actions.extend(world.pass(Duration::from_millis(50)));
        connects +=
            actions.iter().filter(|action| **action == SessionOutput::Command(LinkCommand::Connect)).count();
    }
    assert!((5..=9).contains(&connects), "{connects} connects in a minute");
    world.tell(FeedInput::Stop);
    assert_eq!(world.tell(FeedInput::Start), [], "the end is final");
}

#[test]
fn subscribes_go_out_in_a_burst_and_then_at_the_set_rate() {
    let mut world = World::live();
    world.session.pacer = SubscribePacer::new(4, 10);
    for n in 1..=10 {
        world.watch(n, u64::from(n));
    }
    for n in 1..=4 {
        world.acknowledge(account(n, 0));
    }
    let sent = |world: &World| World::subscribes(&world.done).len() - 1;
    assert_eq!(sent(&world), 4 + 1, "a burst, and a barrier that does not wait for its turn");
    assert_eq!(world.pass(Duration::from_millis(199)), []);
    assert_eq!(
        world.pass(Duration::from_millis(1)),
        [SessionOutput::Command(LinkCommand::Subscribe(account(5, 0)))],
        "a barrier counts"
    );
    assert_eq!(world.session.next_deadline().expect("the next").since(world.now), Duration::from_millis(100));
    // An account acknowledged between two canaries waits for the others: one barrier serves all
    // that a canary finds acknowledged.
    for n in 5..=7 {
        let answered = world.acknowledge(account(n, 0));
        assert_eq!(answered, [SessionOutput::Event(FeedEvent::Read(FeedRead::Baseline(key(n))))]);
        assert_eq!(
            world.pass(Duration::from_millis(100)),
            [SessionOutput::Command(LinkCommand::Subscribe(account(n + 1, 0)))]
        );
    }
    assert_eq!(World::subscribes(&world.canary(500)).len(), 1);
}
