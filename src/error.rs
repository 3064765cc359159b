//! One error enum for each operation that can fail. Each error names what failed, why, and what
//! helps.

use std::time::Duration;

use solana_pubkey::Pubkey;
use solana_signature::Signature;

pub use crate::core::{
    account::freshness::StaleError, base::failure::RpcFailure, engine::events::WatchError,
};
use crate::core::{account::freshness::StaleReason, base::ids::Slot, chain::token::TokenProgram};

/// Settings that cannot work. The mirror did not start anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not a URL. The error does not repeat it, because it may hold a key.
    #[error("the {what} URL is not valid: {source}; give one like https://host:port")]
    Url {
        /// Which URL: RPC or WebSocket.
        what: &'static str,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// The URL has the wrong scheme.
    #[error("the {what} URL has the scheme {scheme}; it must be {}", schemes.join(" or "))]
    Scheme {
        /// Which URL: RPC or WebSocket.
        what: &'static str,
        /// Its scheme.
        scheme: String,
        /// The schemes it may have.
        schemes: &'static [&'static str],
    },
    /// The RPC URL has the highest port number, so the default WebSocket port, the next one, does
    /// not exist.
    #[error("the RPC URL has the highest port, so there is no next one for the WebSocket URL; set ws_url")]
    NoWsUrl,
    /// HTTP does not allow this header. The error does not repeat its value, which may be a key.
    #[error("the header {name:?} has a name or a value that HTTP does not allow; use visible ASCII")]
    Header {
        /// The header's name.
        name: String,
    },
    /// The commitment is processed; a mirror serves confirmed or finalized state only.
    #[error("the commitment is processed, which the chain can revert; choose confirmed or finalized")]
    Processed,
    /// A setting is out of its range.
    #[error("{name} is {value}; it must be {range}")]
    Range {
        /// The setting's name.
        name: &'static str,
        /// The value it was given.
        value: String,
        /// The values it may have.
        range: &'static str,
    },
    /// The HTTP client for RPC cannot be set up on this host (TLS).
    #[error(
        "cannot make an HTTP client for {url}: {reason}; check the TLS set-up of this host, or give your own rpc_client"
    )]
    Tls {
        /// The node's RPC URL, with every part that may be a key removed.
        url: String,
        /// What failed.
        reason: String,
    },
    /// The mirror was started outside a tokio runtime.
    #[error(
        "the caller is not in a tokio runtime; start the mirror from within one, with time and I/O enabled"
    )]
    NoRuntime,
}

/// Neither memory nor RPC could give a balance that meets the query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The account is not watched.
    #[error("account {address} is not watched; watch it first")]
    NotWatched {
        /// The account.
        address: Pubkey,
    },
    /// Memory had nothing fresh enough, and RPC failed.
    #[error("{stale}, and RPC failed")]
    Rpc {
        /// Why memory did not meet the query.
        stale: StaleError,
        /// How RPC failed.
        #[source]
        source: RpcFailure,
    },
    /// The deadline passed first.
    #[error("{stale}, and no answer came within {deadline:?}")]
    Deadline {
        /// Why memory did not meet the query.
        stale: StaleError,
        /// The deadline, as a duration from the call.
        deadline: Duration,
    },
    /// The limit of reads that may wait for RPC at the same time is reached.
    #[error("{limit} reads already wait for RPC, which is the limit; try again, or raise max_pending_reads")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
}

impl ReadError {
    /// Whether the same read may succeed if you retry it a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotWatched { .. } | Self::Stopped => false,
            Self::Rpc { source, .. } => source.is_transient(),
            Self::Deadline { .. } | Self::Busy { .. } => true,
        }
    }
}

/// The token accounts of a wallet could not be found. The mirror watches none of them for this
/// call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// No node answered what the wallet holds.
    #[error("no node answered what wallet {wallet} holds")]
    Rpc {
        /// The wallet.
        wallet: Pubkey,
        /// How a node failed.
        #[source]
        source: RpcFailure,
    },
    /// The wallet has more token accounts under one token program than fit into one answer: some 3
    /// 400 with the mirror's own transport. RPC offers no paging for this call.
    #[error(
        "wallet {wallet} has more {program} accounts than fit into one answer; close the empty ones, give the mirror an RPC client without that limit (rpc_client), or watch the accounts that matter by their mints"
    )]
    TooLarge {
        /// The wallet.
        wallet: Pubkey,
        /// The program.
        program: TokenProgram,
        /// The failure, which shows whether the limit is the node's or the mirror's.
        #[source]
        source: RpcFailure,
    },
    /// The nodes cannot look up accounts by their owner.
    #[error(
        "the nodes keep no index of {program} accounts by owner, so they cannot find what wallet {wallet} holds; use a node that has one, or watch the accounts by their mints"
    )]
    NoIndex {
        /// The wallet.
        wallet: Pubkey,
        /// The program.
        program: TokenProgram,
        /// The answer of a node.
        #[source]
        source: RpcFailure,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
}

impl AdoptError {
    /// Whether the same search may succeed if you retry it a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rpc { source, .. } => source.is_transient(),
            Self::TooLarge { .. } | Self::NoIndex { .. } | Self::Stopped => false,
        }
    }

    /// How long the node asked the mirror to wait before the next request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rpc { source: RpcFailure::RateLimited { retry_after }, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A wait ended before its condition was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline passed first.
    #[error("account {address} did not reach the awaited state within {deadline:?}")]
    Deadline {
        /// The account.
        address: Pubkey,
        /// The deadline, as a duration from the call.
        deadline: Duration,
    },
    /// The account is no longer watched, or the mirror has shut down.
    #[error("account {address} is no longer followed: {why}")]
    Ended {
        /// The account.
        address: Pubkey,
        /// Which of the two it is.
        why: StaleReason,
    },
}

/// Why the program of a mint is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// RPC answered that there is no mint of either token program at the address.
    #[error("there was no mint at that address at slot {slot}")]
    Absent {
        /// The slot of the latest such answer.
        slot: Slot,
    },
    /// RPC did not answer.
    #[error("no answer came within {deadline:?}")]
    NoAnswer {
        /// How long the mirror waited: `read_deadline`.
        deadline: Duration,
    },
}

/// A position could not be opened. Do not send the buy: without the position, the mirror cannot
/// report when it settles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuyError {
    /// The position's token account cannot be watched.
    #[error("the position's account cannot be watched, so no buy can be followed; its cause says what helps")]
    Watch(#[from] WatchError),
    /// The caller did not give the mint's token program, and the mirror could not read it.
    #[error("the token program of mint {mint} is not known; pass it if you know it")]
    Mint {
        /// The mint.
        mint: Pubkey,
        /// Why the mirror could not read it.
        #[source]
        source: MintError,
    },
    /// The mirror could not read what the account holds before the buy.
    #[error(
        "what the account holds before the buy could not be read, so do not send it; try again, and check the node's RPC if it lasts"
    )]
    Baseline(#[from] ReadError),
}

impl BuyError {
    /// Whether the same call may succeed if you retry it a little later. An absent mint counts as
    /// transient: it may be too new for the node to see.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Watch(_) => false,
            Self::Mint { .. } => true,
            Self::Baseline(error) => error.is_transient(),
        }
    }
}

/// What the mirror knows about a buy's landing when the deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuyLanding {
    /// The caller gave no signature: the buy may land at any time, or never.
    Unknown,
    /// The mirror has not seen the signature land. It may still land.
    Pending,
    /// The buy landed at this slot, but the mirror does not yet know what the account holds as of
    /// that slot.
    Landed {
        /// The slot in which it landed.
        slot: Slot,
    },
    /// The buy did not land and can no longer land. Tokens did arrive, but fewer than expected.
    Expired,
}

/// What is known of a buy that is overdue, and what to do about it.
fn advice(landing: BuyLanding) -> String {
    match landing {
        BuyLanding::Unknown => {
            "without its signature it is not known whether the buy landed: wait again, or drop the position"
                .to_owned()
        }
        BuyLanding::Pending => {
            "the buy was not seen to land and still may: wait again before you buy anew".to_owned()
        }
        BuyLanding::Landed { slot } => {
            format!("the buy landed at slot {slot}, but the account was not yet read as of it: wait again")
        }
        BuyLanding::Expired => {
            "the buy can no longer land, so these came from elsewhere: drop the position, or buy again"
                .to_owned()
        }
    }
}

/// Why a buy is not settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The buy failed on chain and brought no tokens. The mirror stops watching its account unless
    /// something else keeps it.
    #[error("the buy {signature} failed on chain at slot {slot} and brought nothing; you can buy again")]
    Failed {
        /// Its signature.
        signature: Signature,
        /// The slot in which it failed.
        slot: Slot,
    },
    /// The buy did not land and can no longer land. The mirror stops watching its account unless
    /// something else keeps it.
    #[error(
        "the buy {signature} did not land by block height {last_valid_block_height}, and can no longer land; you can buy again"
    )]
    Expired {
        /// Its signature.
        signature: Signature,
        /// The last block height at which it could land.
        last_valid_block_height: u64,
    },
    /// The deadline passed before the buy settled. The mirror still expects the buy: wait again, or
    /// drop the position.
    #[error("{received} of {expected} raw units arrived within {deadline:?}; {}", advice(*landing))]
    Deadline {
        /// How much arrived over the baseline, as a raw amount, as far as the mirror knows.
        received: u64,
        /// The expected minimum, as a raw amount.
        expected: u64,
        /// The deadline, as a duration from the call.
        deadline: Duration,
        /// What the mirror knows about its landing.
        landing: BuyLanding,
    },
    /// The limit of signatures that the mirror follows at the same time is reached.
    #[error("{limit} signatures are already followed, which is the limit; wait for fewer buys at a time")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The position has no baseline, because it does not come from `expect_buy`.
    #[error("the position has no baseline to compare a buy with; open it with expect_buy")]
    NoBaseline,
    /// The chain began anew (a test validator was reset, say), so slots and amounts from before the
    /// buy no longer mean anything.
    #[error(
        "the chain began anew since the buy was expected, so amounts from before mean nothing; read the balance, and open a new position with expect_buy"
    )]
    Reset,
    /// The account is no longer watched, or the mirror has shut down.
    #[error(transparent)]
    Ended(StaleError),
}
