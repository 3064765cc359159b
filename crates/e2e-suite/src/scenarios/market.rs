//! Accounts that are traded: what most scenarios of several nodes and connections begin with.

use std::time::Duration;

use balance_mirror::{Mirror, MirrorBuilder, Pubkey, Reader};
use localnet::{Keypair, Signer};

use crate::{outcome::Outcome, token::Token, world::World};

/// The age that the scenarios accept, unless it is what they are about.
pub(super) const USUAL: Duration = Duration::from_secs(30);

/// How many of them one transaction changes.
const AT_ONCE: usize = 8;

/// Some accounts of one mint, which hold 100 each.
pub(super) struct Market {
    pub(super) token: Token,
    pub(super) wallets: Vec<Pubkey>,
    pub(super) accounts: Vec<Pubkey>,
}

impl Market {
    pub(super) async fn open(world: &World<'_>, count: usize) -> Outcome<Self> {
        let token = Token::plain(world).await?;
        let wallets: Vec<_> = (0..count).map(|_| Keypair::new().pubkey()).collect();
        futures::future::try_join_all(wallets.iter().map(|wallet| token.buy(world, wallet, 100))).await?;
        let accounts = wallets.iter().map(|wallet| token.ata(wallet)).collect();
        Ok(Self { token, wallets, accounts })
    }

    /// A mirror that watches all of them, without waiting for anything.
    pub(super) fn watch(&self, builder: MirrorBuilder) -> Outcome<(Mirror, Vec<Reader>)> {
        let mirror = builder.start()?;
        let readers = mirror.watch_all(self.wallets.iter().map(|wallet| self.token.target(wallet)))?;
        Ok((mirror, readers))
    }

    /// A mirror to which all of them are live.
    pub(super) async fn follow(
        &self,
        world: &World<'_>,
        builder: MirrorBuilder,
    ) -> Outcome<(Mirror, Vec<Reader>)> {
        let (mirror, readers) = self.watch(builder)?;
        self.hold(world, &readers, 100).await?;
        Ok((mirror, readers))
    }

    pub(super) async fn hold(&self, world: &World<'_>, readers: &[Reader], amount: u64) -> Outcome {
        for reader in readers {
            world.holds(reader, amount).await?;
        }
        Ok(())
    }

    /// One more token for each. Returns the slot of the last.
    pub(super) async fn trade(&self, world: &World<'_>) -> Outcome<u64> {
        let mut slot = 0;
        for accounts in self.accounts.chunks(AT_ONCE) {
            let mints: Vec<_> = accounts.iter().map(|account| self.token.mint_to(account, 1)).collect();
            slot = world.send(&mints, &[]).await?;
        }
        Ok(slot)
    }
}
