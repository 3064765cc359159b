//! A Solana cluster in the process, for tests, examples and benches of `balance-mirror`.
//!
//! LiteSVM runs the real SPL Token, Token-2022 and ATA programs; around it are slots, three
//! commitments, and the JSON-RPC and WebSocket faces of a node, on loopback. Solana's own clients
//! work against it as they are. It follows the semantics of a 4.2 node, where they matter to
//! someone who mirrors accounts, and can break each of them at will: see [`Faults`].
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use localnet::{CommitmentConfig, Keypair, Localnet, Signer, tokens};
//!
//! let net = Localnet::start()?;
//! let (mint, owner) = (Keypair::new(), net.payer().pubkey());
//! let create = tokens::create_mint(&tokens::TOKEN, &owner, &mint.pubkey(), 6, &owner, None, &[]);
//! net.send(&create, &[&mint])?;
//! net.advance(2);
//! assert!(net.account(&mint.pubkey(), CommitmentConfig::confirmed()).1.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # How it differs from a validator
//!
//! * One chain; further nodes ([`Localnet::add_node`]) only show it. A bank is frozen every slot
//!   time, and only the open bank takes transactions: they show at `processed` when their slot
//!   ends. A commitment is reached by depth alone.
//! * Preflight and simulation run on the open bank, whatever commitment was asked for.
//! * No durable nonces, no address lookup tables, no priority fees, no stake, one epoch after
//!   genesis.
//! * History is bounded: 4096 writes of an account, 4096 blocks.

mod chain;
mod cluster;
mod conditions;
mod encoding;
mod face;
mod faults;
mod hostile;
mod http;
mod hub;
mod jsonrpc;
mod lies;
mod net;
mod node;
mod notifier;
mod pubsub;
mod rng;
mod rpc;
mod send;
mod stats;
mod store;
pub mod tokens;
mod ws;

pub use solana_account::Account;
pub use solana_commitment_config::CommitmentConfig;
pub use solana_hash::Hash;
pub use solana_instruction::Instruction;
pub use solana_keypair::Keypair;
pub use solana_pubkey::Pubkey;
pub use solana_signature::Signature;
pub use solana_signer::Signer;

pub use crate::{
    conditions::TooMany,
    faults::{Aim, Fault, Faults},
    hostile::{
        answers::BadAnswer,
        flood::Flood,
        forged::Forged,
        junk::{Huge, Junk},
        malformed::Malformed,
    },
    lies::Side,
    net::{Accounts, Builder, Localnet},
    node::Node,
    rng::Rng,
    send::{Landed, SendError},
    stats::Stats,
};
