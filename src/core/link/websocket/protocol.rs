//! What a session is told and what it answers.

use std::time::Duration;

use solana_pubkey::Pubkey;

use crate::core::link::websocket::{
    probe::NodeProfile,
    subscriptions::{Attempt, WatchId},
};
use crate::core::{
    account::{
        evidence::LinkEvidence,
        observation::{Generation, Slot},
    },
    base::backoff::Backoff,
    link::websocket::timers::Timer,
};

/// What a subscription is for. Its server-side id lives and dies with the connection; this is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The Clock sysvar, for as long as the connection lives.
    Canary,
    /// A watched account. Where an earlier attempt was acknowledged on this connection, a later one asks with
    /// parameters of its own until that one's unsubscribe is confirmed, so that it neither shares nor is ended with
    /// what is left of it.
    Account { address: Pubkey, attempt: u32, own_parameters: bool },
    /// The Clock sysvar once more, with a slice length that makes it a new entry in the server's queue.
    Barrier { length: u64 },
    /// An account that never changes, for its answer's sake.
    Keepalive { round: u32 },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// An account is wanted. The id tells one watch of an address from a later one.
    Watch {
        address: Pubkey,
        watch: WatchId,
    },
    Unwatch {
        address: Pubkey,
    },
    Connected,
    /// The connect failed, or the connection is gone.
    Lost,
    Acknowledged(Subject),
    Refused(Subject),
    /// The server has confirmed an unsubscribe: it holds nothing of that subscription any more.
    Unsubscribed(Subject),
    /// The canary's subscription ended when a barrier was acknowledged: the server gave both one id, since slices
    /// are no part of its keys.
    CanaryReplaced,
    /// A canary, after everything that arrived before it has been applied. The lag is wall time at its
    /// arrival less the chain's Clock.
    Canary {
        slot: Slot,
        lag_ms: i64,
    },
    /// By how much wall time was ahead of the chain's Clock in an RPC answer.
    ChainLag {
        lag_ms: i64,
    },
    /// A barrier's notification.
    Barrier {
        length: u64,
        slot: Slot,
    },
    /// The recheck of an account, with the slot of the answer, or without one.
    Rechecked {
        generation: Generation,
        address: Pubkey,
        attempt: u32,
        slot: Option<Slot>,
    },
    /// The account cannot stand under the link's canaries yet: its record is disputed, or missing.
    NotCovered {
        address: Pubkey,
    },
    /// The account's subscription missed a change.
    Accused {
        address: Pubkey,
    },
    /// The host's clocks jumped against each other.
    ClockJumped,
    /// Connect, after having been parked.
    Start,
    /// End the connection and wait for [`Input::Start`]. What is wanted stays wanted.
    Park,
    /// The end: nothing happens any more.
    Stop,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Connect,
    /// Give the connection up, where it is the session that finds it dead with what was overdue; pending
    /// subscribes are not cancelled, the client is dropped whole.
    Disconnect {
        overdue: Option<Timer>,
    },
    Subscribe(Subject),
    Unsubscribe(Subject),
    Fetch(Fetch),
    /// Put the account under the link's canaries.
    Cover {
        address: Pubkey,
        watch: WatchId,
        generation: Generation,
    },
    /// Take one account from under them.
    Uncover {
        address: Pubkey,
    },
    /// Take all from under them.
    UncoverAll,
    /// Publish the link's proof.
    Prove(LinkEvidence),
}

/// Accounts to read by RPC; the answers enter the ledger like every other observation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// For speed, as soon as subscribed.
    Baseline(Pubkey),
    /// As of a barrier: answered with [`Input::Rechecked`].
    Recheck { generation: Generation, accounts: Vec<Attempt>, min_slot: Slot },
    /// To find what a subscription missed.
    Audit(Vec<Pubkey>),
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

/// The deadlines and bounds of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionSettings {
    pub profile: NodeProfile,
    pub connect_timeout: Duration,
    pub subscribe_deadline: Duration,
    pub canary_deadline: Duration,
    pub max_lag: Duration,
    pub keepalive: Duration,
    pub audit_every: Duration,
    pub audit_batch: usize,
    /// How many slots must have passed since a canary's own before it proves anything beside the order of
    /// two. See [`crate::core::account::evidence`].
    pub settled_after: Slot,
    /// The link must have been live for so long before a loss counts as the first one again.
    pub healthy_after: Duration,
    pub backoff: Backoff,
    /// Subscribes sent and unanswered, at most; and as many may be sent at once.
    pub in_flight: usize,
    /// Subscribes a second, once the first burst is sent. Barriers and the canary do not wait, and count.
    pub subscribe_rate: u32,
}
