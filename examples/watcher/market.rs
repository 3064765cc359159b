//! A small market: wallets trade tokens of both programs with a pool and with each other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use balance_mirror::{Pubkey, TokenProgram, WatchTarget};
use localnet::{
    CommitmentConfig, Instruction, Keypair, Localnet, Rng, SendError, Signer,
    tokens::{self, Extension},
};
use tokio::time::sleep;

use crate::{
    events::{Identity, chain},
    human::grouped,
    output::{Output, Voice},
};

/// The time between two trades: longer than a slot, so that each trade sees the result of the one
/// before.
const PAUSE_MS: std::ops::Range<u64> = 600..1_300;
/// Trades are counted in hundredths of a token.
const HUNDREDTHS: u32 = 2;

struct Token {
    symbol: &'static str,
    program: TokenProgram,
    decimals: u8,
    /// A short note on what is special about it.
    note: &'static str,
    mint: Keypair,
}

struct Wallet {
    name: &'static str,
    key: Keypair,
}

/// One action on the market. Wallets and tokens are given by their index in the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Buy { wallet: usize, token: usize, hundredths: u64 },
    Sell { wallet: usize, token: usize, share: Share },
    Transfer { from: usize, to: usize, token: usize, share: Share },
    Close { wallet: usize, token: usize },
    Freeze { wallet: usize, token: usize },
    Thaw { wallet: usize, token: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Third,
    All,
}

/// The actions that open the market, so that every kind shows soon; random ones follow.
const OPENING: [Deed; 12] = [
    Deed::Buy { wallet: 0, token: 0, hundredths: 125_050 },
    Deed::Buy { wallet: 1, token: 2, hundredths: 40_000 },
    Deed::Sell { wallet: 0, token: 0, share: Share::All },
    Deed::Close { wallet: 0, token: 0 },
    Deed::Buy { wallet: 0, token: 0, hundredths: 30_000 },
    Deed::Buy { wallet: 2, token: 1, hundredths: 7_725 },
    Deed::Transfer { from: 0, to: 1, token: 0, share: Share::Third },
    Deed::Freeze { wallet: 2, token: 1 },
    Deed::Sell { wallet: 1, token: 2, share: Share::Third },
    Deed::Buy { wallet: 0, token: 1, hundredths: 1_575 },
    Deed::Thaw { wallet: 2, token: 1 },
    Deed::Transfer { from: 1, to: 2, token: 2, share: Share::Third },
];

/// The market and the cluster it runs on.
pub(crate) struct Market {
    net: Arc<Localnet>,
    tokens: [Token; 3],
    wallets: [Wallet; 3],
    pool: Keypair,
    random: Rng,
    last_slot: u64,
}

/// What a token account's address holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    Frozen,
    Amount(u64),
}

impl Market {
    /// Creates the mints, and a pool that holds plenty of each token.
    pub(crate) fn open(net: Arc<Localnet>) -> Result<Self, SendError> {
        let token =
            |symbol, program, decimals, note| Token { symbol, program, decimals, note, mint: Keypair::new() };
        let wallet = |name| Wallet { name, key: Keypair::new() };
        let market = Self {
            net,
            tokens: [
                token("BONK", TokenProgram::Token, 5, ""),
                token("WIF", TokenProgram::Token, 6, ""),
                token("PUMP", TokenProgram::Token2022, 6, " (Token-2022: 1 % of each transfer is withheld)"),
            ],
            wallets: [wallet("alice"), wallet("bob"), wallet("carol")],
            pool: Keypair::new(),
            random: Rng::new(0x9e37_79b9_7f4a_7c15),
            last_slot: 0,
        };
        let bank = market.net.payer().pubkey();
        for place in 0..market.tokens.len() {
            let Token { program, decimals, mint, .. } = &market.tokens[place];
            let (id, key) = (program.id(), mint.pubkey());
            let fee = [Extension::TransferFee { basis_points: 100, maximum: u64::MAX }];
            let extensions = if *program == TokenProgram::Token2022 { &fee[..] } else { &[] };
            let mut instructions =
                tokens::create_mint(&id, &bank, &key, *decimals, &bank, Some(&bank), extensions);
            let pool = tokens::ata(&id, &market.pool.pubkey(), &key);
            instructions.push(tokens::create_ata(&id, &bank, &market.pool.pubkey(), &key));
            instructions.push(tokens::mint_to(&id, &key, &pool, &bank, u64::MAX / 4));
            market.net.send(&instructions, &[mint])?;
        }
        // Wait until they are confirmed, so that a caller that asks for the mints now finds them.
        market.net.advance(3);
        Ok(market)
    }

    /// How many wallets, tokens and accounts there are.
    pub(crate) fn size(&self) -> (usize, usize, usize) {
        (self.wallets.len(), self.tokens.len(), self.wallets.len() * self.tokens.len())
    }

    /// The names of the wallets and the tokens.
    pub(crate) fn labels(&self) -> HashMap<Pubkey, String> {
        let wallets = self.wallets.iter().map(|wallet| (wallet.key.pubkey(), wallet.name.to_owned()));
        let tokens = self.tokens.iter().map(|token| (token.mint.pubkey(), token.symbol.to_owned()));
        wallets.chain(tokens).collect()
    }

    /// Each wallet's account for each token; most do not exist yet.
    pub(crate) fn accounts(&self) -> Vec<(WatchTarget, Identity)> {
        let pairs =
            self.wallets.iter().flat_map(|wallet| self.tokens.iter().map(move |token| (wallet, token)));
        pairs
            .map(|(wallet, token)| {
                let (owner, mint) = (wallet.key.pubkey(), token.mint.pubkey());
                let identity =
                    Identity { mint: Some(mint), owner: Some(owner), program: Some(token.program) };
                (WatchTarget::ata(&owner, &mint, token.program), identity)
            })
            .collect()
    }

    /// The slot of the newest transaction.
    pub(crate) fn last_slot(&self) -> u64 {
        self.last_slot
    }

    /// Trades for ever.
    pub(crate) async fn play(&mut self, output: &Output) {
        let mut opening = OPENING.into_iter();
        loop {
            let pause = PAUSE_MS.start + self.chance(PAUSE_MS.end - PAUSE_MS.start);
            sleep(Duration::from_millis(pause)).await;
            let deed = opening.next().unwrap_or_else(|| self.next_deed());
            let text = self.carry_out(deed);
            output.tell(Voice::Market, &text).await;
        }
    }

    /// A pseudo-random number below `end`.
    fn chance(&mut self, end: u64) -> u64 {
        self.random.next() % end.max(1)
    }

    fn next_deed(&mut self) -> Deed {
        let wallet = self.chance(3) as usize;
        let token = self.chance(3) as usize;
        let buy = Deed::Buy { wallet, token, hundredths: 100 + self.chance(50_000) };
        let closable = self.tokens[token].program == TokenProgram::Token;
        match (self.held(wallet, token), self.chance(10)) {
            (Held::Frozen, _) => Deed::Thaw { wallet, token },
            (Held::Nothing, _) => buy,
            // Fees withheld in an account of PUMP would prevent closing it.
            (Held::Amount(0), chance) if chance < 5 && closable => Deed::Close { wallet, token },
            (Held::Amount(0), _) | (_, 0..4) => buy,
            (_, 4..6) => Deed::Sell { wallet, token, share: Share::Third },
            (_, 6) => Deed::Freeze { wallet, token },
            (_, 7) => Deed::Sell { wallet, token, share: Share::All },
            _ => {
                let to = (wallet + 1 + self.chance(2) as usize) % 3;
                if self.held(to, token) == Held::Frozen {
                    return buy;
                }
                Deed::Transfer { from: wallet, to, token, share: Share::Third }
            }
        }
    }

    fn held(&self, wallet: usize, token: usize) -> Held {
        let address = self.account(&self.wallets[wallet].key, token);
        let (_, account) = self.net.account(&address, CommitmentConfig::processed());
        let Some(account) = account else { return Held::Nothing };
        if account.data.get(108) == Some(&2) {
            return Held::Frozen;
        }
        let amount = account.data.get(64..72).and_then(|bytes| bytes.try_into().ok());
        Held::Amount(amount.map_or(0, u64::from_le_bytes))
    }

    fn account(&self, wallet: &Keypair, token: usize) -> Pubkey {
        let token = &self.tokens[token];
        tokens::ata(&token.program.id(), &wallet.pubkey(), &token.mint.pubkey())
    }

    /// The raw units in a share of it; a third is rounded to whole hundredths.
    fn share(&self, wallet: usize, token: usize, share: Share) -> u64 {
        let Held::Amount(amount) = self.held(wallet, token) else { return 0 };
        match share {
            Share::All => amount,
            Share::Third => amount / 3 / self.hundredth(token) * self.hundredth(token),
        }
    }

    fn hundredth(&self, token: usize) -> u64 {
        10_u64.pow(u32::from(self.tokens[token].decimals).saturating_sub(HUNDREDTHS))
    }

    /// Sends the action's transaction, and describes its outcome.
    fn carry_out(&mut self, deed: Deed) -> String {
        let name = |wallet: usize| self.wallets[wallet].name;
        let token = &self.tokens[deed.token()];
        let (id, mint) = (token.program.id(), token.mint.pubkey());
        let bank = self.net.payer().pubkey();
        let amount_of = |raw: u64| format!("{} {}", shown(raw, token.decimals), token.symbol);
        let account = |wallet: usize| self.account(&self.wallets[wallet].key, deed.token());
        let (text, instructions, signer) = match deed {
            Deed::Buy { wallet, hundredths, .. } => {
                let raw = hundredths * self.hundredth(deed.token());
                let created = match self.held(wallet, deed.token()) {
                    Held::Nothing => ", into a new account",
                    _ => "",
                };
                let text = format!("{} buys {}{created}{}", name(wallet), amount_of(raw), token.note);
                let owner = self.wallets[wallet].key.pubkey();
                let mut instructions = vec![tokens::create_ata(&id, &bank, &owner, &mint)];
                instructions.push(self.moves(&self.pool, &self.wallets[wallet].key, deed.token(), raw));
                (text, instructions, Some(&self.pool))
            }
            Deed::Sell { wallet, share, .. } => {
                let raw = self.share(wallet, deed.token(), share);
                let all = if share == Share::All { "all " } else { "" };
                let key = &self.wallets[wallet].key;
                let text = format!("{} sells {all}{}", name(wallet), amount_of(raw));
                (text, vec![self.moves(key, &self.pool, deed.token(), raw)], Some(key))
            }
            Deed::Transfer { from, to, share, .. } => {
                let raw = self.share(from, deed.token(), share);
                let (sender, receiver) = (&self.wallets[from].key, &self.wallets[to].key);
                let text = format!("{} sends {} {}{}", name(from), name(to), amount_of(raw), token.note);
                let mut instructions = vec![tokens::create_ata(&id, &bank, &receiver.pubkey(), &mint)];
                instructions.push(self.moves(sender, receiver, deed.token(), raw));
                (text, instructions, Some(sender))
            }
            Deed::Close { wallet, .. } => {
                let key = &self.wallets[wallet].key;
                let text = format!("{} closes the empty {} account", name(wallet), token.symbol);
                (text, vec![tokens::close(&id, &account(wallet), &bank, &key.pubkey())], Some(key))
            }
            Deed::Freeze { wallet, .. } => {
                let text = format!("the {} account of {} is frozen", token.symbol, name(wallet));
                (text, vec![tokens::freeze(&id, &account(wallet), &mint, &bank)], None)
            }
            Deed::Thaw { wallet, .. } => {
                let text = format!("the {} account of {} is thawed", token.symbol, name(wallet));
                (text, vec![tokens::thaw(&id, &account(wallet), &mint, &bank)], None)
            }
        };
        let signers: Vec<&Keypair> = signer.into_iter().collect();
        match self.net.send(&instructions, &signers) {
            Ok(landed) => {
                self.last_slot = landed.slot;
                text
            }
            Err(error) => format!("{text}, which the chain refuses: {}", chain(&error)),
        }
    }

    fn moves(&self, from: &Keypair, to: &Keypair, token: usize, raw: u64) -> Instruction {
        let Token { program, decimals, mint, .. } = &self.tokens[token];
        let (source, destination) = (self.account(from, token), self.account(to, token));
        let (id, mint) = (program.id(), mint.pubkey());
        tokens::transfer_checked(&id, &source, &mint, &destination, &from.pubkey(), raw, *decimals)
    }
}

impl Deed {
    fn token(self) -> usize {
        match self {
            Self::Buy { token, .. }
            | Self::Sell { token, .. }
            | Self::Transfer { token, .. }
            | Self::Close { token, .. }
            | Self::Freeze { token, .. }
            | Self::Thaw { token, .. } => token,
        }
    }
}

/// A raw amount in tokens, exactly.
fn shown(raw: u64, decimals: u8) -> String {
    grouped(&solana_account_decoder_client_types::token::real_number_string_trimmed(raw, decimals))
}
