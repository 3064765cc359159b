//! What crosses between the engine and a connection's session, whatever protocol the session speaks.
//!
//! The engine tells a session what is wanted of it ([`FeedInput`]). A session tells the engine what it saw and what that
//! proves ([`FeedEvent`]). How a protocol finds that out (slices, barriers, canaries) stays inside its own session.

use solana_pubkey::Pubkey;

use crate::core::{
    account::evidence::LinkEvidence,
    base::{
        ids::{Generation, Slot, WatchId},
        time::Tick,
    },
    chain::token::Presence,
};

/// One subscribe of one address on one connection.
pub type Attempt = (Pubkey, u32);

/// What the engine tells a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedInput {
    /// Connect, after having been parked.
    Start,
    /// End the connection and wait for [`FeedInput::Start`]. What is wanted stays wanted.
    Park,
    /// The end: nothing happens any more.
    Stop,
    /// The connection is open, to a node on the mirror's chain.
    Connected,
    /// The connect failed, the connection is gone, or its node is not believed.
    Lost,
    /// An account is wanted. The id tells one watch of an address from a later one.
    Watch { address: Pubkey, watch: WatchId },
    /// An account is wanted no more.
    Unwatch { address: Pubkey },
    /// The account's subscription missed a change.
    Accused { address: Pubkey },
    /// The account cannot be covered yet: its record is disputed, or missing.
    NotCovered { address: Pubkey },
    /// The answer to a [`FeedRead::Recheck`], by account: the slot of the answer, or none where the read failed.
    Rechecked { generation: Generation, address: Pubkey, attempt: u32, slot: Option<Slot> },
    /// By how much wall time was ahead of the chain's Clock in an RPC answer of the same node.
    ChainLag { lag_ms: i64 },
    /// The host's clocks jumped against each other.
    ClockJumped,
}

/// What a session tells the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FeedEvent {
    /// An account was seen. `proof` is when that was surely true: the connection's last proof.
    Account { address: Pubkey, slot: Slot, presence: Presence, generation: Generation, proof: Tick },
    /// The connection proves everything that it covers, as of a slot; or, not ticking, nothing new.
    Watermark(LinkEvidence),
    /// From now on the connection's watermarks speak for this account.
    Cover { address: Pubkey, watch: WatchId, generation: Generation },
    /// They speak for this account no more.
    Uncover { address: Pubkey },
    /// They speak for no account any more.
    UncoverAll,
    /// Accounts to read by RPC.
    Read(FeedRead),
}

/// Accounts that a session wants read by RPC. The answers enter the ledger like every other observation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FeedRead {
    /// For speed, as soon as subscribed.
    Baseline(Pubkey),
    /// At this slot or later, before they are covered: answered with [`FeedInput::Rechecked`].
    Recheck { generation: Generation, accounts: Vec<Attempt>, min_slot: Slot },
    /// To find what a subscription missed.
    Audit(Vec<Pubkey>),
}

/// The slot that something a node sent claims to be of. The engine checks it before the session hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotClaim {
    pub slot: Slot,
    /// Wall time at its arrival less the chain's Clock in it, if it holds one.
    pub lag_ms: Option<i64>,
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkPhase {
    /// Not needed now: no connection, and none is tried.
    Parked,
    /// Waiting to connect again.
    Waiting,
    /// Connecting.
    Connecting,
    /// Connected; the canary has not ticked twice yet.
    Probing,
    /// Connected to a node whose canary does not tick: its notifications are taken and prove nothing, so that
    /// reads are served within their age, and by RPC.
    Unproven,
    /// The canary ticks: live accounts are fresh without RPC.
    Live,
    /// The canary ticks, too far behind wall time to prove anything.
    Lagging,
    /// Shut down.
    Stopped,
}

impl LinkPhase {
    /// The phase in lower case, as in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Probing => "probing",
            Self::Unproven => "unproven",
            Self::Live => "live",
            Self::Lagging => "lagging",
            Self::Stopped => "stopped",
        }
    }
}
