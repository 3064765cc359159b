//! One error enum per thing that can fail; each tells what is wrong with what, and what helps.

use std::time::Duration;

use solana_pubkey::Pubkey;
use solana_signature::Signature;

pub use crate::core::{
    account::freshness::StaleError, base::failure::RpcFailure, engine::events::WatchError,
};
use crate::core::{account::freshness::StaleReason, base::ids::Slot, chain::token::TokenProgram};

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
    /// This host's TLS cannot be set up for RPC.
    #[error(
        "no HTTP client for {url}: {reason}; check the TLS set-up of this host, or give an rpc_client of your own"
    )]
    Tls {
        /// The node's URLs, without what may be a key.
        url: String,
        /// What failed.
        reason: String,
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
        stale: StaleError,
        /// What RPC said.
        #[source]
        source: RpcFailure,
    },
    /// The deadline passed first.
    #[error("{stale}, and no answer came within {deadline:?}")]
    Deadline {
        /// What memory lacked.
        stale: StaleError,
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
        "wallet {wallet} has more {program} accounts than one answer holds; close the empty ones, give the mirror an RPC client without that limit (rpc_client), or watch those that matter by their mints"
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
        "the nodes keep no index of {program} accounts by owner, so what wallet {wallet} holds cannot be found; use a node that has one, or watch the accounts by their mints"
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

/// Why the program of a mint is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// RPC answered, and no mint of either token program stands there.
    #[error("no mint stood there at slot {slot}")]
    Absent {
        /// The slot of the last such answer.
        slot: Slot,
    },
    /// RPC did not answer.
    #[error("no answer came within {deadline:?}")]
    NoAnswer {
        /// The time that was given: `read_deadline`.
        deadline: Duration,
    },
}

/// A position that cannot be opened. Do not send the buy, or send it without: nothing would tell when it is settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuyError {
    /// Its account cannot be watched.
    #[error("the account of a position cannot be watched")]
    Watch(#[from] WatchError),
    /// The mint's program was not given, and could not be read.
    #[error("the program of mint {mint} is not known; give it if you know it")]
    Mint {
        /// The mint.
        mint: Pubkey,
        /// Why not.
        #[source]
        source: MintError,
    },
    /// What the account holds before the buy could not be read.
    #[error("what the account holds before the buy is not known")]
    Baseline(#[from] ReadError),
}

impl BuyError {
    /// Whether the same call may succeed a little later. A mint that is not there may be too new to be seen.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Watch(_) => false,
            Self::Mint { .. } => true,
            Self::Baseline(error) => error.is_transient(),
        }
    }
}

/// What is known of a buy's landing when its deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuyLanding {
    /// No signature was given: it may land at any time, or never.
    Unknown,
    /// Its signature has not been seen to land, and it may still.
    Pending,
    /// It landed at that slot; what the account holds is not known as of there.
    Landed {
        /// The slot.
        slot: Slot,
    },
    /// It did not land and cannot land any more; but something arrived, less than expected.
    Expired,
}

/// A buy that is not settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// It failed on chain. Nothing of it arrived, and its account is let go if nothing else keeps it.
    #[error("the buy {signature} failed on chain at slot {slot}")]
    Failed {
        /// Its signature.
        signature: Signature,
        /// The slot at which it failed.
        slot: Slot,
    },
    /// It did not land, and can land no more. Its account is let go if nothing else keeps it.
    #[error("the buy {signature} was valid up to block height {last_valid_block_height} and did not land")]
    Expired {
        /// Its signature.
        signature: Signature,
        /// The last block height at which it could land.
        last_valid_block_height: u64,
    },
    /// The deadline passed first. The buy is still expected: wait again, or drop the position.
    #[error("{received} of {expected} arrived within {deadline:?}")]
    Deadline {
        /// What arrived over the baseline, as far as is known.
        received: u64,
        /// The minimum that was expected.
        expected: u64,
        /// The time that was given.
        deadline: Duration,
        /// What is known of its landing.
        landing: BuyLanding,
    },
    /// As many signatures are followed as the limit allows.
    #[error("{limit} signatures are followed already, the limit; wait for one less at a time")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The position has no baseline: it does not come from `expect_buy`.
    #[error("the position has no baseline to tell a buy by; open it with expect_buy")]
    NoBaseline,
    /// The chain began anew, and slots and amounts from before the buy mean nothing now.
    #[error("the chain began anew since the buy was expected")]
    Reset,
    /// The account is no longer watched, or the mirror has shut down.
    #[error(transparent)]
    Ended(StaleError),
}
