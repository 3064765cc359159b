//! The chain, small: a few slots, and what stands at each account in each of them.

use balance_mirror::core::{
    base::time::Tick,
    chain::{
        state::{AccountState, Expected},
        token::{Presence, TokenProgram},
    },
    internals::plain_account,
};
use solana_pubkey::Pubkey;

pub(crate) type Slot = u64;
/// Virtual milliseconds.
pub(crate) type Millis = u64;

pub(crate) const SLOT_TIME: Millis = 400;
const FIRST: Slot = 100;
const BEGUN: Millis = 100 * SLOT_TIME;

const MINT: Pubkey = Pubkey::new_from_array([7; 32]);
const OWNER: Pubkey = Pubkey::new_from_array([8; 32]);
const STRANGER: Pubkey = Pubkey::new_from_array([9; 32]);

/// What can stand at an account's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing.
    Absent,
    /// A token account with this amount.
    Tokens(u64),
    /// The same, frozen.
    Frozen(u64),
    /// The same, made over to a stranger.
    Moved(u64),
}

impl Value {
    pub(crate) fn presence(self) -> Presence {
        let token = |amount, owner, frozen| {
            let mut account = plain_account(TokenProgram::Token, MINT, owner, amount);
            account.frozen = frozen;
            Presence::Token(account)
        };
        match self {
            Self::Absent => Presence::Absent,
            Self::Tokens(amount) => token(amount, OWNER, false),
            Self::Frozen(amount) => token(amount, OWNER, true),
            Self::Moved(amount) => token(amount, STRANGER, false),
        }
    }

    /// Whether the state is this value's name, and its amount this value's. `shown`: the watcher
    /// has seen tokens there before, so that nothing is called closed.
    pub(crate) fn is_told_by(self, state: &AccountState, shown: bool) -> bool {
        let amount = state.token_amount();
        match (self, state) {
            // Tokens may come and go within one turn, which nobody reads in between.
            (Self::Absent, AccountState::Closed) => true,
            (Self::Absent, AccountState::Absent) => !shown,
            (Self::Tokens(held), AccountState::Initialized(token)) => {
                amount == Some(held) && token.mint == MINT && token.owner == OWNER
            }
            (Self::Frozen(held), AccountState::Frozen(_))
            | (Self::Moved(held), AccountState::OwnerChanged(_)) => amount == Some(held),
            _ => false,
        }
    }
}

pub(crate) fn address(account: u8) -> Pubkey {
    Pubkey::new_from_array([account + 1; 32])
}

pub(crate) fn account_of(address: &Pubkey) -> u8 {
    address.to_bytes()[0] - 1
}

pub(crate) fn expected() -> Expected {
    Expected { program: None, mint: Some(MINT), owner: Some(OWNER) }
}

pub(crate) fn tick(at: Millis) -> Tick {
    Tick::from_nanos(at * 1_000_000)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Block {
    at: Millis,
    /// By account: what stands there, and since which slot.
    accounts: Vec<(Value, Slot)>,
}

/// Every slot that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chain(Vec<Block>);

impl Chain {
    pub(crate) fn new(values: &[Value]) -> Self {
        Self(vec![Block { at: BEGUN, accounts: values.iter().map(|value| (*value, FIRST)).collect() }])
    }

    pub(crate) fn head(&self) -> Slot {
        FIRST + self.0.len() as Slot - 1
    }

    /// Makes a slot at `at`, in which that account may have been written.
    pub(crate) fn grow(&mut self, at: Millis, write: Option<(u8, Value)>) {
        let slot = self.head() + 1;
        let mut accounts = self.0[self.0.len() - 1].accounts.clone();
        if let Some((account, value)) = write {
            accounts[usize::from(account)] = (value, slot);
        }
        self.0.push(Block { at, accounts });
    }

    fn block(&self, slot: Slot) -> Option<&Block> {
        self.0.get(usize::try_from(slot.checked_sub(FIRST)?).ok()?)
    }

    /// What stood at an account in a slot, if there is such a slot.
    pub(crate) fn value(&self, account: u8, slot: Slot) -> Option<Value> {
        Some(self.block(slot)?.accounts[usize::from(account)].0)
    }

    /// The slot of the last write up to `slot`.
    pub(crate) fn written(&self, account: u8, slot: Slot) -> Slot {
        self.block(slot).map_or(FIRST, |block| block.accounts[usize::from(account)].1)
    }

    /// When a slot was made. One that is not yet: now.
    pub(crate) fn made(&self, slot: Slot, now: Millis) -> Millis {
        self.block(slot).map_or(now, |block| block.at)
    }

    /// The newest slot that there was at a moment.
    pub(crate) fn at(&self, moment: Tick) -> Slot {
        let made = self.0.iter().filter(|block| tick(block.at) <= moment).count();
        FIRST + (made as Slot).saturating_sub(1)
    }
}
