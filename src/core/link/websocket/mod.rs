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
mod delivery_order;
mod pacer;
mod probe;
mod protocol;
mod subscriptions;
pub mod timers;

use std::collections::VecDeque;

use solana_pubkey::Pubkey;

use crate::core::{
    account::{
        evidence::{LagGauge, LinkEvidence, MAX_EXCESS},
        observation::{Generation, LinkId, Slot},
    },
    base::{
        backoff::{Backoff, next_random},
        time::Tick,
    },
    link::websocket::timers::{Timer, Timers},
    rpc::audit::Audit,
};
use barriers::Barriers;
use canaries::Canaries;
pub use delivery_order::order_turn;
use pacer::SubscribePacer;
pub use probe::Capabilities;
use probe::CapabilityProbe;
pub use probe::NodeProfile;
pub use protocol::LinkPhase;
pub use protocol::{Action, Fetch, Input, SessionSettings, Subject};
pub use subscriptions::WatchId;
use subscriptions::{Attempt, Stage, Subscriptions};

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
    actions: VecDeque<Action>,
}

impl Session {
    /// What is node_time for each account that is subscribed, in bytes.
    pub const BYTES_EACH: usize = Subscriptions::BYTES_EACH;

    /// A session that connects at once.
    #[cfg(test)]
    pub fn new(settings: SessionSettings, link: LinkId, seed: u64, now: Tick) -> Self {
        let mut session = Self::parked(settings, link, seed);
        session.connect(now);
        session
    }

    /// A session that waits for [`Input::Start`]. `seed` spreads its backoff and its barrier lengths.
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
            actions: VecDeque::new(),
        }
    }

    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
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

    pub fn handle(&mut self, now: Tick, input: Input) {
        if self.link == ConnectionState::Stopped {
            return;
        }
        match input {
            Input::Watch { address, watch } => self.watch(address, watch),
            Input::Unwatch { address } => self.release(address),
            Input::Connected => self.connected(now),
            Input::Lost => {
                if matches!(self.link, ConnectionState::Connecting | ConnectionState::Open(_)) {
                    self.lost(now, None);
                }
            }
            Input::CanaryReplaced => {
                if matches!(self.link, ConnectionState::Open(_)) {
                    self.probe.found_to_ignore_slices();
                    self.lost(now, None);
                }
            }
            Input::Acknowledged(subject) => self.acknowledged(now, subject),
            Input::Refused(subject) => self.refused(now, subject),
            Input::Unsubscribed(subject) => {
                if let Subject::Account { address, .. } = subject {
                    self.subscriptions.ended(&address);
                }
            }
            Input::Canary { slot, lag_ms } => self.canary(now, slot, lag_ms),
            Input::ChainLag { lag_ms } => {
                if !self.is_beyond_max_lag(lag_ms) {
                    self.gauge.note(now, lag_ms);
                }
            }
            Input::Barrier { length, slot } => {
                if self.open().is_some() {
                    self.probe.found.slices = Some(true);
                }
                self.pass_barrier(length, slot);
            }
            Input::Rechecked { generation, address, attempt, slot } => {
                if generation == self.generation {
                    self.rechecked(now, address, attempt, slot);
                }
            }
            Input::NotCovered { address } => self.recheck_later(now, address),
            Input::Accused { address } => self.accused(now, address),
            Input::ClockJumped => self.clock_jumped(now),
            Input::Start => self.start(now),
            Input::Park => self.park(now),
            Input::Stop => {
                self.end_connection(now, None);
                self.link = ConnectionState::Stopped;
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

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn open(&mut self) -> Option<&mut Open> {
        match &mut self.link {
            ConnectionState::Open(open) => Some(open),
            _ => None,
        }
    }

    // The connection.

    fn start(&mut self, now: Tick) {
        match self.link {
            ConnectionState::Parked { not_before } if now < not_before => {
                self.link = ConnectionState::Waiting;
                self.timers.set(Timer::Reconnect, not_before);
            }
            ConnectionState::Parked { .. } => self.connect(now),
            _ => {}
        }
    }

    /// The wait that a loss began goes on while parked: a park and a start in a row win no connect.
    fn park(&mut self, now: Tick) {
        let not_before = match self.link {
            ConnectionState::Parked { .. } | ConnectionState::Stopped => return,
            ConnectionState::Waiting => self.timers.due(Timer::Reconnect).unwrap_or(now),
            ConnectionState::Connecting | ConnectionState::Open(_) => {
                self.credit_health(now);
                self.end_connection(now, None);
                now.plus(self.backoff.next(&mut self.random))
            }
        };
        self.timers.stop_all();
        self.link = ConnectionState::Parked { not_before };
    }

    fn connect(&mut self, now: Tick) {
        self.link = ConnectionState::Connecting;
        self.generation.life += 1;
        self.timers.set(Timer::Connect, now.plus(self.settings.connect_timeout));
        self.act(Action::Connect);
    }

    fn connected(&mut self, now: Tick) {
        if self.link != ConnectionState::Connecting {
            return;
        }
        self.link = ConnectionState::Open(Open::default());
        self.timers.stop(Timer::Connect);
        self.timers.set(Timer::Canary, now.plus(self.settings.canary_deadline));
        self.timers.set(Timer::Keepalive, now.plus(self.settings.keepalive));
        self.timers.set(Timer::Audit, now.plus(self.audit.interval(self.subscriptions.len())));
        self.subscribe(now, Subject::Canary);
        // Those that wait for a time of their own.
        self.retry(now);
    }

    fn lost(&mut self, now: Tick, overdue: Option<Timer>) {
        self.credit_health(now);
        self.end_connection(now, overdue);
        self.link = ConnectionState::Waiting;
        let wait = self.backoff.next(&mut self.random);
        self.timers.set(Timer::Reconnect, now.plus(wait));
    }

    fn credit_health(&mut self, now: Tick) {
        let live_since = self.open().and_then(|open| open.canaries.live_since());
        if live_since.is_some_and(|since| now.since(since) >= self.settings.healthy_after) {
            self.backoff.reset();
        }
    }

    /// Ends every proof of the connection, then the connection. (Invariant 4)
    fn end_connection(&mut self, now: Tick, overdue: Option<Timer>) {
        self.timers.stop_all();
        let unanswered = (overdue == Some(Timer::Subscribe)).then_some(self.settings.subscribe_deadline);
        self.subscriptions.restart(now, unanswered, &mut self.random);
        self.act(Action::UncoverAll);
        self.evidence.ticking = false;
        self.act(Action::Prove(self.evidence));
        self.act(Action::Disconnect { overdue });
    }

    /// What lag is usual is unknown, and what is under way on the connection may be old.
    fn clock_jumped(&mut self, now: Tick) {
        self.gauge = LagGauge::default();
        if matches!(self.link, ConnectionState::Open(_)) {
            self.lost(now, None);
        }
    }

    // Canary and barrier.

    fn canary(&mut self, now: Tick, slot: Slot, lag_ms: i64) {
        let node_time = self.node_time(now, lag_ms);
        let (generation, settled_after) = (self.generation, self.settings.settled_after);
        let Some(open) = self.open() else { return };
        if !open.canaries.tick(slot, node_time) {
            return;
        }
        open.unproven = false;
        self.probe.ticked();
        self.timers.stop(Timer::Probe);
        let proved = self.open().and_then(|open| open.canaries.proved(now, settled_after));
        self.timers.set(Timer::Canary, now.plus(self.settings.canary_deadline));
        if let Some((slot, proof)) = proved {
            self.evidence = LinkEvidence { generation, ticking: true, slot, proof, arrived: now };
            self.act(Action::Prove(self.evidence));
        } else if self.evidence.ticking {
            self.evidence.ticking = false;
            self.act(Action::Prove(self.evidence));
        }
        if let Some(node_time) = node_time {
            self.canary_for_barriers(slot, node_time);
        }
        // No gathering for longer than a canary: one subscribe that is never answered must not hold up the rest.
        self.raise_barrier_behind_acknowledged(now);
    }

    /// Gives the connection up, unless as many as the provider is granted have answered and never ticked: then
    /// this one is made do with.
    fn no_canary(&mut self, now: Tick, overdue: Option<Timer>) {
        let makes_do = self.probe.makes_do();
        let Some(open) = self.open() else { return };
        if !open.answered || open.canaries.ticked() {
            return self.lost(now, overdue);
        }
        if !makes_do {
            self.probe.was_mute();
            return self.lost(now, overdue);
        }
        open.unproven = true;
        self.probe.found.canary = Some(false);
        self.timers.stop(Timer::Canary);
        self.timers.set(Timer::Probe, now.plus(self.probe.profile.unproven_for()));
        // Its answer is not waited for any more: keepalives tell from here on whether the server is deaf.
        self.subscriptions.forget(Subject::Canary);
    }

    /// Subscribes an account that never changes, which must be answered like any other subscribe. That is
    /// what finds a half-open connection where no canary ticks, and what keeps an idle one from being closed. No
    /// slice is needed for it, as a second look at the Clock would.
    fn keep_alive(&mut self, now: Tick) {
        // The last one is unanswered still: its deadline speaks.
        if self.subscriptions.awaits_keepalive() {
            return;
        }
        let Some(open) = self.open() else { return };
        open.keepalives += 1;
        let round = open.keepalives;
        self.subscribe(now, Subject::Keepalive { round });
    }

    /// When the node node_time what its canary tells, unless the canary comes too late to prove anything.
    fn node_time(&mut self, now: Tick, lag_ms: i64) -> Option<Tick> {
        if self.is_beyond_max_lag(lag_ms) {
            return None;
        }
        let excess = self.gauge.excess(now, lag_ms);
        (excess <= MAX_EXCESS).then(|| now.minus(excess))
    }

    /// A chain clock far ahead of wall time tells as little as one far behind: the host's own clock is wrong.
    fn is_beyond_max_lag(&self, lag_ms: i64) -> bool {
        u128::from(lag_ms.unsigned_abs()) > self.settings.max_lag.as_millis()
    }

    /// Subscribes the Clock once more, behind all that is subscribed already. The length is drawn from
    /// numbers so many that no other client of the node holds the same.
    fn raise_barrier(&mut self, now: Tick, accounts: Vec<Attempt>) {
        let length = (1 << 20) + (next_random(&mut self.random) >> 32);
        for (address, _) in &accounts {
            self.subscriptions.set(address, Stage::AwaitingBarrier);
        }
        let slices = self.slices();
        let Some(open) = self.open() else { return };
        open.barriers.raise(now, length, accounts);
        if slices {
            self.subscribe(now, Subject::Barrier { length });
        } else {
            open.barriers.refused(length);
        }
    }

    /// Whether another slice makes another subscription, as far as is known.
    fn slices(&self) -> bool {
        let refused = matches!(&self.link, ConnectionState::Open(open) if open.refuses_slices);
        !refused && !self.probe.ignores_slices()
    }

    fn raise_barrier_behind_acknowledged(&mut self, now: Tick) {
        // Where no tick is to be expected, nobody is brought under canaries before there is one.
        let makes_do = self.probe.makes_do();
        if self.open().is_none_or(|open| makes_do && !open.canaries.ticked()) {
            return;
        }
        let accounts = self.subscriptions.take_acknowledged();
        if !accounts.is_empty() {
            self.raise_barrier(now, accounts);
        }
    }

    fn pass_barrier(&mut self, length: u64, slot: Slot) {
        let Some(open) = self.open() else { return };
        let Some((mut accounts, subscribed)) = open.barriers.pass(length) else { return };
        if subscribed {
            self.act(Action::Unsubscribe(Subject::Barrier { length }));
        }
        accounts.retain(|(address, attempt)| self.subscriptions.is_current(address, *attempt));
        self.recheck(accounts, slot);
    }

    fn canary_for_barriers(&mut self, slot: Slot, node_time: Tick) {
        let passed = self.open().map(|open| open.barriers.tick(node_time)).unwrap_or_default();
        for length in passed {
            self.pass_barrier(length, slot);
        }
    }

    // Subscriptions.

    /// Sends what there is room for: subscribes first, then a barrier behind them.
    fn pump(&mut self, now: Tick) {
        if !matches!(self.link, ConnectionState::Open(_)) {
            return;
        }
        let slices = self.slices();
        let room = |session: &Self| session.subscriptions.in_flight() < session.settings.in_flight;
        while room(self) && self.pacer.next() <= now {
            let Some(subject) = self.subscriptions.next_waiting(slices) else { break };
            self.subscribe(now, subject);
        }
        let paced = room(self) && self.subscriptions.anybody_waits();
        if paced {
            self.pacer.rest();
        }
        self.timers.set_or_stop(Timer::Pace, paced.then(|| self.pacer.next()));
        if !self.subscriptions.gathers(self.settings.in_flight) {
            self.raise_barrier_behind_acknowledged(now);
        }
        let unanswered = self.subscriptions.unanswered_until(self.settings.subscribe_deadline);
        self.timers.set_or_stop(Timer::Subscribe, unanswered);
        let barrier = self.open().and_then(|open| open.barriers.next_due());
        self.timers.set_or_stop(Timer::Barrier, barrier);
    }

    fn subscribe(&mut self, now: Tick, subject: Subject) {
        self.pacer.sent(now);
        self.subscriptions.sent(subject, now);
        self.act(Action::Subscribe(subject));
    }

    fn acknowledged(&mut self, now: Tick, subject: Subject) {
        if !self.subscriptions.answered(subject, now) {
            return;
        }
        if let Some(open) = self.open() {
            open.answered = true;
        }
        match subject {
            Subject::Canary => {}
            Subject::Barrier { length } => {
                let due = now.plus(self.settings.canary_deadline);
                if !self.open().is_some_and(|open| open.barriers.acknowledged(length, due)) {
                    self.act(Action::Unsubscribe(subject));
                }
            }
            Subject::Keepalive { .. } => self.act(Action::Unsubscribe(subject)),
            Subject::Account { address, attempt, .. } => {
                self.subscriptions.remember(address);
                if self.subscriptions.is_current(&address, attempt) {
                    self.subscriptions.set(&address, Stage::Acknowledged);
                    self.act(Action::Fetch(Fetch::Baseline(address)));
                } else {
                    self.act(Action::Unsubscribe(subject));
                }
            }
        }
    }

    fn refused(&mut self, now: Tick, subject: Subject) {
        if !self.subscriptions.answered(subject, now) {
            return;
        }
        if let Some(open) = self.open() {
            open.answered = true;
        }
        match subject {
            // No canary, no proof: another connection, or another node behind the same name, may do better.
            Subject::Canary => self.no_canary(now, None),
            Subject::Barrier { length } => {
                self.probe.found.slices = Some(false);
                if let Some(open) = self.open() {
                    // Nor is the next batch taken, so it is not asked about.
                    open.refuses_slices = true;
                    open.barriers.refused(length);
                }
            }
            // An answer is all that was wanted.
            Subject::Keepalive { .. } => {}
            Subject::Account { address, attempt, .. } => {
                if self.subscriptions.is_current(&address, attempt) {
                    let until = self.subscriptions.retry_at(&address, now, &mut self.random);
                    self.subscriptions.set(&address, Stage::Refused { until });
                    self.timers.set_by(Timer::Retry, until);
                } else {
                    self.subscriptions.release_awaiting(&address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
