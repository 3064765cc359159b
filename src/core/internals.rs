//! What the project's own test crates need of public types that keep it to themselves.

use solana_pubkey::Pubkey;

use crate::core::{
    account::{
        evidence::Evidence,
        freshness::{Policy, StaleError, StaleReason},
        overlay::Shown,
        reading::{ReadQuery, Reading},
        record::Record,
    },
    base::time::Tick,
    chain::{
        mint::MintInfo,
        state::AccountState,
        token::{TokenAccount, TokenExtensions, TokenProgram},
    },
};

/// What a reader gets that loaded these, in the order of [`look`](super::account::freshness::look), at the moment
/// `taken`. `ended` says why the account is followed no more, if it is not.
pub fn reading(
    address: Pubkey,
    evidence: &Evidence,
    (record, overlay): (Option<Record>, Option<Shown>),
    taken: Tick,
    policy: &Policy,
    ended: Option<StaleReason>,
) -> Reading {
    let mut reading = Reading::join(address, evidence, record, overlay, taken, policy);
    reading.ended = ended;
    reading
}

/// The state, if it meets the query, ages counted at `asked`.
///
/// # Errors
/// It does not.
pub fn satisfies<'a>(
    reading: &'a Reading,
    query: &ReadQuery,
    asked: Tick,
) -> Result<&'a AccountState, StaleError> {
    reading.satisfies(query, asked)
}

/// A mint that allows nobody anything.
pub fn plain_mint(program: TokenProgram, decimals: u8) -> MintInfo {
    MintInfo::plain(program, decimals)
}

/// A token account without extensions, delegate or close authority.
pub fn plain_account(program: TokenProgram, mint: Pubkey, owner: Pubkey, amount: u64) -> TokenAccount {
    TokenAccount {
        program,
        mint,
        owner,
        amount,
        frozen: false,
        delegate: None,
        close_authority: None,
        native_reserve: None,
        extensions: TokenExtensions::default(),
    }
}
