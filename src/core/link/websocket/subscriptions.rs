//! Which accounts are wanted, and how far each has come on the open connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use solana_pubkey::Pubkey;

use super::protocol::Subject;
use crate::core::{
    base::{
        backoff::Backoff,
        ids::{Slot, WatchId},
        time::Tick,
    },
    link::feed::Attempt,
    rpc::audit::Audit,
};

/// How many addresses are remembered as acknowledged on one connection. Beyond that, every
/// subscribe has parameters of its own.
const MAX_KNOWN: usize = 65_536;

/// How far a wanted account has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// To be subscribed when there is room.
    Waiting,
    /// Subscribe sent, unanswered.
    Subscribing,
    /// Subscribed; no barrier raised yet.
    Acknowledged,
    /// Subscribed; its barrier is under way.
    AwaitingBarrier,
    /// Past its barrier; the recheck as of `slot` is under way.
    Rechecking { slot: Slot },
    /// Past its barrier; the recheck failed and is due again.
    RecheckDue { slot: Slot, until: Tick },
    /// Subscribed, past its barrier, rechecked.
    Live { slot: Slot },
    /// The server has not confirmed the end of an earlier subscription of this address, and would
    /// take a new one for the same.
    AwaitingUnsubscribe,
    /// The server refused the subscribe; it will be sent again.
    Refused { until: Tick },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Want {
    watch: WatchId,
    stage: Stage,
    /// Distinguishes the subscribes of this address on this connection, across watches.
    attempt: u32,
    /// Whether that subscribe uses parameters of its own.
    own_parameters: bool,
    backoff: Backoff,
}

impl Want {
    fn subject(&self, address: Pubkey) -> Subject {
        Subject::Account { address, attempt: self.attempt, own_parameters: self.own_parameters }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Subscriptions {
    wanted: BTreeMap<Pubkey, Want>,
    waiting: BTreeSet<Pubkey>,
    acknowledged: BTreeSet<Pubkey>,
    /// Subscribes sent and not answered, including those of accounts no longer wanted.
    in_flight: BTreeMap<Subject, Tick>,
    subscribed: usize,
    live: usize,
    /// How many subscriptions of each address the server may hold on this connection: acknowledged,
    /// and not confirmed to have ended.
    known: BTreeMap<Pubkey, u32>,
    /// When the last answer to a subscribe arrived.
    last_answer: Tick,
    /// The first attempt number of accounts wanted from now on: higher than any that was released
    /// on this connection.
    first_attempt: u32,
}

impl Subscriptions {
    /// Memory held for each subscribed account, in bytes.
    pub(super) const BYTES_EACH: usize =
        size_of::<(Pubkey, Want)>() + size_of::<Pubkey>() + size_of::<(Pubkey, u32)>();

    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// How many accounts are subscribed, and how many of them are live.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.subscribed, self.live)
    }

    /// Forgets the connection: nothing is under way any more, and all accounts wait to be
    /// subscribed. With a `deadline`, the connection was lost because a subscribe was not answered
    /// within it. Then that account waits for the deadline again plus a growing backoff, while the
    /// others go live. If the server answered no subscribe at all since then, the fault is the
    /// server's, and the account does not wait.
    pub(super) fn restart(&mut self, now: Tick, deadline: Option<Duration>, random: &mut u64) {
        self.waiting.clear();
        self.acknowledged.clear();
        self.known.clear();
        (self.subscribed, self.live, self.first_attempt) = (0, 0, 0);
        let in_flight = std::mem::take(&mut self.in_flight);
        for (address, want) in &mut self.wanted {
            let sent = in_flight.get(&want.subject(*address)).copied();
            want.attempt = 0;
            if matches!(want.stage, Stage::Refused { until } if until > now) {
                continue;
            }
            if let (Some(sent), Some(deadline)) = (sent, deadline)
                && now.since(sent) >= deadline
                && self.last_answer >= sent
            {
                want.stage = Stage::Refused { until: now.plus(deadline).plus(want.backoff.next(random) * 4) };
                continue;
            }
            if want.stage.subscribed() {
                want.backoff.reset();
            }
            want.stage = Stage::Waiting;
            self.waiting.insert(*address);
        }
    }

    pub(super) fn watch_of(&self, address: &Pubkey) -> Option<WatchId> {
        self.wanted.get(address).map(|want| want.watch)
    }

    pub(super) fn want(&mut self, address: Pubkey, watch: WatchId, backoff: Backoff) {
        let attempt = self.first_attempt;
        self.wanted
            .insert(address, Want { watch, stage: Stage::Waiting, attempt, own_parameters: false, backoff });
        self.waiting.insert(address);
    }

    /// Drops an account. Returns what to unsubscribe if its subscription is acknowledged. A
    /// subscription still in flight is unsubscribed when its answer arrives.
    pub(super) fn release(&mut self, address: &Pubkey) -> Option<Subject> {
        let want = self.wanted.remove(address)?;
        self.unqueue(address);
        self.first_attempt = self.first_attempt.max(want.attempt + 1);
        self.subscribed -= usize::from(want.stage.subscribed());
        self.live -= usize::from(want.stage.live());
        want.stage.subscribed().then(|| want.subject(*address))
    }

    /// Makes an account wait for its next attempt. Returns what to unsubscribe if its subscription
    /// is acknowledged.
    pub(super) fn again(&mut self, address: &Pubkey, until: Tick) -> Option<Subject> {
        let want = self.wanted.get_mut(address)?;
        if !want.stage.subscribed() {
            return None;
        }
        let old = want.subject(*address);
        want.attempt += 1;
        self.set(address, Stage::Refused { until });
        Some(old)
    }

    /// Notes that the server acknowledged a subscription of this address on this connection.
    pub(super) fn remember(&mut self, address: Pubkey) {
        *self.known.entry(address).or_default() += 1;
    }

    /// Notes that a subscription of this address has ended. If it was the last, an account that
    /// waited for that may be subscribed.
    pub(super) fn ended(&mut self, address: &Pubkey) {
        let Some(count) = self.known.get_mut(address) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.release_awaiting(address);
        }
    }

    /// Lets the account be subscribed if it waited for earlier subscriptions of its address to end.
    pub(super) fn release_awaiting(&mut self, address: &Pubkey) {
        if self.current_stage(address) == Some(Stage::AwaitingUnsubscribe) {
            self.set(address, Stage::Waiting);
        }
    }

    pub(super) fn is_current(&self, address: &Pubkey, attempt: u32) -> bool {
        self.wanted.get(address).is_some_and(|want| want.attempt == attempt)
    }

    pub(super) fn stage(&self, address: &Pubkey, attempt: u32) -> Option<Stage> {
        self.wanted.get(address).filter(|want| want.attempt == attempt).map(|want| want.stage)
    }

    pub(super) fn current_stage(&self, address: &Pubkey) -> Option<Stage> {
        self.wanted.get(address).map(|want| want.stage)
    }

    pub(super) fn set(&mut self, address: &Pubkey, stage: Stage) {
        self.unqueue(address);
        let Some(want) = self.wanted.get_mut(address) else { return };
        let before = std::mem::replace(&mut want.stage, stage);
        self.subscribed =
            self.subscribed + usize::from(stage.subscribed()) - usize::from(before.subscribed());
        self.live = self.live + usize::from(stage.live()) - usize::from(before.live());
        match stage {
            Stage::Waiting => {
                self.waiting.insert(*address);
            }
            Stage::Acknowledged => {
                self.acknowledged.insert(*address);
            }
            _ => {}
        }
    }

    fn unqueue(&mut self, address: &Pubkey) {
        self.waiting.remove(address);
        self.acknowledged.remove(address);
    }

    /// The next account to subscribe. An address that was subscribed before on this connection uses
    /// parameters of its own. The reason: the client answers a late notification of an ended
    /// subscription with one more unsubscribe, and a new subscription with the same parameters may
    /// have the same id. Without `slices` such parameters do not exist; an account that needs them
    /// is held back until the earlier subscriptions have ended.
    pub(super) fn next_waiting(&mut self, slices: bool) -> Option<Subject> {
        loop {
            let address = self.waiting.pop_first()?;
            let want = self.wanted.get_mut(&address)?;
            let before = self.known.get(&address).copied();
            // An earlier subscribe is still unanswered, and the unsubscribe that follows it is
            // still to come.
            let under_way = self.in_flight.keys().any(
                |subject| matches!(subject, Subject::Account { address: other, .. } if *other == address),
            );
            want.own_parameters = slices && (self.known.len() >= MAX_KNOWN || before.is_some() || under_way);
            if !slices && (under_way || before.is_some_and(|count| count > 0)) {
                want.stage = Stage::AwaitingUnsubscribe;
                continue;
            }
            want.stage = Stage::Subscribing;
            return Some(want.subject(address));
        }
    }

    /// Whether any account waits to be subscribed.
    pub(super) fn anybody_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether more accounts may be acknowledged soon, so that those already acknowledged should
    /// wait for them.
    pub(super) fn gathers(&self, enough: usize) -> bool {
        let more_coming = self.anybody_waits()
            || self.in_flight.keys().any(|subject| matches!(subject, Subject::Account { .. }));
        more_coming && self.acknowledged.len() < enough
    }

    /// Takes the acknowledged accounts, to put them behind one barrier.
    pub(super) fn take_acknowledged(&mut self) -> Vec<Attempt> {
        let acknowledged = std::mem::take(&mut self.acknowledged);
        acknowledged
            .into_iter()
            .filter_map(|address| self.wanted.get(&address).map(|want| (address, want.attempt)))
            .collect()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn awaits_keepalive(&self) -> bool {
        self.in_flight.keys().any(|subject| matches!(subject, Subject::Keepalive { .. }))
    }

    /// Stops waiting for an answer.
    pub(super) fn forget(&mut self, subject: Subject) {
        self.in_flight.remove(&subject);
    }

    pub(super) fn sent(&mut self, subject: Subject, now: Tick) {
        self.in_flight.insert(subject, now);
    }

    /// Notes an answer. Returns `false` if no such subscribe was in flight.
    pub(super) fn answered(&mut self, subject: Subject, now: Tick) -> bool {
        self.last_answer = now;
        self.in_flight.remove(&subject).is_some()
    }

    /// When the connection counts as deaf: `deadline` after both the oldest unanswered subscribe
    /// and the last answer, since a server may pace its answers; but at most twelve deadlines after
    /// the oldest one.
    pub(super) fn unanswered_until(&self, deadline: Duration) -> Option<Tick> {
        const PACED: u32 = 12;
        let oldest = *self.in_flight.values().min()?;
        Some(oldest.max(self.last_answer).plus(deadline).min(oldest.plus(deadline * PACED)))
    }

    pub(super) fn retry_at(&mut self, address: &Pubkey, now: Tick, random: &mut u64) -> Tick {
        match self.wanted.get_mut(address) {
            Some(want) => now.plus(want.backoff.next(random)),
            None => now,
        }
    }

    /// Puts refused accounts whose wait is over back in the queue. Returns the rechecks that are
    /// due, by slot, and when the next wait ends.
    pub(super) fn retry(&mut self, now: Tick) -> (BTreeMap<Slot, Vec<Attempt>>, Option<Tick>) {
        let mut rechecks = BTreeMap::<Slot, Vec<_>>::new();
        let mut next: Option<Tick> = None;
        for (address, want) in &mut self.wanted {
            match want.stage {
                Stage::Refused { until } if until <= now => {
                    want.stage = Stage::Waiting;
                    want.attempt += 1;
                    self.waiting.insert(*address);
                }
                Stage::RecheckDue { slot, until } if until <= now => {
                    rechecks.entry(slot).or_default().push((*address, want.attempt));
                }
                Stage::Refused { until } | Stage::RecheckDue { until, .. } => {
                    next = Some(next.map_or(until, |earlier| earlier.min(until)));
                }
                _ => {}
            }
        }
        (rechecks, next)
    }

    /// The live accounts to audit next. They have been live for a while, so their backoff is reset.
    pub(super) fn next_audit(&mut self, audit: &mut Audit) -> Vec<Pubkey> {
        let due = audit.next(&self.wanted, |want| want.stage.live());
        for address in &due {
            if let Some(want) = self.wanted.get_mut(address) {
                want.backoff.reset();
            }
        }
        due
    }
}

impl Stage {
    /// Whether the server holds a subscription for the account.
    fn subscribed(self) -> bool {
        !matches!(self, Self::Waiting | Self::Subscribing | Self::AwaitingUnsubscribe | Self::Refused { .. })
    }

    fn live(self) -> bool {
        matches!(self, Self::Live { .. })
    }
}
