//! The life of a connection: parked, connecting, open, lost.

use super::{ConnectionState, LinkCommand, Open, Session, Subject};
use crate::core::{
    account::evidence::LagGauge,
    base::time::Tick,
    link::{feed::FeedEvent, websocket::timers::Timer},
};

impl Session {
    pub(super) fn start(&mut self, now: Tick) {
        match self.state {
            ConnectionState::Parked { not_before } if now < not_before => {
                self.state = ConnectionState::Waiting;
                self.timers.set(Timer::Reconnect, not_before);
            }
            ConnectionState::Parked { .. } => self.connect(now),
            _ => {}
        }
    }

    /// Ends the connection and waits for a start. A wait that a loss began continues while parked,
    /// so that a park followed by a start does not skip it.
    pub(super) fn park(&mut self, now: Tick) {
        let not_before = match self.state {
            ConnectionState::Parked { .. } | ConnectionState::Stopped => return,
            ConnectionState::Waiting => self.timers.due(Timer::Reconnect).unwrap_or(now),
            ConnectionState::Connecting | ConnectionState::Open(_) => {
                self.credit_health(now);
                self.end_connection(now, None);
                now.plus(self.backoff.next(&mut self.random))
            }
        };
        self.timers.stop_all();
        self.state = ConnectionState::Parked { not_before };
    }

    pub(super) fn connect(&mut self, now: Tick) {
        self.state = ConnectionState::Connecting;
        self.generation.life += 1;
        self.timers.set(Timer::Connect, now.plus(self.settings.connect_timeout));
        self.act(LinkCommand::Connect);
    }

    pub(super) fn connected(&mut self, now: Tick) {
        if self.state != ConnectionState::Connecting {
            return;
        }
        self.state = ConnectionState::Open(Open::default());
        self.timers.stop(Timer::Connect);
        self.timers.set(Timer::Canary, now.plus(self.settings.canary_deadline));
        self.timers.set(Timer::Keepalive, now.plus(self.settings.keepalive));
        self.timers.set(Timer::Audit, now.plus(self.audit.interval(self.subscriptions.len())));
        self.subscribe(now, Subject::Canary);
        // Resumes accounts that wait for a time of their own.
        self.retry(now);
    }

    pub(super) fn lost(&mut self, now: Tick, overdue: Option<Timer>) {
        self.credit_health(now);
        self.end_connection(now, overdue);
        self.state = ConnectionState::Waiting;
        let wait = self.backoff.next(&mut self.random);
        self.timers.set(Timer::Reconnect, now.plus(wait));
    }

    pub(super) fn credit_health(&mut self, now: Tick) {
        let live_since = self.open().and_then(|open| open.canaries.live_since());
        if live_since.is_some_and(|since| now.since(since) >= self.settings.healthy_after) {
            self.backoff.reset();
        }
    }

    /// Ends every proof of the connection first, then the connection itself. (Invariant 4)
    pub(super) fn end_connection(&mut self, now: Tick, overdue: Option<Timer>) {
        self.timers.stop_all();
        let unanswered = (overdue == Some(Timer::Subscribe)).then_some(self.settings.subscribe_deadline);
        self.subscriptions.restart(now, unanswered, &mut self.random);
        self.act(FeedEvent::UncoverAll);
        self.evidence.ticking = false;
        self.act(FeedEvent::Watermark(self.evidence));
        self.act(LinkCommand::Disconnect { overdue });
    }

    /// Called when the host's clocks jumped: the usual lag is unknown again, and what is under way
    /// on the connection may be old.
    pub(super) fn clock_jumped(&mut self, now: Tick) {
        self.gauge = LagGauge::default();
        if matches!(self.state, ConnectionState::Open(_)) {
            self.lost(now, None);
        }
    }

    /// Subscribes an account that never changes; the server must answer this like any other
    /// subscribe. That detects a half-open connection where no canary ticks, and keeps an idle
    /// connection from being closed. Unlike a second subscription of the Clock, it needs no slice.
    pub(super) fn keep_alive(&mut self, now: Tick) {
        // If the last one is still unanswered, its own deadline decides.
        if self.subscriptions.awaits_keepalive() {
            return;
        }
        let Some(open) = self.open() else { return };
        open.keepalives += 1;
        let round = open.keepalives;
        self.subscribe(now, Subject::Keepalive { round });
    }
}
