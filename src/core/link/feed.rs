//! The messages between the engine and a connection's session, whatever protocol the session
//! speaks.
//!
//! The engine sends a session what it should do and what it should know ([`FeedInput`]). A session
//! reports what it saw and what that proves ([`FeedEvent`]). How a protocol finds that out (slices,
//! barriers, canaries) stays inside its own session.

use solana_pubkey::Pubkey;

use crate::core::{
    account::evidence::LinkEvidence,
    base::{
        ids::{Generation, Slot, WatchId},
        time::Tick,
    },
    chain::token::Presence,
};

/// One attempt to subscribe one address on one connection.
pub type Attempt = (Pubkey, u32);

/// What the engine sends to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedInput {
    /// Connect; sent to a session that is parked.
    Start,
    /// End the connection and wait for [`FeedInput::Start`]. The session keeps its set of wanted
    /// accounts.
    Park,
    /// Shut down for good: the session ignores everything after this.
    Stop,
    /// The connection is open, to a node on the mirror's chain.
    Connected,
    /// The connect failed, the connection is gone, or the engine does not trust its node.
    Lost,
    /// Subscribe an account. The id distinguishes one watch of an address from a later one.
    Watch { address: Pubkey, watch: WatchId },
    /// Drop an account.
    Unwatch { address: Pubkey },
    /// The account's subscription missed a change.
    Accused { address: Pubkey },
    /// The engine cannot put the account under cover yet: its record is disputed, or missing.
    NotCovered { address: Pubkey },
    /// The answer to a [`FeedRead::Recheck`] for one account: the slot of the answer, or `None` if
    /// the read failed.
    Rechecked { generation: Generation, address: Pubkey, attempt: u32, slot: Option<Slot> },
    /// How far wall time was ahead of the chain's Clock in an RPC answer of the same node.
    ChainLag { lag_ms: i64 },
    /// The host's clocks jumped against each other.
    ClockJumped,
}

/// What a session reports to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FeedEvent {
    /// The connection showed an account's state. `proof` is the connection's last proof: the state
    /// is known to be true as of that moment.
    Account { address: Pubkey, slot: Slot, presence: Presence, generation: Generation, proof: Tick },
    /// The connection proves every account that it covers, as of a slot. If it does not tick, it
    /// proves nothing new.
    Watermark(LinkEvidence),
    /// From now on the connection's watermarks count for this account.
    Cover { address: Pubkey, watch: WatchId, generation: Generation },
    /// From now on they do not count for this account.
    Uncover { address: Pubkey },
    /// From now on they count for no account.
    UncoverAll,
    /// Accounts to read by RPC.
    Read(FeedRead),
}

/// Accounts that a session wants read by RPC. The answers enter the ledger like any other
/// observation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FeedRead {
    /// Sent as soon as an account is subscribed, so that its state is known early.
    Baseline(Pubkey),
    /// Read at this slot or later, before the accounts are covered. Answered with
    /// [`FeedInput::Rechecked`].
    Recheck { generation: Generation, accounts: Vec<Attempt>, min_slot: Slot },
    /// Read to find changes that a subscription missed.
    Audit(Vec<Pubkey>),
}

/// The slot that a node claims for something that it sent. The engine checks it before the session
/// sees the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotClaim {
    pub slot: Slot,
    /// Wall time at arrival less the chain's Clock, if the event carries a Clock.
    pub lag_ms: Option<i64>,
}

/// The phase of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkPhase {
    /// Not needed now: the link has no connection and does not try to open one.
    Parked,
    /// Waiting to connect again.
    Waiting,
    /// Connecting.
    Connecting,
    /// Connected; the canary has not ticked twice yet.
    Probing,
    /// Connected to a node whose canary does not tick. Its notifications are used but prove
    /// nothing, so reads are served only within their maximum age, and by RPC.
    Unproven,
    /// The canary ticks: live accounts count as fresh without RPC.
    Live,
    /// The canary ticks, but too far behind wall time to prove anything.
    Lagging,
    /// Shut down.
    Stopped,
}

impl LinkPhase {
    /// The phase's name in lower case, as logs show it.
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
