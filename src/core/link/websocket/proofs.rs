//! What canaries and barriers prove.

use super::{ConnectionState, LinkCommand, Session, Stage, Subject};
use crate::core::{
    account::evidence::{LinkEvidence, MAX_EXCESS},
    base::{backoff::next_random, ids::Slot, time::Tick},
    link::{
        feed::{Attempt, FeedEvent},
        websocket::timers::Timer,
    },
};

impl Session {
    pub(super) fn canary(&mut self, now: Tick, slot: Slot, lag_ms: i64) {
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
            self.act(FeedEvent::Watermark(self.evidence));
        } else if self.evidence.ticking {
            self.evidence.ticking = false;
            self.act(FeedEvent::Watermark(self.evidence));
        }
        if let Some(node_time) = node_time {
            self.canary_for_barriers(slot, node_time);
        }
        // Accounts are gathered behind one barrier for no longer than one canary: a single
        // subscribe that is never answered must not hold up the rest.
        self.raise_barrier_behind_acknowledged(now);
    }

    /// Gives the connection up if its canary does not tick. Exception: once as many connections as
    /// the profile allows have answered and never ticked, keeps this one as unproven.
    pub(super) fn no_canary(&mut self, now: Tick, overdue: Option<Timer>) {
        let accepts_unproven = self.probe.accepts_unproven();
        let Some(open) = self.open() else { return };
        if !open.answered || open.canaries.ticked() {
            return self.lost(now, overdue);
        }
        if !accepts_unproven {
            self.probe.was_mute();
            return self.lost(now, overdue);
        }
        open.unproven = true;
        self.probe.found.canary = Some(false);
        self.timers.stop(Timer::Canary);
        self.timers.set(Timer::Probe, now.plus(self.probe.profile.unproven_for()));
        // The session stops waiting for the canary's answer: from here on, keepalives detect a
        // server that is deaf.
        self.subscriptions.forget(Subject::Canary);
    }

    /// The time at which the node held what its canary shows, or `None` if the canary comes too
    /// late to prove anything.
    pub(super) fn node_time(&mut self, now: Tick, lag_ms: i64) -> Option<Tick> {
        if self.is_beyond_max_lag(lag_ms) {
            return None;
        }
        let excess = self.gauge.excess(now, lag_ms);
        (excess <= MAX_EXCESS).then(|| now.minus(excess))
    }

    /// A chain clock far ahead of wall time is as useless as one far behind: it means that the
    /// host's own clock is wrong.
    pub(super) fn is_beyond_max_lag(&self, lag_ms: i64) -> bool {
        u128::from(lag_ms.unsigned_abs()) > self.settings.max_lag.as_millis()
    }

    /// Subscribes the Clock once more, behind everything that is subscribed already. The slice
    /// length is drawn from so large a range that no other client of the node uses the same one.
    pub(super) fn raise_barrier(&mut self, now: Tick, accounts: Vec<Attempt>) {
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

    /// Whether, as far as is known, another slice makes another subscription.
    pub(super) fn slices(&self) -> bool {
        let refused = matches!(&self.state, ConnectionState::Open(open) if open.refuses_slices);
        !refused && !self.probe.ignores_slices()
    }

    pub(super) fn raise_barrier_behind_acknowledged(&mut self, now: Tick) {
        // Where no canary is expected, no account is put behind a barrier before one has ticked.
        let accepts_unproven = self.probe.accepts_unproven();
        if self.open().is_none_or(|open| accepts_unproven && !open.canaries.ticked()) {
            return;
        }
        let accounts = self.subscriptions.take_acknowledged();
        if !accounts.is_empty() {
            self.raise_barrier(now, accounts);
        }
    }

    pub(super) fn pass_barrier(&mut self, length: u64, slot: Slot) {
        let Some(open) = self.open() else { return };
        let Some((mut accounts, subscribed)) = open.barriers.pass(length) else { return };
        if subscribed {
            self.act(LinkCommand::Unsubscribe(Subject::Barrier { length }));
        }
        accounts.retain(|(address, attempt)| self.subscriptions.is_current(address, *attempt));
        self.recheck(accounts, slot);
    }

    pub(super) fn canary_for_barriers(&mut self, slot: Slot, node_time: Tick) {
        let passed = self.open().map(|open| open.barriers.tick(node_time)).unwrap_or_default();
        for length in passed {
            self.pass_barrier(length, slot);
        }
    }
}
