#![doc = include_str!("../README.md")]

mod api;
mod clock;
#[cfg(not(feature = "internals"))]
mod core;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod core;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
// Compiles the code that the migration guide shows.
#[cfg(doctest)]
#[doc = include_str!("../docs/migration.md")]
mod migration {}
mod observability;
mod runtime;
mod sources;
mod store;

pub use api::{
    adopt::AdoptedWallet,
    builder::MirrorBuilder,
    mirror::Mirror,
    node::NodeConfig,
    reader::{Balance, Reader, ServedFrom},
    target::WatchTarget,
    trade::{
        hold::{Hold, HoldError, InFlight, SellOutcome},
        position::Position,
        settle::{ExpectedBuy, SettledBuy, SettledThrough},
    },
};
pub use core::{
    account::{
        freshness::{Freshness, StaleReason},
        observation::StateOrigin,
        reading::{Floor, ReadQuery, Reading},
        sellable::{SellObstacle, SellObstacles, SellWarning, SellWarnings, Sellable, Unsellable},
    },
    base::ids::Slot,
    chain::{
        mint::{FeeRate, MintInfo, TransferFee, UiScale},
        state::AccountState,
        token::{NotToken, TokenAccount, TokenDelegate, TokenExtensions, TokenProgram},
    },
    link::{feed::LinkPhase, websocket::NodeProfile},
    nodes::failover::NodeMode,
    trade::buys::BuyBaseline,
};
pub use error::{
    AdoptError, BuyError, BuyLanding, ConfigError, MintError, ReadError, RpcFailure, SettleError, StaleError,
    WaitError, WatchError,
};
pub use observability::{
    counters::Quantiles,
    health::{Health, NodeHealth},
    token_stats::TokenStats,
};
pub use runtime::wallet_search::LeftOutAccount;
pub use solana_commitment_config::CommitmentLevel;
pub use solana_pubkey::Pubkey;
pub use solana_signature::Signature;
pub use store::updates::{AccountUpdate, MirrorUpdate, MirrorUpdates, ProcessedUpdate};
