//! Gives the project's own test crates access to what public types keep private.

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

/// The reading that a reader gets if it loaded this evidence, record and overlay (in the order of
/// [`look`](super::account::freshness::look)) at the moment `taken`. `ended` says why the account
/// is no longer watched, or is `None` while it is.
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

/// Returns the state if it meets the query. Ages are counted up to `asked`.
///
/// # Errors
/// The state does not meet the query; the error says why.
pub fn satisfies<'a>(
    reading: &'a Reading,
    query: &ReadQuery,
    asked: Tick,
) -> Result<&'a AccountState, StaleError> {
    reading.satisfies(query, asked)
}

/// A mint without authorities, fees or other restrictions.
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
