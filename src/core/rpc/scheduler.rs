//! Schedules RPC reads over several endpoints: batched, bounded, with shared calls per account.
//!
//! Pure bookkeeping; other code makes the calls. An ask joins a call under way if that call's
//! answer will satisfy it; otherwise it waits for the next batch. A caller that goes away removes
//! only its own ask.
//!
//! 1. A call goes to the first endpoint that may be asked. If an ask fails there, in whatever way,
//!    it is tried at each other endpoint that may be asked before the failure is reported.
//! 2. A call of several keys may fail because of its size, or because of one of its keys. Such a
//!    failure says nothing about each key, so they are all tried again in calls half as large: at
//!    the next endpoint, or at the same ones if none is left. So after at most seven halvings, a
//!    key that no node can answer for is in a call alone, and fails alone.
//! 3. At most `limit` asks are open at once, counted from when they are taken until they are
//!    answered.
//! 4. Every waiting ask has an endpoint to go to, now or when a refusal ends. If it no longer has
//!    one, its caller receives a failure.

mod batch;
mod nodes;
mod request;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use solana_pubkey::Pubkey;

pub use crate::core::base::ids::AskId;
use crate::core::base::{
    failure::RpcFailure,
    ids::{EndpointId, Slot},
    time::Tick,
};
pub use batch::{Call, PendingCall};
use nodes::{Nodes, blames_size};
use request::Attempts;
pub use request::{Ask, BATCH, Crowded, MintWish, Reply, Waiter};

/// The most calls under way at once.
const MAX_PENDING: usize = 4;
/// How long asks that are not urgent wait for others to share their call.
const GATHER: Duration = Duration::from_millis(3);
/// How soon a node that is behind is asked again: a quarter of a slot.
const BEHIND_PAUSE: Duration = Duration::from_millis(100);
/// How soon a mint that could not be read is asked for again.
const MINT_PAUSE: Duration = Duration::from_secs(2);
/// How long a known mint waits for a call that has room for it, before it is read by a call of its
/// own.
const MINT_PATIENCE: Duration = Duration::from_secs(5);
/// How many reads of a known mint may fail; it is wanted again in a minute.
const MINT_TRIES_AGAIN: u8 = 3;
/// How often an address that shows no mint is asked for; if an account of it is observed later, it
/// is asked for anew.
const MINT_TRIES: u8 = 30;

/// The open asks, the calls under way, and the replies to deliver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RpcScheduler {
    nodes: Nodes,
    limit: usize,
    /// How many asks are open: waiting, in `retry_later`, or in a call.
    open: usize,
    waiting: BTreeMap<Pubkey, Vec<Waiter>>,
    /// Since when asks have been waiting, and (in `urgent`) whether one of them is urgent.
    gathering: Option<Tick>,
    urgent: bool,
    /// Asks for which the nodes were behind, with the time at which each is due again.
    retry_later: Vec<(Tick, Waiter)>,
    mints: BTreeMap<Pubkey, MintWish>,
    mints_again: Option<Tick>,
    pending: Vec<PendingCall>,
    calls_made: u64,
    replies: VecDeque<(Reply, Result<Slot, RpcFailure>)>,
}

impl RpcScheduler {
    /// A scheduler for `endpoints`, all of which may be asked, with at most `limit` open asks.
    pub fn new(endpoints: usize, limit: usize) -> Self {
        Self {
            nodes: Nodes::new(endpoints),
            limit,
            open: 0,
            waiting: BTreeMap::new(),
            gathering: None,
            urgent: false,
            retry_later: Vec::new(),
            mints: BTreeMap::new(),
            mints_again: None,
            pending: Vec::new(),
            calls_made: 0,
            replies: VecDeque::new(),
        }
    }

    /// Takes an ask. If no endpoint can be asked now, queues a failure as its reply at once.
    /// (Invariant 3)
    pub fn take(&mut self, now: Tick, ask: Ask) -> Result<(), Crowded> {
        self.nodes.reopen(now);
        if self.open >= self.limit {
            return Err(Crowded(ask));
        }
        self.open += 1;
        self.admit(now, Waiter::new(ask));
        Ok(())
    }

    fn admit(&mut self, now: Tick, waiter: Waiter) {
        if let Some((_, failure)) = self.nodes.closed() {
            return self.reply(&waiter, Err(failure));
        }
        let Waiter { ask, attempts, .. } = &waiter;
        let nodes = &self.nodes;
        let joinable = self.pending.iter_mut().find_map(|call| {
            let will_do = call.sent >= ask.not_before
                && call.min_slot >= ask.min_slot
                && nodes.is_open(call.endpoint)
                && (ask.avoid != Some(call.endpoint) || nodes.route(attempts, ask.avoid) == ask.avoid);
            call.accounts.get_mut(&ask.address).filter(|_| will_do)
        });
        match joinable {
            Some(waiters) => waiters.push(waiter),
            None => self.queue(now, waiter.ask.urgent, waiter),
        }
    }

    fn queue(&mut self, now: Tick, urgent: bool, waiter: Waiter) {
        self.gathering.get_or_insert(now);
        self.urgent |= urgent;
        self.waiting.entry(waiter.ask.address).or_default().push(waiter);
    }

    /// Removes the ask of a caller that has gone. If a call for it is under way, the answer still
    /// goes into the ledger.
    pub fn cancel(&mut self, id: AskId) {
        let mut kept = 0;
        let mut stays = |waiter: &Waiter| {
            let stays = waiter.ask.reply != Reply::Caller(id);
            kept += usize::from(stays);
            stays
        };
        self.retry_later.retain(|(_, waiter)| stays(waiter));
        for waiters in self.waiting.values_mut() {
            waiters.retain(&mut stays);
        }
        for waiters in self.pending.iter_mut().flat_map(|call| call.accounts.values_mut()) {
            waiters.retain(&mut stays);
        }
        self.open = kept;
        self.forget_empty();
    }

    /// Sets whether an endpoint may be asked. Asks that waited only for this endpoint go elsewhere,
    /// or fail. (Invariant 4)
    pub fn set_usable(&mut self, now: Tick, endpoint: EndpointId, usable: bool) {
        self.nodes.set_usable(endpoint, usable);
        self.reroute(now);
    }

    /// The endpoint for a request that is not about accounts, if possible not the one to avoid.
    pub fn open(&mut self, now: Tick, avoid: Option<EndpointId>) -> Option<EndpointId> {
        self.nodes.reopen(now);
        self.nodes.route(&Attempts::new(), avoid)
    }

    /// Call when such a request has failed.
    pub fn refused(&mut self, now: Tick, endpoint: EndpointId, failure: &RpcFailure) {
        self.nodes.failed(endpoint, now, failure);
        self.reroute(now);
    }

    /// How many mints are wanted and not in a call yet.
    pub fn mints_wanted(&self) -> usize {
        self.mints.len()
    }

    /// Drops the wanted mints that no watched account refers to any more.
    pub fn keep_mints(&mut self, named: &BTreeSet<Pubkey>) {
        self.mints.retain(|mint, _| named.contains(mint));
    }

    /// Wants a mint that an account has just shown or a caller has just named: it is read at once.
    pub fn want_mint(&mut self, mint: Pubkey) {
        self.mints.insert(mint, MintWish::new());
        self.mints_again = None;
    }

    /// Wants a known mint that may have changed: it is read with the next call that has room.
    pub fn want_mint_again(&mut self, now: Tick, mint: Pubkey) {
        if self.mints.is_empty() {
            self.mints_again = Some(now.plus(MINT_PATIENCE));
        }
        self.mints.entry(mint).or_insert_with(MintWish::again);
    }

    /// Call when an answer showed no mint at the address: it does not exist yet at this commitment,
    /// or never will. Schedules another read a little later, up to a limit; returns `false` if this
    /// was the last one.
    pub fn mint_unread(&mut self, now: Tick, mint: Pubkey, wish: MintWish) -> bool {
        let again = wish.tries < MINT_TRIES && !wish.again;
        if again {
            // The nodes did answer for it, so earlier failures no longer count.
            self.mints.insert(mint, MintWish { tries: wish.tries + 1, ..MintWish::new() });
            self.mints_again = Some(now.plus(MINT_PAUSE));
        }
        again
    }

    fn forget_empty(&mut self) {
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        if self.waiting.is_empty() {
            self.gathering = None;
            self.urgent = false;
        }
    }

    /// Removes a finished call from those under way and returns it. The caller must answer its
    /// accounts' waiters and report its mints unread, or fail all of it.
    pub fn complete(&mut self, number: u64) -> Option<PendingCall> {
        let place = self.pending.iter().position(|call| call.number == number)?;
        Some(self.pending.swap_remove(place))
    }

    /// Records an answer at a slot that passed the slot check.
    pub fn succeeded(&mut self, endpoint: EndpointId, slot: Slot) {
        self.nodes.succeeded(endpoint, slot);
    }

    /// The newest slot of those answers.
    pub fn newest(&self) -> Slot {
        self.nodes.ids().map(|endpoint| self.nodes.newest(endpoint)).max().unwrap_or(0)
    }

    /// Replies to all who wait for an account.
    pub fn reply_all(&mut self, waiters: Vec<Waiter>, answer: &Result<Slot, RpcFailure>) {
        for waiter in waiters {
            self.reply(&waiter, answer.clone());
        }
    }

    fn reply(&mut self, waiter: &Waiter, answer: Result<Slot, RpcFailure>) {
        self.open = self.open.saturating_sub(1);
        if waiter.ask.reply != Reply::Nobody {
            self.replies.push_back((waiter.ask.reply, answer));
        }
    }

    /// Call when a call has failed. (Invariants 1 and 2)
    pub fn fail(&mut self, now: Tick, call: PendingCall, failure: &RpcFailure) {
        let keys = call.keys();
        let split = keys > 1 && blames_size(failure);
        self.nodes.failed(call.endpoint, now, failure);
        if split {
            self.nodes.halve(call.endpoint, keys);
        }
        let next = split.then_some((keys / 2).max(1));
        for waiter in call.accounts.into_values().flatten() {
            self.again(now, call.endpoint, waiter, failure, next);
        }
        if !call.mints.is_empty() {
            self.mints_again = Some(now.plus(MINT_PAUSE));
        }
        for (mint, mut wish) in call.mints {
            wish.attempts.tried.insert(call.endpoint);
            if let Some(next) = next {
                wish.attempts.batch = wish.attempts.batch.min(next);
            } else if blames_size(failure) {
                // It was in a call alone, so the failure is its own: count it as if an answer had
                // shown no mint.
                wish.tries += 1;
            }
            wish.tries += u8::from(wish.again && next.is_none());
            if wish.tries <= if wish.again { MINT_TRIES_AGAIN } else { MINT_TRIES } {
                self.mints.insert(mint, wish);
            }
        }
        self.reroute(now);
    }

    /// Call when an answer contains nothing usable for one account.
    pub fn fail_account(
        &mut self,
        now: Tick,
        endpoint: EndpointId,
        waiters: Vec<Waiter>,
        failure: &RpcFailure,
    ) {
        for waiter in waiters {
            self.again(now, endpoint, waiter, failure, None);
        }
    }

    /// Retries or gives up an ask that failed at `endpoint`. `next` is the size of the next call
    /// for it, if this call's size may be to blame.
    fn again(
        &mut self,
        now: Tick,
        endpoint: EndpointId,
        mut waiter: Waiter,
        failure: &RpcFailure,
        next: Option<usize>,
    ) {
        waiter.note(failure);
        waiter.attempts.tried.insert(endpoint);
        let avoid = waiter.ask.avoid;
        if let Some(next) = next {
            waiter.attempts.batch = waiter.attempts.batch.min(next);
            if self.nodes.route(&waiter.attempts, avoid).is_none() {
                waiter.attempts.tried = Default::default();
            }
        }
        if self.nodes.route(&waiter.attempts, avoid).is_some() {
            self.queue(now, true, waiter);
        } else {
            self.give_up(now, waiter);
        }
    }

    /// Gives up an ask with no endpoint left to try. If a node was behind, the ask is kept, with no
    /// call under way meanwhile, until it is due again or its patience ends; otherwise the failure
    /// is reported.
    fn give_up(&mut self, now: Tick, waiter: Waiter) {
        let due = now.plus(BEHIND_PAUSE);
        if waiter.is_behind() && due < waiter.ask.patience {
            self.retry_later.push((due, waiter));
            return;
        }
        let closed = || self.nodes.closed().map(|(_, failure)| failure);
        if let Some(failure) = waiter.failure.clone().or_else(closed) {
            self.reply(&waiter, Err(failure));
        }
    }

    /// Takes the asks in `retry_later` that are due, and reopens the nodes whose refusal is over.
    fn resume(&mut self, now: Tick) {
        self.nodes.reopen(now);
        let (due, held) = std::mem::take(&mut self.retry_later).into_iter().partition(|(due, _)| *due <= now);
        self.retry_later = held;
        for (_, waiter) in due {
            self.admit(now, Waiter::new(waiter.ask));
        }
    }

    /// Gives up the waiting asks that have no endpoint left, except those that wait for a refusal
    /// to end. (Invariant 4)
    fn reroute(&mut self, now: Tick) {
        let refused = matches!(self.nodes.closed(), Some((Some(_), _)));
        let nodes = &self.nodes;
        let mut lost = Vec::new();
        for waiters in self.waiting.values_mut() {
            lost.extend(waiters.extract_if(.., |waiter| {
                let untried = waiter.failure.is_none() && refused;
                !untried && nodes.route(&waiter.attempts, waiter.ask.avoid).is_none()
            }));
        }
        for waiter in lost {
            self.give_up(now, waiter);
        }
        for wish in self.mints.values_mut() {
            if self.nodes.route(&wish.attempts, None).is_none() {
                wish.attempts.tried = Default::default();
            }
        }
        self.forget_empty();
    }

    /// Call when the chain began anew: forgets the slots of earlier answers, which cannot be
    /// compared with the new ones.
    pub fn forget_slots(&mut self) {
        self.nodes.forget_slots();
    }

    /// The next reply to deliver, in order.
    pub fn next_reply(&mut self) -> Option<(Reply, Result<Slot, RpcFailure>)> {
        self.replies.pop_front()
    }

    /// When [`RpcScheduler::next_call`] next has something to do, unless an answer comes first.
    pub fn next_deadline(&self) -> Option<Tick> {
        let held = self.retry_later.iter().map(|(due, _)| *due).min();
        if self.pending.len() >= MAX_PENDING {
            return held;
        }
        if let Some((until, _)) = self.nodes.closed() {
            return until.into_iter().chain(held).min();
        }
        let gathered = self.gathering.map(|since| if self.urgent { since } else { since.plus(GATHER) });
        let mints = (!self.mints.is_empty()).then(|| self.mints_again.unwrap_or(Tick::NEVER));
        gathered.into_iter().chain(mints).chain(held).min()
    }
}

#[cfg(test)]
mod tests;
