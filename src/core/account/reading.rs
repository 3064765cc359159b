//! A balance with its evidence, and what a caller may demand of it.

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

/// A slot that the answer must have seen: "as of this slot or later".
///
/// A caller that knows its transaction landed reads its own write with it. The commitment at which the
/// slot is known is part of the type: slots of the processed bank may lie on an abandoned fork, so there
/// is no floor for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Floor(Slot);

impl Floor {
    /// A slot known to be confirmed, as by a `confirmed` signature status. A finalized mirror waits until the
    /// slot is finalized.
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

/// What a read demands: how old its proof may be, and which slot it must have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadQuery {
    pub(crate) max_age: Duration,
    pub(crate) floor: Option<Floor>,
    pub(crate) deadline: Option<Duration>,
}

impl ReadQuery {
    /// Proved at most `max_age` before the read began. The chain's Clock has whole seconds, so on a live link
    /// ages of up to about two seconds are usual: ask for less only to force an RPC call.
    pub const fn max_age(max_age: Duration) -> Self {
        Self { max_age, floor: None, deadline: None }
    }

    /// Known as of that slot or later, also when the slot did not change the account.
    #[must_use]
    pub const fn as_of(mut self, floor: Floor) -> Self {
        self.floor = Some(floor);
        self
    }

    /// The time the read may take, instead of the mirror's `read_deadline`.
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

/// What memory holds of an account at one moment, with the evidence for it.
///
/// There is no plain amount in it: say how fresh it must be with [`fresh`](Reading::fresh), or that you do
/// not care with [`last_known`](Reading::last_known).
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub(crate) address: Pubkey,
    pub(crate) record: Option<Record>,
    pub(crate) standing: Option<Standing>,
    pub(crate) overlay: Option<Shown>,
    /// What the mint of the account's tokens says, where it has been read.
    pub(crate) mint: Option<MintSays>,
    pub(crate) epoch: u32,
    pub(crate) taken: Tick,
    pub(crate) ended: Option<StaleReason>,
}

impl Reading {
    /// Joins what was loaded, in the order of [`look`](crate::core::account::freshness::look), at the moment `taken`.
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

    /// The state last heard of, however old, and whatever became of the account since; `None` if nothing was.
    /// Not for trading.
    pub fn last_known(&self) -> Option<&AccountState> {
        self.record.as_ref().map(|record| &record.state)
    }

    /// The tokens that nobody holds: what was last heard of, less what is reserved, what sells in flight may take, and
    /// what landed sells took that is not seen yet. `None` where nothing was heard of the account. Not fresh by itself:
    /// ask [`fresh`](Reading::fresh) of the same reading.
    pub fn available(&self) -> Option<u64> {
        let record = self.record.as_ref()?;
        Some(record.held.available(record.state.token_amount()?))
    }

    /// How old the newest proof was when this reading was taken; `None` where nothing proves the state.
    pub fn age(&self) -> Option<Duration> {
        self.standing.and_then(|standing| standing.age(self.taken))
    }

    /// How fresh this is to someone who accepts proofs up to `max_age` old.
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

    /// The slot at which the state was observed; it never goes back. The write itself may be older.
    pub fn slot(&self) -> Option<Slot> {
        self.record.map(|record| record.slot)
    }

    /// The newest slot as of which the state is known.
    pub fn as_of(&self) -> Option<Slot> {
        self.standing.map(|standing| standing.as_of)
    }

    /// The state at the processed commitment, with its slot, where the mirror has a dual view and the node has shown
    /// one past what is proved. It may lie on a fork that is abandoned: a hint, never a balance to trade on.
    pub fn processed(&self) -> Option<(&AccountState, Slot)> {
        let overlay = self.overlay.as_ref().filter(|_| self.ended.is_none())?;
        let passed = self.standing.is_some_and(|standing| standing.as_of >= overlay.slot);
        (!passed).then_some((&overlay.state, overlay.slot))
    }

    /// How often the chain began anew since the mirror started: slots compare only within one of its orders.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How old the proof may be without a live link, where the mirror has a dynamic TTL (`MirrorBuilder::dynamic_ttl`).
    pub fn ttl(&self) -> Option<Duration> {
        self.standing.and_then(|standing| standing.ttl)
    }

    /// The usual interval between changes, or the time since the last one where that is longer, where the mirror has a
    /// dynamic TTL; `None` before the second change.
    pub fn change_interval(&self) -> Option<Duration> {
        self.record.and_then(|record| record.change_rate.interval(self.taken))
    }

    /// Where the state came from.
    pub fn origin(&self) -> Option<StateOrigin> {
        self.record.map(|record| record.source.into())
    }

    /// How often the state changed since the account is watched, the first sight included.
    pub fn revision(&self) -> u64 {
        self.record.map_or(0, |record| record.revision)
    }

    /// What can be sold, with the risks of that, if the state was proved at most `max_age` before this reading was taken.
    ///
    /// # Errors
    /// It was not, or everything that keeps it from being sold: see [`SellObstacle`](crate::core::account::sellable::SellObstacle).
    pub fn sellable(&self, max_age: Duration) -> Result<Sellable, Unsellable> {
        let state = self.proved(max_age, self.taken)?;
        self.judge(state).map_err(Unsellable::Blocked)
    }

    pub(crate) fn judge(&self, state: &AccountState) -> Result<Sellable, SellObstacles> {
        judge(state, self.available().unwrap_or_default(), self.mint)
    }

    /// The state, if it meets the query, ages counted at `asked`.
    pub(crate) fn satisfies(&self, query: &ReadQuery, asked: Tick) -> Result<&AccountState, StaleError> {
        let state = self.proved(query.max_age, asked)?;
        let as_of = self.as_of().unwrap_or(0);
        // Also as of what the caller's own sells landed at.
        let sold = self.record.is_some_and(|record| record.held.floor > 0);
        if sold || query.floor.is_some_and(|floor| as_of < floor.slot()) {
            return Err(StaleError { address: self.address, why: StaleReason::BelowFloor, age: self.age() });
        }
        Ok(state)
    }

    /// The state, if it was proved at most `max_age` before `asked`, whatever sells it may not show yet.
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
