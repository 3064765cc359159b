//! Who wants what from RPC: single-flight per account, batched, bounded, over several endpoints.
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

use crate::core::{
    account::observation::{EndpointId, Slot},
    base::{failure::RpcFailure, time::Tick},
};
use nodes::{Nodes, blames_size};
use request::Trial;
pub(crate) use request::{Ask, AskId, BATCH, Crowded, MintWish, Reply, Waiter};

/// Calls under way at once.
const MAX_FLIGHTS: usize = 4;
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
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) endpoint: EndpointId,
    pub(crate) accounts: Vec<Pubkey>,
    pub(crate) mints: Vec<Pubkey>,
    pub(crate) min_slot: Slot,
}

/// A call under way: what is asked, and who waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "who waits for it must be told"]
pub(crate) struct Flight {
    pub(crate) number: u64,
    pub(crate) endpoint: EndpointId,
    pub(crate) sent: Tick,
    pub(crate) min_slot: Slot,
    pub(crate) accounts: BTreeMap<Pubkey, Vec<Waiter>>,
    pub(crate) mints: BTreeMap<Pubkey, MintWish>,
}

impl Flight {
    fn keys(&self) -> usize {
        self.accounts.len() + self.mints.len()
    }
}

/// Who wants what, what is under way, and what is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Desk {
    nodes: Nodes,
    limit: usize,
    /// How many asks are waiting, held or in a flight.
    open: usize,
    waiting: BTreeMap<Pubkey, Vec<Waiter>>,
    /// Since when somebody waits, and whether in a hurry.
    gathering: Option<Tick>,
    urgent: bool,
    /// Asks for which the nodes were behind, and when they are due again.
    held: Vec<(Tick, Waiter)>,
    mints: BTreeMap<Pubkey, MintWish>,
    mints_again: Option<Tick>,
    flights: Vec<Flight>,
    flown: u64,
    replies: VecDeque<(Reply, Result<Slot, RpcFailure>)>,
}

impl Desk {
    /// A desk of `endpoints` that may all be asked, with `limit` asks open at most.
    pub(crate) fn new(endpoints: usize, limit: usize) -> Self {
        Self {
            nodes: Nodes::new(endpoints),
            limit,
            open: 0,
            waiting: BTreeMap::new(),
            gathering: None,
            urgent: false,
            held: Vec::new(),
            mints: BTreeMap::new(),
            mints_again: None,
            flights: Vec::new(),
            flown: 0,
            replies: VecDeque::new(),
        }
    }

    /// Takes an ask in, and answers it at once where nobody can be asked now. (Invariant 3)
    pub(crate) fn take(&mut self, now: Tick, ask: Ask) -> Result<(), Crowded> {
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
            return self.tell_one(&waiter, Err(failure));
        }
        let Waiter { ask, trial, .. } = &waiter;
        let nodes = &self.nodes;
        let joinable = self.flights.iter_mut().find_map(|flight| {
            let will_do = flight.sent >= ask.not_before
                && flight.min_slot >= ask.min_slot
                && nodes.is_open(flight.endpoint)
                && (ask.avoid != Some(flight.endpoint) || nodes.route(trial, ask.avoid) == ask.avoid);
            flight.accounts.get_mut(&ask.address).filter(|_| will_do)
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
    pub(crate) fn cancel(&mut self, id: AskId) {
        let mut kept = 0;
        let mut stays = |waiter: &Waiter| {
            let stays = waiter.ask.reply != Reply::Caller(id);
            kept += usize::from(stays);
            stays
        };
        self.held.retain(|(_, waiter)| stays(waiter));
        for waiters in self.waiting.values_mut() {
            waiters.retain(&mut stays);
        }
        for waiters in self.flights.iter_mut().flat_map(|flight| flight.accounts.values_mut()) {
            waiters.retain(&mut stays);
        }
        self.open = kept;
        self.forget_empty();
    }

    /// Says whether an endpoint may be asked. What waits for it alone goes elsewhere, or is told. (Invariant 4)
    pub(crate) fn set_usable(&mut self, now: Tick, endpoint: EndpointId, usable: bool) {
        self.nodes.set_usable(endpoint, usable);
        self.reroute(now);
    }

    /// Whom to ask something that is no account, if possible another than the one to avoid.
    pub(crate) fn open(&mut self, now: Tick, avoid: Option<EndpointId>) -> Option<EndpointId> {
        self.nodes.reopen(now);
        self.nodes.route(&Trial::new(), avoid)
    }

    /// That failed.
    pub(crate) fn refused(&mut self, now: Tick, endpoint: EndpointId, failure: &RpcFailure) {
        self.nodes.failed(endpoint, now, failure);
        self.reroute(now);
    }

    /// How many mints are wanted and not asked for.
    pub(crate) fn mints_wanted(&self) -> usize {
        self.mints.len()
    }

    /// Forgets the mints that nobody names any more.
    pub(crate) fn keep_mints(&mut self, named: &BTreeSet<Pubkey>) {
        self.mints.retain(|mint, _| named.contains(mint));
    }

    /// A mint that somebody has just seen or named: it is worth asking at once.
    pub(crate) fn want_mint(&mut self, mint: Pubkey) {
        self.mints.insert(mint, MintWish::new());
        self.mints_again = None;
    }

    /// A mint that is known, and may have changed: it rides with the next call that has room.
    pub(crate) fn want_mint_again(&mut self, now: Tick, mint: Pubkey) {
        if self.mints.is_empty() {
            self.mints_again = Some(now.plus(MINT_PATIENCE));
        }
        self.mints.entry(mint).or_insert_with(MintWish::again);
    }

    /// An answer showed no mint there: not yet at this commitment, or none at all. It is asked for again a little
    /// later, and not for ever: `false` where this was the last time.
    pub(crate) fn mint_unread(&mut self, now: Tick, mint: Pubkey, wish: MintWish) -> bool {
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
    pub(crate) fn depart(&mut self, now: Tick, known: impl Fn(&Pubkey) -> Slot) -> Option<Call> {
        self.resume(now);
        let gathered = self.urgent || self.gathering.is_some_and(|since| now.since(since) >= GATHER);
        let mints_due = !self.mints.is_empty() && self.mints_again.is_none_or(|due| due <= now);
        if self.flights.len() >= MAX_FLIGHTS || !(gathered || mints_due) {
            return None;
        }
        let (endpoint, boarding, mints) = self.nodes.ids().find_map(|endpoint| {
            let boarding = if gathered { self.board(endpoint, &known) } else { Vec::new() };
            let mints = self.board_mints(endpoint, &boarding, mints_due);
            (!boarding.is_empty() || !mints.is_empty()).then_some((endpoint, boarding, mints))
        })?;
        let min_slot = boarding.iter().map(|seat| seat.need).max().unwrap_or(0);
        let accounts: BTreeMap<_, _> =
            boarding.iter().map(|seat| (seat.address, self.pick_up(endpoint, &seat.address))).collect();
        let mints: BTreeMap<_, _> =
            mints.into_iter().filter_map(|mint| self.mints.remove_entry(&mint)).collect();
        self.forget_empty();
        self.flown += 1;
        let call = Call {
            number: self.flown,
            endpoint,
            accounts: accounts.keys().copied().collect(),
            mints: mints.keys().copied().collect(),
            min_slot,
        };
        self.flights.push(Flight { number: self.flown, endpoint, sent: now, min_slot, accounts, mints });
        Some(call)
    }

    /// Who flies to `endpoint` next.
    fn board(&self, endpoint: EndpointId, known: &impl Fn(&Pubkey) -> Slot) -> Vec<Seat> {
        let seats = self.waiting.iter().filter_map(|(address, waiters)| {
            let here = waiters.iter().filter(|waiter| self.goes_to(endpoint, waiter));
            let floor = here.clone().map(|waiter| waiter.ask.min_slot).max()?;
            let batch = here.map(|waiter| waiter.trial.batch).min()?;
            Some(Seat { address: *address, need: floor.max(known(address)), batch })
        });
        // What asks for more than the node has shown may make its whole call fail: it flies after the rest, and
        // only with what asks for the same.
        let newest = self.nodes.newest(endpoint);
        let (early, mut boarding): (Vec<_>, Vec<_>) = seats.partition(|seat| seat.need > newest);
        if boarding.is_empty()
            && let Some(least) = early.iter().map(|seat| seat.need).min()
        {
            boarding = early.into_iter().filter(|seat| seat.need == least).collect();
        }
        // Together as many as the most careful of them allows; who must fly with fewer takes the next call.
        let mut room = self.nodes.batch(endpoint);
        let mut seated: Vec<Seat> = Vec::new();
        for seat in boarding {
            if seat.batch.min(room) > seated.len() {
                room = room.min(seat.batch);
                seated.push(seat);
            }
        }
        seated
    }

    /// The mints that fly with those seated: all where they are due, else those that only wait for company.
    fn board_mints(&self, endpoint: EndpointId, seated: &[Seat], due: bool) -> Vec<Pubkey> {
        if !self.nodes.is_open(endpoint) || !due && seated.is_empty() {
            return Vec::new();
        }
        let most = seated.iter().map(|seat| seat.batch).min().unwrap_or(BATCH);
        let mut room = most.min(self.nodes.batch(endpoint));
        let mut keys = seated.len();
        let mut mints = Vec::new();
        for (mint, wish) in &self.mints {
            let untried = !wish.trial.tried.contains(endpoint);
            if untried && (due || wish.again) && wish.trial.batch.min(room) > keys {
                room = room.min(wish.trial.batch);
                keys += 1;
                mints.push(*mint);
            }
        }
        mints
    }

    fn goes_to(&self, endpoint: EndpointId, waiter: &Waiter) -> bool {
        self.nodes.route(&waiter.trial, waiter.ask.avoid) == Some(endpoint)
    }

    /// Takes those who wait for an account at `endpoint`.
    fn pick_up(&mut self, endpoint: EndpointId, address: &Pubkey) -> Vec<Waiter> {
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
    pub(crate) fn land(&mut self, number: u64) -> Option<Flight> {
        let place = self.flights.iter().position(|flight| flight.number == number)?;
        Some(self.flights.swap_remove(place))
    }

    /// Notes an answer at a slot that is believed.
    pub(crate) fn succeeded(&mut self, endpoint: EndpointId, slot: Slot) {
        self.nodes.succeeded(endpoint, slot);
    }

    /// The newest slot of those answers.
    pub(crate) fn newest(&self) -> Slot {
        self.nodes.ids().map(|endpoint| self.nodes.newest(endpoint)).max().unwrap_or(0)
    }

    /// Tells those who wait for an account how it went.
    pub(crate) fn tell(&mut self, waiters: Vec<Waiter>, answer: &Result<Slot, RpcFailure>) {
        for waiter in waiters {
            self.tell_one(&waiter, answer.clone());
        }
    }

    fn tell_one(&mut self, waiter: &Waiter, answer: Result<Slot, RpcFailure>) {
        self.open = self.open.saturating_sub(1);
        if waiter.ask.reply != Reply::Nobody {
            self.replies.push_back((waiter.ask.reply, answer));
        }
    }

    /// A call failed. (Invariants 1 and 2)
    pub(crate) fn fail(&mut self, now: Tick, flight: Flight, failure: &RpcFailure) {
        let keys = flight.keys();
        let split = keys > 1 && blames_size(failure);
        self.nodes.failed(flight.endpoint, now, failure);
        if split {
            self.nodes.halve(flight.endpoint, keys);
        }
        let next = split.then_some((keys / 2).max(1));
        for waiter in flight.accounts.into_values().flatten() {
            self.again(now, flight.endpoint, waiter, failure, next);
        }
        if !flight.mints.is_empty() {
            self.mints_again = Some(now.plus(MINT_PAUSE));
        }
        for (mint, mut wish) in flight.mints {
            wish.trial.tried.insert(flight.endpoint);
            if let Some(next) = next {
                wish.trial.batch = wish.trial.batch.min(next);
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
    pub(crate) fn fail_account(
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
        waiter.trial.tried.insert(endpoint);
        let avoid = waiter.ask.avoid;
        if let Some(next) = next {
            waiter.trial.batch = waiter.trial.batch.min(next);
            if self.nodes.route(&waiter.trial, avoid).is_none() {
                waiter.trial.tried = Default::default();
            }
        }
        if self.nodes.route(&waiter.trial, avoid).is_some() {
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
            self.held.push((due, waiter));
            return;
        }
        let closed = || self.nodes.closed().map(|(_, failure)| failure);
        if let Some(failure) = waiter.failure.clone().or_else(closed) {
            self.tell_one(&waiter, Err(failure));
        }
    }

    /// Takes the held asks that are due, and opens the nodes whose refusal is over.
    fn resume(&mut self, now: Tick) {
        self.nodes.reopen(now);
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|(due, _)| *due <= now);
        self.held = held;
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
                !untried && nodes.route(&waiter.trial, waiter.ask.avoid).is_none()
            }));
        }
        for waiter in lost {
            self.give_up(now, waiter);
        }
        for wish in self.mints.values_mut() {
            if self.nodes.route(&wish.trial, None).is_none() {
                wish.trial.tried = Default::default();
            }
        }
        self.forget_empty();
    }

    /// A new chain: what the nodes answered before says nothing of their slots now.
    pub(crate) fn forget_slots(&mut self) {
        self.nodes.forget_slots();
    }

    /// Whom to tell what, in order.
    pub(crate) fn next_reply(&mut self) -> Option<(Reply, Result<Slot, RpcFailure>)> {
        self.replies.pop_front()
    }

    /// When [`Desk::depart`] has something to do without anything landing before.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        let held = self.held.iter().map(|(due, _)| *due).min();
        if self.flights.len() >= MAX_FLIGHTS {
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
struct Seat {
    address: Pubkey,
    need: Slot,
    /// The most keys that it may share a call with.
    batch: usize,
}

#[cfg(test)]
mod tests;
