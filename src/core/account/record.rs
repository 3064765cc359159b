//! What is recorded of one account, as it is published.

use std::time::Duration;

use super::{evidence::Evidence, observation::ObservedVia, ttl::ChangeRate};
use crate::core::{
    base::{
        ids::{Generation, MAX_ENDPOINTS, Slot},
        time::Tick,
    },
    chain::state::AccountState,
};

/// An account's state with its evidence, as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub state: AccountState,
    /// The context slot of the observation that `state` came from, or that last repeated it.
    pub slot: Slot,
    pub source: ObservedVia,
    /// The newest slot as of which `state` is known, the covering links' own proofs not counted.
    pub as_of: Slot,
    /// When the state was surely so, the covering links' own proofs not counted.
    pub proof: Tick,
    /// When the account itself, not merely a link, was last heard of.
    pub verified: Tick,
    pub covers: Covers,
    pub disputed: bool,
    pub invalidated: Option<Invalidation>,
    /// What is spoken for of its tokens.
    pub held: Held,
    /// How often `state` changes, where that matters.
    pub change_rate: ChangeRate,
    /// Counts the changes of `state`.
    pub revision: u64,
    /// Counts the chain's new beginnings: slots compare only within one.
    pub epoch: u32,
}

impl Record {
    /// The newest slot as of which the state is known.
    pub fn as_of(&self, evidence: &Evidence) -> Slot {
        let links = self.covers.iter().filter_map(|generation| evidence.of(generation));
        links.fold(self.as_of, |newest, link| newest.max(link.slot))
    }

    /// The newest slot as of which the state is proved, and when it was surely so: a link proves nothing of an account
    /// that was itself not heard of within `verify_every`.
    pub fn proved(&self, evidence: &Evidence, verify_every: Duration) -> (Slot, Tick) {
        let links = self.covers.iter().filter_map(|generation| evidence.of(generation));
        // A state of a later slot is at least as fresh as a proof of an earlier one, so each link's counts.
        let proving = links.filter(|link| link.proof.since(self.verified) <= verify_every);
        proving.fold((self.as_of, self.proof), |(slot, proof), link| {
            (slot.max(link.slot), proof.max(link.proof))
        })
    }
}

/// The connections whose canaries speak for an account: at most one of each endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Covers([Option<Generation>; MAX_ENDPOINTS]);

impl Covers {
    pub fn iter(&self) -> impl Iterator<Item = Generation> + '_ {
        self.0.iter().flatten().copied()
    }

    /// By endpoint.
    pub fn places(&self) -> [Option<Generation>; MAX_ENDPOINTS] {
        self.0
    }

    /// Sets or takes the connection at an endpoint's place; what stood there before.
    pub fn replace(&mut self, place: usize, generation: Option<Generation>) -> Option<Generation> {
        std::mem::replace(&mut self.0[place], generation)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Whether one of them is the connection that its link has.
    pub fn speak(&self, evidence: &Evidence) -> bool {
        self.iter().any(|generation| evidence.of(generation).is_some())
    }
}

/// A caller's doubt about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Invalidation {
    /// Only an RPC answer to a request sent at this moment or later ends it,
    pub at: Tick,
    /// and only one of this slot or later.
    pub min_slot: Slot,
}

/// What is spoken for of one account's tokens, as published with its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    pub reserved: u64,
    /// In sells that may still land, or that have expired without the record being known as of then.
    pub in_flight: u64,
    /// In sells that landed, where the account was not seen since.
    pub debited: u64,
    /// The slot of the newest sell known to have landed, until the account is seen at it or later; else 0.
    pub floor: Slot,
}

impl Held {
    /// What is left of `observed`.
    pub fn available(&self, observed: u64) -> u64 {
        let held = self.reserved.saturating_add(self.in_flight).saturating_add(self.debited);
        observed.saturating_sub(held)
    }
}
