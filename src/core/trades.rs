//! The transactions that somebody cares about: sells in flight, and buys to settle. When to ask a node what became
//! of them, and what its answer means.
//!
//! One inquiry is two questions to one node, in this order: how far its bank is, slot X and height H, and then the
//! signatures' statuses, from a bank of X or later.
//!
//! 1. A status counts once it is settled: it has reached the mirror's commitment.
//! 2. A transaction without a status has expired once H is past its last valid block height: no bank behind X can take
//!    it in, so what is known as of X contains it, or nothing ever will. The node is asked to search its history for it
//!    once before that is believed.
//! 3. One inquiry is under way at a time, no two begin within [`PACE`], and no more than [`BATCH`] signatures fly
//!    together; while nodes fail, the wait between inquiries doubles.
//! 4. Whoever holds tokens has a place here, taken when they were reserved: a sell is never refused one.

use std::{collections::BTreeMap, time::Duration};

use solana_signature::Signature;

use super::{
    failure::RpcFailure,
    observation::{EndpointId, Slot},
    time::Tick,
};

/// Signatures of one call, at most: what `getSignatureStatuses` takes.
pub(crate) const BATCH: usize = 256;
/// How soon after it is sent a transaction is first asked for: one slot, and some time to be confirmed.
const FIRST: Duration = Duration::from_millis(500);
/// How often after that.
const EVERY: Duration = Duration::from_secs(2);
/// Between the starts of two inquiries, at least: so four calls a second at most, of which each is cheap.
const PACE: Duration = Duration::from_millis(500);
/// The longest wait between inquiries that fail.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Names a trade: a hold from when it is reserved, or a buy. Never used twice within a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TradeId(pub(crate) u64);

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TradeOutcome {
    /// It succeeded in the bank of this slot.
    Landed { slot: Slot },
    /// It failed in the bank of this slot.
    Failed { slot: Slot },
    /// It has not landed and cannot any more. What is known as of this slot or later shows what it will ever have done.
    Expired { slot: Slot },
}

/// As many transactions are tracked as the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TooManyTrades {
    pub(crate) limit: usize,
}

/// What to ask a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inquiry {
    pub(crate) number: u64,
    pub(crate) endpoint: EndpointId,
    pub(crate) signatures: Vec<Signature>,
    /// Whether the node should search its history as well, where it has one.
    pub(crate) history: bool,
}

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inquired {
    /// Its bank at the mirror's commitment.
    pub(crate) slot: Slot,
    /// That bank's block height.
    pub(crate) height: u64,
    /// The bank that the statuses are from.
    pub(crate) statuses_slot: Slot,
    /// In the order of the inquiry.
    pub(crate) statuses: Vec<Option<Status>>,
}

/// What a node knows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Status {
    /// The bank that took it in.
    pub(crate) slot: Slot,
    pub(crate) failed: bool,
    /// Whether that bank has reached the mirror's commitment.
    pub(crate) settled: bool,
}
