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
mod link;
mod mirror;
mod node;
mod reader;
mod redact;
mod report;
mod source;
mod stats;
mod supervisor;
mod target;
mod updates;
mod wire;

pub use config::Builder;
pub use core::{
    engine::Mode,
    freshness::{Freshness, StaleReason},
    mint::{Mint, UiScale},
    observation::{Origin, Slot},
    reading::{Floor, Query, Reading},
    session::{LinkPhase, Profile},
    state::AccountState,
    token::{Delegate, Extensions, NotToken, TokenAccount, TokenProgram},
};
pub use discovery::{Adopted, LeftOut};
pub use error::{AdoptError, ConfigError, ReadError, RpcFailure, Stale, WaitError, WatchError};
pub use health::{Health, NodeHealth};
pub use mirror::Mirror;
pub use node::Node;
pub use reader::{Balance, Reader, ServedFrom};
pub use solana_commitment_config::CommitmentLevel;
pub use solana_pubkey::Pubkey;
pub use target::Target;
pub use updates::{AccountUpdate, ProcessedUpdate, Update, Updates};
