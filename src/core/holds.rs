//! Tokens that are spoken for, by account: reserved, in a sell that is under way, or sold and not yet seen to be gone.
use solana_pubkey::Pubkey;

use super::{observation::Slot, reading::Stale};

/// Tokens that cannot be held. Nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// Memory has no balance that is fresh enough to sell on.
    #[error("{0}; read the balance (which asks RPC), then hold again")]
    Stale(#[from] Stale),
    /// The account's tokens cannot be sold.
    #[error("the tokens of account {address} cannot be sold: it is {state}")]
    Unsellable {
        /// The account.
        address: Pubkey,
        /// What stands in the way.
        state: &'static str,
    },
    /// More than is there and not spoken for.
    #[error(
        "{wanted} tokens of account {address} are wanted, {available} are available; hold less, or wait until others' sells end"
    )]
    TooMuch {
        /// The account.
        address: Pubkey,
        /// How many were wanted.
        wanted: u64,
        /// How many are there, less what others hold.
        available: u64,
    },
    /// No tokens were asked for, or all there are was asked for and there are none.
    #[error("there is nothing to hold of account {address}: hold at least one token, where one is available")]
    Nothing {
        /// The account.
        address: Pubkey,
    },
    /// As many holds are open as a mirror can look after.
    #[error("{limit} holds are open, the limit; end or drop some first")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// What is spoken for of one account's tokens, as published with its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) reserved: u64,
    /// In sells that may still land, or that cannot, which the record does not show yet.
    pub(crate) in_flight: u64,
    /// In sells that landed and that the account itself was not seen to contain yet.
    pub(crate) debited: u64,
    /// What a caller knows to have landed: reads wait until the account was seen at this slot or later. 0 where none is awaited.
    pub(crate) floor: Slot,
}

impl Held {
    /// What is left of `observed`.
    pub(crate) fn available(&self, observed: u64) -> u64 {
        let held = self.reserved.saturating_add(self.in_flight).saturating_add(self.debited);
        observed.saturating_sub(held)
    }
}
