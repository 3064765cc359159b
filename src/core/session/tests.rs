//! Each race of a connection as a script: inputs, time, and the actions that must and must not follow.

use std::time::Duration;

use super::*;
use crate::core::backoff::Backoff;

const SLOT: Duration = Duration::from_millis(400);

fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

fn account(byte: u8, attempt: u32) -> Subject {
    Subject::Account { address: key(byte), attempt, own_parameters: false }
}

/// The subscribe of an address that was acknowledged before on this connection.
fn account_again(byte: u8, attempt: u32) -> Subject {
    Subject::Account { address: key(byte), attempt, own_parameters: true }
}

/// A session, its time, and everything it did so far.
struct World {
    session: Session,
    now: Tick,
    slot: Slot,
    done: Vec<Action>,
}

impl World {
    fn new() -> Self {
        let settings = SessionSettings {
            connect_timeout: Duration::from_secs(10),
            subscribe_deadline: Duration::from_secs(5),
            canary_deadline: Duration::from_secs(5),
            max_lag: Duration::from_secs(20),
            keepalive: Duration::from_secs(30),
            audit_every: Duration::from_secs(60),
            audit_batch: 99,
            settled_after: 0,
            healthy_after: Duration::from_secs(8),
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(30)),
            in_flight: 4,
        };
        let now = Tick::from_nanos(1_000_000_000);
        let mut world = Self { session: Session::new(settings, 7, now), now, slot: 1_000, done: Vec::new() };
        assert_eq!(world.collect(), [Action::Connect]);
        world
    }

    /// A connection that ticks.
    fn live() -> Self {
        let mut world = Self::new();
        world.tell(Input::Connected);
        world.acknowledge(Subject::Canary);
        world.canaries(2);
        assert_eq!(world.session.phase(), LinkPhase::Live);
        world
    }

    /// A connection that ticks, with account 1 under its canaries.
    fn with_live_account() -> Self {
        let mut world = Self::live();
        world.watch(1, 1);
        world.bring_to_life(account(1, 0));
        world
    }

    fn collect(&mut self) -> Vec<Action> {
        let new: Vec<Action> = std::iter::from_fn(|| self.session.next_action()).collect();
        self.done.extend(new.iter().cloned());
        new
    }

    fn tell(&mut self, input: Input) -> Vec<Action> {
        self.session.handle(self.now, input);
        self.collect()
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now = self.now.plus(time);
        self.session.expire(self.now);
        self.collect()
    }

    fn watch(&mut self, byte: u8, id: u64) -> Vec<Action> {
        self.tell(Input::Watch { address: key(byte), watch: WatchId(id) })
    }

    fn unwatch(&mut self, byte: u8) -> Vec<Action> {
        self.tell(Input::Unwatch { address: key(byte) })
    }

    fn acknowledge(&mut self, subject: Subject) -> Vec<Action> {
        self.tell(Input::Acknowledged(subject))
    }

    fn canary(&mut self, lag_ms: i64) -> Vec<Action> {
        self.slot += 1;
        self.tell(Input::Canary { slot: self.slot, lag_ms })
    }

    fn canaries(&mut self, count: usize) {
        for _ in 0..count {
            self.pass(SLOT);
            self.canary(500);
        }
    }

    /// The barrier that the actions raise.
    fn barrier(actions: &[Action]) -> u64 {
        let length = actions.iter().find_map(|action| match action {
            Action::Subscribe(Subject::Barrier { length }) => Some(*length),
            _ => None,
        });
        length.unwrap_or_else(|| panic!("no barrier in {actions:?}"))
    }

    fn rechecked(&mut self, byte: u8, attempt: u32, slot: Option<Slot>) -> Vec<Action> {
        let generation = self.session.generation();
        self.tell(Input::Rechecked { generation, address: key(byte), attempt, slot })
    }

    /// Answers an account's subscribe, its barrier and its recheck.
    fn bring_to_life(&mut self, subject: Subject) {
        let Subject::Account { address, attempt, .. } = subject else { panic!("{subject:?}") };
        let byte = address.as_ref()[0];
        let actions = self.acknowledge(subject);
        assert!(actions.contains(&Action::Fetch(Fetch::Baseline(key(byte)))), "a baseline at once");
        let length = Self::barrier(&actions);
        self.acknowledge(Subject::Barrier { length });
        let actions = self.tell(Input::Barrier { length, slot: self.slot });
        assert!(actions.contains(&Action::Unsubscribe(Subject::Barrier { length })));
        let recheck = Fetch::Recheck {
            generation: self.session.generation(),
            accounts: vec![(key(byte), attempt)],
            min_slot: self.slot,
        };
        assert!(actions.contains(&Action::Fetch(recheck)), "{actions:?}");
        let actions = self.rechecked(byte, attempt, Some(self.slot));
        assert_eq!(actions, [self.cover(byte)]);
    }

    fn cover(&self, byte: u8) -> Action {
        let watch = self.session.roster.watch_of(&key(byte)).expect("a watched account");
        Action::Cover { address: key(byte), watch, generation: self.session.generation() }
    }

    fn subscribes(actions: &[Action]) -> Vec<Subject> {
        actions
            .iter()
            .filter_map(|action| match action {
                Action::Subscribe(subject) => Some(*subject),
                _ => None,
            })
            .collect()
    }

    /// Loses the connection and has the next one open.
    fn reconnect(&mut self) -> Vec<Action> {
        self.tell(Input::Lost);
        assert_eq!(self.pass(Duration::from_secs(31)), [Action::Connect]);
        self.tell(Input::Connected)
    }
}

fn proofs(actions: &[Action]) -> Vec<LinkEvidence> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Prove(evidence) => Some(*evidence),
            _ => None,
        })
        .collect()
}

#[test]
fn subscribe_first_then_baseline_then_barrier_then_recheck_then_live() {
    let mut world = World::live();
    assert_eq!(world.watch(1, 1), [Action::Subscribe(account(1, 0))]);
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
    world.tell(Input::Barrier { length, slot: 2_000 });
    assert_eq!(world.rechecked(1, 0, Some(1_999)), [], "an answer from before the barrier");
    assert_eq!(world.session.counts(), (1, 0));
    let again = world.pass(Duration::from_secs(1));
    assert!(matches!(&again[..], [Action::Fetch(Fetch::Recheck { min_slot: 2_000, .. })]), "{again:?}");
    assert_eq!(world.rechecked(1, 0, Some(2_000)), [world.cover(1)]);
}

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
    let actions = world.tell(Input::Barrier { length, slot: 3_000 });
    let rechecked = actions.iter().find_map(|action| match action {
        Action::Fetch(Fetch::Recheck { accounts, .. }) => Some(accounts.len()),
        _ => None,
    });
    assert_eq!(rechecked, Some(2));
}

#[test]
fn a_barriers_length_is_never_used_twice() {
    let mut world = World::live();
    // Twenty minutes of keepalives.
    for _ in 0..3_000 {
        for subject in World::subscribes(&world.pass(SLOT)) {
            world.acknowledge(subject);
        }
        world.canary(500);
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
    assert!(raised == 40 && lengths.len() == raised && lengths[0] > 40, "{raised} barriers");
}

#[test]
fn one_canary_proves_nothing_and_two_prove_the_first() {
    let mut world = World::new();
    world.tell(Input::Connected);
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
    world.tell(Input::Connected);
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
    assert!(world.session.open().is_some_and(|open| open.canaries.len() <= 5), "the rest is forgotten");
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
fn a_silent_or_half_open_connection_is_given_up_by_the_canary_deadline() {
    let mut world = World::with_live_account();
    assert_eq!(world.pass(Duration::from_millis(4_999)), []);
    let actions = world.pass(Duration::from_millis(1));
    assert_eq!(actions[0], Action::UncoverAll, "proofs end before anything else");
    assert!(!proofs(&actions)[0].ticking);
    assert_eq!(actions[2], Action::Disconnect { overdue: Some(Timer::Canary) });
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
    assert!(!world.done.contains(&Action::Unsubscribe(account(1, 0))));
    let disconnect = Action::Disconnect { overdue: Some(Timer::Subscribe) };
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
    world.tell(Input::Barrier { length, slot: world.slot });
    assert_eq!(world.rechecked(2, 0, Some(world.slot)), [world.cover(2)], "live beside the unanswered one");
    while world.session.phase() == LinkPhase::Live {
        world.pass(SLOT);
        world.canary(500);
    }
    world.pass(Duration::from_millis(250));
    let opened = World::subscribes(&world.tell(Input::Connected));
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
fn an_unsubscribe_that_overtakes_its_subscribe_is_sent_when_the_answer_comes() {
    let mut world = World::live();
    world.watch(1, 1);
    assert_eq!(world.unwatch(1), []);
    assert_eq!(world.session.account(account(1, 0)), None, "its notifications are nobody's");
    assert_eq!(world.acknowledge(account(1, 0)), [Action::Unsubscribe(account(1, 0))]);
    assert_eq!(world.acknowledge(account(1, 0)), [], "an answer nobody waits for");
}

#[test]
fn an_account_watched_anew_never_reuses_the_parameters_of_its_last_subscription() {
    let mut world = World::with_live_account();
    assert_eq!(world.unwatch(1), [Action::Unsubscribe(account(1, 0))]);
    assert_eq!(world.watch(1, 2), [Action::Subscribe(account_again(1, 1))]);
    assert_eq!(world.session.account(account(1, 0)), None);
    world.bring_to_life(account_again(1, 1));
    // Unwatched and watched again between two looks of the driver.
    let actions = world.watch(1, 3);
    assert_eq!(actions, [Action::Unsubscribe(account_again(1, 1)), Action::Subscribe(account_again(1, 2))]);
    assert_eq!(world.watch(2, 9), [Action::Subscribe(account(2, 2))], "another address has nothing to avoid");
    assert_eq!(world.watch(1, 3), [], "the same watch");
}

#[test]
fn one_refused_subscription_is_retried_alone() {
    let mut world = World::with_live_account();
    world.watch(2, 2);
    assert_eq!(world.tell(Input::Refused(account(2, 0))), []);
    assert_eq!(world.session.phase(), LinkPhase::Live);
    assert_eq!(world.session.counts(), (1, 1));
    let again = world.pass(Duration::from_millis(250));
    assert_eq!(again, [Action::Subscribe(account(2, 1))]);
    // The next wait is longer.
    world.tell(Input::Refused(account(2, 1)));
    assert_eq!(world.pass(Duration::from_millis(249)), []);
    assert_eq!(world.pass(Duration::from_millis(251)), [Action::Subscribe(account(2, 2))]);
    world.bring_to_life(account(2, 2));
    assert_eq!(World::subscribes(&world.done).iter().filter(|s| **s == account(1, 0)).count(), 1);
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
    world.tell(Input::Lost);
    world.watch(4, 4);
    world.unwatch(2);
    assert_eq!(world.pass(Duration::from_secs(31)), [Action::Connect]);
    let opened = World::subscribes(&world.tell(Input::Connected));
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
    world.tell(Input::Barrier { length, slot: world.slot });
    let (generation, slot) = (world.session.generation(), world.slot);
    world.reconnect();
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.tell(Input::Barrier { length, slot });
    let late = Input::Rechecked { generation, address: key(1), attempt: 0, slot: Some(slot) };
    assert_eq!(world.tell(late), []);
    assert_eq!(world.rechecked(1, 0, Some(slot)), [world.cover(1)]);
}

#[test]
fn the_backoff_is_reset_by_health_and_not_by_a_connect() {
    let mut world = World::new();
    let mut waits = Vec::new();
    for _ in 0..6 {
        world.tell(Input::Connected);
        world.acknowledge(Subject::Canary);
        world.canaries(2);
        world.tell(Input::Lost);
        waits.push(world.session.next_deadline().expect("a reconnect").since(world.now));
        world.pass(Duration::from_secs(31));
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    world.tell(Input::Connected);
    world.acknowledge(Subject::Canary);
    world.canaries(2 + 25);
    world.tell(Input::Lost);
    let wait = world.session.next_deadline().expect("a reconnect").since(world.now);
    assert!(wait <= Duration::from_millis(250), "{wait:?}");
}

#[test]
fn where_a_barrier_is_refused_or_ignored_a_canary_stands_in() {
    let mut world = World::live();
    world.watch(1, 1);
    let length = World::barrier(&world.acknowledge(account(1, 0)));
    world.tell(Input::Refused(Subject::Barrier { length }));
    let recheck =
        |actions: &[Action]| actions.iter().any(|a| matches!(a, Action::Fetch(Fetch::Recheck { .. })));
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
fn an_accused_subscription_is_replaced_alone() {
    let mut world = World::with_live_account();
    world.watch(2, 2);
    world.bring_to_life(account(2, 0));
    let actions = world.tell(Input::Accused { address: key(1) });
    assert_eq!(actions, [Action::Uncover { address: key(1) }, Action::Unsubscribe(account(1, 0))]);
    assert_eq!(world.session.account(account(1, 0)), None);
    assert_eq!(world.session.counts(), (1, 1));
    assert_eq!(world.pass(Duration::from_millis(250)), [Action::Subscribe(account_again(1, 2))]);
    world.bring_to_life(account_again(1, 2));
    // Accused again and again, it is replaced less and less often.
    world.tell(Input::Accused { address: key(1) });
    assert_eq!(world.pass(Duration::from_millis(249)), []);
    assert_eq!(World::subscribes(&world.pass(Duration::from_millis(251))).len(), 1);
}

#[test]
fn a_record_that_cannot_be_covered_is_rechecked_later() {
    let mut world = World::with_live_account();
    assert_eq!(world.tell(Input::NotCovered { address: key(1) }), []);
    assert_eq!(world.session.counts(), (1, 0));
    let again = world.pass(Duration::from_millis(250));
    assert!(matches!(again[..], [Action::Fetch(Fetch::Recheck { .. })]), "{again:?}");
    assert_eq!(world.rechecked(1, 0, Some(world.slot)), [world.cover(1)]);
}

#[test]
fn a_clock_jump_voids_every_proof_and_the_connection_with_what_is_under_way_on_it() {
    let mut world = World::with_live_account();
    assert_eq!(world.session.counts(), (1, 1));
    let actions = world.tell(Input::ClockJumped);
    let [evidence] = proofs(&actions)[..] else { panic!("told at once") };
    assert_eq!((evidence.valid_from, evidence.ticking), (world.now, false));
    assert!(actions.contains(&Action::Disconnect { overdue: None }));
    assert_eq!(world.session.counts(), (0, 0));
    world.pass(Duration::from_millis(250));
    world.tell(Input::Connected);
    world.pass(SLOT);
    // What was usual before the jump is forgotten with it.
    assert_eq!(proofs(&world.canary(15_000)), []);
    world.pass(SLOT);
    let [evidence] = proofs(&world.canary(15_000))[..] else { panic!("a proof") };
    assert!(evidence.ticking && evidence.proof > evidence.valid_from);
}

#[test]
fn two_subscribes_that_are_never_answered_do_not_take_turns_in_killing_the_link() {
    let mut world = World::live();
    world.watch(1, 1);
    world.watch(2, 2);
    let (mut live_slots, mut losses) = (0, 0);
    for _ in 0..(300_000 / 400) {
        let mut actions = world.pass(SLOT);
        if actions.contains(&Action::Connect) {
            world.tell(Input::Connected);
            world.acknowledge(Subject::Canary);
        }
        actions.extend(world.canary(500));
        for subject in World::subscribes(&actions) {
            if matches!(subject, Subject::Barrier { .. }) {
                world.acknowledge(subject);
            }
        }
        losses += actions.iter().filter(|action| matches!(action, Action::Disconnect { .. })).count();
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
    assert!(passed.contains(&Action::Unsubscribe(Subject::Barrier { length: old })), "{passed:?}");
    assert!(!passed.contains(&Action::Unsubscribe(Subject::Barrier { length: young })), "{passed:?}");
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
                Action::Fetch(Fetch::Audit(accounts)) => {
                    assert_eq!(accounts, [key(1)]);
                    audits += 1;
                }
                Action::Subscribe(subject @ Subject::Barrier { .. }) => {
                    world.acknowledge(subject);
                }
                _ => {}
            }
        }
    }
    assert_eq!(audits, 3);
}

#[test]
fn after_stop_nothing_happens_any_more() {
    let mut world = World::with_live_account();
    let actions = world.tell(Input::Stop);
    assert!(actions.contains(&Action::UncoverAll) && actions.contains(&Action::Disconnect { overdue: None }));
    assert_eq!(world.session.phase(), LinkPhase::Stopped);
    assert_eq!(world.session.next_deadline(), None);
    for input in [Input::Connected, Input::Lost, Input::Watch { address: key(2), watch: WatchId(2) }] {
        assert_eq!(world.tell(input), []);
    }
}

#[test]
fn a_link_slow_from_its_first_canary_does_not_pass_for_prompt_beside_rpc() {
    let mut world = World::live();
    world.tell(Input::ChainLag { lag_ms: -4_500 });
    world.pass(SLOT);
    world.canary(500);
    let arrived = world.now;
    world.pass(SLOT);
    let [evidence] = proofs(&world.canary(500))[..] else { panic!("a proof") };
    assert_eq!(evidence.proof, arrived.minus(Duration::from_secs(5)));
}
