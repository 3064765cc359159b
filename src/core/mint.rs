//! What a mint says of its tokens: decimals, and how amounts are shown.

use solana_program_pack::Pack;
use solana_pubkey::Pubkey;
use spl_token_2022_interface::{
    extension::{
        BaseStateWithExtensions, StateWithExtensions, interest_bearing_mint::InterestBearingConfig,
        scaled_ui_amount::ScaledUiAmountConfig,
    },
    state::Mint as RawMint,
};

use super::token::TokenProgram;

/// A mint's configuration, as far as amounts need it. Decimals never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Mint {
    /// The program that owns the mint.
    pub program: TokenProgram,
    /// How many digits of a raw amount stand after the decimal point.
    pub decimals: u8,
    /// How a raw amount becomes a UI amount.
    pub scale: UiScale,
}

/// How a raw amount becomes a UI amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UiScale {
    /// The raw amount, divided by 10 to the power of the decimals.
    Decimals,
    /// As [`UiScale::Decimals`], and growing with time at a rate that its authority can change.
    InterestBearing,
    /// As [`UiScale::Decimals`], times a factor that its authority can change.
    Scaled,
}

impl Mint {
    /// The UI amount as an exact decimal string without trailing zeros; `None` where the UI amount
    /// depends on the time ([`UiScale`]), so that the raw amount is the only exact one.
    pub fn ui_amount(&self, raw: u64) -> Option<String> {
        match self.scale {
            UiScale::Decimals => Some(
                solana_account_decoder_client_types::token::real_number_string_trimmed(raw, self.decimals),
            ),
            UiScale::InterestBearing | UiScale::Scaled => None,
        }
    }

    /// Decodes a mint account; `None` where it is none.
    pub(crate) fn decode(program: &Pubkey, data: &[u8]) -> Option<Self> {
        let program = TokenProgram::from_id(program)?;
        // SPL Token knows one length; bytes beyond it are Token-2022's.
        if program == TokenProgram::Token && data.len() != RawMint::LEN {
            return None;
        }
        let mint = StateWithExtensions::<RawMint>::unpack(data).ok()?;
        let scale = if mint.get_extension::<InterestBearingConfig>().is_ok() {
            UiScale::InterestBearing
        } else if mint.get_extension::<ScaledUiAmountConfig>().is_ok() {
            UiScale::Scaled
        } else {
            UiScale::Decimals
        };
        Some(Self { program, decimals: mint.base.decimals, scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mint_bytes(decimals: u8) -> Vec<u8> {
        let mut data = vec![0; 82];
        data[44] = decimals;
        data[45] = 1;
        data
    }

    #[test]
    fn decimals_come_from_byte_44() {
        let mint = Mint::decode(&TokenProgram::Token.id(), &mint_bytes(6)).expect("a mint");
        assert_eq!((mint.decimals, mint.scale), (6, UiScale::Decimals));
        assert_eq!(Mint::decode(&Pubkey::default(), &mint_bytes(6)), None);
        assert_eq!(Mint::decode(&TokenProgram::Token.id(), &[0; 82]), None, "not initialized");
        assert_eq!(Mint::decode(&TokenProgram::Token2022.id(), &[1; 165]), None);
    }

    #[test]
    fn ui_amounts_are_exact_at_the_ends_of_u64() {
        let mint = |decimals| Mint { program: TokenProgram::Token, decimals, scale: UiScale::Decimals };
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
            let mint = Mint::decode(&TokenProgram::Token2022.id(), &data).expect("a mint");
            assert_eq!(mint.scale, scale);
            assert_eq!(mint.ui_amount(1), None);
            assert_eq!(Mint::decode(&TokenProgram::Token.id(), &data), None, "no mint of that length");
        }
    }
}
