//! Wrong contents at right slots.

use std::{borrow::Cow, collections::HashMap};

use solana_account::{AccountSharedData, ReadableAccount, WritableAccount};
use solana_pubkey::Pubkey;

use crate::{chain::Chain, encoding};

/// Where the amount of a token account is.
const AMOUNT: std::ops::Range<usize> = 64..72;

/// Where a fault shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// In account notifications.
    Notifications,
    /// In RPC answers.
    Rpc,
    /// In both.
    Both,
}

impl Side {
    pub(crate) fn covers(self, side: Self) -> bool {
        self == side || self == Self::Both
    }
}

/// What is told of an account in place of the truth.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// This amount; these lamports, where it is no token account.
    Amount(u64),
    /// The contents of this other account.
    Other(Pubkey),
}

/// The lies in force, by account.
pub(crate) type Lies = HashMap<Pubkey, (Lie, Side)>;

/// What is told of an account on one side, in the bank of `slot`. What does not exist has no amount
/// to lie about.
pub(crate) fn told<'a>(
    lies: &Lies,
    side: Side,
    chain: &'a Chain,
    slot: u64,
    address: &Pubkey,
) -> Option<Cow<'a, AccountSharedData>> {
    let lie = lies.get(address).filter(|(_, of)| of.covers(side)).map(|(lie, _)| *lie);
    match lie {
        None => chain.store.account(slot, address).map(Cow::Borrowed),
        Some(Lie::Other(other)) => chain.store.account(slot, &other).map(Cow::Borrowed),
        Some(Lie::Amount(amount)) => {
            let mut account = chain.store.account(slot, address)?.clone();
            let is_token = encoding::is_token_program(account.owner());
            match account.data_as_mut_slice().get_mut(AMOUNT) {
                Some(told) if is_token => told.copy_from_slice(&amount.to_le_bytes()),
                _ => account.set_lamports(amount),
            }
            Some(Cow::Owned(account))
        }
    }
}
