//! The common form in which every source reports: at this slot, according to this source, the
//! account had this content.

use crate::core::{
    base::{
        ids::{EndpointId, Generation, Slot},
        time::Tick,
    },
    chain::token::Presence,
};

/// Which source made the observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObservedVia {
    Subscription(Generation),
    Rpc(EndpointId),
}

impl ObservedVia {
    /// The connection that made the observation, if it came from a subscription.
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

/// According to `source`, `presence` was at the account's address at `slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    pub presence: Presence,
    /// The context slot: the slot of the bank that was read, not of the write.
    pub slot: Slot,
    pub source: ObservedVia,
    /// The latest moment at which this is known to have been true: for an RPC answer, when its
    /// request was sent; for a notification, the link's last proof. [`Tick::NEVER`] if the node
    /// lags too far for its reports to prove anything.
    pub proof: Tick,
}
