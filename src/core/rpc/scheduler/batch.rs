//! What goes into the next call: which accounts and mints, at which node.

use std::collections::BTreeMap;

use solana_pubkey::Pubkey;

use super::{
    GATHER, MAX_PENDING, RpcScheduler,
    request::{BATCH, MintWish, Waiter},
};
use crate::core::base::{
    ids::{EndpointId, Slot},
    time::Tick,
};

/// A call to make. The keys of its answer are the accounts, then the mints, each in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub number: u64,
    pub endpoint: EndpointId,
    pub accounts: Vec<Pubkey>,
    pub mints: Vec<Pubkey>,
    pub min_slot: Slot,
}

/// A call under way: what it asks for, and who waits for it.
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
    pub(super) fn keys(&self) -> usize {
        self.accounts.len() + self.mints.len()
    }
}

/// An account that may go into the next call.
struct BatchEntry {
    address: Pubkey,
    need: Slot,
    /// The most keys that its call may have.
    batch: usize,
}

impl RpcScheduler {
    /// Prepares the next call, if one is due. `known` returns the lowest slot at which an answer
    /// about an account is useful.
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

    /// The accounts to put into the next call to `endpoint`.
    fn pick_batch(&self, endpoint: EndpointId, known: &impl Fn(&Pubkey) -> Slot) -> Vec<BatchEntry> {
        let entries = self.waiting.iter().filter_map(|(address, waiters)| {
            let here = waiters.iter().filter(|waiter| self.goes_to(endpoint, waiter));
            let floor = here.clone().map(|waiter| waiter.ask.min_slot).max()?;
            let batch = here.map(|waiter| waiter.attempts.batch).min()?;
            Some(BatchEntry { address: *address, need: floor.max(known(address)), batch })
        });
        // A key that needs a slot beyond what the node has shown may make its whole call fail. So
        // it goes after the others, and only together with keys that need the same slot.
        let newest = self.nodes.newest(endpoint);
        let (early, mut batch): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.need > newest);
        if batch.is_empty()
            && let Some(least) = early.iter().map(|entry| entry.need).min()
        {
            batch = early.into_iter().filter(|entry| entry.need == least).collect();
        }
        // The call takes as many keys as the strictest of them allows; a key that needs a smaller
        // call goes into the next one.
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

    /// The mints to add to the picked accounts: all mints if they are due, otherwise only those
    /// that wait to share a call.
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

    /// Removes and returns the waiters for an account that go to `endpoint`.
    fn take_waiters(&mut self, endpoint: EndpointId, address: &Pubkey) -> Vec<Waiter> {
        let waiters = self.waiting.remove(address).unwrap_or_default();
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|waiter| self.goes_to(endpoint, waiter));
        self.waiting.insert(*address, elsewhere);
        here
    }
}
