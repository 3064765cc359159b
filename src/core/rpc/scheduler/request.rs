//! What is wanted from RPC, by whom, and what has been tried for it.

use solana_pubkey::Pubkey;

use crate::core::base::{
    failure::RpcFailure,
    ids::{AskId, EndpointId, Generation, LinkId, Slot},
    time::Tick,
};

/// The most accounts of one call: the node takes 100, and the last is the Clock.
pub const BATCH: usize = 99;

/// Who receives the result of an ask. The answer itself is in the ledger by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Nobody: the ask only updates the ledger.
    Nobody,
    /// A caller that waits.
    Caller(AskId),
    /// The session of a link, which must know that an account was read after its barrier.
    Recheck { link: LinkId, generation: Generation, address: Pubkey, attempt: u32 },
}

/// One account wanted from RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    pub address: Pubkey,
    /// The answer must be of this slot or later.
    pub min_slot: Slot,
    /// The request for the answer must be sent at this moment or later.
    pub not_before: Tick,
    /// A caller waits: do not wait for other asks to share the call.
    pub urgent: bool,
    pub reply: Reply,
    /// Until when to keep asking a node that is behind.
    pub patience: Tick,
    /// Prefer another endpoint (audits set this). Used anyway if there is no other.
    pub avoid: Option<EndpointId>,
}

/// An ask that was not taken, because the limit of open asks is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crowded(pub Ask);

/// A set of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Endpoints(u8);

impl Endpoints {
    pub(super) fn insert(&mut self, endpoint: EndpointId) {
        self.0 |= 1 << endpoint.0;
    }

    pub(super) fn contains(self, endpoint: EndpointId) -> bool {
        self.0 & (1 << endpoint.0) != 0
    }
}

/// The endpoints at which an ask has failed, and the most keys that its next call may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempts {
    pub(super) tried: Endpoints,
    pub(super) batch: usize,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { tried: Endpoints::default(), batch: BATCH }
    }
}

/// An ask with what has been tried for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiter {
    pub(super) ask: Ask,
    pub(super) attempts: Attempts,
    /// The failure to report when nothing is left to try: that a node was behind, if any was; else
    /// the last one.
    pub(super) failure: Option<RpcFailure>,
}

impl Waiter {
    pub(super) fn new(ask: Ask) -> Self {
        Self { ask, attempts: Attempts::new(), failure: None }
    }

    pub(super) fn is_behind(&self) -> bool {
        matches!(self.failure, Some(RpcFailure::Behind { .. }))
    }

    pub(super) fn note(&mut self, failure: &RpcFailure) {
        if !self.is_behind() {
            self.failure = Some(failure.clone());
        }
    }
}

/// A mint to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MintWish {
    /// How often an answer showed no mint at the address.
    pub(super) tries: u8,
    pub(super) attempts: Attempts,
    /// The mint is known already, and can wait to share a call.
    pub(super) again: bool,
}

impl MintWish {
    pub(super) fn new() -> Self {
        Self { tries: 0, attempts: Attempts::new(), again: false }
    }

    pub(super) fn again() -> Self {
        Self { again: true, ..Self::new() }
    }
}
