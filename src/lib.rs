#![doc = include_str!("../README.md")]

mod book;
mod clock;
mod config;
mod core;
mod endpoint;
mod error;
mod fallback;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod link;
mod mirror;
mod reader;
mod reading;
mod redact;
mod source;
mod stats;
mod target;
mod updates;
mod wire;

pub use config::Builder;
pub use core::{
    freshness::{Freshness, StaleReason},
    mint::{Mint, UiScale},
    observation::{Origin, Slot},
    session::LinkPhase,
    state::AccountState,
    token::{Delegate, Extensions, NotToken, TokenAccount, TokenProgram},
};
pub use error::{ConfigError, ReadError, RpcFailure, Stale, WaitError, WatchError};
pub use health::Health;
pub use mirror::Mirror;
pub use reader::{Balance, Reader, ServedFrom};
pub use reading::{Floor, Query, Reading};
pub use solana_commitment_config::CommitmentLevel;
pub use solana_pubkey::Pubkey;
pub use target::Target;
pub use updates::{AccountUpdate, Update, Updates};
