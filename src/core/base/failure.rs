//! Why an RPC call gave no answer.

use std::time::Duration;

use crate::core::base::ids::Slot;

/// An RPC call that gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RpcFailure {
    /// The node could not be reached, or the connection broke.
    #[error("the node cannot be reached: {reason}")]
    Unreachable {
        /// The transport's error message.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The time that was given.
        after: Duration,
    },
    /// The node refuses for now (HTTP 429).
    #[error("the node limits the rate of requests{}", retry_after.map(|wait| format!("; it asks to wait {wait:?}")).unwrap_or_default())]
    RateLimited {
        /// How long the node asked to wait, if it said so.
        retry_after: Option<Duration>,
    },
    /// The node has not reached the requested slot yet (-32016).
    #[error("the node has not reached slot {min_slot} yet")]
    Behind {
        /// The requested slot.
        min_slot: Slot,
    },
    /// The node's chain clock is further from this host's wall time than `max_lag`.
    #[error(
        "the node's chain clock is {lag:?} off this host's, more than max_lag: the node lags, or the host's clock is wrong"
    )]
    Lagging {
        /// By how much.
        lag: Duration,
    },
    /// The node answered at a slot that the chain cannot have reached by now, or the node is on
    /// another chain. The mirror ignores it for a while.
    #[error("the node's slot {slot} is ahead of what time allows")]
    Implausible {
        /// The slot.
        slot: Slot,
    },
    /// The node answered with an HTTP status.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The node answered with a JSON-RPC error.
    #[error("the node answered with error {code}: {message}")]
    Server {
        /// The JSON-RPC code.
        code: i64,
        /// The node's message.
        message: String,
    },
    /// The answer does not fit the question.
    #[error("the node's answer does not fit the question: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

impl RpcFailure {
    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::RateLimited { .. }
            | Self::Behind { .. }
            | Self::Implausible { .. }
            | Self::Lagging { .. } => true,
            Self::Status { status } => *status >= 500,
            // Errors such as unhealthy (-32005), internal error or missing snapshot go away by
            // themselves; an error in the request itself does not.
            Self::Server { code, .. } => !matches!(code, -32602..=-32600),
            // A load balancer's error page, for example.
            Self::Malformed { .. } => true,
        }
    }
}
