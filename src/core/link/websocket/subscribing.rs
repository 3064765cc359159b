//! Sending subscribes, and taking their answers.

use super::{ConnectionState, LinkCommand, Session, Stage, Subject};
use crate::core::{
    base::time::Tick,
    link::{
        feed::{FeedEvent, FeedRead},
        websocket::timers::Timer,
    },
};

impl Session {
    /// Sends as many subscribes as there is room for, and then a barrier behind them.
    pub(super) fn pump(&mut self, now: Tick) {
        if !matches!(self.state, ConnectionState::Open(_)) {
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

    pub(super) fn subscribe(&mut self, now: Tick, subject: Subject) {
        self.pacer.sent(now);
        self.subscriptions.sent(subject, now);
        self.act(LinkCommand::Subscribe(subject));
    }

    pub(super) fn acknowledged(&mut self, now: Tick, subject: Subject) {
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
                    self.act(LinkCommand::Unsubscribe(subject));
                }
            }
            Subject::Keepalive { .. } => self.act(LinkCommand::Unsubscribe(subject)),
            Subject::Account { address, attempt, .. } => {
                self.subscriptions.remember(address);
                if self.subscriptions.is_current(&address, attempt) {
                    self.subscriptions.set(&address, Stage::Acknowledged);
                    self.act(FeedEvent::Read(FeedRead::Baseline(address)));
                } else {
                    self.act(LinkCommand::Unsubscribe(subject));
                }
            }
        }
    }

    pub(super) fn refused(&mut self, now: Tick, subject: Subject) {
        if !self.subscriptions.answered(subject, now) {
            return;
        }
        if let Some(open) = self.open() {
            open.answered = true;
        }
        match subject {
            // Without a canary there is no proof. Another connection, or another node behind the
            // same name, may notify it.
            Subject::Canary => self.no_canary(now, None),
            Subject::Barrier { length } => {
                self.probe.found.slices = Some(false);
                if let Some(open) = self.open() {
                    // The server would refuse the next barrier too, so it is not sent.
                    open.refuses_slices = true;
                    open.barriers.refused(length);
                }
            }
            // The answer is all that a keepalive is for, whatever it says.
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
