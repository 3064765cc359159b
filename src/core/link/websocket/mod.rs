//! One connection as a state machine: it takes in what happened and returns what to do.
//!
//! A session has no socket, no clock and no task. Its driver passes events in and carries out its
//! commands in order.
//!
//! 1. The wanted set is the state; subscriptions follow from it. The session never subscribes the
//!    same [`Subject`] twice on a connection, and unsubscribes at once what is acknowledged but no
//!    longer wanted.
//! 2. An account is live only when it is subscribed, past a barrier, and rechecked by RPC as of
//!    that barrier.
//! 3. The link proves something only between two canaries in order, neither lagging. Where the
//!    canary does not tick, the connection is unproven: it notifies, and covers no account.
//! 4. Losing the connection ends every proof before anything else happens.

mod accounts;
mod barriers;
mod canaries;
mod connection;
mod delivery_order;
mod pacer;
mod probe;
mod proofs;
mod protocol;
mod subscribing;
mod subscriptions;
pub mod timers;

use std::collections::VecDeque;

use solana_pubkey::Pubkey;

use crate::core::{
    account::evidence::{LagGauge, LinkEvidence},
    base::{
        backoff::Backoff,
        ids::{Generation, LinkId},
        time::Tick,
    },
    link::feed::{FeedEvent, FeedInput, LinkPhase, SlotClaim},
    rpc::audit::Audit,
};
use barriers::Barriers;
use canaries::Canaries;
pub use delivery_order::order_turn;
use pacer::SubscribePacer;
use probe::CapabilityProbe;
pub use probe::{Capabilities, NodeProfile};
pub use protocol::{LinkCommand, SessionEvent, SessionOutput, SessionSettings, Subject};
use subscriptions::{Stage, Subscriptions};
use timers::{Timer, Timers};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ConnectionState {
    /// May be started at any time, but does not connect before this moment.
    Parked {
        not_before: Tick,
    },
    Waiting,
    Connecting,
    Open(Open),
    Stopped,
}

/// The state of the open connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Open {
    canaries: Canaries,
    barriers: Barriers,
    /// The server has answered something, so the connection is not deaf.
    answered: bool,
    /// The connection is accepted without a canary.
    unproven: bool,
    /// The server refused a subscription with a slice.
    refuses_slices: bool,
    keepalives: u32,
}

/// One connection's state machine. See the module's invariants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    settings: SessionSettings,
    state: ConnectionState,
    generation: Generation,
    evidence: LinkEvidence,
    gauge: LagGauge,
    subscriptions: Subscriptions,
    probe: CapabilityProbe,
    pacer: SubscribePacer,
    audit: Audit,
    backoff: Backoff,
    timers: Timers,
    random: u64,
    outputs: VecDeque<SessionOutput>,
}

impl Session {
    /// Memory held for each subscribed account, in bytes.
    pub const BYTES_EACH: usize = Subscriptions::BYTES_EACH;

    /// A session that connects at once.
    #[cfg(test)]
    pub fn new(settings: SessionSettings, link: LinkId, seed: u64, now: Tick) -> Self {
        let mut session = Self::parked(settings, link, seed);
        session.connect(now);
        session
    }

    /// Creates a session that waits for [`FeedInput::Start`]. `seed` spreads its backoff and its
    /// barrier lengths.
    pub fn parked(settings: SessionSettings, link: LinkId, seed: u64) -> Self {
        Self {
            audit: Audit::new(settings.audit_every, settings.audit_batch),
            backoff: settings.backoff.clone(),
            probe: CapabilityProbe::new(settings.profile),
            pacer: SubscribePacer::new(settings.in_flight, settings.subscribe_rate),
            settings,
            state: ConnectionState::Parked { not_before: Tick::NEVER },
            generation: Generation { link, life: 0 },
            evidence: LinkEvidence { generation: Generation { link, life: 0 }, ..LinkEvidence::default() },
            gauge: LagGauge::default(),
            subscriptions: Subscriptions::default(),
            timers: Timers::default(),
            random: seed,
            outputs: VecDeque::new(),
        }
    }

    pub fn next_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Session::expire`] next.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.timers.next()
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The moment as of which the link's reports are known to be true: its last proof, or
    /// [`Tick::NEVER`].
    pub fn proof(&self) -> Tick {
        let proves = self.evidence.ticking && self.evidence.generation == self.generation;
        if proves { self.evidence.proof } else { Tick::NEVER }
    }

    pub fn phase(&self) -> LinkPhase {
        match &self.state {
            ConnectionState::Parked { .. } => LinkPhase::Parked,
            ConnectionState::Waiting => LinkPhase::Waiting,
            ConnectionState::Connecting => LinkPhase::Connecting,
            ConnectionState::Stopped => LinkPhase::Stopped,
            ConnectionState::Open(open) if open.unproven => LinkPhase::Unproven,
            ConnectionState::Open(open) if open.canaries.lagging() => LinkPhase::Lagging,
            ConnectionState::Open(open) if open.canaries.live_since().is_some() => LinkPhase::Live,
            ConnectionState::Open(_) => LinkPhase::Probing,
        }
    }

    /// What the provider was last seen to do.
    pub fn capabilities(&self) -> Capabilities {
        self.probe.found
    }

    /// How many accounts the server has acknowledged, and how many are live. No account is live
    /// before the link is.
    pub fn counts(&self) -> (usize, usize) {
        let (acknowledged, live) = self.subscriptions.counts();
        (acknowledged, if self.phase() == LinkPhase::Live { live } else { 0 })
    }

    /// The account that a notification of this subscription is about, if the subscription is the
    /// current one.
    pub fn account(&self, subject: Subject) -> Option<Pubkey> {
        match subject {
            Subject::Account { address, attempt, .. } => {
                self.subscriptions.is_current(&address, attempt).then_some(address)
            }
            Subject::Canary | Subject::Barrier { .. } | Subject::Keepalive { .. } => None,
        }
    }

    /// The slot that an event claims, if the event matters. The engine checks it before it passes
    /// the event on.
    pub fn claim(&self, event: &SessionEvent) -> Option<SlotClaim> {
        match event {
            SessionEvent::Canary { slot, lag_ms } => Some(SlotClaim { slot: *slot, lag_ms: Some(*lag_ms) }),
            SessionEvent::Barrier { slot, .. } => Some(SlotClaim { slot: *slot, lag_ms: None }),
            SessionEvent::Account { subject, slot, presence: Some(_) } => {
                self.account(*subject).map(|_| SlotClaim { slot: *slot, lag_ms: None })
            }
            _ => None,
        }
    }

    /// Takes in a message from the engine.
    pub fn handle(&mut self, now: Tick, input: FeedInput) {
        if self.state == ConnectionState::Stopped {
            return;
        }
        match input {
            FeedInput::Watch { address, watch } => self.watch(address, watch),
            FeedInput::Unwatch { address } => self.release(address),
            FeedInput::Connected => self.connected(now),
            FeedInput::Lost => {
                if matches!(self.state, ConnectionState::Connecting | ConnectionState::Open(_)) {
                    self.lost(now, None);
                }
            }
            FeedInput::ChainLag { lag_ms } => {
                if !self.is_beyond_max_lag(lag_ms) {
                    self.gauge.note(now, lag_ms);
                }
            }
            FeedInput::Rechecked { generation, address, attempt, slot } => {
                if generation == self.generation {
                    self.rechecked(now, address, attempt, slot);
                }
            }
            FeedInput::NotCovered { address } => self.recheck_later(now, address),
            FeedInput::Accused { address } => self.accused(now, address),
            FeedInput::ClockJumped => self.clock_jumped(now),
            FeedInput::Start => self.start(now),
            FeedInput::Park => self.park(now),
            FeedInput::Stop => {
                self.end_connection(now, None);
                self.state = ConnectionState::Stopped;
            }
        }
        self.pump(now);
    }

    /// Takes in what happened on the socket.
    pub fn receive(&mut self, now: Tick, event: SessionEvent) {
        if self.state == ConnectionState::Stopped {
            return;
        }
        match event {
            SessionEvent::Acknowledged(subject) => self.acknowledged(now, subject),
            SessionEvent::Refused(subject) => self.refused(now, subject),
            SessionEvent::Unsubscribed(subject) => {
                if let Subject::Account { address, .. } = subject {
                    self.subscriptions.ended(&address);
                }
            }
            SessionEvent::CanaryReplaced => {
                if matches!(self.state, ConnectionState::Open(_)) {
                    self.probe.found_to_ignore_slices();
                    self.lost(now, None);
                }
            }
            SessionEvent::Canary { slot, lag_ms } => self.canary(now, slot, lag_ms),
            SessionEvent::Barrier { length, slot } => {
                if self.open().is_some() {
                    self.probe.found.slices = Some(true);
                }
                self.pass_barrier(length, slot);
            }
            SessionEvent::Account { subject, slot, presence } => {
                let Some(address) = self.account(subject) else { return };
                match presence {
                    Some(presence) => {
                        let (generation, proof) = (self.generation, self.proof());
                        // Returns without pumping: a notification changes no subscription.
                        return self.act(FeedEvent::Account { address, slot, presence, generation, proof });
                    }
                    // What it said is unknown, so the session subscribes the account again.
                    None => self.accused(now, address),
                }
            }
        }
        self.pump(now);
    }

    /// Acts on every deadline that has passed.
    pub fn expire(&mut self, now: Tick) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Reconnect => self.connect(now),
                Timer::Connect | Timer::Subscribe => self.lost(now, Some(timer)),
                Timer::Canary => self.no_canary(now, Some(timer)),
                Timer::Probe => {
                    // The connection held for long, so this end is no reason to wait before the
                    // next connect.
                    self.backoff.reset();
                    self.lost(now, Some(timer));
                }
                Timer::Barrier => {
                    if let Some(open) = self.open() {
                        open.barriers.overdue(now);
                    }
                }
                Timer::Keepalive => {
                    self.keep_alive(now);
                    self.timers.set(Timer::Keepalive, now.plus(self.settings.keepalive));
                }
                // The pump below sends what there is room for again.
                Timer::Pace => {}
                Timer::Retry => self.retry(now),
                Timer::Audit => self.audit(now),
            }
            self.pump(now);
        }
    }

    fn act(&mut self, output: impl Into<SessionOutput>) {
        self.outputs.push_back(output.into());
    }

    fn open(&mut self) -> Option<&mut Open> {
        match &mut self.state {
            ConnectionState::Open(open) => Some(open),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
