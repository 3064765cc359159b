//! One error enum per thing that can fail; each tells what is wrong with what, and what helps.

use std::time::Duration;

use solana_pubkey::Pubkey;

use crate::core::{freshness::StaleReason, observation::Slot};

/// Settings that cannot work. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A URL that is none. The URL itself may hold a key and is not repeated.
    #[error("the {what} URL is not a URL: {source}; give one like https://host:port")]
    Url {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// A URL for another protocol.
    #[error("the {what} URL has the scheme {scheme}; it must be {}", schemes.join(" or "))]
    Scheme {
        /// Which one.
        what: &'static str,
        /// Its scheme.
        scheme: String,
        /// The schemes it may have.
        schemes: &'static [&'static str],
    },
    /// There is no port after the RPC URL's.
    #[error("no WebSocket URL follows from the RPC URL's port; set ws_url")]
    NoWsUrl,
    /// A header that HTTP does not allow. Its value may be a key and is not repeated.
    #[error("the header {name:?} has a name or a value that HTTP does not allow; use visible ASCII")]
    Header {
        /// Its name.
        name: String,
    },
    /// A mirror serves confirmed or finalized state.
    #[error("a mirror serves confirmed or finalized state, not processed; processed state can be reverted")]
    Processed,
    /// A setting out of its range.
    #[error("{name} is {value}; it must be {range}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// Started outside a tokio runtime.
    #[error("no tokio runtime runs here; start the mirror from within one, with time and I/O enabled")]
    NoRuntime,
}

/// Accounts that cannot be watched. None of the accounts of the call is watched anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The mirror's limit of accounts is reached.
    #[error("{limit} accounts are watched, the limit; unwatch some, or raise max_accounts")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The account is watched already, with other expectations.
    #[error("account {address} is watched with another mint, owner or program; unwatch it first")]
    Contradiction {
        /// The account.
        address: Pubkey,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
}

/// Memory holds no answer that is fresh enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("account {address} has no fresh state in memory: {why}{}", age.map(|age| format!(" ({age:.1?} old)")).unwrap_or_default())]
#[non_exhaustive]
pub struct Stale {
    /// The account.
    pub address: Pubkey,
    /// What it lacks.
    pub why: StaleReason,
    /// How old the newest proof is, where there is one.
    pub age: Option<Duration>,
}

/// A balance that neither memory nor RPC could give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The account is not watched.
    #[error("account {address} is not watched; watch it first")]
    NotWatched {
        /// The account.
        address: Pubkey,
    },
    /// RPC failed, and memory had nothing fresh.
    #[error("{stale}, and RPC failed")]
    Rpc {
        /// What memory lacked.
        stale: Stale,
        /// What RPC said.
        #[source]
        source: RpcFailure,
    },
    /// The deadline passed first.
    #[error("{stale}, and no answer came within {deadline:?}")]
    Deadline {
        /// What memory lacked.
        stale: Stale,
        /// The time that was given.
        deadline: Duration,
    },
    /// As many reads wait for RPC as the limit allows.
    #[error("{limit} reads wait for RPC already, the limit; try again, or raise max_pending_reads")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
}

impl ReadError {
    /// Whether the same read may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotWatched { .. } | Self::Stopped => false,
            Self::Rpc { source, .. } => source.is_transient(),
            Self::Deadline { .. } | Self::Busy { .. } => true,
        }
    }
}

/// An RPC call that gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcFailure {
    /// The node could not be reached, or the connection broke.
    #[error("the node cannot be reached: {reason}")]
    Unreachable {
        /// What the transport said.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The time that was given.
        after: Duration,
    },
    /// The node refuses for now (HTTP 429).
    #[error("the node limits the rate of requests{}", retry_after.map(|wait| format!(", for {wait:?} more")).unwrap_or_default())]
    RateLimited {
        /// What it asked to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// The node has not come to the slot asked for (-32016).
    #[error("the node is behind slot {min_slot}")]
    Behind {
        /// The slot asked for.
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
    /// The node answered with an HTTP status.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The node answered with a JSON-RPC error.
    #[error("the node answers {message} ({code})")]
    Server {
        /// The JSON-RPC code.
        code: i64,
        /// The node's words.
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
            | Self::Lagging { .. } => true,
            Self::Status { status } => *status >= 500,
            // Unhealthy (-32005), internal error, no snapshot and the like pass; what is wrong with the
            // request itself does not.
            Self::Server { code, .. } => !matches!(code, -32602..=-32600),
            // As by a balancer's error page.
            Self::Malformed { .. } => true,
        }
    }
}

/// A wait that ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline passed first.
    #[error("account {address} did not come to what was waited for within {deadline:?}")]
    Deadline {
        /// The account.
        address: Pubkey,
        /// The time that was given.
        deadline: Duration,
    },
    /// The account is no longer watched, or the mirror has shut down.
    #[error("account {address} is no longer followed: {why}")]
    Ended {
        /// The account.
        address: Pubkey,
        /// Which of the two.
        why: StaleReason,
    },
}
