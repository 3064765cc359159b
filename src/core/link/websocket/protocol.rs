//! What a session learns from its socket, and what it decides.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::{probe::NodeProfile, timers::Timer};
use crate::core::{
    base::{backoff::Backoff, ids::Slot},
    chain::token::Presence,
    link::feed::FeedEvent,
};

/// What a subscription is for. The server's id of it is valid only on one connection; this is our
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The Clock sysvar, subscribed for as long as the connection lives.
    Canary,
    /// A watched account. If the server acknowledged an earlier attempt on this connection, a later
    /// attempt uses parameters of its own until the earlier one's unsubscribe is confirmed. So it
    /// neither shares the earlier subscription nor ends with it.
    Account { address: Pubkey, attempt: u32, own_parameters: bool },
    /// The Clock sysvar once more, with a slice length that makes it a new entry in the server's
    /// queue.
    Barrier { length: u64 },
    /// An account that never changes, subscribed only to get an answer.
    Keepalive { round: u32 },
}

/// What happened on the socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionEvent {
    Acknowledged(Subject),
    Refused(Subject),
    /// The server has confirmed an unsubscribe: it no longer holds that subscription.
    Unsubscribed(Subject),
    /// The canary's subscription ended when a barrier was acknowledged: the server gave both the
    /// same id, because slices are not part of its keys.
    CanaryReplaced,
    /// A canary, delivered after everything that arrived before it. The lag is wall time at its
    /// arrival less the chain's Clock.
    Canary {
        slot: Slot,
        lag_ms: i64,
    },
    /// A barrier's notification.
    Barrier {
        length: u64,
        slot: Slot,
    },
    /// An account's notification. The presence is `None` if the notification cannot be read.
    Account {
        subject: Subject,
        slot: Slot,
        presence: Option<Presence>,
    },
}

/// What the connection's driver should do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkCommand {
    Connect,
    /// Give the connection up. `overdue` names the missed deadline if the session found the
    /// connection dead by it. Pending subscribes are not cancelled: the driver drops the whole
    /// client.
    Disconnect {
        overdue: Option<Timer>,
    },
    Subscribe(Subject),
    Unsubscribe(Subject),
}

/// What a session decides, in the order in which to carry it out.
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
    /// How many slots after a canary's own must have passed before that canary proves anything;
    /// needed in addition to the order of two canaries. See [`crate::core::account::evidence`].
    pub settled_after: Slot,
    /// How long the link must have been live before the next loss counts as the first one again.
    pub healthy_after: Duration,
    pub backoff: Backoff,
    /// The most subscribes that may be unanswered at once, and the size of the burst.
    pub in_flight: usize,
    /// Subscribes per second, once the first burst is sent. Barriers and the canary do not wait for
    /// this rate, but count towards it.
    pub subscribe_rate: u32,
}
