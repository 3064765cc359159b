//! Each race of a connection as a script: inputs, time, and the actions that must and must not
//! follow.

mod accounts;
mod barriers;
mod canaries;
mod connection;
mod providers;

use std::time::Duration;

use super::*;
use crate::core::{
    base::{
        backoff::Backoff,
        ids::{Slot, WatchId},
    },
    link::feed::FeedRead,
};

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
    done: Vec<SessionOutput>,
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
        assert_eq!(world.collect(), [SessionOutput::Command(LinkCommand::Connect)]);
        world
    }

    /// A connection that ticks.
    fn live() -> Self {
        let mut world = Self::new();
        world.tell(FeedInput::Connected);
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

    fn collect(&mut self) -> Vec<SessionOutput> {
        let new: Vec<SessionOutput> = std::iter::from_fn(|| self.session.next_output()).collect();
        self.done.extend(new.iter().cloned());
        new
    }

    fn hear(&mut self, event: SessionEvent) -> Vec<SessionOutput> {
        self.session.receive(self.now, event);
        self.collect()
    }

    fn tell(&mut self, input: FeedInput) -> Vec<SessionOutput> {
        self.session.handle(self.now, input);
        self.collect()
    }

    fn pass(&mut self, time: Duration) -> Vec<SessionOutput> {
        self.now = self.now.plus(time);
        self.session.expire(self.now);
        self.collect()
    }

    fn watch(&mut self, byte: u8, id: u64) -> Vec<SessionOutput> {
        self.tell(FeedInput::Watch { address: key(byte), watch: WatchId(id) })
    }

    fn unwatch(&mut self, byte: u8) -> Vec<SessionOutput> {
        self.tell(FeedInput::Unwatch { address: key(byte) })
    }

    fn acknowledge(&mut self, subject: Subject) -> Vec<SessionOutput> {
        self.hear(SessionEvent::Acknowledged(subject))
    }

    fn canary(&mut self, lag_ms: i64) -> Vec<SessionOutput> {
        self.slot += 1;
        self.hear(SessionEvent::Canary { slot: self.slot, lag_ms })
    }

    fn canaries(&mut self, count: usize) {
        for _ in 0..count {
            self.pass(SLOT);
            self.canary(500);
        }
    }

    /// The barrier that the actions raise.
    fn barrier(actions: &[SessionOutput]) -> u64 {
        let length = actions.iter().find_map(|action| match action {
            SessionOutput::Command(LinkCommand::Subscribe(Subject::Barrier { length })) => Some(*length),
            _ => None,
        });
        length.unwrap_or_else(|| panic!("no barrier in {actions:?}"))
    }

    fn rechecked(&mut self, byte: u8, attempt: u32, slot: Option<Slot>) -> Vec<SessionOutput> {
        let generation = self.session.generation();
        self.tell(FeedInput::Rechecked { generation, address: key(byte), attempt, slot })
    }

    /// Answers an account's subscribe, its barrier and its recheck.
    fn bring_to_life(&mut self, subject: Subject) {
        let Subject::Account { address, attempt, .. } = subject else { panic!("{subject:?}") };
        let byte = address.as_ref()[0];
        let actions = self.acknowledge(subject);
        assert!(
            actions.contains(&SessionOutput::Event(FeedEvent::Read(FeedRead::Baseline(key(byte))))),
            "a baseline at once"
        );
        let length = Self::barrier(&actions);
        self.acknowledge(Subject::Barrier { length });
        let actions = self.hear(SessionEvent::Barrier { length, slot: self.slot });
        assert!(
            actions.contains(&SessionOutput::Command(LinkCommand::Unsubscribe(Subject::Barrier { length })))
        );
        let recheck = FeedRead::Recheck {
            generation: self.session.generation(),
            accounts: vec![(key(byte), attempt)],
            min_slot: self.slot,
        };
        assert!(actions.contains(&SessionOutput::Event(FeedEvent::Read(recheck))), "{actions:?}");
        let actions = self.rechecked(byte, attempt, Some(self.slot));
        assert_eq!(actions, [self.cover(byte)]);
    }

    fn cover(&self, byte: u8) -> SessionOutput {
        let watch = self.session.subscriptions.watch_of(&key(byte)).expect("a watched account");
        SessionOutput::Event(FeedEvent::Cover {
            address: key(byte),
            watch,
            generation: self.session.generation(),
        })
    }

    fn subscribes(actions: &[SessionOutput]) -> Vec<Subject> {
        actions
            .iter()
            .filter_map(|action| match action {
                SessionOutput::Command(LinkCommand::Subscribe(subject)) => Some(*subject),
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
    fn reconnect(&mut self) -> Vec<SessionOutput> {
        self.tell(FeedInput::Lost);
        assert_eq!(self.pass(Duration::from_secs(31)), [SessionOutput::Command(LinkCommand::Connect)]);
        self.tell(FeedInput::Connected)
    }
}

fn proofs(actions: &[SessionOutput]) -> Vec<LinkEvidence> {
    actions
        .iter()
        .filter_map(|action| match action {
            SessionOutput::Event(FeedEvent::Watermark(evidence)) => Some(*evidence),
            _ => None,
        })
        .collect()
}
