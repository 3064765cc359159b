//! Describes an account to watch.

use solana_pubkey::Pubkey;

use crate::core::chain::{state::Expected, token::TokenProgram};

/// An account to watch, and what the bot expects it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchTarget {
    pub(crate) address: Pubkey,
    pub(crate) expected: Expected,
}

impl WatchTarget {
    /// A token account by its address. Unless you give them, the mirror learns mint, owner and
    /// program from its first observation, so it can only detect later changes of them.
    pub fn account(address: Pubkey) -> Self {
        Self { address, expected: Expected::default() }
    }

    /// A wallet's associated token account (ATA) for a mint, which may not exist yet.
    pub fn ata(wallet: &Pubkey, mint: &Pubkey, program: TokenProgram) -> Self {
        Self {
            address: program.associated_account(wallet, mint),
            expected: Expected { program: Some(program), mint: Some(*mint), owner: Some(*wallet) },
        }
    }

    /// Expects the account to hold this mint's tokens.
    #[must_use]
    pub fn mint(mut self, mint: Pubkey) -> Self {
        self.expected.mint = Some(mint);
        self
    }

    /// Expects this wallet to own the account.
    #[must_use]
    pub fn owner(mut self, owner: Pubkey) -> Self {
        self.expected.owner = Some(owner);
        self
    }

    /// Expects this token program to own the account.
    #[must_use]
    pub fn program(mut self, program: TokenProgram) -> Self {
        self.expected.program = Some(program);
        self
    }

    /// The account's address.
    pub fn address(&self) -> Pubkey {
        self.address
    }
}
