//! The published record of one account.

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
    /// The newest slot as of which `state` is known, without counting the covering links' own
    /// proofs.
    pub as_of: Slot,
    /// The latest moment at which `state` is known to have been true, without counting the covering
    /// links' own proofs.
    pub proof: Tick,
    /// When the account itself (not merely a link) was last observed.
    pub verified: Tick,
    pub covers: Covers,
    pub disputed: bool,
    pub invalidated: Option<Invalidation>,
    /// How many of its tokens are held.
    pub held: Held,
    /// How often `state` changes; used for the dynamic TTL.
    pub change_rate: ChangeRate,
    /// Counts the changes of `state`.
    pub revision: u64,
    /// Counts how often the chain began anew. Slots can be compared only within one epoch.
    pub epoch: u32,
}

impl Record {
    /// The newest slot as of which the state is known, including the covering links' proofs.
    pub fn as_of(&self, evidence: &Evidence) -> Slot {
        let links = self.covers.iter().filter_map(|generation| evidence.of(generation));
        links.fold(self.as_of, |newest, link| newest.max(link.slot))
    }

    /// The newest slot as of which the state is proved, and the latest moment at which it is known
    /// to have been true. A link proves nothing about an account that was not itself observed
    /// within `verify_every`.
    pub fn proved(&self, evidence: &Evidence, verify_every: Duration) -> (Slot, Tick) {
        let links = self.covers.iter().filter_map(|generation| evidence.of(generation));
        // Every such link's proof counts, even one of a slot before the state's: a state of a later
        // slot is at least as fresh as a proof of an earlier one.
        let proving = links.filter(|link| link.proof.since(self.verified) <= verify_every);
        proving.fold((self.as_of, self.proof), |(slot, proof), link| {
            (slot.max(link.slot), proof.max(link.proof))
        })
    }
}

/// The connections whose canaries cover an account: at most one per endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Covers([Option<Generation>; MAX_ENDPOINTS]);

impl Covers {
    pub fn iter(&self) -> impl Iterator<Item = Generation> + '_ {
        self.0.iter().flatten().copied()
    }

    /// The connections, indexed by endpoint.
    pub fn places(&self) -> [Option<Generation>; MAX_ENDPOINTS] {
        self.0
    }

    /// Sets or clears the connection of an endpoint; returns the previous one.
    pub fn replace(&mut self, place: usize, generation: Option<Generation>) -> Option<Generation> {
        std::mem::replace(&mut self.0[place], generation)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Whether one of them is the latest connection of its link.
    pub fn speak(&self, evidence: &Evidence) -> bool {
        self.iter().any(|generation| evidence.of(generation).is_some())
    }
}

/// A caller's invalidation of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Invalidation {
    /// Only an RPC answer to a request sent at this moment or later ends the invalidation,
    pub at: Tick,
    /// and only one of this slot or later.
    pub min_slot: Slot,
}

/// How many of one account's tokens are held, as published with its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    pub reserved: u64,
    /// In sells that may still land, or that have expired while the record is not yet known as of
    /// then.
    pub in_flight: u64,
    /// In sells that landed, until the account is observed at their slots or later.
    pub debited: u64,
    /// The slot of the newest sell known to have landed, until the account is observed at that slot
    /// or later; then 0.
    pub floor: Slot,
}

impl Held {
    /// How many of `observed` tokens are free.
    pub fn available(&self, observed: u64) -> u64 {
        let held = self.reserved.saturating_add(self.in_flight).saturating_add(self.debited);
        observed.saturating_sub(held)
    }
}
