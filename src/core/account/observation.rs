//! The one currency of every source: at this slot, by this source, the account was so.

use crate::core::{
    base::{
        ids::{EndpointId, Generation, Slot},
        time::Tick,
    },
    chain::token::Presence,
};

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObservedVia {
    Subscription(Generation),
    Rpc(EndpointId),
}

impl ObservedVia {
    /// The connection that says so, if one does.
    pub fn generation(self) -> Option<Generation> {
        match self {
            Self::Subscription(generation) => Some(generation),
            Self::Rpc(_) => None,
        }
    }
}

/// Where a served state came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StateOrigin {
    /// An account-change notification.
    Subscription,
    /// An RPC answer.
    Rpc,
}

impl StateOrigin {
    /// `subscription` or `rpc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscription => "subscription",
            Self::Rpc => "rpc",
        }
    }
}

impl From<ObservedVia> for StateOrigin {
    fn from(source: ObservedVia) -> Self {
        match source {
            ObservedVia::Subscription(_) => Self::Subscription,
            ObservedVia::Rpc(_) => Self::Rpc,
        }
    }
}

/// At `slot`, by `source`, `presence` stood at the account's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    pub presence: Presence,
    /// The context slot: the bank that was looked at, not the slot of the write.
    pub slot: Slot,
    pub source: ObservedVia,
    /// When this was surely true: for an RPC answer the moment its request was sent, for a notification
    /// the link's last proof. [`Tick::NEVER`] where the node lags too far for its word to prove anything.
    pub proof: Tick,
}
