#![doc = include_str!("../README.md")]

mod api;
mod clock;
mod core;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
// What the guide shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/migration.md")]
mod migration {}
mod observability;
mod runtime;
mod sources;
mod store;

pub use api::{
    builder::Builder,
    mirror::Mirror,
    node::Node,
    reader::{Balance, Reader, ServedFrom},
    target::Target,
    trade::{
        hold::{Hold, HoldError, InFlight, SellOutcome},
        position::Position,
        settle::{Buy, Settled, SettledBy},
    },
};
pub use core::{
    account::{
        freshness::{Freshness, StaleReason},
        observation::{Origin, Slot},
        reading::{Floor, Query, Reading},
        sellable::{Obstacle, Obstacles, Sellable, Unsellable, Warning, Warnings},
    },
    chain::{
        mint::{FeeRate, Mint, TransferFee, UiScale},
        state::AccountState,
        token::{Delegate, Extensions, NotToken, TokenAccount, TokenProgram},
    },
    engine::Mode,
    link::websocket::{LinkPhase, Profile},
    trade::buys::Baseline,
};
pub use error::{
    AdoptError, BuyError, ConfigError, Landing, MintError, NotSettled, ReadError, RpcFailure, Stale,
    WaitError, WatchError,
};
pub use observability::{
    counters::Quantiles,
    health::{Health, NodeHealth},
    token_stats::TokenStats,
};
pub use runtime::wallet_search::{Adopted, LeftOut};
pub use solana_commitment_config::CommitmentLevel;
pub use solana_pubkey::Pubkey;
pub use solana_signature::Signature;
pub use store::updates::{AccountUpdate, ProcessedUpdate, Update, Updates};
