//! Every reading of every reader, held against the contract and the truth.
//!
//! * What is served was so on the chain at every slot from that of the state to that as of which it
//!   is served: the very state, where no account, no tokens and frozen tokens are three. Nothing is
//!   told of slots not confirmed.
//! * Across all readers, of whatever form: no read that begins after another has ended gets an
//!   earlier slot, nor is served as of an earlier slot; but of a chain that began anew, which is
//!   told apart by its epoch.
//! * A floor is met, and no proof is older than the age asked for, counted from when the read
//!   began.
//! * The slot as of which it is served is the one that the node held at the moment of the proof,
//!   but for [`USUAL`].
//! * What is not served is an error that says "later", and comes in time.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use balance_mirror::{
    AccountState, Balance, Pubkey, ReadError, Reading, ServedFrom, Slot, StaleError, StaleReason,
};

use super::truth::{Number, Truth};

/// By how much a proof may be too young, beside a slot. The mirror knows a delay only as what
/// exceeds the smallest of late: so by what the quickest notification of late took, on a machine
/// that is busy. What it comes to is printed; with a canary deadline of a second, this is little
/// enough to see a dead link that is trusted.
const USUAL: Duration = Duration::from_millis(600);
/// Enough to understand what went wrong.
const ENOUGH: usize = 20;

/// A state served, over the slots for which it was.
#[derive(Clone, Copy, Debug)]
struct Claim {
    state: AccountState,
    era: Number,
    from: Slot,
    to: Slot,
    excused: bool,
    /// The fault in force when it was first made.
    fault: (usize, &'static str),
}

/// A slot of an era.
type Place = (Number, Option<Slot>);

#[derive(Debug, Default)]
struct Seen {
    slot: Place,
    as_of: Place,
    claims: Vec<Claim>,
}

/// What readers got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Served from memory.
    pub(super) memory: u64,
    /// Served by RPC.
    pub(super) rpc: u64,
    /// Refused with a typed error.
    pub(super) refused: u64,
}

impl Tally {
    pub(super) fn readings(&self) -> u64 {
        self.memory + self.rpc + self.refused
    }

    pub(super) fn add(&mut self, more: Self) {
        self.memory += more.memory;
        self.rpc += more.rpc;
        self.refused += more.refused;
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Judge {
    accounts: HashMap<Pubkey, Mutex<Seen>>,
    slack: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    fault: (usize, &'static str),
    tally: Tally,
    /// Accounts of which the server conceals something, from before that until it was found out.
    excused: HashSet<Pubkey>,
    /// How far the node itself is behind the chain, for RPC.
    behind: Duration,
    /// The node answers as one that will never answer otherwise.
    for_good: bool,
    youngest: Duration,
    claims: u64,
    violations: Vec<String>,
}

/// What was known when a read began.
#[derive(Debug)]
pub(super) struct Before {
    address: Pubkey,
    asked: Instant,
    slot: Place,
    as_of: Place,
    excused: bool,
    behind: Duration,
    for_good: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Judge {
    pub(super) fn new(accounts: impl IntoIterator<Item = Pubkey>, slot_time: Duration) -> Self {
        let accounts = accounts.into_iter().map(|address| (address, Mutex::default())).collect();
        Self { accounts, slack: USUAL + slot_time, inner: Mutex::default() }
    }

    // The faults.

    /// From now on this fault is in force. Returns what was read since the last.
    pub(super) fn begin_fault(&self, number: usize, name: &'static str) -> Tally {
        let mut inner = lock(&self.inner);
        inner.fault = (number, name);
        mem::take(&mut inner.tally)
    }

    /// What has been read since a fault began.
    pub(super) fn tally(&self) -> Tally {
        lock(&self.inner).tally
    }

    /// The server is about to conceal something of these accounts.
    pub(super) fn excuse(&self, accounts: impl IntoIterator<Item = Pubkey>) {
        lock(&self.inner).excused.extend(accounts);
    }

    pub(super) fn is_excused(&self, address: &Pubkey) -> bool {
        lock(&self.inner).excused.contains(address)
    }

    /// The node is about to be so far behind its chain.
    pub(super) fn excuse_node(&self, behind: Duration) {
        lock(&self.inner).behind = behind;
    }

    /// The node is about to answer as one that will never answer otherwise: readers are told so.
    pub(super) fn excuse_errors(&self) {
        lock(&self.inner).for_good = true;
    }

    /// What was concealed has been found out.
    pub(super) fn end_excuses(&self) {
        let mut inner = lock(&self.inner);
        inner.for_good = false;
        inner.excused.clear();
        inner.behind = Duration::ZERO;
    }

    // Readings.

    /// A read of this account begins.
    pub(super) fn begin(&self, address: &Pubkey) -> Before {
        let (slot, as_of) = self
            .accounts
            .get(address)
            .map(|seen| {
                let seen = lock(seen);
                (seen.slot, seen.as_of)
            })
            .unwrap_or_default();
        let inner = lock(&self.inner);
        let excused = inner.excused.contains(address);
        let (behind, for_good) = (inner.behind, inner.for_good);
        drop(inner);
        Before { address: *address, asked: Instant::now(), slot, as_of, excused, behind, for_good }
    }

    /// It ended with what memory holds.
    pub(super) fn looked(
        &self,
        before: &Before,
        truth: &Truth,
        max_age: Duration,
        outcome: Result<Balance, StaleError>,
    ) {
        match outcome {
            Ok(balance) => {
                let age = balance.reading.age();
                if age.is_none_or(|age| age > max_age) {
                    self.violation(format!("fresh under {max_age:?}: {:?}", balance.reading));
                }
                self.served(before, truth, max_age, None, &balance);
            }
            Err(stale) if matches!(stale.why, StaleReason::Unwatched | StaleReason::Stopped) => {
                self.violation(format!("a living mirror says {stale}"));
            }
            Err(_) => lock(&self.inner).tally.refused += 1,
        }
    }

    /// It ended with an answer of [`balance`](balance_mirror::Mirror::balance).
    pub(super) fn answered(
        &self,
        before: &Before,
        truth: &Truth,
        max_age: Duration,
        floor: Option<Slot>,
        outcome: Result<Balance, ReadError>,
    ) {
        match outcome {
            Ok(balance) => self.served(before, truth, max_age, floor, &balance),
            Err(error) if !(error.is_transient() || before.for_good || lock(&self.inner).for_good) => {
                self.violation(format!("{} for good: {error} {error:?}", before.address));
            }
            Err(_) => lock(&self.inner).tally.refused += 1,
        }
    }

    fn served(
        &self,
        before: &Before,
        truth: &Truth,
        max_age: Duration,
        floor: Option<Slot>,
        balance: &Balance,
    ) {
        let (reading, era, waited) = (&balance.reading, balance.reading.epoch(), before.asked.elapsed());
        let (Some(slot), Some(as_of), Some(age)) = (reading.slot(), reading.as_of(), reading.age()) else {
            return self.violation(format!("served without evidence: {balance:?}"));
        };
        if as_of < slot || age > max_age + waited || floor.is_some_and(|floor| as_of < floor) {
            self.violation(format!("under {max_age:?} and {floor:?} after {waited:?}: {balance:?}"));
        }
        // The reading was taken after the read began, so that this is before the proof, if
        // anything.
        let young =
            before.asked.checked_sub(age).map(|proof| truth.too_young(era, as_of, proof)).unwrap_or_default();
        let mut inner = lock(&self.inner);
        let allowed = self.slack + before.behind.max(inner.behind);
        inner.youngest = inner.youngest.max(young.saturating_sub(before.behind.max(inner.behind)));
        match balance.served_from {
            ServedFrom::Cache => inner.tally.memory += 1,
            _ => inner.tally.rpc += 1,
        }
        let (fault, excused) = (inner.fault, before.excused || inner.excused.contains(&before.address));
        drop(inner);
        if young > allowed {
            self.violation(format!(
                "its proof is {young:?} younger than true, {allowed:?} allowed: {balance:?}"
            ));
        }
        if let Some(seen) = self.accounts.get(&before.address) {
            let mut seen = lock(seen);
            seen.claim(Claim { state: balance.state, era, from: slot, to: as_of, excused, fault });
            seen.as_of = seen.as_of.max((era, Some(as_of)));
        }
        if (era, Some(as_of)) < before.as_of {
            self.violation(format!("as of an earlier slot than {:?}: {balance:?}", before.as_of));
        }
        self.told(before, truth, reading);
    }

    /// A reading, whatever it is worth.
    pub(super) fn told(&self, before: &Before, truth: &Truth, reading: &Reading) {
        let place = (reading.epoch(), reading.slot());
        // When the chain begins anew, records are forgotten a moment before the new epoch is told.
        let forgotten = reading.slot().is_none() && truth.era() > reading.epoch();
        if place < before.slot && !forgotten {
            self.violation(format!("the slot went back from {:?}: {reading:?}", before.slot));
        }
        if let Some(seen) = self.accounts.get(&before.address) {
            let mut seen = lock(seen);
            seen.slot = seen.slot.max(place);
        }
    }

    pub(super) fn violation(&self, what: String) {
        let mut inner = lock(&self.inner);
        if inner.violations.len() < ENOUGH {
            let what = format!("during fault {:?}: {what}", inner.fault);
            inner.violations.push(what);
        }
    }

    // The verdict.

    /// Holds what was claimed against the truth, as far as that is settled.
    pub(super) fn settle(&self, truth: &Truth) {
        for (address, seen) in &self.accounts {
            let mut seen = lock(seen);
            for claim in mem::take(&mut seen.claims) {
                let settled = truth.settled(claim.era);
                let to = claim.to.min(settled);
                if claim.from <= to && !claim.excused {
                    lock(&self.inner).claims += 1;
                    if let Some(held) = truth.contradiction(claim.era, address, &claim.state, claim.from, to)
                    {
                        let Claim { state, fault, .. } = claim;
                        self.violation(format!(
                            "{address}: first during fault {fault:?}, from slot {} to {to}: {state:?}, where the chain \
                             held {held:?}",
                            claim.from
                        ));
                        continue;
                    }
                }
                // An era that is over comes no further.
                if claim.to > settled && claim.era == truth.era() {
                    seen.claims.push(Claim { from: claim.from.max(settled), ..claim });
                }
            }
        }
    }

    /// What was wrong so far.
    pub(super) fn violations(&self) -> Vec<String> {
        lock(&self.inner).violations.clone()
    }

    /// How many claims were held against the truth, and by how much the youngest proof was too
    /// young.
    pub(super) fn claims(&self) -> (u64, Duration) {
        let inner = lock(&self.inner);
        (inner.claims, inner.youngest)
    }
}

impl Seen {
    fn claim(&mut self, new: Claim) {
        match self.claims.last_mut() {
            // Only what joins on: what was between two looks may have been something else.
            Some(last)
                if last.state == new.state
                    && last.era == new.era
                    && last.excused == new.excused
                    && (last.from..=last.to).contains(&new.from) =>
            {
                last.to = last.to.max(new.to);
            }
            _ => self.claims.push(new),
        }
    }
}
