//! Accounts as the wire shows them.

use solana_account::{AccountSharedData, ReadableAccount};
use solana_account_decoder::{
    MAX_BASE58_BYTES, encode_ui_account,
    parse_account_data::{AccountAdditionalDataV3, SplTokenAdditionalDataV2},
    parse_token::get_token_account_mint,
};
use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding, UiDataSliceConfig};
use solana_pubkey::Pubkey;
use spl_token_2022_interface::{
    extension::{
        BaseStateWithExtensions, StateWithExtensions, interest_bearing_mint::InterestBearingConfig,
        scaled_ui_amount::ScaledUiAmountConfig,
    },
    state::Mint,
};

use crate::chain::Chain;

/// What the parser needs to know of a token account's mint; `None` for any other account.
pub(crate) type MintData = Option<SplTokenAdditionalDataV2>;

/// Whether this is the address of a token program.
pub(crate) fn is_token_program(address: &Pubkey) -> bool {
    *address == spl_token_interface::ID || *address == spl_token_2022_interface::ID
}

/// Looks up the mint of a token account in the bank of `slot`.
pub(crate) fn mint_data(chain: &Chain, slot: u64, account: Option<&AccountSharedData>) -> MintData {
    let account = account.filter(|account| is_token_program(account.owner()))?;
    let mint = get_token_account_mint(account.data())?;
    describe_mint(chain, slot, &mint)
}

/// Decimals and what makes a UI amount of a mint.
pub(crate) fn describe_mint(chain: &Chain, slot: u64, mint: &Pubkey) -> MintData {
    let account = chain.store.account(slot, mint)?;
    if !is_token_program(account.owner()) {
        return None;
    }
    let mint = StateWithExtensions::<Mint>::unpack(account.data()).ok()?;
    let now = chain.clock(slot).unix_timestamp;
    let interest = mint.get_extension::<InterestBearingConfig>().ok();
    let scaled = mint.get_extension::<ScaledUiAmountConfig>().ok();
    Some(SplTokenAdditionalDataV2 {
        decimals: mint.base.decimals,
        interest_bearing_config: interest.map(|config| (*config, now)),
        scaled_ui_amount_config: scaled.map(|config| (*config, now)),
    })
}

/// Encodes an account as the server does.
pub(crate) fn ui_account(
    address: &Pubkey,
    account: &AccountSharedData,
    encoding: UiAccountEncoding,
    slice: Option<UiDataSliceConfig>,
    mint: MintData,
) -> UiAccount {
    let additional = mint.map(|data| AccountAdditionalDataV3 { spl_token_additional_data: Some(data) });
    encode_ui_account(address, account, encoding, additional, slice)
}

/// Whether an RPC answer in this encoding is refused for its length. (A notification is not: it
/// carries an error text.)
pub(crate) fn is_too_large(
    account: &AccountSharedData,
    encoding: UiAccountEncoding,
    slice: Option<UiDataSliceConfig>,
) -> bool {
    let base58 = matches!(encoding, UiAccountEncoding::Binary | UiAccountEncoding::Base58);
    let space = account.data().len();
    let sliced = slice.map_or(space, |s| space.saturating_sub(s.offset).min(s.length));
    base58 && sliced > MAX_BASE58_BYTES
}
