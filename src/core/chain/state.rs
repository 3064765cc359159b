//! What a watcher expects of an account, and how the account's content compares with that.

use std::fmt;

use solana_pubkey::Pubkey;

use crate::core::chain::token::{NotToken, Presence, TokenAccount, TokenProgram};

/// What a watcher expects of an account. Fields left `None` are filled in from the first token
/// account seen at the address, so that later changes can be detected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Expected {
    pub program: Option<TokenProgram>,
    pub mint: Option<Pubkey>,
    pub owner: Option<Pubkey>,
}

impl Expected {
    /// Merges both sets of expectations; `None` if they contradict each other.
    pub fn merge(self, other: Self) -> Option<Self> {
        fn one<T: PartialEq + Copy>(a: Option<T>, b: Option<T>) -> Option<Option<T>> {
            match (a, b) {
                (Some(a), Some(b)) if a != b => None,
                (a, b) => Some(a.or(b)),
            }
        }
        Some(Self {
            program: one(self.program, other.program)?,
            mint: one(self.mint, other.mint)?,
            owner: one(self.owner, other.owner)?,
        })
    }

    fn learn(&mut self, account: &TokenAccount) {
        self.program.get_or_insert(account.program);
        self.mint.get_or_insert(account.mint);
        self.owner.get_or_insert(account.owner);
    }
}

/// The state of a watched account, as the chain shows it.
///
/// Zero tokens, no account, a closed account and an account of another owner are different states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccountState {
    /// There is no account, and none has been seen since the watch began.
    Absent,
    /// There was a token account; now there is none.
    Closed,
    /// A token account that its owner can use.
    Initialized(TokenAccount),
    /// A token account frozen by the mint's freeze authority: its tokens cannot be moved.
    Frozen(TokenAccount),
    /// A token account whose owner is not the expected wallet, or no longer the wallet first seen.
    OwnerChanged(TokenAccount),
    /// A token account of a mint other than the one expected or first seen.
    WrongMint(TokenAccount),
    /// An account that is not a token account, or that belongs to the other token program.
    NotToken(NotToken),
}

impl AccountState {
    /// The token account at the address, in whatever state it is.
    pub fn token(&self) -> Option<&TokenAccount> {
        match self {
            Self::Initialized(token)
            | Self::Frozen(token)
            | Self::OwnerChanged(token)
            | Self::WrongMint(token) => Some(token),
            Self::Absent | Self::Closed | Self::NotToken(_) => None,
        }
    }

    /// The raw amount that the address holds, in any state: 0 if there is no account, `None` if the
    /// account is not a token account. Match on the state before you trade on it.
    pub fn token_amount(&self) -> Option<u64> {
        match self {
            Self::Absent | Self::Closed => Some(0),
            Self::NotToken(_) => None,
            _ => self.token().map(|token| token.amount),
        }
    }

    /// The state's name, as in the watcher's output: `absent`, `closed`, `initialized`, `frozen`,
    /// `owner_changed`, `wrong_mint` or `not_token`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Closed => "closed",
            Self::Initialized(_) => "initialized",
            Self::Frozen(_) => "frozen",
            Self::OwnerChanged(_) => "owner_changed",
            Self::WrongMint(_) => "wrong_mint",
            Self::NotToken(_) => "not_token",
        }
    }
}

impl fmt::Display for AccountState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotToken(reason) => write!(f, "not_token ({reason})"),
            _ => f.write_str(self.name()),
        }
    }
}

/// What stays the same for a watched account through its states: what the watcher expects, and
/// whether a token account was ever seen there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    pub expected: Expected,
    existed: bool,
}

impl Identity {
    pub fn new(expected: Expected) -> Self {
        Self { expected, existed: false }
    }

    /// Returns the state that `presence` means for this watcher. Does not learn from it.
    pub fn classify(&self, presence: &Presence) -> AccountState {
        let token = match presence {
            Presence::Absent if self.existed => return AccountState::Closed,
            Presence::Absent => return AccountState::Absent,
            Presence::NotToken(reason) => return AccountState::NotToken(*reason),
            Presence::Token(token) => *token,
        };
        let Expected { program, mint, owner } = self.expected;
        if program.is_some_and(|program| program != token.program) {
            AccountState::NotToken(NotToken::WrongTokenProgram(token.program))
        } else if mint.is_some_and(|mint| mint != token.mint) {
            AccountState::WrongMint(token)
        } else if owner.is_some_and(|owner| owner != token.owner) {
            AccountState::OwnerChanged(token)
        } else if token.frozen {
            AccountState::Frozen(token)
        } else {
            AccountState::Initialized(token)
        }
    }

    /// Learns from an observation that the ledger has accepted.
    pub fn learn(&mut self, presence: &Presence) {
        if let Presence::Token(token) = presence {
            self.existed = true;
            self.expected.learn(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chain::token::{TokenProgram, tests::account_bytes};

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn token(mint: u8, owner: u8) -> Presence {
        Presence::decode(&TokenProgram::Token.id(), 1, &account_bytes(key(mint), key(owner), 7))
    }

    #[test]
    fn each_way_of_not_being_the_expected_account_is_its_own_state() {
        let mut identity = Identity::new(Expected {
            program: Some(TokenProgram::Token),
            mint: Some(key(1)),
            owner: Some(key(2)),
        });
        assert_eq!(identity.classify(&Presence::Absent).name(), "absent");
        assert_eq!(identity.classify(&token(1, 2)).name(), "initialized");
        assert_eq!(identity.classify(&token(1, 3)).name(), "owner_changed");
        assert_eq!(identity.classify(&token(3, 2)).name(), "wrong_mint");
        let other = Presence::decode(&TokenProgram::Token2022.id(), 1, &account_bytes(key(1), key(2), 7));
        assert_eq!(
            identity.classify(&other),
            AccountState::NotToken(NotToken::WrongTokenProgram(TokenProgram::Token2022))
        );
        let mut frozen = account_bytes(key(1), key(2), 7);
        frozen[108] = 2;
        let frozen = Presence::decode(&TokenProgram::Token.id(), 1, &frozen);
        assert_eq!(identity.classify(&frozen).name(), "frozen");
        assert_eq!(identity.classify(&frozen).token_amount(), Some(7));

        identity.learn(&token(1, 2));
        assert_eq!(identity.classify(&Presence::Absent).name(), "closed");
        assert_eq!(identity.classify(&Presence::Absent).token_amount(), Some(0));
    }

    #[test]
    fn what_is_not_given_is_learnt_from_the_first_sight_and_then_held_against_it() {
        let mut identity = Identity::default();
        identity.learn(&Presence::Absent);
        assert_eq!(identity.classify(&token(1, 2)).name(), "initialized");
        identity.learn(&token(1, 2));
        identity.learn(&token(1, 9));
        assert_eq!(identity.classify(&token(1, 9)).name(), "owner_changed");
        assert_eq!(identity.classify(&token(9, 2)).name(), "wrong_mint");
    }

    #[test]
    fn expectations_merge_unless_they_contradict() {
        let mint = Expected { mint: Some(key(1)), ..Expected::default() };
        let owner = Expected { owner: Some(key(2)), ..Expected::default() };
        let both = mint.merge(owner).expect("no contradiction");
        assert_eq!((both.mint, both.owner), (Some(key(1)), Some(key(2))));
        assert_eq!(both.merge(Expected { mint: Some(key(3)), ..Expected::default() }), None);
    }
}
