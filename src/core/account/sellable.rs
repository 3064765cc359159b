//! What can be sold of a balance now, and what prevents it: a pure function of the account's state,
//! its held tokens and its mint.
//!
//! A [`SellObstacle`] means that the owner cannot sell now: the token program would refuse the
//! transfer that every sell ends in, or there is nothing to transfer. A [`SellWarning`] is a cost
//! or a risk: the sell may go through.
//!
//! Refusals are quoted by the programs' error names, from `TokenError` in spl-token-2022-interface
//! 3 and spl-token-interface 3.

use std::fmt;

use crate::core::{
    account::freshness::{Policy, StaleError},
    base::time::Tick,
    chain::{mint::MintInfo, state::AccountState, token::TokenAccount},
};

/// Defines an enum of reasons, and a set of them that needs no allocation.
macro_rules! reasons {
    (
        $(#[$of_enum:meta])* $one:ident, $(#[$of_set:meta])* $set:ident,
        { $($(#[$of_variant:meta])* $variant:ident = $name:literal,)* }
    ) => {
        $(#[$of_enum])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $one {
            $($(#[$of_variant])* $variant,)*
        }

        impl $one {
            /// All reasons.
            pub const ALL: &[Self] = {
                let all: &[Self] = &[$(Self::$variant),*];
                assert!(all.len() <= u16::BITS as usize, "a bit for each");
                all
            };

            /// Its name in logs and in the watcher's output: lower case, with underscores.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $one {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        $(#[$of_set])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $set(u16);

        impl $set {
            /// Whether the set contains this reason.
            pub const fn contains(self, one: $one) -> bool {
                self.0 & (1 << one as u16) != 0
            }

            /// Whether the set is empty.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// The reasons in the set, in a fixed order.
            pub fn iter(self) -> impl Iterator<Item = $one> {
                $one::ALL.iter().copied().filter(move |one| self.contains(*one))
            }

            fn when(self, one: $one, holds: bool) -> Self {
                if holds { Self(self.0 | 1 << one as u16) } else { self }
            }

            /// The set without this reason.
            #[must_use]
            pub const fn without(self, one: $one) -> Self {
                Self(self.0 & !(1 << one as u16))
            }

            fn and(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        /// The names, separated by commas.
        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (place, one) in self.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(f, "{comma}{one}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.iter()).finish()
            }
        }
    };
}

reasons! {
    /// Why nothing can be sold now.
    SellObstacle,
    /// Everything that prevents a balance from being sold now.
    SellObstacles,
    {
        /// There is no account, and none has been seen since the watch began.
        Absent = "absent",
        /// The account is closed.
        Closed = "closed",
        /// It holds no tokens.
        Empty = "empty",
        /// All its tokens are held: for sells that are prepared, in flight, or landed but not
        /// observed yet.
        Held = "held",
        /// The account is frozen: a transfer fails with `AccountFrozen`.
        Frozen = "frozen",
        /// Its owner is not the expected wallet, or no longer the wallet first seen:
        /// `OwnerMismatch`.
        OwnerChanged = "owner_changed",
        /// It holds tokens of a mint other than the expected one: `MintMismatch`.
        WrongMint = "wrong_mint",
        /// What is at the address is not a token account of the expected program.
        NotToken = "not_token",
        /// Token-2022: the mint's tokens can never be transferred, only burnt: `NonTransferable`.
        NonTransferable = "non_transferable",
        /// Token-2022: the mint is paused: `MintPaused`. It may be resumed soon.
        Paused = "paused",
        /// Token-2022: the account's CPI guard is on. A swap moves the tokens from within another
        /// program on the owner's behalf, which fails with `CpiGuardTransferBlocked` (and a close
        /// with `CpiGuardCloseAccountBlocked`). The owner can switch the guard off with a separate
        /// instruction.
        CpiGuard = "cpi_guard",
        /// Token-2022: the account's extensions say that its mint decides over transfers, but the
        /// mint has not been read.
        MintUnknown = "mint_unknown",
    }
}

reasons! {
    /// A risk or a cost of a sell.
    SellWarning,
    /// All risks and costs of a sell.
    SellWarnings,
    {
        /// Another key may move tokens out of the account, up to its allowance.
        Delegate = "delegate",
        /// A key other than the owner may close the account once it is empty, and take its rent.
        CloseAuthority = "close_authority",
        /// The mint has a freeze authority: it can freeze the account at any time.
        FreezeAuthority = "freeze_authority",
        /// Token-2022: accounts of the mint start frozen. This one is thawed; the next buyer's is
        /// not.
        FrozenByDefault = "frozen_by_default",
        /// Token-2022: somebody can pause the mint at any time.
        Pausable = "pausable",
        /// Token-2022: somebody can move or burn everybody's tokens.
        PermanentDelegate = "permanent_delegate",
        /// Token-2022: each transfer calls a program that may refuse it, and needs that program's
        /// accounts.
        TransferHook = "transfer_hook",
        /// Token-2022: part of what is sold is taken as a fee, now or from an announced epoch on.
        TransferFee = "transfer_fee",
        /// Token-2022: fees are withheld in the account. They are not part of the amount, and until
        /// they are harvested the account cannot be closed: `AccountHasWithheldTransferFees`.
        WithheldFees = "withheld_fees",
        /// Token-2022: the account has a confidential balance, as far as its bytes show. It is not
        /// part of the amount, and prevents a close: `ConfidentialTransferAccountHasBalance`.
        ConfidentialBalance = "confidential_balance",
        /// Token-2022: the account or its mint has extensions that this version does not know, so
        /// it does not know what they forbid either.
        UnknownExtension = "unknown_extension",
        /// The mint has not been read, so what it allows others to do is not known.
        MintUnread = "mint_unread",
        /// The mint can change, and was last read longer ago than `MirrorBuilder::verify_every`,
        /// the time that an account is trusted without being observed: the mint may be paused by
        /// now.
        MintOutdated = "mint_outdated",
    }
}

/// What can be sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sellable {
    /// The raw amount: what the account holds, minus what is held for other sells. At least 1.
    pub amount: u64,
    /// The risks and costs.
    pub warnings: SellWarnings,
}

/// Why nothing can be sold now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsellable {
    /// Memory holds no state that is fresh enough to decide.
    #[error(transparent)]
    Stale(#[from] StaleError),
    /// The state is known, and it forbids selling.
    #[error("nothing can be sold now: {0}")]
    Blocked(SellObstacles),
}

/// What a mint (or an account's extensions) means for sells: obstacles and warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MintSays {
    obstacles: SellObstacles,
    warnings: SellWarnings,
}

impl MintSays {
    pub fn of(mint: &MintInfo) -> Self {
        Self {
            obstacles: SellObstacles::default()
                .when(SellObstacle::NonTransferable, mint.non_transferable)
                .when(SellObstacle::Paused, mint.paused),
            warnings: SellWarnings::default()
                .when(SellWarning::FreezeAuthority, mint.freeze_authority.is_some())
                .when(SellWarning::FrozenByDefault, mint.frozen_by_default)
                .when(SellWarning::Pausable, mint.pause_authority.is_some())
                .when(SellWarning::PermanentDelegate, mint.permanent_delegate.is_some())
                .when(SellWarning::TransferHook, mint.transfer_hook.is_some())
                .when(SellWarning::TransferFee, mint.transfer_fee.is_some_and(|fee| fee.costs()))
                .when(SellWarning::UnknownExtension, mint.unknown_extensions),
        }
    }

    /// The same, with a warning if it is no longer trusted at `now`; `read` is the latest moment at
    /// which it is known to have been true.
    pub fn trusted(self, read: Tick, valid_from: Tick, now: Tick, policy: &Policy) -> Self {
        let is_young = read >= valid_from && read != Tick::NEVER && now.since(read) <= policy.verify_every;
        if is_young { self } else { self.outdated() }
    }

    /// The same, for a mint that was read too long ago.
    pub fn outdated(mut self) -> Self {
        self.warnings = self.warnings.when(SellWarning::MintOutdated, true);
        self
    }

    /// Packs it into one integer, so that it can be published atomically.
    pub fn to_bits(self) -> u32 {
        u32::from(self.obstacles.0) << 16 | u32::from(self.warnings.0)
    }

    pub fn from_bits(bits: u32) -> Self {
        Self { obstacles: SellObstacles((bits >> 16) as u16), warnings: SellWarnings(bits as u16) }
    }
}

/// What can be sold of an account in `state` that has `available` free tokens; `mint` is what its
/// mint allows, if it has been read.
///
/// # Errors
/// Everything that prevents the sell.
pub fn judge(
    state: &AccountState,
    available: u64,
    mint: Option<MintSays>,
) -> Result<Sellable, SellObstacles> {
    let held = state.token().map_or(0, |token| token.amount);
    let of_state = SellObstacles::default()
        .when(SellObstacle::Absent, matches!(state, AccountState::Absent))
        .when(SellObstacle::Closed, matches!(state, AccountState::Closed))
        .when(SellObstacle::NotToken, matches!(state, AccountState::NotToken(_)))
        .when(SellObstacle::OwnerChanged, matches!(state, AccountState::OwnerChanged(_)))
        .when(SellObstacle::WrongMint, matches!(state, AccountState::WrongMint(_)))
        .when(SellObstacle::Empty, state.token().is_some() && held == 0)
        .when(SellObstacle::Held, held > 0 && available == 0);
    let of_account = state.token().map(|token| account_says(token, mint.is_some())).unwrap_or_default();
    // If there is no token account, the mint is not the account's and does not matter.
    let of_mint = mint.filter(|_| state.token().is_some()).unwrap_or_default();
    let obstacles = of_state.and(of_account.obstacles).and(of_mint.obstacles);
    if obstacles.is_empty() {
        Ok(Sellable { amount: available.min(held), warnings: of_account.warnings.and(of_mint.warnings) })
    } else {
        Err(obstacles)
    }
}

/// What the account's own bytes mean for a sell.
fn account_says(token: &TokenAccount, mint_read: bool) -> MintSays {
    let extensions = token.extensions;
    MintSays {
        obstacles: SellObstacles::default()
            .when(SellObstacle::Frozen, token.frozen)
            .when(SellObstacle::NonTransferable, extensions.non_transferable())
            .when(SellObstacle::CpiGuard, extensions.cpi_guard())
            .when(SellObstacle::MintUnknown, !mint_read && extensions.points_to_mint()),
        warnings: SellWarnings::default()
            .when(SellWarning::Delegate, token.delegate.is_some())
            .when(SellWarning::CloseAuthority, token.close_authority.is_some_and(|key| key != token.owner))
            .when(SellWarning::WithheldFees, extensions.withheld_fees())
            .when(SellWarning::ConfidentialBalance, extensions.confidential_balance())
            .when(SellWarning::UnknownExtension, extensions.has_unknown())
            .when(SellWarning::MintUnread, !mint_read),
    }
}

#[cfg(test)]
mod tests {
    use solana_pubkey::Pubkey;

    use super::*;
    use crate::core::chain::{
        mint,
        state::{Expected, Identity},
        token::{
            NotToken, Presence, TokenProgram,
            tests::{account_bytes, extended},
        },
    };

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn bytes(amount: u64) -> Vec<u8> {
        account_bytes(key(1), key(2), amount)
    }

    fn state_of(data: &[u8]) -> AccountState {
        let expected =
            Expected { program: Some(TokenProgram::Token2022), mint: Some(key(1)), owner: Some(key(2)) };
        Identity::new(expected).classify(&Presence::decode(&TokenProgram::Token2022.id(), 1, data))
    }

    fn mint_of(values: &[(u16, &[u8])]) -> MintSays {
        let data = mint::tests::extended(values);
        MintSays::of(&MintInfo::decode(&TokenProgram::Token2022.id(), &data).expect("a mint"))
    }

    fn plain() -> Option<MintSays> {
        Some(mint_of(&[]))
    }

    fn names(result: Result<Sellable, SellObstacles>) -> String {
        match result {
            Ok(sellable) => format!("{} {}", sellable.amount, sellable.warnings).trim_end().to_owned(),
            Err(obstacles) => format!("none: {obstacles}"),
        }
    }

    /// What is said of 9 tokens with these extensions, under a mint with those.
    fn judged(account: &[(u16, &[u8])], mint: Option<MintSays>) -> String {
        names(judge(&state_of(&extended(bytes(9), account)), 9, mint))
    }

    #[test]
    fn a_plain_balance_is_sold_less_what_is_held() {
        let state = state_of(&bytes(9));
        assert_eq!(names(judge(&state, 9, plain())), "9");
        assert_eq!(names(judge(&state, 4, plain())), "4");
        assert_eq!(names(judge(&state, 0, plain())), "none: held");
        assert_eq!(names(judge(&state, 10, plain())), "9", "never more than there is");
        assert_eq!(names(judge(&state_of(&bytes(0)), 0, plain())), "none: empty");
    }

    #[test]
    fn each_state_that_is_not_the_owners_account_has_its_name() {
        let moved = account_bytes(key(1), key(3), 9);
        let other = account_bytes(key(4), key(2), 9);
        let mut frozen = bytes(9);
        frozen[108] = 2;
        for (state, name) in [
            (AccountState::Absent, "none: absent"),
            (AccountState::Closed, "none: closed"),
            (AccountState::NotToken(NotToken::Mint), "none: not_token"),
            (state_of(&moved), "none: owner_changed"),
            (state_of(&other), "none: wrong_mint"),
            (state_of(&frozen), "none: frozen"),
        ] {
            assert_eq!(names(judge(&state, 9, plain())), name);
        }
        frozen[64..72].fill(0);
        assert_eq!(names(judge(&state_of(&frozen), 0, plain())), "none: empty, frozen", "all of them");
    }

    #[test]
    fn what_token_2022_forbids_is_an_obstacle() {
        assert_eq!(judged(&[(11, &[1])], plain()), "none: cpi_guard");
        assert_eq!(judged(&[(11, &[0])], plain()), "9");
        assert_eq!(judged(&[(13, &[])], plain()), "none: non_transferable");
        let authority = [4; 32];
        let paused = |paused: u8| Some(mint_of(&[(26, &[&authority[..], &[paused]].concat())]));
        assert_eq!(judged(&[(27, &[])], paused(1)), "none: paused");
        assert_eq!(judged(&[(27, &[])], paused(0)), "9 pausable");
        assert_eq!(judged(&[], Some(mint_of(&[(9, &[])]))), "none: non_transferable");
        for pointing in [&[(2, &[0; 8][..])], &[(15, &[0][..])], &[(27, &[][..])]] {
            assert_eq!(judged(pointing, None), "none: mint_unknown");
        }
        assert_eq!(judged(&[(7, &[])], None), "9 mint_unread");
    }

    #[test]
    fn what_costs_or_may_happen_is_a_warning() {
        let mut data = bytes(9);
        data[72] = 1;
        data[76..108].fill(3);
        data[129] = 1;
        data[133..165].fill(4);
        assert_eq!(names(judge(&state_of(&data), 9, plain())), "9 delegate, close_authority");
        data[133..165].fill(2);
        assert_eq!(names(judge(&state_of(&data), 9, plain())), "9 delegate", "the owner itself may close it");
        assert_eq!(judged(&[(2, &7u64.to_le_bytes())], plain()), "9 withheld_fees");
        assert_eq!(judged(&[(17, &[1; 64])], plain()), "9 confidential_balance");
        assert_eq!(judged(&[(0x7fff, &[])], plain()), "9 unknown_extension");
        assert_eq!(judged(&[], Some(mint_of(&[(0x7fff, &[])]))), "9 unknown_extension");
        assert_eq!(judged(&[], Some(mint_of(&[(6, &[2])]))), "9 frozen_by_default");
        assert_eq!(judged(&[], Some(mint_of(&[(12, &[5; 32])]))), "9 permanent_delegate");
        assert_eq!(judged(&[(15, &[0])], Some(mint_of(&[(14, &[6; 64])]))), "9 transfer_hook");
        let mut fee = vec![8; 72];
        fee.extend([3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0].repeat(2));
        assert_eq!(judged(&[(2, &[0; 8])], Some(mint_of(&[(1, &fee)]))), "9 transfer_fee");
        fee[88] = 0;
        fee[106] = 0;
        assert_eq!(judged(&[(2, &[0; 8])], Some(mint_of(&[(1, &fee)]))), "9", "it costs nothing");
        assert_eq!(judged(&[], plain().map(MintSays::outdated)), "9 mint_outdated");
        let mut freezing = mint::tests::extended(&[]);
        freezing[46] = 1;
        let freezing = MintInfo::decode(&TokenProgram::Token2022.id(), &freezing).expect("a mint");
        assert_eq!(judged(&[], Some(MintSays::of(&freezing))), "9 freeze_authority");
    }

    #[test]
    fn a_mint_says_the_same_after_it_was_published() {
        let all = MintSays {
            obstacles: SellObstacle::ALL
                .iter()
                .fold(SellObstacles::default(), |set, one| set.when(*one, true)),
            warnings: SellWarning::ALL.iter().fold(SellWarnings::default(), |set, one| set.when(*one, true)),
        };
        assert_eq!(all.obstacles.iter().count(), SellObstacle::ALL.len());
        for says in [MintSays::default(), all, MintSays { warnings: SellWarnings::default(), ..all }] {
            assert_eq!(MintSays::from_bits(says.to_bits()), says);
            assert_ne!(says.to_bits(), u32::MAX);
        }
    }
}
