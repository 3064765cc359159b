//! A balance together with its evidence, and the conditions that a caller can set for it.

use std::time::Duration;

use solana_pubkey::Pubkey;

use crate::core::{
    account::{
        evidence::Evidence,
        freshness::{Freshness, Policy, StaleError, StaleReason, Standing, standing},
        observation::StateOrigin,
        overlay::Shown,
        record::Record,
        sellable::{MintSays, SellObstacles, Sellable, Unsellable, judge},
    },
    base::{ids::Slot, time::Tick},
    chain::state::AccountState,
};

/// A slot that the answer must include: "as of this slot or later".
///
/// A caller that knows the slot at which its transaction landed can use this to read its own write.
/// Each constructor names the commitment at which the slot is known. There is no constructor for
/// processed slots, because they may lie on an abandoned fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "minContextSlot")]
pub struct Floor(Slot);

impl Floor {
    /// A slot known to be confirmed, for example from a `confirmed` signature status. A finalized
    /// mirror waits until the slot is finalized.
    pub const fn confirmed(slot: Slot) -> Self {
        Self(slot)
    }

    /// A slot known to be finalized.
    pub const fn finalized(slot: Slot) -> Self {
        Self(slot)
    }

    /// The slot.
    pub const fn slot(self) -> Slot {
        self.0
    }
}

/// What a read requires: how old the proof may be, and which slot it must include.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadQuery {
    pub(crate) max_age: Duration,
    pub(crate) floor: Option<Floor>,
    pub(crate) deadline: Option<Duration>,
}

impl ReadQuery {
    /// Accept a state that was proved at most `max_age` before the read began. The chain's Clock
    /// has whole seconds, so on a live link ages of up to about two seconds are usual: ask for less
    /// only to force an RPC call.
    pub const fn max_age(max_age: Duration) -> Self {
        Self { max_age, floor: None, deadline: None }
    }

    /// Require that the state is known as of that slot or later, even if the slot did not change
    /// the account.
    #[must_use]
    #[doc(alias = "minContextSlot")]
    pub const fn as_of(mut self, floor: Floor) -> Self {
        self.floor = Some(floor);
        self
    }

    /// How long the read may take, instead of the mirror's `read_deadline`.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

impl From<Duration> for ReadQuery {
    fn from(max_age: Duration) -> Self {
        Self::max_age(max_age)
    }
}

/// What memory holds about an account at one moment, with the evidence for it.
///
/// It has no plain amount field: use [`fresh`](Reading::fresh) to state how fresh the amount must
/// be, or [`last_known`](Reading::last_known) if freshness does not matter.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub(crate) address: Pubkey,
    pub(crate) record: Option<Record>,
    pub(crate) standing: Option<Standing>,
    pub(crate) overlay: Option<Shown>,
    /// What the mint of the account's tokens allows or forbids, if the mint has been read.
    pub(crate) mint: Option<MintSays>,
    pub(crate) epoch: u32,
    pub(crate) taken: Tick,
    pub(crate) ended: Option<StaleReason>,
}

impl Reading {
    /// Combines what was loaded, in the order of [`look`](crate::core::account::freshness::look),
    /// at the moment `taken`.
    pub(crate) fn join(
        address: Pubkey,
        evidence: &Evidence,
        record: Option<Record>,
        overlay: Option<Shown>,
        taken: Tick,
        policy: &Policy,
    ) -> Self {
        let standing = record.map(|record| standing(&record, evidence, taken, policy));
        let epoch = record.map_or(evidence.epoch, |record| record.epoch);
        Self { address, record, standing, overlay, mint: None, epoch, taken, ended: None }
    }

    /// The account's address.
    pub fn address(&self) -> Pubkey {
        self.address
    }

    /// The state, if it was proved at most `max_age` before this reading was taken.
    pub fn fresh(&self, max_age: Duration) -> Result<&AccountState, StaleError> {
        self.satisfies(&ReadQuery::max_age(max_age), self.taken)
    }

    /// The last state observed, however old it is and whatever happened to the account since;
    /// `None` if nothing has been observed. Do not trade on it.
    pub fn last_known(&self) -> Option<&AccountState> {
        self.record.as_ref().map(|record| &record.state)
    }

    /// How many tokens are free: the last observed amount, minus what is reserved, what sells in
    /// flight may take, and what landed sells took that has not been observed yet. `None` if
    /// nothing has been observed of the account, or what is there is not a token account. Says
    /// nothing about freshness: call [`fresh`](Reading::fresh) on the same reading.
    pub fn available(&self) -> Option<u64> {
        let record = self.record.as_ref()?;
        Some(record.held.available(record.state.token_amount()?))
    }

    /// How old the newest proof was when this reading was taken; `None` if nothing proves the
    /// state.
    pub fn age(&self) -> Option<Duration> {
        self.standing.and_then(|standing| standing.age(self.taken))
    }

    /// How fresh the state is for a caller that accepts proofs up to `max_age` old.
    pub fn freshness(&self, max_age: Duration) -> Freshness {
        match self.standing {
            Some(standing) if self.ended.is_none() => standing.freshness(self.taken, max_age),
            _ => Freshness::Stale,
        }
    }

    /// Whether a live link proves the state.
    pub fn is_live(&self) -> bool {
        self.ended.is_none() && self.standing.is_some_and(|standing| standing.live)
    }

    /// The slot at which the state was observed; it never goes back within one
    /// [`epoch`](Reading::epoch). The write itself may be older.
    pub fn slot(&self) -> Option<Slot> {
        self.record.map(|record| record.slot)
    }

    /// The newest slot as of which the state is known.
    pub fn as_of(&self) -> Option<Slot> {
        self.standing.map(|standing| standing.as_of)
    }

    /// The state at the processed commitment and its slot, if the mirror has a dual view and the
    /// node has shown a state beyond what is proved. It may lie on a fork that is abandoned: treat
    /// it as a hint, never as a balance to trade on.
    pub fn processed(&self) -> Option<(&AccountState, Slot)> {
        let overlay = self.overlay.as_ref().filter(|_| self.ended.is_none())?;
        let passed = self.standing.is_some_and(|standing| standing.as_of >= overlay.slot);
        (!passed).then_some((&overlay.state, overlay.slot))
    }

    /// How often the chain began anew since the mirror started. Slots can be compared only within
    /// one epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How old the proof may be without a live link, if the mirror has a dynamic TTL
    /// (`MirrorBuilder::dynamic_ttl`).
    pub fn ttl(&self) -> Option<Duration> {
        self.standing.and_then(|standing| standing.ttl)
    }

    /// The usual interval between changes, or the time since the last change if that is longer.
    /// Only if the mirror has a dynamic TTL; `None` before the second change.
    pub fn change_interval(&self) -> Option<Duration> {
        self.record.and_then(|record| record.change_rate.interval(self.taken))
    }

    /// Where the state came from.
    pub fn origin(&self) -> Option<StateOrigin> {
        self.record.map(|record| record.source.into())
    }

    /// How often the state changed since the watch began, counting the first observation.
    pub fn revision(&self) -> u64 {
        self.record.map_or(0, |record| record.revision)
    }

    /// What can be sold and at which risks, if the state was proved at most `max_age` before this
    /// reading was taken.
    ///
    /// # Errors
    /// [`Unsellable::Stale`] if the state was not proved recently enough; else
    /// [`Unsellable::Blocked`] with everything that prevents a sell: see
    /// [`SellObstacle`](crate::core::account::sellable::SellObstacle).
    pub fn sellable(&self, max_age: Duration) -> Result<Sellable, Unsellable> {
        let state = self.proved(max_age, self.taken)?;
        self.judge(state).map_err(Unsellable::Blocked)
    }

    pub(crate) fn judge(&self, state: &AccountState) -> Result<Sellable, SellObstacles> {
        judge(state, self.available().unwrap_or_default(), self.mint)
    }

    /// The state, if it meets the query. Ages are counted back from `asked`.
    pub(crate) fn satisfies(&self, query: &ReadQuery, asked: Tick) -> Result<&AccountState, StaleError> {
        let state = self.proved(query.max_age, asked)?;
        let as_of = self.as_of().unwrap_or(0);
        // The state must also include the slots at which the caller's own sells landed.
        let sold = self.record.is_some_and(|record| record.held.floor > 0);
        if sold || query.floor.is_some_and(|floor| as_of < floor.slot()) {
            return Err(StaleError { address: self.address, why: StaleReason::BelowFloor, age: self.age() });
        }
        Ok(state)
    }

    /// The state, if it was proved at most `max_age` before `asked`. It may not include recent
    /// sells yet.
    pub(crate) fn proved(&self, max_age: Duration, asked: Tick) -> Result<&AccountState, StaleError> {
        let stale = |why| StaleError { address: self.address, why, age: self.age() };
        if let Some(why) = self.ended {
            return Err(stale(why));
        }
        let (Some(record), Some(standing)) = (&self.record, &self.standing) else {
            return Err(stale(StaleReason::Unseen));
        };
        if record.disputed {
            return Err(stale(StaleReason::Disputed));
        }
        if record.invalidated.is_some() {
            return Err(stale(StaleReason::Invalidated));
        }
        if standing.freshness(asked, max_age) == Freshness::Stale {
            return Err(stale(StaleReason::Expired));
        }
        Ok(&record.state)
    }
}
