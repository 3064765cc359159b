#![doc = include_str!("../README.md")]

mod book;
mod clock;
mod config;
mod core;
mod discovery;
mod endpoint;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod hold;
mod lag;
mod link;
// What the guide shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/migration.md")]
mod migration {}
mod mirror;
mod node;
mod position;
mod reader;
mod redact;
mod report;
mod settled;
mod source;
mod stats;
mod supervisor;
mod target;
mod token_stats;
mod updates;
mod wire;

pub use config::Builder;
pub use core::{
    buys::Baseline,
    engine::Mode,
    freshness::{Freshness, StaleReason},
    mint::{FeeRate, Mint, TransferFee, UiScale},
    observation::{Origin, Slot},
    reading::{Floor, Query, Reading},
    sellable::{Obstacle, Obstacles, Sellable, Unsellable, Warning, Warnings},
    session::{LinkPhase, Profile},
    state::AccountState,
    token::{Delegate, Extensions, NotToken, TokenAccount, TokenProgram},
};
pub use discovery::{Adopted, LeftOut};
pub use error::{
    AdoptError, BuyError, ConfigError, Landing, MintError, NotSettled, ReadError, RpcFailure, Stale,
    WaitError, WatchError,
};
pub use health::{Health, NodeHealth};
pub use hold::{Hold, HoldError, InFlight, SellOutcome};
pub use mirror::Mirror;
pub use node::Node;
pub use position::Position;
pub use reader::{Balance, Reader, ServedFrom};
pub use settled::{Buy, Settled, SettledBy};
pub use solana_commitment_config::CommitmentLevel;
pub use solana_pubkey::Pubkey;
pub use solana_signature::Signature;
pub use stats::Quantiles;
pub use target::Target;
pub use token_stats::TokenStats;
pub use updates::{AccountUpdate, ProcessedUpdate, Update, Updates};
