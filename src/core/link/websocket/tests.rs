//! Each race of a connection as a script: inputs, time, and the actions that must and must not follow.

mod accounts;
mod barriers;
mod canaries;
mod connection;
mod providers;

use std::time::Duration;

use super::*;
use crate::core::base::backoff::Backoff;

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
            profile: NodeProfile::Auto,
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
            // As fast as may be.
            subscribe_rate: u32::MAX,
        };
        let now = Tick::from_nanos(1_000_000_000);
        let mut world =
            Self { session: Session::new(settings, LinkId(0), 7, now), now, slot: 1_000, done: Vec::new() };
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
        let watch = self.session.subscriptions.watch_of(&key(byte)).expect("a watched account");
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

    /// The barriers raised so far.
    fn barriers(&self) -> usize {
        let subscribed = Self::subscribes(&self.done).into_iter();
        subscribed.filter(|subject| matches!(subject, Subject::Barrier { .. })).count()
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
