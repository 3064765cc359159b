//! Real traffic: two hundred accounts of both programs, everything that can happen to one, and
//! connections cut meanwhile. At each checkpoint, with the traffic paused, every record equals what
//! RPC says.

use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

use balance_mirror::{AccountState, Pubkey, Reader, Reading, TokenProgram};
use futures::{StreamExt, stream::FuturesUnordered};
use localnet::{CommitmentConfig, Instruction, Keypair, Signer, tokens};

use crate::{
    checker::{Checker, History},
    outcome::{Outcome, check},
    proxy::Cut,
    token::Token,
    world::World,
};

const WALLETS: usize = 50;
/// Transactions under way at once.
const AT_ONCE: usize = 12;
const CHECKPOINTS: u32 = 3;
/// How long the traffic of one checkpoint lasts.
const SLOTS: u32 = 100;
const CUTS: u32 = 3;

/// What has been done to an account: who may do what next.
#[derive(Clone, Copy, Debug)]
struct Account {
    token: usize,
    wallet: usize,
    /// Who owns it now, while it exists.
    owner: Option<usize>,
    amount: u64,
    frozen: bool,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Create,
    Mint(u64),
    Transfer {
        to: usize,
        amount: u64,
    },
    Burn(u64),
    Freeze,
    Thaw,
    Approve(u64),
    /// SPL Token only: an ATA of Token-2022 belongs to its wallet for good.
    GiveAway {
        to: usize,
    },
    Close,
}

/// A small generator, so that a run can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or_default()
    }
}

struct Market {
    tokens: Vec<Token>,
    wallets: Vec<Keypair>,
    accounts: Vec<Account>,
    random: Random,
    /// What has landed where, by the slots of the transactions.
    history: History,
}

impl Market {
    async fn open(world: &World<'_>, seed: u64) -> Outcome<Self> {
        let tokens = Token::two_of_each_program(world).await?;
        let wallets: Vec<_> = (0..WALLETS).map(|_| Keypair::new()).collect();
        let accounts = (0..tokens.len() * WALLETS)
            .map(|n| Account {
                token: n / WALLETS,
                wallet: n % WALLETS,
                owner: None,
                amount: 0,
                frozen: false,
            })
            .collect();
        Ok(Self { tokens, wallets, accounts, random: Random(seed), history: History::new() })
    }

    fn address(&self, account: usize) -> Pubkey {
        let Account { token, wallet, .. } = self.accounts[account];
        self.tokens[token].ata(&self.wallets[wallet].pubkey())
    }

    /// Something that the chain will accept, for an account that nothing is under way for.
    fn next(&mut self, busy: &HashSet<usize>) -> Option<(usize, Deed)> {
        let chosen = self.random.index(self.accounts.len());
        if busy.contains(&chosen) {
            return None;
        }
        let account = self.accounts[chosen];
        if account.owner.is_none() {
            return Some((chosen, Deed::Create));
        }
        if account.frozen {
            return Some((chosen, Deed::Thaw));
        }
        let some = self.random.below(account.amount) + 1;
        let deed = match self.random.below(20) {
            0..=4 => Deed::Mint(self.random.below(1_000_000) + 1),
            5..=10 if account.amount > 0 => {
                let neighbour = account.token * WALLETS + self.random.index(WALLETS);
                let other = self.accounts[neighbour];
                if neighbour == chosen || other.owner.is_none() || other.frozen || busy.contains(&neighbour) {
                    return None;
                }
                Deed::Transfer { to: neighbour, amount: some }
            }
            11..=12 if account.amount > 0 => Deed::Burn(some),
            13 => Deed::Freeze,
            14 => Deed::Approve(self.random.below(1_000)),
            15 if self.tokens[account.token].program == TokenProgram::Token => {
                Deed::GiveAway { to: self.random.index(WALLETS) }
            }
            16..=17 => Deed::Close,
            _ => Deed::Mint(1),
        };
        Some((chosen, deed))
    }

    fn instructions(&self, payer: &Pubkey, chosen: usize, deed: Deed) -> Vec<Instruction> {
        let account = self.accounts[chosen];
        let token = &self.tokens[account.token];
        let (program, address) = (token.program.id(), self.address(chosen));
        let wallet = self.wallets[account.wallet].pubkey();
        let owner = self.wallets[account.owner.unwrap_or(account.wallet)].pubkey();
        match deed {
            Deed::Create => vec![token.create_ata(&wallet), token.mint_to(&address, 1_000)],
            Deed::Mint(amount) => vec![token.mint_to(&address, amount)],
            Deed::Transfer { to, amount } => {
                let to = self.address(to);
                let decimals = token.decimals;
                vec![tokens::transfer_checked(&program, &address, &token.mint, &to, &owner, amount, decimals)]
            }
            Deed::Burn(amount) => vec![tokens::burn(&program, &address, &token.mint, &owner, amount)],
            Deed::Freeze => vec![token.freeze(&address)],
            Deed::Thaw => vec![token.thaw(&address)],
            Deed::Approve(amount) => vec![tokens::approve(&program, &address, payer, &owner, amount)],
            Deed::GiveAway { to } => {
                vec![token.give_account(&address, &owner, &self.wallets[to].pubkey())]
            }
            Deed::Close => {
                let burn = tokens::burn(&program, &address, &token.mint, &owner, account.amount);
                vec![burn, tokens::close(&program, &address, payer, &owner)]
            }
        }
    }

    /// Notes what has landed in which slot.
    fn done(&mut self, chosen: usize, deed: Deed, slot: u64) {
        let account = &mut self.accounts[chosen];
        match deed {
            Deed::Create => {
                (account.owner, account.amount) = (Some(account.wallet), 1_000);
            }
            Deed::Mint(amount) => account.amount += amount,
            Deed::Burn(amount) => account.amount -= amount,
            Deed::Freeze => account.frozen = true,
            Deed::Thaw => account.frozen = false,
            Deed::Approve(_) => {}
            Deed::GiveAway { to } => account.owner = Some(to),
            Deed::Close => (account.owner, account.amount) = (None, 0),
            Deed::Transfer { to, amount } => {
                account.amount -= amount;
                self.accounts[to].amount += amount;
                self.note(to, slot);
            }
        }
        self.note(chosen, slot);
    }

    fn note(&mut self, account: usize, slot: u64) {
        let (address, held) = (self.address(account), self.accounts[account].amount);
        self.history.entry(address).or_default().push((slot, Some(held)));
    }

    /// Keeps transactions under way until the time is over and the last has landed. Returns how
    /// many did.
    async fn trade(&mut self, world: &World<'_>, until: Instant) -> Outcome<usize> {
        let payer = world.payer().pubkey();
        let mut busy = HashSet::new();
        let mut under_way = FuturesUnordered::new();
        let mut landed = 0;
        loop {
            while under_way.len() < AT_ONCE && Instant::now() < until {
                let Some((chosen, deed)) = self.next(&busy) else { continue };
                let instructions = self.instructions(&payer, chosen, deed);
                let account = self.accounts[chosen];
                let signer = self.wallets[account.owner.unwrap_or(account.wallet)].insecure_clone();
                let signs = instructions
                    .iter()
                    .flat_map(|instruction| &instruction.accounts)
                    .any(|meta| meta.is_signer && meta.pubkey == signer.pubkey());
                busy.insert(chosen);
                if let Deed::Transfer { to, .. } = deed {
                    busy.insert(to);
                }
                under_way.push(async move {
                    let signers: &[&Keypair] = if signs { &[&signer] } else { &[] };
                    (chosen, deed, world.send(&instructions, signers).await)
                });
            }
            let Some((chosen, deed, outcome)) = under_way.next().await else { return Ok(landed) };
            let slot =
                outcome.map_err(|error| format!("{deed:?} on {:?}: {error}", self.accounts[chosen]))?;
            self.done(chosen, deed, slot);
            busy.remove(&chosen);
            if let Deed::Transfer { to, .. } = deed {
                busy.remove(&to);
            }
            landed += 1;
        }
    }

    /// Compares every record with what RPC says, and with what has been done. Returns the states by
    /// name.
    async fn compare(&self, world: &World<'_>, readers: &[Reader]) -> Outcome<String> {
        let slot = world.slot().await?;
        let mut names = BTreeMap::<&str, usize>::new();
        for batch in (0..readers.len()).collect::<Vec<_>>().chunks(100) {
            let addresses: Vec<_> = batch.iter().map(|n| readers[*n].address()).collect();
            let confirmed = CommitmentConfig::confirmed();
            let truth = world.rpc.get_multiple_accounts_with_commitment(&addresses, confirmed).await?;
            check!(truth.context.slot >= slot, "RPC went back to {} from {slot}", truth.context.slot);
            for (n, truth) in batch.iter().zip(truth.value) {
                let known = |reading: &Reading| reading.is_live() && reading.as_of() >= Some(slot);
                let reading = readers[*n].wait_for(known, world.soon()).await?;
                let state = *reading.fresh(world.soon())?;
                let account = self.accounts[*n];
                let bytes = truth.as_ref().map(|account| account.data.as_slice()).unwrap_or_default();
                check!(
                    agree(&state, bytes) && state.token_amount() == Some(account.amount),
                    "{account:?}: the mirror says {reading:?}, RPC {bytes:?}"
                );
                *names.entry(state.name()).or_default() += 1;
            }
        }
        Ok(format!("{names:?}"))
    }
}

/// Whether a state is what the bytes say: owner, amount, delegate and freezing, read here from the
/// layout.
fn agree(state: &AccountState, bytes: &[u8]) -> bool {
    let Some(token) = state.token() else { return bytes.is_empty() };
    let delegate = (bytes.get(72) == Some(&1)).then(|| &bytes[76..108]);
    bytes.get(0..32) == Some(token.mint.as_ref())
        && bytes.get(32..64) == Some(token.owner.as_ref())
        && bytes.get(64..72) == Some(&token.amount.to_le_bytes()[..])
        && delegate == token.delegate.as_ref().map(|delegate| delegate.key.as_ref())
        && (bytes.get(108) == Some(&2)) == token.frozen
        && matches!(state, AccountState::Frozen(_)) <= token.frozen
}

pub(crate) async fn two_hundred_accounts_under_traffic_and_cuts(world: &World<'_>) -> Outcome {
    let seed = 20_261_122;
    println!("traffic seed {seed}");
    let mut market = Market::open(world, seed).await?;
    let mirror = world.mirror()?;
    let targets: Vec<_> = market
        .accounts
        .iter()
        .map(|account| market.tokens[account.token].target(&market.wallets[account.wallet].pubkey()))
        .collect();
    let readers = mirror.watch_all(targets)?;
    for reader in &readers {
        world.live(reader).await?;
    }
    let checker = Checker::start(world, &readers, world.soon())?;
    let (mut landed, mut cuts) = (0, 0);
    for checkpoint in 1..=CHECKPOINTS {
        let time = world.slots(SLOTS);
        let until = Instant::now() + time;
        let cutting = async {
            for cut in 0..CUTS {
                world.pass(time / (CUTS + 1)).await;
                cuts += world.ws_side.cut(if cut % 2 == 0 { Cut::Reset } else { Cut::Fin });
            }
        };
        let (traded, ()) = futures::join!(market.trade(world, until), cutting);
        landed += traded?;
        let states = market.compare(world, &readers).await?;
        println!("checkpoint {checkpoint}: {landed} transactions, {cuts} cuts, all records equal: {states}");
    }
    let health = mirror.health();
    let mut report = checker.finish(world)?;
    // No cluster but the local one tells what was when; the transactions do.
    let claims = report.agree(&market.history, world.slot().await?)?;
    println!(
        "{} accounts, {landed} transactions, {cuts} cuts, {} reconnects, {} notifications; {} readings, {} fresh, {} \
         live, {claims} claims about slots, 0 violations; {} disputes, {} missed, {} RPC calls",
        readers.len(),
        health.reconnects,
        health.notifications,
        report.readings,
        report.fresh,
        report.live,
        health.disputes,
        health.missed,
        health.rpc_calls
    );
    check!(landed >= 100, "only {landed} transactions");
    check!(cuts >= usize::try_from(CHECKPOINTS)? && health.reconnects >= 1, "{cuts} cuts, {health:?}");
    check!(health.missed == 0 && health.disputes == 0, "an honest server is accused: {health:?}");
    Ok(())
}
