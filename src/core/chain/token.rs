//! Decodes the bytes at an address: token accounts of SPL Token and Token-2022.

use std::fmt;

use solana_program_pack::Pack;
use solana_pubkey::Pubkey;
use spl_token_2022_interface::{
    extension::{
        BaseStateWithExtensions, StateWithExtensions, confidential_transfer::ConfidentialTransferAccount,
        confidential_transfer_fee::ConfidentialTransferFeeAmount, cpi_guard::CpiGuard,
        non_transferable::NonTransferableAccount, pausable::PausableAccount, transfer_fee::TransferFeeAmount,
        transfer_hook::TransferHookAccount,
    },
    state::{Account, AccountState as RawState, Mint, Multisig},
};

/// The two programs that hold token accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TokenProgram {
    /// SPL Token, `TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA`.
    Token,
    /// Token-2022, `TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb`.
    Token2022,
}

impl TokenProgram {
    /// Both, in the order in which a wallet is searched.
    pub const ALL: [TokenProgram; 2] = [TokenProgram::Token, TokenProgram::Token2022];

    /// The program's address.
    pub const fn id(self) -> Pubkey {
        match self {
            Self::Token => spl_token_interface::ID,
            Self::Token2022 => spl_token_2022_interface::ID,
        }
    }

    /// The program with this address, if it is one of the two.
    pub fn from_id(id: &Pubkey) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.id() == *id)
    }

    /// The associated token account (ATA) of a wallet for a mint of this program.
    ///
    /// The address depends on the program: the ATA of a Token-2022 mint derived with SPL Token does
    /// not exist.
    pub fn associated_account(self, wallet: &Pubkey, mint: &Pubkey) -> Pubkey {
        spl_associated_token_account_interface::address::get_associated_token_address_with_program_id(
            wallet,
            mint,
            &self.id(),
        )
    }
}

impl fmt::Display for TokenProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "spl-token",
            Self::Token2022 => "token-2022",
        })
    }
}

/// The decoded content of a token account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TokenAccount {
    /// The program that owns the account.
    pub program: TokenProgram,
    /// The mint whose tokens it holds.
    pub mint: Pubkey,
    /// The wallet that may move them (the token account's `owner` field).
    pub owner: Pubkey,
    /// How many, in the mint's smallest unit. For wrapped SOL this excludes lamports that are not
    /// synced yet.
    pub amount: u64,
    /// Whether the mint's freeze authority has frozen the account.
    pub frozen: bool,
    /// Who else may move tokens, and how many at most.
    pub delegate: Option<TokenDelegate>,
    /// Who may close the account, if not the owner.
    pub close_authority: Option<Pubkey>,
    /// For wrapped SOL, the lamports kept back for rent.
    pub native_reserve: Option<u64>,
    /// The Token-2022 extensions on the account.
    pub extensions: TokenExtensions,
}

/// Another key's right to move tokens out of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TokenDelegate {
    /// The key.
    pub key: Pubkey,
    /// What remains of its allowance, in the mint's smallest unit.
    pub amount: u64,
}

/// The Token-2022 extensions of an account: which types are present (by their on-chain numbers),
/// and what they say that matters to a seller.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TokenExtensions {
    types: u64,
    facts: Facts,
    unknown: bool,
}

/// One bit for each fact that an account's extensions state.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Facts(u8);

impl Facts {
    const CPI_GUARD: Self = Self(1);
    const NON_TRANSFERABLE: Self = Self(1 << 1);
    const PAUSABLE: Self = Self(1 << 2);
    const TRANSFER_HOOK: Self = Self(1 << 3);
    const TRANSFER_FEE: Self = Self(1 << 4);
    const WITHHELD: Self = Self(1 << 5);
    const CONFIDENTIAL: Self = Self(1 << 6);

    fn has(self, fact: Self) -> bool {
        self.0 & fact.0 != 0
    }

    fn with(self, fact: Self, holds: bool) -> Self {
        if holds { Self(self.0 | fact.0) } else { self }
    }

    /// Reads each extension separately, so that an unknown one does not hide the others.
    fn of(account: &StateWithExtensions<'_, Account>) -> Self {
        let fee = account.get_extension::<TransferFeeAmount>();
        // An encrypted balance of zero need not be all zero bytes, but the token program itself
        // treats such bytes as a balance (`closable`).
        let confidential = account.get_extension::<ConfidentialTransferAccount>();
        let confidential_fee = account.get_extension::<ConfidentialTransferFeeAmount>();
        let confidential = confidential.is_ok_and(|it| it.closable().is_err())
            || confidential_fee.is_ok_and(|it| it.closable().is_err());
        Self::default()
            .with(Self::CPI_GUARD, account.get_extension::<CpiGuard>().is_ok_and(|it| it.lock_cpi.into()))
            .with(Self::NON_TRANSFERABLE, account.get_extension::<NonTransferableAccount>().is_ok())
            .with(Self::PAUSABLE, account.get_extension::<PausableAccount>().is_ok())
            .with(Self::TRANSFER_HOOK, account.get_extension::<TransferHookAccount>().is_ok())
            .with(Self::TRANSFER_FEE, fee.is_ok())
            .with(Self::WITHHELD, fee.is_ok_and(|it| it.closable().is_err()))
            .with(Self::CONFIDENTIAL, confidential)
    }
}

impl TokenExtensions {
    /// Whether the extension with this number (`ExtensionType` in Token-2022) is present.
    pub fn contains(self, extension: u16) -> bool {
        extension < 64 && self.types & (1 << extension) != 0
    }

    /// Whether the account has extensions that this version does not know: newer ones, or malformed
    /// ones. If so, [`contains`](Self::contains) may report none at all.
    pub fn has_unknown(self) -> bool {
        self.unknown
    }

    /// Whether the CPI guard is on: no other program can move the tokens on the owner's behalf.
    pub fn cpi_guard(self) -> bool {
        self.facts.has(Facts::CPI_GUARD)
    }

    /// Whether the tokens can never be transferred.
    pub fn non_transferable(self) -> bool {
        self.facts.has(Facts::NON_TRANSFERABLE)
    }

    /// Whether transfer fees are withheld in the account. They are not part of the amount.
    pub fn withheld_fees(self) -> bool {
        self.facts.has(Facts::WITHHELD)
    }

    /// Whether the account has a confidential balance, as far as its bytes show. It is not part of
    /// the amount.
    pub fn confidential_balance(self) -> bool {
        self.facts.has(Facts::CONFIDENTIAL)
    }

    /// Whether the mint decides what a transfer may do: whether transfers are paused, which hook
    /// runs, what a transfer costs.
    pub(crate) fn points_to_mint(self) -> bool {
        [Facts::PAUSABLE, Facts::TRANSFER_HOOK, Facts::TRANSFER_FEE].iter().any(|fact| self.facts.has(*fact))
    }

    fn of(account: &StateWithExtensions<'_, Account>) -> Self {
        let facts = Facts::of(account);
        let Ok(types) = account.get_extension_types() else {
            return Self { types: 0, facts, unknown: true };
        };
        types.into_iter().fold(Self { facts, ..Self::default() }, |set, extension| {
            match u16::from(extension) {
                number @ 0..64 => Self { types: set.types | 1 << number, ..set },
                _ => Self { unknown: true, ..set },
            }
        })
    }
}

impl fmt::Debug for TokenExtensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        set.entries((0..64).filter(|number| self.contains(*number)));
        for (fact, name) in [
            (self.cpi_guard(), "cpi_guard on"),
            (self.withheld_fees(), "fees withheld"),
            (self.confidential_balance(), "confidential balance"),
            (self.unknown, "unknown"),
        ] {
            if fact {
                set.entry(&format_args!("{name}"));
            }
        }
        set.finish()
    }
}

/// Why an account that exists is not a token account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotToken {
    /// It belongs to a program that has no token accounts.
    ForeignProgram(Pubkey),
    /// It belongs to the other token program, not the expected one.
    WrongTokenProgram(TokenProgram),
    /// It has the size of a token account, but was never initialized.
    Uninitialized,
    /// It is a mint.
    Mint,
    /// It is a multisig of signers.
    Multisig,
    /// Its bytes match none of the layouts of its token program.
    Malformed,
}

impl fmt::Display for NotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignProgram(program) => write!(f, "owned by program {program}"),
            Self::WrongTokenProgram(program) => write!(f, "owned by the other token program, {program}"),
            Self::Uninitialized => f.write_str("not initialized"),
            Self::Mint => f.write_str("a mint"),
            Self::Multisig => f.write_str("a multisig"),
            Self::Malformed => f.write_str("malformed"),
        }
    }
}

/// What is at an address, independent of what any watcher expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// No account, or a system account without data. Anyone can create the latter by sending
    /// lamports to the address.
    Absent,
    Token(TokenAccount),
    NotToken(NotToken),
}

impl Presence {
    /// Decodes an account from what a source reports: the owning program, the lamports and the
    /// data.
    pub fn decode(program: &Pubkey, lamports: u64, data: &[u8]) -> Self {
        const SYSTEM_PROGRAM: Pubkey = Pubkey::new_from_array([0; 32]);
        if data.is_empty() && (lamports == 0 || *program == SYSTEM_PROGRAM) {
            return Self::Absent;
        }
        match TokenProgram::from_id(program) {
            None => Self::NotToken(NotToken::ForeignProgram(*program)),
            Some(program) => match decode_token(program, data) {
                Ok(account) => Self::Token(account),
                Err(reason) => Self::NotToken(reason),
            },
        }
    }
}

fn decode_token(program: TokenProgram, data: &[u8]) -> Result<TokenAccount, NotToken> {
    if data.len() == Multisig::LEN {
        return Err(NotToken::Multisig);
    }
    if data.len() == Mint::LEN {
        return Err(NotToken::Mint);
    }
    // SPL Token accounts have exactly one length; only Token-2022 accounts are longer.
    if program == TokenProgram::Token && data.len() != Account::LEN {
        return Err(NotToken::Malformed);
    }
    // In an extended account, the byte after the base layout is its type: 1 for a mint, 2 for an
    // account.
    if data.get(Account::LEN) == Some(&1) {
        return Err(NotToken::Mint);
    }
    let account = StateWithExtensions::<Account>::unpack(data).map_err(|_| {
        // The state byte of the layout that both programs share: 0 means uninitialized.
        match data.get(108) {
            Some(0) if data.len() >= Account::LEN => NotToken::Uninitialized,
            _ => NotToken::Malformed,
        }
    })?;
    let base = &account.base;
    Ok(TokenAccount {
        program,
        mint: base.mint,
        owner: base.owner,
        amount: base.amount,
        frozen: base.state == RawState::Frozen,
        delegate: Option::from(base.delegate).map(|key| TokenDelegate { key, amount: base.delegated_amount }),
        close_authority: base.close_authority.into(),
        native_reserve: base.is_native.into(),
        extensions: TokenExtensions::of(&account),
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A plain SPL Token account's bytes, written by hand from the layout in the program's
    /// documentation.
    pub fn account_bytes(mint: Pubkey, owner: Pubkey, amount: u64) -> Vec<u8> {
        let mut data = vec![0; 165];
        data[0..32].copy_from_slice(mint.as_ref());
        data[32..64].copy_from_slice(owner.as_ref());
        data[64..72].copy_from_slice(&amount.to_le_bytes());
        data[108] = 1;
        data
    }

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn decode(program: TokenProgram, data: &[u8]) -> Presence {
        Presence::decode(&program.id(), 2_039_280, data)
    }

    fn token(presence: Presence) -> TokenAccount {
        match presence {
            Presence::Token(account) => account,
            other => panic!("not a token account: {other:?}"),
        }
    }

    #[test]
    fn every_field_comes_from_its_place() {
        let mut data = account_bytes(key(1), key(2), 0x0102_0304_0506_0708);
        data[72] = 1;
        data[76..108].copy_from_slice(key(3).as_ref());
        data[108] = 2;
        data[109] = 1;
        data[113..121].copy_from_slice(&2_039_280u64.to_le_bytes());
        data[121..129].copy_from_slice(&77u64.to_le_bytes());
        data[129] = 1;
        data[133..165].copy_from_slice(key(4).as_ref());
        for program in TokenProgram::ALL {
            assert_eq!(
                token(decode(program, &data)),
                TokenAccount {
                    program,
                    mint: key(1),
                    owner: key(2),
                    amount: 0x0102_0304_0506_0708,
                    frozen: true,
                    delegate: Some(TokenDelegate { key: key(3), amount: 77 }),
                    close_authority: Some(key(4)),
                    native_reserve: Some(2_039_280),
                    extensions: TokenExtensions::default(),
                }
            );
        }
    }

    #[test]
    fn token_2022_extensions_are_listed_and_an_unknown_one_hides_nothing() {
        let mut data = account_bytes(key(1), key(2), 9);
        data.push(2);
        data.extend([7, 0, 0, 0]); // ImmutableOwner, no bytes
        let account = token(decode(TokenProgram::Token2022, &data));
        assert!(account.extensions.contains(7) && !account.extensions.contains(8));
        assert!(!account.extensions.has_unknown());

        data.extend([0xff, 0x7f, 2, 0, 1, 1]); // a type of the future, two bytes
        let account = token(decode(TokenProgram::Token2022, &data));
        assert_eq!(account.amount, 9);
        assert!(account.extensions.has_unknown());
    }

    /// Behind a plain account, Token-2022 extensions by number and value, as they stand on chain.
    pub fn extended(mut account: Vec<u8>, values: &[(u16, &[u8])]) -> Vec<u8> {
        account.push(2);
        for (number, value) in values {
            account.extend(number.to_le_bytes());
            account.extend(u16::try_from(value.len()).expect("short").to_le_bytes());
            account.extend(*value);
        }
        account
    }

    #[test]
    fn what_extensions_say_is_read_from_their_values() {
        let read = |values: &[(u16, &[u8])]| {
            let data = extended(account_bytes(key(1), key(2), 9), values);
            token(decode(TokenProgram::Token2022, &data)).extensions
        };
        let says = |it: TokenExtensions| {
            let known = [it.cpi_guard(), it.non_transferable(), it.withheld_fees()];
            (known, it.confidential_balance(), it.points_to_mint())
        };
        // Approved, a key, three balances of 64 bytes, and more: 295 bytes.
        let mut confidential = [0; 295];
        confidential[0] = 1;
        confidential[1..33].fill(7);
        confidential[225..].fill(1);
        let with_balance = |place: usize| {
            let mut value = confidential;
            value[place] = 1;
            value
        };
        assert_eq!(says(read(&[(7, &[]), (8, &[1])])), ([false; 3], false, false));
        assert_eq!(says(read(&[(11, &[1])])), ([true, false, false], false, false));
        assert_eq!(says(read(&[(11, &[0])])), ([false; 3], false, false), "switched off");
        assert_eq!(says(read(&[(13, &[])])), ([false, true, false], false, false));
        assert_eq!(says(read(&[(2, &[0; 8])])), ([false; 3], false, true), "nothing withheld");
        assert_eq!(says(read(&[(2, &7u64.to_le_bytes())])), ([false, false, true], false, true));
        assert_eq!(says(read(&[(15, &[0])])), ([false; 3], false, true));
        assert_eq!(says(read(&[(27, &[])])), ([false; 3], false, true));
        assert_eq!(says(read(&[(5, &confidential)])), ([false; 3], false, false), "no balance in it");
        for place in [33, 97, 161, 224] {
            assert_eq!(says(read(&[(5, &with_balance(place))])), ([false; 3], true, false), "{place}");
        }
        assert_eq!(says(read(&[(17, &[1; 64])])), ([false; 3], true, false));
        assert_eq!(says(read(&[(17, &[0; 64])])), ([false; 3], false, false));
        let behind = read(&[(0x7fff, &[1, 1]), (11, &[1])]);
        assert!(behind.has_unknown() && behind.cpi_guard(), "one that is not known hides no other");
        // It would stand in every record twice.
        assert_eq!(size_of::<TokenExtensions>(), 16);
    }

    #[test]
    fn the_program_decides_the_layout() {
        let mut data = account_bytes(key(1), key(2), 9);
        data.extend([2, 7, 0, 0, 0]);
        assert_eq!(decode(TokenProgram::Token, &data), Presence::NotToken(NotToken::Malformed));
        assert_eq!(token(decode(TokenProgram::Token2022, &data)).amount, 9);
        data[165] = 1;
        assert_eq!(decode(TokenProgram::Token, &data), Presence::NotToken(NotToken::Malformed));
        assert_eq!(decode(TokenProgram::Token2022, &data), Presence::NotToken(NotToken::Mint));
    }

    #[test]
    fn what_is_no_token_account_says_what_it_is() {
        let good = account_bytes(key(1), key(2), 9);
        let mut uninitialized = good.clone();
        uninitialized[108] = 0;
        let mut malformed = good.clone();
        malformed[108] = 3;
        let mut mint_typed = good.clone();
        mint_typed.push(1);
        let mut unknown_type = good.clone();
        unknown_type.push(3);
        for (data, reason) in [
            (uninitialized, NotToken::Uninitialized),
            (malformed, NotToken::Malformed),
            (mint_typed, NotToken::Mint),
            (unknown_type, NotToken::Malformed),
            (vec![0; 355], NotToken::Multisig),
            (vec![0; 82], NotToken::Mint),
            (vec![1; 164], NotToken::Malformed),
            (vec![0; 164], NotToken::Malformed),
            (vec![], NotToken::Malformed),
        ] {
            let seen = decode(TokenProgram::Token2022, &data);
            assert_eq!(seen, Presence::NotToken(reason), "{} bytes", data.len());
        }
        let foreign = Presence::decode(&key(9), 1, &good);
        assert_eq!(foreign, Presence::NotToken(NotToken::ForeignProgram(key(9))));
    }

    #[test]
    fn an_empty_system_account_is_absence() {
        let system = Pubkey::default();
        assert_eq!(Presence::decode(&system, 0, &[]), Presence::Absent);
        assert_eq!(Presence::decode(&system, 890_880, &[]), Presence::Absent);
        let with_data = Presence::decode(&system, 890_880, &[1]);
        assert_eq!(with_data, Presence::NotToken(NotToken::ForeignProgram(system)));
    }

    #[test]
    fn the_ata_depends_on_the_program() {
        // From `spl-token address --verbose` conventions: derived here by the PDA rule itself.
        let (wallet, mint) = (key(5), key(6));
        for program in TokenProgram::ALL {
            let (expected, _) = Pubkey::find_program_address(
                &[wallet.as_ref(), program.id().as_ref(), mint.as_ref()],
                &"ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL".parse().unwrap(),
            );
            assert_eq!(program.associated_account(&wallet, &mint), expected);
        }
    }
}
