//! What a session is told of its socket, and what it decides.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::{probe::NodeProfile, timers::Timer};
use crate::core::{
    base::{backoff::Backoff, ids::Slot},
    chain::token::Presence,
    link::feed::FeedEvent,
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

/// What happened on the socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionEvent {
    Acknowledged(Subject),
    Refused(Subject),
    /// The server has confirmed an unsubscribe: it holds nothing of that subscription any more.
    Unsubscribed(Subject),
    /// The canary's subscription ended when a barrier was acknowledged: the server gave both one id, since slices
    /// are no part of its keys.
    CanaryReplaced,
    /// A canary, after everything that arrived before it. The lag is wall time at its arrival less the chain's Clock.
    Canary {
        slot: Slot,
        lag_ms: i64,
    },
    /// A barrier's notification.
    Barrier {
        length: u64,
        slot: Slot,
    },
    /// An account's notification; without a presence where it cannot be read.
    Account {
        subject: Subject,
        slot: Slot,
        presence: Option<Presence>,
    },
}

/// What the driver of the connection should do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkCommand {
    Connect,
    /// Give the connection up, where it is the session that finds it dead with what was overdue. Pending subscribes are
    /// not cancelled: the client is dropped whole.
    Disconnect {
        overdue: Option<Timer>,
    },
    Subscribe(Subject),
    Unsubscribe(Subject),
}

/// What a session decides, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionOutput {
    /// For the driver of the connection.
    Command(LinkCommand),
    /// For the engine.
    Event(FeedEvent),
}

impl From<LinkCommand> for SessionOutput {
    fn from(command: LinkCommand) -> Self {
        Self::Command(command)
    }
}

impl From<FeedEvent> for SessionOutput {
    fn from(event: FeedEvent) -> Self {
        Self::Event(event)
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
