//! What canaries prove, and when it was true.

use super::*;

#[test]
fn one_canary_proves_nothing_and_two_prove_the_first() {
    let mut world = World::new();
    world.tell(FeedInput::Connected);
    world.acknowledge(Subject::Canary);
    world.pass(SLOT);
    assert_eq!(proofs(&world.canary(500)), []);
    let first = (world.slot, world.now);
    assert_eq!(world.session.phase(), LinkPhase::Probing);
    world.pass(SLOT);
    let [evidence] = proofs(&world.canary(500))[..] else { panic!("one proof") };
    assert_eq!((evidence.slot, evidence.proof), first);
    assert_eq!((evidence.arrived, evidence.ticking), (world.now, true));
    assert_eq!(world.session.phase(), LinkPhase::Live);
    // The same slot again, or an older one, is no tick.
    world.pass(SLOT);
    world.slot -= 1;
    assert_eq!(world.canary(500), []);
}

#[test]
fn where_notifications_may_come_late_a_canary_proves_once_it_is_settled() {
    let mut world = World::new();
    world.session.settings.settled_after = 3;
    world.tell(FeedInput::Connected);
    world.acknowledge(Subject::Canary);
    let mut ticks = Vec::new();
    for n in 0..10 {
        world.pass(SLOT);
        let proved = proofs(&world.canary(500));
        ticks.push((world.slot, world.now));
        match proved[..] {
            [] => assert!(n < 3),
            [evidence] => assert_eq!((evidence.slot, evidence.proof), ticks[n - 3]),
            _ => panic!("one proof a canary"),
        }
    }
    // Slots are skipped: the newest that is far enough back.
    world.slot += 10;
    assert_eq!(proofs(&world.canary(500))[0].slot, ticks[9].0);
    assert!(world.session.open().is_some_and(|open| open.canaries.kept() <= 5), "the rest is forgotten");
}

#[test]
fn a_lagging_canary_proves_nothing_and_two_good_ones_prove_again() {
    let mut world = World::live();
    world.pass(SLOT);
    let [evidence] = proofs(&world.canary(20_001))[..] else { panic!("told at once") };
    assert!(!evidence.ticking);
    assert_eq!(world.session.phase(), LinkPhase::Lagging);
    assert_eq!(world.session.proof(), Tick::NEVER);
    world.pass(SLOT);
    assert_eq!(proofs(&world.canary(500)), [], "what came before it was late");
    world.pass(SLOT);
    assert!(proofs(&world.canary(500))[0].ticking);
    assert_eq!(world.session.phase(), LinkPhase::Live);
    world.pass(SLOT);
    assert!(!proofs(&world.canary(-20_001))[0].ticking, "a chain clock far ahead is a wrong host clock");

    let mut world = World::live();
    world.pass(SLOT);
    assert!(!proofs(&world.canary(500 + 8_001))[0].ticking, "later than usual by more than banks live");
}

#[test]
fn a_clock_jump_voids_every_proof_and_the_connection_with_what_is_under_way_on_it() {
    let mut world = World::with_live_account();
    assert_eq!(world.session.counts(), (1, 1));
    let actions = world.tell(FeedInput::ClockJumped);
    let [evidence] = proofs(&actions)[..] else { panic!("told at once") };
    assert!(!evidence.ticking);
    let jumped = world.now;
    assert!(actions.contains(&SessionOutput::Command(LinkCommand::Disconnect { overdue: None })));
    assert_eq!(world.session.counts(), (0, 0));
    world.pass(Duration::from_millis(250));
    world.tell(FeedInput::Connected);
    world.pass(SLOT);
    // What was usual before the jump is forgotten with it.
    assert_eq!(proofs(&world.canary(15_000)), []);
    world.pass(SLOT);
    let [evidence] = proofs(&world.canary(15_000))[..] else { panic!("a proof") };
    assert!(evidence.ticking && evidence.proof > jumped);
}

#[test]
fn a_link_slow_from_its_first_canary_does_not_pass_for_prompt_beside_rpc() {
    let mut world = World::live();
    world.tell(FeedInput::ChainLag { lag_ms: -4_500 });
    world.pass(SLOT);
    world.canary(500);
    let arrived = world.now;
    world.pass(SLOT);
    let [evidence] = proofs(&world.canary(500))[..] else { panic!("a proof") };
    assert_eq!(evidence.proof, arrived.minus(Duration::from_secs(5)));
}
