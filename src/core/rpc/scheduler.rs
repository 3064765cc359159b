//! Who wants what from RPC: single-call per account, batched, bounded, over several endpoints.
//!
//! Pure bookkeeping; the calls themselves are elsewhere. An ask joins a call under way where its answer will do;
//! else it waits for the next batch. A caller that goes away takes nothing with it.
//!
//! 1. A call goes to the first endpoint that may be asked. What fails there, however it fails, is tried at each
//!    other that may be asked before anybody hears of a failure.
//! 2. A call of several keys that fails in a way which may be its size's fault, or one key's, says nothing of its
//!    keys: they go again, at the next endpoint or, where none is left, at the same ones, in calls half as large.
//!    So after seven halvings at most a key that nobody can answer for flies alone, and fails alone.
//! 3. At most `limit` asks are open at once, counted from when they are taken until they are told.
//! 4. Whoever waits has somewhere to go, now or when a refusal ends: where that ceases, it is told so.

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
use nodes::{Nodes, blames_size};
use request::Attempts;
pub use request::{Ask, BATCH, Crowded, MintWish, Reply, Waiter};

/// Calls under way at once.
const MAX_PENDING: usize = 4;
/// How long asks without a hurry wait for others to share their call.
const GATHER: Duration = Duration::from_millis(3);
/// How soon a node that is behind is asked again: a quarter of a slot.
const BEHIND_PAUSE: Duration = Duration::from_millis(100);
/// How soon a mint that could not be read is asked for again.
const MINT_PAUSE: Duration = Duration::from_secs(2);
/// How long a mint that is known waits for a call with room for it, before it is read by a call of its own.
const MINT_PATIENCE: Duration = Duration::from_secs(5);
/// How often a mint that is known is asked for in vain; it is wanted again in a minute.
const MINT_TRIES_AGAIN: u8 = 3;
/// How often an address that shows no mint is asked for; an account of it that is seen later asks anew.
const MINT_TRIES: u8 = 30;

/// A call to make. The keys of its answer are the accounts and then the mints, both in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub number: u64,
    pub endpoint: EndpointId,
    pub accounts: Vec<Pubkey>,
    pub mints: Vec<Pubkey>,
    pub min_slot: Slot,
}

/// A call under way: what is asked, and who waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "who waits for it must be told"]
pub struct PendingCall {
    pub number: u64,
    pub endpoint: EndpointId,
    pub sent: Tick,
    pub min_slot: Slot,
    pub accounts: BTreeMap<Pubkey, Vec<Waiter>>,
    pub mints: BTreeMap<Pubkey, MintWish>,
}

impl PendingCall {
    fn keys(&self) -> usize {
        self.accounts.len() + self.mints.len()
    }
}

/// Who wants what, what is under way, and what is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RpcScheduler {
    nodes: Nodes,
    limit: usize,
    /// How many asks are waiting, held or in a call.
    open: usize,
    waiting: BTreeMap<Pubkey, Vec<Waiter>>,
    /// Since when somebody waits, and whether in a hurry.
    gathering: Option<Tick>,
    urgent: bool,
    /// Asks for which the nodes were behind, and when they are due again.
    retry_later: Vec<(Tick, Waiter)>,
    mints: BTreeMap<Pubkey, MintWish>,
    mints_again: Option<Tick>,
    pending: Vec<PendingCall>,
    calls_made: u64,
    replies: VecDeque<(Reply, Result<Slot, RpcFailure>)>,
}

impl RpcScheduler {
    /// A scheduler of `endpoints` that may all be asked, with `limit` asks open at most.
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

    /// Takes an ask in, and answers it at once where nobody can be asked now. (Invariant 3)
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

    /// Forgets the ask of a caller that has gone. What flies for it lands in the ledger all the same.
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

    /// Says whether an endpoint may be asked. What waits for it alone goes elsewhere, or is told. (Invariant 4)
    pub fn set_usable(&mut self, now: Tick, endpoint: EndpointId, usable: bool) {
        self.nodes.set_usable(endpoint, usable);
        self.reroute(now);
    }

    /// Whom to ask something that is no account, if possible another than the one to avoid.
    pub fn open(&mut self, now: Tick, avoid: Option<EndpointId>) -> Option<EndpointId> {
        self.nodes.reopen(now);
        self.nodes.route(&Attempts::new(), avoid)
    }

    /// That failed.
    pub fn refused(&mut self, now: Tick, endpoint: EndpointId, failure: &RpcFailure) {
        self.nodes.failed(endpoint, now, failure);
        self.reroute(now);
    }

    /// How many mints are wanted and not asked for.
    pub fn mints_wanted(&self) -> usize {
        self.mints.len()
    }

    /// Forgets the mints that nobody names any more.
    pub fn keep_mints(&mut self, named: &BTreeSet<Pubkey>) {
        self.mints.retain(|mint, _| named.contains(mint));
    }

    /// A mint that somebody has just seen or named: it is worth asking at once.
    pub fn want_mint(&mut self, mint: Pubkey) {
        self.mints.insert(mint, MintWish::new());
        self.mints_again = None;
    }

    /// A mint that is known, and may have changed: it rides with the next call that has room.
    pub fn want_mint_again(&mut self, now: Tick, mint: Pubkey) {
        if self.mints.is_empty() {
            self.mints_again = Some(now.plus(MINT_PATIENCE));
        }
        self.mints.entry(mint).or_insert_with(MintWish::again);
    }

    /// An answer showed no mint there: not yet at this commitment, or none at all. It is asked for again a little
    /// later, and not for ever: `false` where this was the last time.
    pub fn mint_unread(&mut self, now: Tick, mint: Pubkey, wish: MintWish) -> bool {
        let again = wish.tries < MINT_TRIES && !wish.again;
        if again {
            // The nodes answered for it: what they failed at before counts no more.
            self.mints.insert(mint, MintWish { tries: wish.tries + 1, ..MintWish::new() });
            self.mints_again = Some(now.plus(MINT_PAUSE));
        }
        again
    }

    /// Prepares the next call, if it is time for one. `known` is the slot from which an answer about an account is
    /// worth having.
    pub fn next_call(&mut self, now: Tick, known: impl Fn(&Pubkey) -> Slot) -> Option<Call> {
        self.resume(now);
        let gathered = self.urgent || self.gathering.is_some_and(|since| now.since(since) >= GATHER);
        let mints_due = !self.mints.is_empty() && self.mints_again.is_none_or(|due| due <= now);
        if self.pending.len() >= MAX_PENDING || !(gathered || mints_due) {
            return None;
        }
        let (endpoint, batch, mints) = self.nodes.ids().find_map(|endpoint| {
            let batch = if gathered { self.pick_batch(endpoint, &known) } else { Vec::new() };
            let mints = self.pick_mints(endpoint, &batch, mints_due);
            (!batch.is_empty() || !mints.is_empty()).then_some((endpoint, batch, mints))
        })?;
        let min_slot = batch.iter().map(|entry| entry.need).max().unwrap_or(0);
        let accounts: BTreeMap<_, _> =
            batch.iter().map(|entry| (entry.address, self.take_waiters(endpoint, &entry.address))).collect();
        let mints: BTreeMap<_, _> =
            mints.into_iter().filter_map(|mint| self.mints.remove_entry(&mint)).collect();
        self.forget_empty();
        self.calls_made += 1;
        let call = Call {
            number: self.calls_made,
            endpoint,
            accounts: accounts.keys().copied().collect(),
            mints: mints.keys().copied().collect(),
            min_slot,
        };
        self.pending.push(PendingCall {
            number: self.calls_made,
            endpoint,
            sent: now,
            min_slot,
            accounts,
            mints,
        });
        Some(call)
    }

    /// Who flies to `endpoint` next.
    fn pick_batch(&self, endpoint: EndpointId, known: &impl Fn(&Pubkey) -> Slot) -> Vec<BatchEntry> {
        let entries = self.waiting.iter().filter_map(|(address, waiters)| {
            let here = waiters.iter().filter(|waiter| self.goes_to(endpoint, waiter));
            let floor = here.clone().map(|waiter| waiter.ask.min_slot).max()?;
            let batch = here.map(|waiter| waiter.attempts.batch).min()?;
            Some(BatchEntry { address: *address, need: floor.max(known(address)), batch })
        });
        // What asks for more than the node has shown may make its whole call fail: it flies after the rest, and
        // only with what asks for the same.
        let newest = self.nodes.newest(endpoint);
        let (early, mut batch): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.need > newest);
        if batch.is_empty()
            && let Some(least) = early.iter().map(|entry| entry.need).min()
        {
            batch = early.into_iter().filter(|entry| entry.need == least).collect();
        }
        // Together as many as the most careful of them allows; who must fly with fewer takes the next call.
        let mut room = self.nodes.batch(endpoint);
        let mut picked: Vec<BatchEntry> = Vec::new();
        for entry in batch {
            if entry.batch.min(room) > picked.len() {
                room = room.min(entry.batch);
                picked.push(entry);
            }
        }
        picked
    }

    /// The mints that fly with those picked: all where they are due, else those that only wait for company.
    fn pick_mints(&self, endpoint: EndpointId, picked: &[BatchEntry], due: bool) -> Vec<Pubkey> {
        if !self.nodes.is_open(endpoint) || !due && picked.is_empty() {
            return Vec::new();
        }
        let most = picked.iter().map(|entry| entry.batch).min().unwrap_or(BATCH);
        let mut room = most.min(self.nodes.batch(endpoint));
        let mut keys = picked.len();
        let mut mints = Vec::new();
        for (mint, wish) in &self.mints {
            let untried = !wish.attempts.tried.contains(endpoint);
            if untried && (due || wish.again) && wish.attempts.batch.min(room) > keys {
                room = room.min(wish.attempts.batch);
                keys += 1;
                mints.push(*mint);
            }
        }
        mints
    }

    fn goes_to(&self, endpoint: EndpointId, waiter: &Waiter) -> bool {
        self.nodes.route(&waiter.attempts, waiter.ask.avoid) == Some(endpoint)
    }

    /// Takes those who wait for an account at `endpoint`.
    fn take_waiters(&mut self, endpoint: EndpointId, address: &Pubkey) -> Vec<Waiter> {
        let waiters = self.waiting.remove(address).unwrap_or_default();
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|waiter| self.goes_to(endpoint, waiter));
        self.waiting.insert(*address, elsewhere);
        here
    }

    fn forget_empty(&mut self) {
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        if self.waiting.is_empty() {
            self.gathering = None;
            self.urgent = false;
        }
    }

    /// Takes a call that is over out of those under way. Its accounts are to be told, and its mints reported
    /// unread, or all of it failed.
    pub fn complete(&mut self, number: u64) -> Option<PendingCall> {
        let place = self.pending.iter().position(|call| call.number == number)?;
        Some(self.pending.swap_remove(place))
    }

    /// Notes an answer at a slot that is believed.
    pub fn succeeded(&mut self, endpoint: EndpointId, slot: Slot) {
        self.nodes.succeeded(endpoint, slot);
    }

    /// The newest slot of those answers.
    pub fn newest(&self) -> Slot {
        self.nodes.ids().map(|endpoint| self.nodes.newest(endpoint)).max().unwrap_or(0)
    }

    /// Tells those who wait for an account how it went.
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

    /// A call failed. (Invariants 1 and 2)
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
                // It flew alone, so it is its own fault: as if an answer showed no mint.
                wish.tries += 1;
            }
            wish.tries += u8::from(wish.again && next.is_none());
            if wish.tries <= if wish.again { MINT_TRIES_AGAIN } else { MINT_TRIES } {
                self.mints.insert(mint, wish);
            }
        }
        self.reroute(now);
    }

    /// An answer had nothing usable for one account.
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

    /// What becomes of an ask that failed at `endpoint`; `next` is the size of the next call for it, where this one's
    /// may be to blame.
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

    /// No endpoint is left to try. What a node was behind for is kept, without a call under way meanwhile, until it
    /// is due again or its patience is over; the rest is told.
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

    /// Takes the held asks that are due, and opens the nodes whose refusal is over.
    fn resume(&mut self, now: Tick) {
        self.nodes.reopen(now);
        let (due, held) = std::mem::take(&mut self.retry_later).into_iter().partition(|(due, _)| *due <= now);
        self.retry_later = held;
        for (_, waiter) in due {
            self.admit(now, Waiter::new(waiter.ask));
        }
    }

    /// Gives up what waits with nowhere to go, but for what waits for a refusal to end. (Invariant 4)
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

    /// A new chain: what the nodes answered before says nothing of their slots now.
    pub fn forget_slots(&mut self) {
        self.nodes.forget_slots();
    }

    /// Whom to reply_all what, in order.
    pub fn next_reply(&mut self) -> Option<(Reply, Result<Slot, RpcFailure>)> {
        self.replies.pop_front()
    }

    /// When [`RpcScheduler::next_call`] has something to do without anything landing before.
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

/// A place in the next call.
struct BatchEntry {
    address: Pubkey,
    need: Slot,
    /// The most keys that it may share a call with.
    batch: usize,
}

#[cfg(test)]
mod tests;
