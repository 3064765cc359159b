//! One connection as a state machine: what happened goes in, what to do comes out.
//!
//! It has no socket, no clock and no task; its driver feeds it and carries out its actions in order.
//!
//! 1. The wanted set is the state; subscriptions follow from it. Nothing is subscribed on a connection
//!    twice under one [`Subject`], and what is acknowledged but no longer wanted is unsubscribed at once.
//! 2. An account is live only when subscribed, past a barrier, and rechecked by RPC as of that barrier.
//! 3. The link proves something only between two canaries in order, neither lagging.
//!    Where the canary does not tick, a connection is unproven: it notifies, and covers nobody.
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
    /// It may be started at any time, and connects then, but not before this.
    Parked {
        not_before: Tick,
    },
    Waiting,
    Connecting,
    Open(Open),
    Stopped,
}

/// What is known of the connection that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Open {
    canaries: Canaries,
    barriers: Barriers,
    /// Something was answered: it is not deaf.
    answered: bool,
    /// It is made do without a canary.
    unproven: bool,
    /// It refused a slice.
    refuses_slices: bool,
    keepalives: u32,
}

/// See the module's invariants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    settings: SessionSettings,
    link: ConnectionState,
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
    /// What is held for each account that is subscribed, in bytes.
    pub const BYTES_EACH: usize = Subscriptions::BYTES_EACH;

    /// A session that connects at once.
    #[cfg(test)]
    pub fn new(settings: SessionSettings, link: LinkId, seed: u64, now: Tick) -> Self {
        let mut session = Self::parked(settings, link, seed);
        session.connect(now);
        session
    }

    /// A session that waits for [`FeedInput::Start`]. `seed` spreads its backoff and its barrier lengths.
    pub fn parked(settings: SessionSettings, link: LinkId, seed: u64) -> Self {
        Self {
            audit: Audit::new(settings.audit_every, settings.audit_batch),
            backoff: settings.backoff.clone(),
            probe: CapabilityProbe::new(settings.profile),
            pacer: SubscribePacer::new(settings.in_flight, settings.subscribe_rate),
            settings,
            link: ConnectionState::Parked { not_before: Tick::NEVER },
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

    /// When [`Session::expire`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.timers.next()
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// When what the link now tells was surely true: its last proof, if it has one.
    pub fn proof(&self) -> Tick {
        let proves = self.evidence.ticking && self.evidence.generation == self.generation;
        if proves { self.evidence.proof } else { Tick::NEVER }
    }

    pub fn phase(&self) -> LinkPhase {
        match &self.link {
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

    /// How many accounts are acknowledged by the server, and live, which none is before the link is.
    pub fn counts(&self) -> (usize, usize) {
        let (acknowledged, live) = self.subscriptions.counts();
        (acknowledged, if self.phase() == LinkPhase::Live { live } else { 0 })
    }

    /// The account whose notification this is, while that subscription is the current one.
    pub fn account(&self, subject: Subject) -> Option<Pubkey> {
        match subject {
            Subject::Account { address, attempt, .. } => {
                self.subscriptions.is_current(&address, attempt).then_some(address)
            }
            Subject::Canary | Subject::Barrier { .. } | Subject::Keepalive { .. } => None,
        }
    }

    /// The slot that an event claims, if it is one that counts. It is to be checked before the session hears of it.
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

    /// Takes in what the engine tells.
    pub fn handle(&mut self, now: Tick, input: FeedInput) {
        if self.link == ConnectionState::Stopped {
            return;
        }
        match input {
            FeedInput::Watch { address, watch } => self.watch(address, watch),
            FeedInput::Unwatch { address } => self.release(address),
            FeedInput::Connected => self.connected(now),
            FeedInput::Lost => {
                if matches!(self.link, ConnectionState::Connecting | ConnectionState::Open(_)) {
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
                self.link = ConnectionState::Stopped;
            }
        }
        self.pump(now);
    }

    /// Takes in what happened on the socket.
    pub fn receive(&mut self, now: Tick, event: SessionEvent) {
        if self.link == ConnectionState::Stopped {
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
                if matches!(self.link, ConnectionState::Open(_)) {
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
                        // It leaves everything as it is subscribed.
                        return self.act(FeedEvent::Account { address, slot, presence, generation, proof });
                    }
                    // What it said is not known, so the subscription is begun anew.
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
                    // It has node_time for long: no loss to be wary of.
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
                // What there is room for again is sent by the pump.
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
        match &mut self.link {
            ConnectionState::Open(open) => Some(open),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
