//! What the chain held when: written by whoever moves it, from the slots in which transactions
//! landed.
//!
//! A chain that begins anew begins another era. Slots compare within one.

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

/// How often the chain began anew.
pub(super) type Number = u32;

/// See the module.
#[derive(Debug)]
pub(super) struct Truth {
    inner: Mutex<Inner>,
}

impl Default for Truth {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { eras: vec![Era::default()], under_way: BTreeMap::new(), sent: 0 }) }
    }
}

#[derive(Debug)]
struct Inner {
    /// Never empty; the last one is the chain's.
    eras: Vec<Era>,
    /// Transactions whose slot is not known yet: each lands after this slot.
    under_way: BTreeMap<u64, Slot>,
    sent: u64,
}

#[derive(Debug, Default)]
struct Era {
    /// From which slot on, in ascending order; nothing before the first.
    histories: HashMap<Pubkey, Vec<(Slot, Held)>>,
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

    /// The chain's era.
    pub(super) fn era(&self) -> Number {
        (self.inner().eras.len() - 1) as Number
    }

    /// The node has come to this confirmed slot by now, if not further; in an era that was the
    /// chain's before it was asked.
    pub(super) fn note_tip(&self, era: Number, slot: Slot) {
        let mut inner = self.inner();
        let tips = &mut inner.eras[era as usize].tips;
        if tips.last().is_none_or(|(_, last)| *last < slot) {
            tips.push((Instant::now(), slot));
        }
    }

    /// What landed from this slot on, none of it confirmed, never was.
    pub(super) fn revert(&self, from: Slot) {
        let mut inner = self.inner();
        for history in inner.era_mut().histories.values_mut() {
            history.retain(|(slot, _)| *slot < from);
        }
    }

    /// The chain has begun anew, with the accounts as they were.
    pub(super) fn begin_anew(&self) {
        let mut inner = self.inner();
        let held = |(address, history): (&Pubkey, &Vec<(Slot, Held)>)| {
            history.last().map(|(_, held)| (*address, vec![(0, *held)]))
        };
        let histories = inner.era_mut().histories.iter().filter_map(held).collect();
        inner.eras.push(Era { histories, tips: Vec::new() });
    }

    /// By how much a proof from this moment is too young for what is known as of this slot: since
    /// when the node was further. Zero where it was not seen to be.
    pub(super) fn too_young(&self, era: Number, as_of: Slot, proof: Instant) -> Duration {
        let inner = self.inner();
        let Some(Era { tips, .. }) = inner.eras.get(era as usize) else { return Duration::ZERO };
        let after = tips.partition_point(|(_, slot)| *slot <= as_of);
        tips.get(after).map(|(since, _)| proof.saturating_duration_since(*since)).unwrap_or_default()
    }

    /// A transaction is about to be sent.
    pub(super) fn sending(&self) -> Ticket {
        let mut inner = self.inner();
        inner.sent += 1;
        let (number, tip) = (inner.sent, inner.era_mut().tip());
        inner.under_way.insert(number, tip);
        Ticket(number)
    }

    /// It landed, and left the accounts so.
    pub(super) fn landed(&self, ticket: Ticket, slot: Slot, left: &[(Pubkey, Held)]) {
        let mut inner = self.inner();
        for (address, held) in left {
            let history = inner.era_mut().histories.entry(*address).or_default();
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

    /// What an account holds by all that has landed.
    pub(super) fn newest(&self, address: &Pubkey) -> Held {
        self.inner().era_mut().history(address).last().map_or(Held::Nothing, |(_, held)| *held)
    }

    /// The slot of an era up to which everything is known.
    pub(super) fn settled(&self, era: Number) -> Slot {
        let inner = self.inner();
        let Some(of) = inner.eras.get(era as usize) else { return 0 };
        let is_last = era as usize + 1 == inner.eras.len();
        let under_way = inner.under_way.values().copied().min().filter(|_| is_last);
        under_way.unwrap_or(Slot::MAX).min(of.tip())
    }

    /// What the chain held in an era at the end of a slot, which must be settled.
    pub(super) fn at(&self, era: Number, address: &Pubkey, slot: Slot) -> Held {
        let inner = self.inner();
        let history = inner.eras.get(era as usize).map(|era| era.history(address)).unwrap_or_default();
        history.iter().rev().find(|(since, _)| *since <= slot).map_or(Held::Nothing, |at| at.1)
    }

    /// What the chain held in an era at one of these slots and since when, if it was anything else.
    /// They must be settled.
    pub(super) fn contradiction(
        &self,
        era: Number,
        address: &Pubkey,
        state: &AccountState,
        from: Slot,
        to: Slot,
    ) -> Option<(Slot, Held)> {
        let inner = self.inner();
        let history = inner.eras.get(era as usize).map(|era| era.history(address)).unwrap_or_default();
        let first = history.partition_point(|(slot, _)| *slot <= from);
        let before = first.checked_sub(1).map_or((0, Held::Nothing), |last| history[last]);
        let during = history[first..].iter().copied().take_while(|(slot, _)| *slot <= to);
        std::iter::once(before).chain(during).find(|(_, held)| !held.is(state))
    }
}

impl Inner {
    fn era_mut(&mut self) -> &mut Era {
        self.eras.last_mut().expect("there is always one")
    }
}

impl Era {
    fn tip(&self) -> Slot {
        self.tips.last().map_or(0, |(_, slot)| *slot)
    }

    fn history(&self, address: &Pubkey) -> &[(Slot, Held)] {
        self.histories.get(address).map(Vec::as_slice).unwrap_or_default()
    }
}
