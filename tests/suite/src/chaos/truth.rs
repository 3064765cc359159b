//! What the chain held when: written by whoever moves it, from the slots in which transactions landed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use balance_mirror::{AccountState, Pubkey, Slot};

/// What stands at an account's address. Nothing and zero tokens are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Tokens(u64),
    Frozen(u64),
}

impl Held {
    /// Whether a state served says the same.
    pub(super) fn is(self, state: &AccountState) -> bool {
        match (self, state) {
            (Self::Nothing, AccountState::Absent | AccountState::Closed) => true,
            (Self::Tokens(amount), AccountState::Initialized(token)) => token.amount == amount,
            (Self::Frozen(amount), AccountState::Frozen(token)) => token.amount == amount,
            _ => false,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Truth {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// From which slot on, in ascending order; nothing before the first.
    histories: HashMap<Pubkey, Vec<(Slot, Held)>>,
    /// Transactions whose slot is not known yet: each lands after this slot.
    under_way: BTreeMap<u64, Slot>,
    sent: u64,
    /// When the node was seen to have come to which confirmed slot.
    tips: Vec<(Instant, Slot)>,
}

/// A transaction under way.
#[derive(Debug)]
#[must_use]
pub(super) struct Ticket(u64);

impl Truth {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node has come to this confirmed slot by now, if not further.
    pub(super) fn note_tip(&self, slot: Slot) {
        let mut inner = self.inner();
        if inner.tips.last().is_none_or(|(_, last)| *last < slot) {
            inner.tips.push((Instant::now(), slot));
        }
    }

    /// By how much a proof from this moment is too young for what is known as of this slot: since when the node was
    /// further. Zero where it was not seen to be.
    pub(super) fn too_young(&self, as_of: Slot, proof: Instant) -> Duration {
        let inner = self.inner();
        let after = inner.tips.partition_point(|(_, slot)| *slot <= as_of);
        inner.tips.get(after).map(|(since, _)| proof.saturating_duration_since(*since)).unwrap_or_default()
    }

    /// A transaction is about to be sent.
    pub(super) fn sending(&self) -> Ticket {
        let mut inner = self.inner();
        inner.sent += 1;
        let (number, tip) = (inner.sent, inner.tip());
        inner.under_way.insert(number, tip);
        Ticket(number)
    }

    /// It landed, and left the accounts so.
    pub(super) fn landed(&self, ticket: Ticket, slot: Slot, left: &[(Pubkey, Held)]) {
        let mut inner = self.inner();
        for (address, held) in left {
            let history = inner.histories.entry(*address).or_default();
            // Of several transactions in one slot, the last is what the slot leaves.
            history.pop_if(|(last, _)| *last == slot);
            history.push((slot, *held));
        }
        inner.under_way.remove(&ticket.0);
    }

    /// How many transactions have landed.
    pub(super) fn transactions(&self) -> u64 {
        let inner = self.inner();
        inner.sent - inner.under_way.len() as u64
    }

    /// The slot up to which everything is known.
    pub(super) fn settled(&self) -> Slot {
        let inner = self.inner();
        inner.under_way.values().copied().min().unwrap_or(Slot::MAX).min(inner.tip())
    }

    /// What the chain held at the end of a slot, which must be settled.
    pub(super) fn at(&self, address: &Pubkey, slot: Slot) -> Held {
        self.inner()
            .history(address)
            .iter()
            .rev()
            .find(|(since, _)| *since <= slot)
            .map_or(Held::Nothing, |at| at.1)
    }

    /// What the chain held at one of these slots and since when, if it was anything else. They must be settled.
    pub(super) fn contradiction(
        &self,
        address: &Pubkey,
        state: &AccountState,
        from: Slot,
        to: Slot,
    ) -> Option<(Slot, Held)> {
        let inner = self.inner();
        let history = inner.history(address);
        let first = history.partition_point(|(slot, _)| *slot <= from);
        let before = first.checked_sub(1).map_or((0, Held::Nothing), |last| history[last]);
        let during = history[first..].iter().copied().take_while(|(slot, _)| *slot <= to);
        std::iter::once(before).chain(during).find(|(_, held)| !held.is(state))
    }
}

impl Inner {
    fn tip(&self) -> Slot {
        self.tips.last().map_or(0, |(_, slot)| *slot)
    }

    fn history(&self, address: &Pubkey) -> &[(Slot, Held)] {
        self.histories.get(address).map(Vec::as_slice).unwrap_or_default()
    }
}
