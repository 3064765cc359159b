//! A token on the cluster, and what a test does with it.

use balance_mirror::{Pubkey, TokenProgram, WatchTarget};
use localnet::{
    Instruction, Keypair, Signer,
    tokens::{self, AuthorityType, Extension},
};

use crate::{outcome::Outcome, world::World};

/// A mint of which the payer holds all authorities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) program: TokenProgram,
    pub(crate) mint: Pubkey,
    pub(crate) decimals: u8,
    authority: Pubkey,
}

impl Token {
    /// Creates a mint.
    pub(crate) async fn create(
        world: &World<'_>,
        program: TokenProgram,
        extensions: &[Extension],
    ) -> Outcome<Self> {
        let (mint, authority, decimals) = (Keypair::new(), world.payer().pubkey(), 6);
        let create = tokens::create_mint(
            &program.id(),
            &authority,
            &mint.pubkey(),
            decimals,
            &authority,
            Some(&authority),
            extensions,
        );
        world.send(&create, &[&mint]).await?;
        Ok(Self { program, mint: mint.pubkey(), decimals, authority })
    }

    /// A plain one of SPL Token.
    pub(crate) async fn plain(world: &World<'_>) -> Outcome<Self> {
        Self::create(world, TokenProgram::Token, &[]).await
    }

    /// Two of SPL Token and two of Token-2022, one of them with a transfer fee, of nothing.
    pub(crate) async fn two_of_each_program(world: &World<'_>) -> Outcome<Vec<Self>> {
        let fee = Extension::TransferFee { basis_points: 0, maximum: 0 };
        Ok(vec![
            Self::plain(world).await?,
            Self::plain(world).await?,
            Self::create(world, TokenProgram::Token2022, &[]).await?,
            Self::create(world, TokenProgram::Token2022, &[fee]).await?,
        ])
    }

    pub(crate) fn ata(&self, wallet: &Pubkey) -> Pubkey {
        self.program.associated_account(wallet, &self.mint)
    }

    pub(crate) fn target(&self, wallet: &Pubkey) -> WatchTarget {
        WatchTarget::ata(wallet, &self.mint, self.program)
    }

    // Instructions.

    pub(crate) fn create_ata(&self, wallet: &Pubkey) -> Instruction {
        tokens::create_ata(&self.program.id(), &self.authority, wallet, &self.mint)
    }

    pub(crate) fn mint_to(&self, account: &Pubkey, amount: u64) -> Instruction {
        tokens::mint_to(&self.program.id(), &self.mint, account, &self.authority, amount)
    }

    pub(crate) fn burn(&self, wallet: &Pubkey, amount: u64) -> Instruction {
        tokens::burn(&self.program.id(), &self.ata(wallet), &self.mint, wallet, amount)
    }

    pub(crate) fn transfer(&self, from: &Pubkey, to: &Pubkey, amount: u64) -> Instruction {
        let (source, destination) = (self.ata(from), self.ata(to));
        let (program, decimals) = (self.program.id(), self.decimals);
        tokens::transfer_checked(&program, &source, &self.mint, &destination, from, amount, decimals)
    }

    pub(crate) fn close(&self, wallet: &Pubkey) -> Instruction {
        tokens::close(&self.program.id(), &self.ata(wallet), &self.authority, wallet)
    }

    pub(crate) fn freeze(&self, account: &Pubkey) -> Instruction {
        tokens::freeze(&self.program.id(), account, &self.mint, &self.authority)
    }

    pub(crate) fn thaw(&self, account: &Pubkey) -> Instruction {
        tokens::thaw(&self.program.id(), account, &self.mint, &self.authority)
    }

    pub(crate) fn give_account(&self, account: &Pubkey, from: &Pubkey, to: &Pubkey) -> Instruction {
        let kind = AuthorityType::AccountOwner;
        tokens::set_authority(&self.program.id(), account, kind, from, Some(to))
    }

    // Transactions.

    /// Creates the wallet's account where there is none, and puts tokens in. Returns the slot.
    pub(crate) async fn buy(&self, world: &World<'_>, wallet: &Pubkey, amount: u64) -> Outcome<u64> {
        world.send(&[self.create_ata(wallet), self.mint_to(&self.ata(wallet), amount)], &[]).await
    }

    /// Puts tokens into the wallet's account. Returns the slot.
    pub(crate) async fn mint(&self, world: &World<'_>, wallet: &Pubkey, amount: u64) -> Outcome<u64> {
        world.send(&[self.mint_to(&self.ata(wallet), amount)], &[]).await
    }

    /// Takes all tokens out and closes the account. Returns the slot.
    pub(crate) async fn sell_out(&self, world: &World<'_>, wallet: &Keypair, amount: u64) -> Outcome<u64> {
        world.send(&self.sell_out_with(&wallet.pubkey(), amount), &[wallet]).await
    }

    /// What takes all tokens out and closes the account.
    pub(crate) fn sell_out_with(&self, wallet: &Pubkey, amount: u64) -> [Instruction; 2] {
        [self.burn(wallet, amount), self.close(wallet)]
    }
}
