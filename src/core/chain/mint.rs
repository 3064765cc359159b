//! Decodes a mint: its decimals, how its amounts are shown, and what it allows others to do to a
//! holder.

use solana_program_pack::Pack;
use solana_pubkey::Pubkey;
use spl_token_2022_interface::{
    extension::{
        BaseStateWithExtensions, StateWithExtensions, default_account_state::DefaultAccountState,
        interest_bearing_mint::InterestBearingConfig, non_transferable::NonTransferable,
        pausable::PausableConfig, permanent_delegate::PermanentDelegate,
        scaled_ui_amount::ScaledUiAmountConfig, transfer_fee, transfer_hook::TransferHook,
    },
    state::{AccountState as RawState, Mint as RawMint},
};

use crate::core::{
    base::{ids::Slot, time::Tick},
    chain::token::TokenProgram,
};

/// A mint's configuration, as far as holders of its tokens need it. Decimals never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MintInfo {
    /// The program that owns the mint.
    pub program: TokenProgram,
    /// How many digits of a raw amount come after the decimal point.
    pub decimals: u8,
    /// How to convert a raw amount to a UI amount.
    pub scale: UiScale,
    /// Who may freeze accounts of the mint. The authority can be transferred or given up; once
    /// given up it never returns.
    pub freeze_authority: Option<Pubkey>,
    /// Whether new accounts of the mint start frozen, until the freeze authority thaws them.
    pub frozen_by_default: bool,
    /// Whether its tokens can never be transferred.
    pub non_transferable: bool,
    /// Whether transfers, mints and burns of its tokens are paused at the moment.
    pub paused: bool,
    /// Who may pause and resume the mint.
    pub pause_authority: Option<Pubkey>,
    /// Who may move or burn any holder's tokens.
    pub permanent_delegate: Option<Pubkey>,
    /// The program that every transfer calls, and that may refuse the transfer.
    pub transfer_hook: Option<Pubkey>,
    /// What each transfer costs.
    pub transfer_fee: Option<TransferFee>,
    /// Whether the mint has extensions that this version does not know: newer ones, or malformed
    /// ones.
    pub unknown_extensions: bool,
    /// The slot as of which this is known, if any of it can change to a holder's harm. Such a mint
    /// is read again every minute while an account of it is watched. `None` if nothing can change,
    /// so that no slot matters.
    pub slot: Option<Slot>,
    /// The latest moment at which this is known to have been true.
    pub(crate) read: Tick,
}

/// How to convert a raw amount to a UI amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UiScale {
    /// The raw amount, divided by 10 to the power of the decimals.
    Decimals,
    /// As [`UiScale::Decimals`], but growing with time at a rate that the mint's authority can
    /// change.
    InterestBearing,
    /// As [`UiScale::Decimals`], times a factor that the mint's authority can change.
    Scaled,
}

/// The transfer fee of a mint: the older rate, and the newer rate with the epoch in which it takes
/// effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TransferFee {
    /// The rate before the newer rate's epoch.
    pub older: FeeRate,
    /// The rate from its epoch on. A change takes effect two epochs after it is made.
    pub newer: FeeRate,
}

/// One rate of a transfer fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FeeRate {
    /// The first epoch in which the rate applies.
    pub epoch: u64,
    /// Hundredths of a percent of the amount transferred, rounded up to the smallest unit.
    pub basis_points: u16,
    /// The most that one transfer costs, in the mint's smallest unit.
    pub maximum: u64,
}

impl TransferFee {
    /// The rate that applies in an epoch.
    pub fn at(&self, epoch: u64) -> FeeRate {
        if epoch >= self.newer.epoch { self.newer } else { self.older }
    }

    /// Whether a transfer costs anything, now or once the newer rate applies.
    pub(crate) fn costs(&self) -> bool {
        [self.older, self.newer].iter().any(|rate| rate.of(u64::MAX) > 0)
    }
}

impl FeeRate {
    /// The fee on a transfer of `amount`: the receiver gets that much less.
    pub fn of(&self, amount: u64) -> u64 {
        let fee = (u128::from(amount) * u128::from(self.basis_points)).div_ceil(10_000);
        u64::try_from(fee).unwrap_or(u64::MAX).min(self.maximum)
    }
}

impl From<transfer_fee::TransferFee> for FeeRate {
    fn from(raw: transfer_fee::TransferFee) -> Self {
        Self {
            epoch: raw.epoch.into(),
            basis_points: raw.transfer_fee_basis_points.into(),
            maximum: raw.maximum_fee.into(),
        }
    }
}

impl MintInfo {
    /// The latest moment at which this is known to have been true: [`Tick::FOREVER`] if it cannot
    /// change.
    pub(crate) fn surely_so(&self) -> Tick {
        self.slot.map_or(Tick::FOREVER, |_| self.read)
    }

    /// A mint without any authority or extension.
    pub(crate) const fn plain(program: TokenProgram, decimals: u8) -> Self {
        Self {
            program,
            decimals,
            scale: UiScale::Decimals,
            freeze_authority: None,
            frozen_by_default: false,
            non_transferable: false,
            paused: false,
            pause_authority: None,
            permanent_delegate: None,
            transfer_hook: None,
            transfer_fee: None,
            unknown_extensions: false,
            slot: None,
            read: Tick::NEVER,
        }
    }

    /// The UI amount as an exact decimal string without trailing zeros. `None` if the UI amount
    /// depends on the time ([`UiScale`]): then only the raw amount is exact.
    pub fn ui_amount(&self, raw: u64) -> Option<String> {
        match self.scale {
            UiScale::Decimals => Some(
                solana_account_decoder_client_types::token::real_number_string_trimmed(raw, self.decimals),
            ),
            UiScale::InterestBearing | UiScale::Scaled => None,
        }
    }

    /// Decodes a mint account; `None` if it is not a mint. If the mint can change, `slot` is
    /// `Some(0)`: the caller must then set the slot and the time of the read.
    pub(crate) fn decode(program: &Pubkey, data: &[u8]) -> Option<Self> {
        let program = TokenProgram::from_id(program)?;
        // SPL Token mints have exactly one length; only Token-2022 mints are longer.
        if program == TokenProgram::Token && data.len() != RawMint::LEN {
            return None;
        }
        let raw = StateWithExtensions::<RawMint>::unpack(data).ok()?;
        let mut mint = Self {
            freeze_authority: raw.base.freeze_authority.into(),
            ..Self::plain(program, raw.base.decimals)
        };
        mint.take_extensions(&raw);
        Some(mint)
    }

    /// Reads each extension separately, so that an unknown one does not hide the others.
    fn take_extensions(&mut self, raw: &StateWithExtensions<'_, RawMint>) {
        let mut changes = false;
        if raw.get_extension::<InterestBearingConfig>().is_ok() {
            self.scale = UiScale::InterestBearing;
        } else if raw.get_extension::<ScaledUiAmountConfig>().is_ok() {
            self.scale = UiScale::Scaled;
        }
        if let Ok(default) = raw.get_extension::<DefaultAccountState>() {
            self.frozen_by_default = default.state == RawState::Frozen as u8;
            // The freeze authority may change the default state.
            changes |= self.freeze_authority.is_some();
        }
        self.non_transferable = raw.get_extension::<NonTransferable>().is_ok();
        if let Ok(config) = raw.get_extension::<PausableConfig>() {
            self.paused = config.paused.into();
            self.pause_authority = config.authority.into();
            changes |= self.pause_authority.is_some();
        }
        if let Ok(config) = raw.get_extension::<PermanentDelegate>() {
            self.permanent_delegate = config.delegate.into();
            changes |= self.permanent_delegate.is_some();
        }
        if let Ok(config) = raw.get_extension::<TransferHook>() {
            self.transfer_hook = config.program_id.into();
            changes |= Option::<Pubkey>::from(config.authority).is_some();
        }
        if let Ok(config) = raw.get_extension::<transfer_fee::TransferFeeConfig>() {
            let (older, newer) = (config.older_transfer_fee.into(), config.newer_transfer_fee.into());
            self.transfer_fee = Some(TransferFee { older, newer });
            changes |= Option::<Pubkey>::from(config.transfer_fee_config_authority).is_some();
        }
        self.unknown_extensions = raw.get_extension_types().is_err();
        // An unknown extension may allow changes that this version cannot see.
        changes |= self.unknown_extensions;
        self.slot = changes.then_some(0);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn mint_bytes(decimals: u8) -> Vec<u8> {
        let mut data = vec![0; 82];
        data[44] = decimals;
        data[45] = 1;
        data
    }

    #[test]
    fn decimals_come_from_byte_44() {
        let mint = MintInfo::decode(&TokenProgram::Token.id(), &mint_bytes(6)).expect("a mint");
        assert_eq!((mint.decimals, mint.scale), (6, UiScale::Decimals));
        assert_eq!(MintInfo::decode(&Pubkey::default(), &mint_bytes(6)), None);
        assert_eq!(MintInfo::decode(&TokenProgram::Token.id(), &[0; 82]), None, "not initialized");
        assert_eq!(MintInfo::decode(&TokenProgram::Token2022.id(), &[1; 165]), None);
    }

    #[test]
    fn ui_amounts_are_exact_at_the_ends_of_u64() {
        let mint = |decimals| MintInfo::plain(TokenProgram::Token, decimals);
        assert_eq!(mint(6).ui_amount(1_500_000).as_deref(), Some("1.5"));
        assert_eq!(mint(9).ui_amount(u64::MAX).as_deref(), Some("18446744073.709551615"));
        assert_eq!(mint(0).ui_amount(100).as_deref(), Some("100"));
        assert_eq!(mint(6).ui_amount(0).as_deref(), Some("0"));
        assert_eq!(mint(255).ui_amount(1).map(|text| text.len()), Some(257));
    }

    #[test]
    fn a_mint_whose_ui_amount_moves_with_time_shows_none() {
        for (extension, length, scale) in
            [(10u16, 52u16, UiScale::InterestBearing), (25, 56, UiScale::Scaled)]
        {
            let mut data = mint_bytes(6);
            data.resize(165, 0);
            data.push(1);
            data.extend(extension.to_le_bytes());
            data.extend(length.to_le_bytes());
            data.resize(data.len() + usize::from(length), 0);
            let mint = MintInfo::decode(&TokenProgram::Token2022.id(), &data).expect("a mint");
            assert_eq!(mint.scale, scale);
            assert_eq!(mint.ui_amount(1), None);
            assert_eq!(MintInfo::decode(&TokenProgram::Token.id(), &data), None, "no mint of that length");
        }
    }

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    /// A Token-2022 mint with extensions by number and value, as they stand on chain.
    pub fn extended(values: &[(u16, &[u8])]) -> Vec<u8> {
        let mut data = mint_bytes(6);
        data.resize(165, 0);
        data.push(1);
        for (number, value) in values {
            data.extend(number.to_le_bytes());
            data.extend(u16::try_from(value.len()).expect("short").to_le_bytes());
            data.extend(*value);
        }
        data
    }

    fn read(values: &[(u16, &[u8])]) -> MintInfo {
        MintInfo::decode(&TokenProgram::Token2022.id(), &extended(values)).expect("a mint")
    }

    /// Two addresses, or an address and a byte, one behind the other.
    fn two(first: u8, second: &[u8]) -> Vec<u8> {
        [&[first; 32][..], second].concat()
    }

    #[test]
    fn who_may_freeze_stands_behind_the_flag_at_byte_46() {
        let mut data = mint_bytes(6);
        data[46] = 1;
        data[50..82].fill(3);
        for program in TokenProgram::ALL {
            let mint = MintInfo::decode(&program.id(), &data).expect("a mint");
            assert_eq!(mint, MintInfo { freeze_authority: Some(key(3)), ..MintInfo::plain(program, 6) });
        }
    }

    #[test]
    fn what_a_mint_allows_others_is_read_from_its_extensions() {
        let plain = MintInfo::plain(TokenProgram::Token2022, 6);
        let changing = MintInfo { slot: Some(0), ..plain };
        assert_eq!(read(&[(3, &[1; 32]), (18, &[1; 64])]), plain, "a close authority and a pointer");
        assert_eq!(read(&[(9, &[])]), MintInfo { non_transferable: true, ..plain });
        assert_eq!(read(&[(6, &[2])]), MintInfo { frozen_by_default: true, ..plain });
        assert_eq!(read(&[(6, &[1])]), plain);
        let (pause_authority, permanent_delegate) = (Some(key(4)), Some(key(5)));
        assert_eq!(read(&[(26, &two(4, &[0]))]), MintInfo { pause_authority, ..changing });
        assert_eq!(read(&[(26, &two(4, &[1]))]), MintInfo { pause_authority, paused: true, ..changing });
        assert_eq!(read(&[(26, &two(0, &[1]))]), MintInfo { paused: true, ..plain }, "for ever");
        assert_eq!(read(&[(12, &[5; 32])]), MintInfo { permanent_delegate, ..changing });
        assert_eq!(read(&[(12, &[0; 32])]), plain);
        let transfer_hook = Some(key(7));
        assert_eq!(read(&[(14, &two(6, &[7; 32]))]), MintInfo { transfer_hook, ..changing });
        assert_eq!(read(&[(14, &two(6, &[0; 32]))]), changing, "none yet");
        assert_eq!(read(&[(14, &two(0, &[7; 32]))]), MintInfo { transfer_hook, ..plain });
        let unknown = read(&[(0x7fff, &[1, 1]), (9, &[])]);
        assert_eq!(unknown, MintInfo { unknown_extensions: true, non_transferable: true, ..changing });
    }

    #[test]
    fn whether_new_accounts_begin_frozen_is_for_the_freeze_authority_to_change() {
        let mut data = extended(&[(6, &[2])]);
        data[46] = 1;
        data[50..82].fill(3);
        let mint = MintInfo::decode(&TokenProgram::Token2022.id(), &data).expect("a mint");
        assert_eq!((mint.frozen_by_default, mint.slot), (true, Some(0)));
    }

    #[test]
    fn a_transfer_fee_is_what_the_program_takes() {
        let mut value = vec![8; 64];
        value.extend(77u64.to_le_bytes());
        for (epoch, maximum, points) in [(3u64, 1_000u64, 250u16), (9, u64::MAX, 10_000)] {
            value.extend(epoch.to_le_bytes());
            value.extend(maximum.to_le_bytes());
            value.extend(points.to_le_bytes());
        }
        let mint = read(&[(1, &value)]);
        assert_eq!(mint.slot, Some(0), "somebody can change it");
        let fee = mint.transfer_fee.expect("a fee");
        assert_eq!((fee.at(8).basis_points, fee.at(9).basis_points), (250, 10_000));
        for rate in [fee.older, fee.newer, FeeRate { epoch: 0, basis_points: 1, maximum: 3 }] {
            let theirs = transfer_fee::TransferFee {
                epoch: rate.epoch.into(),
                maximum_fee: rate.maximum.into(),
                transfer_fee_basis_points: rate.basis_points.into(),
            };
            for amount in [0, 1, 39, 40, 41, 9_999, 10_000, 10_001, u64::MAX - 1, u64::MAX] {
                assert_eq!(Some(rate.of(amount)), theirs.calculate_fee(amount), "{rate:?} of {amount}");
            }
        }
        let none = FeeRate { epoch: 0, basis_points: 0, maximum: 5 };
        let free = FeeRate { epoch: 0, basis_points: 5, maximum: 0 };
        assert!(fee.costs() && !TransferFee { older: none, newer: free }.costs());
        assert!(TransferFee { older: none, newer: fee.newer }.costs(), "announced");
    }
}
