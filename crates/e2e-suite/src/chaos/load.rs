//! The load: wallets and mints of both token programs, and transactions all the time.

use std::cell::Cell;

use balance_mirror::{Pubkey, Slot, WatchTarget};
use localnet::{Instruction, Keypair, Signer};

use super::{
    random::Random,
    truth::{Held, Truth},
};
use crate::{outcome::Outcome, token::Token, world::World};

/// Wallets whose accounts are watched all the time. One more is watched only now and then.
const WALLETS: usize = 3;

pub(super) struct Load<'a> {
    world: &'a World<'a>,
    tokens: Vec<Token>,
    wallets: Vec<Keypair>,
}

impl<'a> Load<'a> {
    /// Two mints of each program, and as many wallets. Nobody has an account yet.
    pub(super) async fn open(world: &'a World<'a>) -> Outcome<Self> {
        let tokens = Token::two_of_each_program(world).await?;
        let wallets = (0..=WALLETS).map(|_| Keypair::new()).collect();
        Ok(Self { world, tokens, wallets })
    }

    pub(super) fn mints(&self) -> usize {
        self.tokens.len()
    }

    /// What is watched all the time.
    pub(super) fn targets(&self) -> Vec<WatchTarget> {
        let of_wallet = |wallet: &Keypair| {
            let wallet = wallet.pubkey();
            self.tokens.iter().map(move |token| token.target(&wallet)).collect::<Vec<_>>()
        };
        self.wallets[..WALLETS].iter().flat_map(of_wallet).collect()
    }

    /// What is watched now and then, by mint.
    pub(super) fn late(&self) -> Vec<WatchTarget> {
        self.tokens.iter().map(|token| token.target(&self.wallets[WALLETS].pubkey())).collect()
    }

    /// Moves one mint's tokens until it is over; tells of each transaction that has landed, and
    /// whom it changed.
    pub(super) async fn trade(
        &self,
        mint: usize,
        truth: &Truth,
        mut random: Random,
        over: &Cell<bool>,
        landed: impl Fn(Pubkey, Slot),
    ) -> Outcome {
        let token = self.tokens[mint];
        let accounts: Vec<_> = self.wallets.iter().map(|wallet| token.ata(&wallet.pubkey())).collect();
        while !over.get() {
            // Anew each time: what has landed may have been reverted.
            let held = accounts.iter().map(|address| truth.newest(address)).collect();
            let mut book = Book { token, held };
            let Some(deed) = book.next(&mut random) else { continue };
            let (instructions, signer) = book.instructions(deed, &self.wallets);
            let ticket = truth.sending();
            let slot =
                self.send(&instructions, signer).await.map_err(|error| format!("{deed:?}: {error}"))?;
            let changed = book.done(deed);
            let left: Vec<_> =
                changed.into_iter().map(|wallet| (accounts[wallet], book.held[wallet])).collect();
            truth.landed(ticket, slot, &left);
            left.into_iter().for_each(|(address, _)| landed(address, slot));
            self.world.pass(self.world.slots(1).mul_f64(0.5 + 2.0 * random.fraction())).await;
        }
        Ok(())
    }

    /// Sends past every proxy. In the local cluster that needs no RPC, whose faults are not the
    /// load's.
    async fn send(&self, instructions: &[Instruction], signer: Option<&Keypair>) -> Outcome<Slot> {
        let signers: Vec<_> = signer.into_iter().collect();
        match self.world.local() {
            Ok(net) => Ok(net.send(instructions, &signers)?.slot),
            Err(_) => self.world.send(instructions, &signers).await,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Create { wallet: usize },
    Mint { wallet: usize, amount: u64 },
    Transfer { from: usize, to: usize, amount: u64 },
    Burn { wallet: usize, amount: u64 },
    Freeze { wallet: usize },
    Thaw { wallet: usize },
    Close { wallet: usize, amount: u64 },
}

/// What one mint's accounts hold, by wallet.
struct Book {
    token: Token,
    held: Vec<Held>,
}

impl Book {
    /// Something that the chain will accept.
    fn next(&self, random: &mut Random) -> Option<Deed> {
        let wallet = random.index(self.held.len());
        let amount = match self.held[wallet] {
            Held::Nothing => return Some(Deed::Create { wallet }),
            Held::Frozen(_) => return Some(Deed::Thaw { wallet }),
            Held::Tokens(amount) => amount,
        };
        Some(match random.below(20) {
            0..=5 => {
                let to = random.index(self.held.len());
                if to == wallet || amount == 0 || !matches!(self.held[to], Held::Tokens(_)) {
                    return None;
                }
                Deed::Transfer { from: wallet, to, amount: random.below(amount) + 1 }
            }
            6..=8 if amount > 0 => Deed::Burn { wallet, amount: random.below(amount) + 1 },
            9 => Deed::Freeze { wallet },
            10..=11 => Deed::Close { wallet, amount },
            _ => Deed::Mint { wallet, amount: random.below(1_000) + 1 },
        })
    }

    fn instructions<'k>(&self, deed: Deed, keys: &'k [Keypair]) -> (Vec<Instruction>, Option<&'k Keypair>) {
        let key = |wallet: usize| keys[wallet].pubkey();
        let address = |wallet: usize| self.token.ata(&key(wallet));
        let token = &self.token;
        match deed {
            Deed::Create { wallet } => (vec![token.create_ata(&key(wallet))], None),
            Deed::Mint { wallet, amount } => (vec![token.mint_to(&address(wallet), amount)], None),
            Deed::Transfer { from, to, amount } => {
                (vec![token.transfer(&key(from), &key(to), amount)], Some(&keys[from]))
            }
            Deed::Burn { wallet, amount } => (vec![token.burn(&key(wallet), amount)], Some(&keys[wallet])),
            Deed::Freeze { wallet } => (vec![token.freeze(&address(wallet))], None),
            Deed::Thaw { wallet } => (vec![token.thaw(&address(wallet))], None),
            Deed::Close { wallet, amount } => {
                let burn = token.burn(&key(wallet), amount);
                (vec![burn, token.close(&key(wallet))], Some(&keys[wallet]))
            }
        }
    }

    /// Notes what has landed. Returns whose account it changed.
    fn done(&mut self, deed: Deed) -> Vec<usize> {
        let held = |held: Held| match held {
            Held::Tokens(amount) | Held::Frozen(amount) => amount,
            Held::Nothing => 0,
        };
        match deed {
            Deed::Create { wallet } => self.held[wallet] = Held::Tokens(0),
            Deed::Mint { wallet, amount } => {
                self.held[wallet] = Held::Tokens(held(self.held[wallet]) + amount)
            }
            Deed::Burn { wallet, amount } => {
                self.held[wallet] = Held::Tokens(held(self.held[wallet]) - amount)
            }
            Deed::Freeze { wallet } => self.held[wallet] = Held::Frozen(held(self.held[wallet])),
            Deed::Thaw { wallet } => self.held[wallet] = Held::Tokens(held(self.held[wallet])),
            Deed::Close { wallet, .. } => self.held[wallet] = Held::Nothing,
            Deed::Transfer { from, to, amount } => {
                self.held[from] = Held::Tokens(held(self.held[from]) - amount);
                self.held[to] = Held::Tokens(held(self.held[to]) + amount);
                return vec![from, to];
            }
        }
        let (Deed::Create { wallet }
        | Deed::Mint { wallet, .. }
        | Deed::Burn { wallet, .. }
        | Deed::Freeze { wallet }
        | Deed::Thaw { wallet }
        | Deed::Close { wallet, .. }
        | Deed::Transfer { from: wallet, .. }) = deed;
        vec![wallet]
    }
}
