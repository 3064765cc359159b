//! One connection as a state machine: what happened goes in, what to do comes out.
//!
//! It has no socket, no clock and no task; its driver feeds it and carries out its actions in order.
//!
//! 1. The wanted set is the state; subscriptions follow from it. Nothing is subscribed on a connection
//!    twice under one [`Subject`], and what is acknowledged but no longer wanted is unsubscribed at once.
//! 2. An account is live only when subscribed, past a barrier, and rechecked by RPC as of that barrier.
//! 3. The link proves something only between two canaries in order, neither lagging.
//! 4. Losing the connection ends every proof before anything else happens.

mod barriers;
mod protocol;
mod roster;

use std::{collections::VecDeque, time::Duration};

use solana_pubkey::Pubkey;

use super::{
    audit::Audit,
    backoff::{Backoff, next_random},
    evidence::{LagGauge, LinkEvidence, MAX_EXCESS},
    observation::{Generation, Slot},
    time::Tick,
    timers::{Timer, Timers},
};
use barriers::Barriers;
pub use protocol::LinkPhase;
pub(crate) use protocol::{Action, Fetch, Input, SessionSettings, Subject};
pub(crate) use roster::WatchId;
use roster::{Attempt, Roster, Stage};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Link {
    Waiting,
    Connecting,
    Open(Open),
    Stopped,
}

/// What is known of the connection that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Open {
    /// The canaries in order, with when each was true: from the last that proves to the newest.
    canaries: VecDeque<(Slot, Tick)>,
    lagging: bool,
    live_since: Option<Tick>,
    barriers: Barriers,
}

impl Open {
    /// The newest canary that is not the newest of all and settled. (Invariant 3)
    fn proved(&mut self, settled_after: Slot) -> Option<(Slot, Tick)> {
        let (newest, _) = *self.canaries.back()?;
        let settled =
            |(slot, _): &(Slot, Tick)| *slot < newest && slot.saturating_add(settled_after) <= newest;
        while self.canaries.get(1).is_some_and(settled) {
            self.canaries.pop_front();
        }
        self.canaries.front().copied().filter(settled)
    }
}

/// See the module's invariants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    settings: SessionSettings,
    link: Link,
    generation: Generation,
    evidence: LinkEvidence,
    gauge: LagGauge,
    roster: Roster,
    audit: Audit,
    backoff: Backoff,
    timers: Timers,
    random: u64,
    actions: VecDeque<Action>,
}

impl Session {
    /// A session that connects at once. `seed` spreads its backoff and its barrier lengths.
    pub(crate) fn new(settings: SessionSettings, seed: u64, now: Tick) -> Self {
        let mut session = Self {
            audit: Audit::new(settings.audit_every, settings.audit_batch),
            backoff: settings.backoff.clone(),
            settings,
            link: Link::Waiting,
            generation: Generation(0),
            evidence: LinkEvidence::default(),
            gauge: LagGauge::default(),
            roster: Roster::default(),
            timers: Timers::default(),
            random: seed,
            actions: VecDeque::new(),
        };
        session.connect(now);
        session
    }

    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Session::expire`] wants to be called next.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.timers.next()
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// When what the link now tells was surely true: its last proof, if it has one.
    pub(crate) fn proof(&self) -> Tick {
        let proves = self.evidence.ticking && self.evidence.generation == self.generation;
        if proves { self.evidence.proof } else { Tick::NEVER }
    }

    pub(crate) fn phase(&self) -> LinkPhase {
        match &self.link {
            Link::Waiting => LinkPhase::Waiting,
            Link::Connecting => LinkPhase::Connecting,
            Link::Stopped => LinkPhase::Stopped,
            Link::Open(open) if open.lagging => LinkPhase::Lagging,
            Link::Open(open) if open.live_since.is_some() => LinkPhase::Live,
            Link::Open(_) => LinkPhase::Probing,
        }
    }

    /// How many accounts are acknowledged by the server, and live, which none is before the link is.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let (acknowledged, live) = self.roster.counts();
        (acknowledged, if self.phase() == LinkPhase::Live { live } else { 0 })
    }

    /// The account whose notification this is, while that subscription is the current one.
    pub(crate) fn account(&self, subject: Subject) -> Option<Pubkey> {
        match subject {
            Subject::Account { address, attempt, .. } => {
                self.roster.is_current(&address, attempt).then_some(address)
            }
            Subject::Canary | Subject::Barrier { .. } => None,
        }
    }

    pub(crate) fn handle(&mut self, now: Tick, input: Input) {
        if self.link == Link::Stopped {
            return;
        }
        match input {
            Input::Watch { address, watch } => self.watch(address, watch),
            Input::Unwatch { address } => self.release(address),
            Input::Connected => self.connected(now),
            Input::Lost => self.lost(now, None),
            Input::Acknowledged(subject) => self.acknowledged(now, subject),
            Input::Refused(subject) => self.refused(now, subject),
            Input::Canary { slot, lag_ms } => self.canary(now, slot, lag_ms),
            Input::ChainLag { lag_ms } => {
                if !self.is_beyond_max_lag(lag_ms) {
                    self.gauge.note(now, lag_ms);
                }
            }
            Input::Barrier { length, slot } => self.pass_barrier(length, slot),
            Input::Rechecked { generation, address, attempt, slot } => {
                if generation == self.generation {
                    self.rechecked(now, address, attempt, slot);
                }
            }
            Input::NotCovered { address } => self.recheck_later(now, address),
            Input::Accused { address } => self.accused(now, address),
            Input::ClockJumped => self.clock_jumped(now),
            Input::Stop => {
                self.end_connection(now, None);
                self.link = Link::Stopped;
                self.timers.stop_all();
            }
        }
        self.pump(now);
    }

    /// Acts on every deadline that has passed.
    pub(crate) fn expire(&mut self, now: Tick) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Reconnect => self.connect(now),
                Timer::Connect | Timer::Subscribe | Timer::Canary => self.lost(now, Some(timer)),
                Timer::Barrier => {
                    if let Some(open) = self.open() {
                        open.barriers.overdue(now);
                    }
                }
                Timer::Keepalive => {
                    self.raise_barrier(now, Vec::new());
                    self.timers.set(Timer::Keepalive, now.plus(self.settings.keepalive));
                }
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
            Link::Open(open) => Some(open),
            _ => None,
        }
    }

    // The connection.

    fn connect(&mut self, now: Tick) {
        self.link = Link::Connecting;
        self.generation.0 += 1;
        self.timers.set(Timer::Connect, now.plus(self.settings.connect_timeout));
        self.act(Action::Connect);
    }

    fn connected(&mut self, now: Tick) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Open(Open::default());
        self.timers.stop(Timer::Connect);
        self.timers.set(Timer::Canary, now.plus(self.settings.canary_deadline));
        self.timers.set(Timer::Keepalive, now.plus(self.settings.keepalive));
        self.timers.set(Timer::Audit, now.plus(self.audit.interval(self.roster.len())));
        self.subscribe(now, Subject::Canary);
        // Those that wait for a time of their own.
        self.retry(now);
    }

    fn lost(&mut self, now: Tick, overdue: Option<Timer>) {
        let live_since = self.open().and_then(|open| open.live_since);
        if live_since.is_some_and(|since| now.since(since) >= self.settings.healthy_after) {
            self.backoff.reset();
        }
        self.end_connection(now, overdue);
        self.link = Link::Waiting;
        let wait = self.backoff.next(&mut self.random);
        self.timers.set(Timer::Reconnect, now.plus(wait));
    }

    /// Ends every proof of the connection, then the connection. (Invariant 4)
    fn end_connection(&mut self, now: Tick, overdue: Option<Timer>) {
        self.timers.stop_all();
        let unanswered = (overdue == Some(Timer::Subscribe)).then_some(self.settings.subscribe_deadline);
        self.roster.restart(now, unanswered, &mut self.random);
        self.act(Action::UncoverAll);
        self.evidence.ticking = false;
        self.act(Action::Prove(self.evidence));
        self.act(Action::Disconnect { overdue });
    }

    /// Every proof is void, what is usual is unknown, and what is under way on the connection may be old.
    fn clock_jumped(&mut self, now: Tick) {
        self.evidence.valid_from = now;
        self.gauge = LagGauge::default();
        match self.link {
            Link::Open(_) => self.lost(now, None),
            _ => self.act(Action::Prove(self.evidence)),
        }
    }

    // Canary and barrier.

    fn canary(&mut self, now: Tick, slot: Slot, lag_ms: i64) {
        let beyond = self.is_beyond_max_lag(lag_ms);
        let excess = if beyond { Duration::ZERO } else { self.gauge.excess(now, lag_ms) };
        let lagging = beyond || excess > MAX_EXCESS;
        let (generation, deadline) = (self.generation, now.plus(self.settings.canary_deadline));
        let settled_after = self.settings.settled_after;
        let Some(open) = self.open() else { return };
        if open.canaries.back().is_some_and(|(newest, _)| slot <= *newest) {
            return;
        }
        open.lagging = lagging;
        if lagging {
            open.canaries.clear();
            open.live_since = None;
        } else {
            open.canaries.push_back((slot, now.minus(excess)));
        }
        let proved = open.proved(settled_after);
        if proved.is_some() {
            open.live_since.get_or_insert(now);
        }
        self.timers.set(Timer::Canary, deadline);
        if let Some((slot, proof)) = proved {
            let valid_from = self.evidence.valid_from;
            self.evidence = LinkEvidence { generation, ticking: true, slot, proof, arrived: now, valid_from };
            self.act(Action::Prove(self.evidence));
        } else if self.evidence.ticking {
            self.evidence.ticking = false;
            self.act(Action::Prove(self.evidence));
        }
        self.canary_for_barriers(slot);
        // No gathering for longer than a canary: one subscribe that is never answered must not hold up the rest.
        self.raise_barrier_behind_acknowledged(now);
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
            self.roster.set(address, Stage::Behind);
        }
        if let Some(open) = self.open() {
            open.barriers.raise(length, accounts);
            self.subscribe(now, Subject::Barrier { length });
        }
    }

    fn raise_barrier_behind_acknowledged(&mut self, now: Tick) {
        let accounts = self.roster.take_acknowledged();
        if !accounts.is_empty() {
            self.raise_barrier(now, accounts);
        }
    }

    fn pass_barrier(&mut self, length: u64, slot: Slot) {
        let Some(open) = self.open() else { return };
        let Some(mut accounts) = open.barriers.pass(length) else { return };
        self.act(Action::Unsubscribe(Subject::Barrier { length }));
        accounts.retain(|(address, attempt)| self.roster.is_current(address, *attempt));
        self.recheck(accounts, slot);
    }

    fn canary_for_barriers(&mut self, slot: Slot) {
        let passed = self.open().map(|open| open.barriers.tick()).unwrap_or_default();
        for length in passed {
            self.pass_barrier(length, slot);
        }
    }

    // Accounts.

    fn watch(&mut self, address: Pubkey, watch: WatchId) {
        match self.roster.watch_of(&address) {
            Some(known) if known == watch => {}
            Some(_) => {
                // Watched anew: the record is a new one, so everything is done again.
                self.release(address);
                self.roster.want(address, watch, self.settings.backoff.clone());
            }
            None => self.roster.want(address, watch, self.settings.backoff.clone()),
        }
    }

    fn release(&mut self, address: Pubkey) {
        if let Some(subject) = self.roster.release(&address) {
            self.act(Action::Unsubscribe(subject));
        }
    }

    fn accused(&mut self, now: Tick, address: Pubkey) {
        self.act(Action::Uncover { address });
        let until = self.roster.retry_at(&address, now, &mut self.random);
        if let Some(old) = self.roster.again(&address, until) {
            self.act(Action::Unsubscribe(old));
            self.timers.set_by(Timer::Retry, until);
        }
    }

    /// Sends what there is room for: subscribes first, then a barrier behind them.
    fn pump(&mut self, now: Tick) {
        if !matches!(self.link, Link::Open(_)) {
            return;
        }
        while self.roster.in_flight() < self.settings.in_flight {
            let Some(subject) = self.roster.next_waiting() else { break };
            self.subscribe(now, subject);
        }
        if !self.roster.gathers(self.settings.in_flight) {
            self.raise_barrier_behind_acknowledged(now);
        }
        let unanswered = self.roster.unanswered_until(self.settings.subscribe_deadline);
        self.timers.set_or_stop(Timer::Subscribe, unanswered);
        let barrier = self.open().and_then(|open| open.barriers.next_due());
        self.timers.set_or_stop(Timer::Barrier, barrier);
    }

    fn subscribe(&mut self, now: Tick, subject: Subject) {
        self.roster.sent(subject, now);
        self.act(Action::Subscribe(subject));
    }

    fn acknowledged(&mut self, now: Tick, subject: Subject) {
        if !self.roster.answered(subject, now) {
            return;
        }
        match subject {
            Subject::Canary => {}
            Subject::Barrier { length } => {
                let due = now.plus(self.settings.canary_deadline);
                if !self.open().is_some_and(|open| open.barriers.acknowledged(length, due)) {
                    self.act(Action::Unsubscribe(subject));
                }
            }
            Subject::Account { address, attempt, .. } => {
                if self.roster.is_current(&address, attempt) {
                    self.roster.set(&address, Stage::Acknowledged);
                    self.act(Action::Fetch(Fetch::Baseline(address)));
                } else {
                    self.roster.remember(address);
                    self.act(Action::Unsubscribe(subject));
                }
            }
        }
    }

    fn refused(&mut self, now: Tick, subject: Subject) {
        if !self.roster.answered(subject, now) {
            return;
        }
        match subject {
            // No canary, no proof: another connection, or another node behind the same name, may do better.
            Subject::Canary => self.lost(now, None),
            Subject::Barrier { length } => {
                if let Some(open) = self.open() {
                    open.barriers.refused(length);
                }
            }
            Subject::Account { address, attempt, .. } => {
                if self.roster.is_current(&address, attempt) {
                    let until = self.roster.retry_at(&address, now, &mut self.random);
                    self.roster.set(&address, Stage::Refused { until });
                    self.timers.set_by(Timer::Retry, until);
                }
            }
        }
    }

    fn recheck(&mut self, accounts: Vec<Attempt>, min_slot: Slot) {
        if accounts.is_empty() {
            return;
        }
        for (address, _) in &accounts {
            self.roster.set(address, Stage::Rechecking { slot: min_slot });
        }
        self.act(Action::Fetch(Fetch::Recheck { generation: self.generation, accounts, min_slot }));
    }

    fn rechecked(&mut self, now: Tick, address: Pubkey, attempt: u32, answer: Option<Slot>) {
        let Some(Stage::Rechecking { slot }) = self.roster.stage(&address, attempt) else { return };
        if answer.is_some_and(|answer| answer >= slot) {
            self.roster.set(&address, Stage::Live { slot });
            if let Some(watch) = self.roster.watch_of(&address) {
                self.act(Action::Cover { address, watch, generation: self.generation });
            }
        } else {
            self.recheck_later(now, address);
        }
    }

    fn recheck_later(&mut self, now: Tick, address: Pubkey) {
        let Some(Stage::Rechecking { slot } | Stage::Live { slot }) = self.roster.current_stage(&address)
        else {
            return;
        };
        let until = self.roster.retry_at(&address, now, &mut self.random);
        self.roster.set(&address, Stage::RecheckDue { slot, until });
        self.timers.set_by(Timer::Retry, until);
    }

    fn retry(&mut self, now: Tick) {
        let (rechecks, next) = self.roster.retry(now);
        for (slot, accounts) in rechecks {
            self.recheck(accounts, slot);
        }
        if let Some(next) = next {
            self.timers.set_by(Timer::Retry, next);
        }
    }

    fn audit(&mut self, now: Tick) {
        let due = self.roster.next_audit(&mut self.audit);
        if !due.is_empty() {
            self.act(Action::Fetch(Fetch::Audit(due)));
        }
        self.timers.set(Timer::Audit, now.plus(self.audit.interval(self.roster.len())));
    }
}

#[cfg(test)]
mod tests;
