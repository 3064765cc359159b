//! One error enum per thing that can fail; each tells what is wrong with what, and what helps.

use std::time::Duration;

use solana_pubkey::Pubkey;

pub use crate::core::{accounts::WatchError, failure::RpcFailure, reading::Stale};
use crate::core::{freshness::StaleReason, token::TokenProgram};

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

/// A wallet whose token accounts could not be found. Nothing of it was watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// No node said what the wallet holds.
    #[error("no node says what wallet {wallet} holds")]
    Rpc {
        /// The wallet.
        wallet: Pubkey,
        /// What a node said instead.
        #[source]
        source: RpcFailure,
    },
    /// The wallet has more token accounts under one program than an answer holds: some 3 400 with the mirror's own
    /// transport. RPC has no pages for them.
    #[error(
        "wallet {wallet} has more {program} accounts than one answer holds; close the empty ones, give the mirror an          RPC client without that limit (rpc_client), or watch those that matter by their mints"
    )]
    TooLarge {
        /// The wallet.
        wallet: Pubkey,
        /// The program.
        program: TokenProgram,
        /// Whose limit it is.
        #[source]
        source: RpcFailure,
    },
    /// The nodes cannot look accounts up by their owner.
    #[error(
        "the nodes keep no index of {program} accounts by owner, so what wallet {wallet} holds cannot be found; use a          node that has one, or watch the accounts by their mints"
    )]
    NoIndex {
        /// The wallet.
        wallet: Pubkey,
        /// The program.
        program: TokenProgram,
        /// What a node said.
        #[source]
        source: RpcFailure,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
}

impl AdoptError {
    /// Whether the same search may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rpc { source, .. } => source.is_transient(),
            Self::TooLarge { .. } | Self::NoIndex { .. } | Self::Stopped => false,
        }
    }

    /// How long the node wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rpc { source: RpcFailure::RateLimited { retry_after }, .. } => *retry_after,
            _ => None,
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
