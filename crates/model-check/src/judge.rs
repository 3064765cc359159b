//! The contract's promises, judged against the chain's own history. Of the mirror it knows what a
//! reader sees.

use std::{cell::Cell, time::Duration};

use balance_mirror::core::{
    account::{
        evidence::Evidence,
        freshness::{Freshness, look},
        reading::{Floor, ReadQuery, Reading},
        record::Record,
    },
    chain::state::AccountState,
    internals::{self, satisfies},
};

use crate::{
    chain::{Slot, address, tick},
    plan::{CANARY_DEADLINE, Plan},
    world::{Look, Wire, World},
};

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// The state stood on the chain at the slot at which it is said to have been observed, under
    /// its own name.
    Phantom,
    /// It stood at the slot as of which it is said to be known.
    AsOf,
    /// It stood no earlier than its age says, and that is no older than was asked for.
    Age,
    /// Per account, neither slot goes back.
    Order,
    /// What is asked for as of a slot is known as of that slot.
    Floor,
    /// What was doubted is served to nobody before an RPC answer to a later request, of the slot
    /// known then or later.
    Doubt,
    /// Live only while a connection is open whose canary came within its deadline, and where the
    /// server holds a subscription for the account.
    Life,
    /// The processed view shows what its connection said last, unless the confirmed one has come to
    /// its slot.
    Overlay,
    /// While nobody lies and nothing is missed, no account is disputed and no subscription accused.
    Calm,
    /// Once the faults end, every account becomes live and true.
    Liveness,
    /// The code under judgement does not panic.
    Panic,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 11] = [
        Check::Phantom,
        Check::AsOf,
        Check::Age,
        Check::Order,
        Check::Floor,
        Check::Doubt,
        Check::Life,
        Check::Overlay,
        Check::Calm,
        Check::Liveness,
        Check::Panic,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Phantom => "Phantom",
            Self::AsOf => "AsOf",
            Self::Age => "Age",
            Self::Order => "Order",
            Self::Floor => "Floor",
            Self::Doubt => "Doubt",
            Self::Life => "Life",
            Self::Overlay => "Overlay",
            Self::Calm => "Calm",
            Self::Liveness => "Liveness",
            Self::Panic => "Panic",
        }
    }
}

/// Ages asked for: none at all, a slot, three, and more than there are.
const AGES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(400), Duration::from_millis(1_200), Duration::from_secs(60)];

type Judgement = Result<(), Check>;

fn demand(holds: bool, check: Check) -> Judgement {
    if holds { Ok(()) } else { Err(check) }
}

/// What a reader sees that loads both at once.
pub(crate) fn reading(plan: &Plan, world: &World, account: u8) -> Option<Reading> {
    let record = *world.engine.record(&address(account))?;
    Some(read(plan, world, account, world.engine.evidence(), Some(record)))
}

fn read(plan: &Plan, world: &World, account: u8, evidence: &Evidence, record: Option<Record>) -> Reading {
    let key = address(account);
    let overlay = world.engine.overlay(&key).copied();
    internals::reading(key, evidence, (record, overlay), tick(world.now), &plan.policy(), None)
}

/// What a reader sees that loads one thing from `before` and the other from `after`.
fn torn(plan: &Plan, after: &World, account: u8, (evidence, record): (&Evidence, Option<Record>)) -> Reading {
    let loads = Cell::new(0);
    let is_first = || loads.replace(loads.get() + 1) == 0;
    let newest = after.engine.record(&address(account)).copied();
    let (evidence, record) = look(
        || if is_first() { evidence } else { after.engine.evidence() },
        || if is_first() { record } else { newest },
    );
    read(plan, after, account, evidence, record)
}

/// Judges a step, and notes what readers have been shown.
pub(crate) fn step(plan: &Plan, before: &World, after: &mut World) -> Option<Check> {
    let judged = (0..after.accounts()).try_for_each(|account| judge_account(plan, before, after, account));
    for account in 0..after.accounts() {
        let tokens = |record: &Record| !matches!(record.state, AccountState::Absent);
        let shown = after.engine.record(&address(account)).is_some_and(tokens);
        after.watches[usize::from(account)].shown |= shown;
    }
    judged.err()
}

fn judge_account(plan: &Plan, before: &World, after: &World, account: u8) -> Judgement {
    let place = usize::from(account);
    let same_watch = before.watches[place].number == after.watches[place].number;
    if let Some(now) = reading(plan, after, account) {
        judge(plan, after, account, &now)?;
        overlay(after, account, &now)?;
        if same_watch && let Some(then) = reading(plan, before, account) {
            demand(now.slot() >= then.slot() && now.as_of() >= then.as_of(), Check::Order)?;
        }
    }
    if same_watch {
        let first = (before.engine.evidence(), before.engine.record(&address(account)).copied());
        judge(plan, after, account, &torn(plan, after, account, first))?;
    }
    Ok(())
}

/// Judges a read that began at `look` and ends now.
pub(crate) fn joined(plan: &Plan, world: &World, look: &Look) -> Option<Check> {
    // Who still holds the reader of an earlier watch is told that it has ended.
    if world.watches[usize::from(look.account)].number != look.watch {
        return None;
    }
    let seen = torn(plan, world, look.account, (&look.evidence, look.record));
    let at_once = reading(plan, world, look.account).and_then(|reading| reading.as_of());
    let in_order = seen.as_of() >= look.as_of && at_once >= seen.as_of();
    let judged = demand(in_order, Check::Order).and_then(|()| judge(plan, world, look.account, &seen));
    judged.err()
}

fn judge(plan: &Plan, world: &World, account: u8, seen: &Reading) -> Judgement {
    let (Some(state), Some(slot), Some(as_of)) = (seen.last_known(), seen.slot(), seen.as_of()) else {
        return Ok(());
    };
    let watch = &world.watches[usize::from(account)];
    let stood = |slot: Slot| {
        world.chain.value(account, slot).is_some_and(|value| value.is_told_by(state, watch.shown))
    };
    demand(stood(slot), Check::Phantom)?;
    let is_stale = |query: &ReadQuery| satisfies(seen, query, tick(world.now)).is_err();
    let served = !is_stale(&ReadQuery::max_age(AGES[3]));
    demand(!served || watch.killed || stood(as_of), Check::AsOf)?;
    // Of a subscription that died in silence only this is promised.
    let misled = if watch.killed { plan.policy().verify_every } else { Duration::ZERO };
    let head = world.chain.head();
    for age in AGES {
        let query = ReadQuery::max_age(age);
        if is_stale(&query) {
            demand(seen.freshness(age) == Freshness::Stale, Check::Age)?;
            continue;
        }
        demand(watch.doubt.is_none(), Check::Doubt)?;
        let proof = seen.age().filter(|claimed| *claimed <= age).ok_or(Check::Age)?;
        // A node that is behind is believed: the chain clock's lag is bounded, and by more than
        // this.
        let since = world.chain.at(tick(world.now).minus(proof).minus(misled)).saturating_sub(plan.lag);
        demand((since..=head).any(stood), Check::Age)?;
        for floor in as_of.saturating_sub(1)..=head + 1 {
            let granted = satisfies(seen, &query.as_of(Floor::confirmed(floor)), tick(world.now)).is_ok();
            demand(granted == (as_of >= floor), Check::Floor)?;
            demand(!granted || watch.killed || (floor..=head).any(stood), Check::Floor)?;
        }
    }
    demand(!seen.is_live() || is_up(world, account), Check::Life)
}

fn is_up(world: &World, account: u8) -> bool {
    let killed = world.watches[usize::from(account)].killed;
    world.wires.iter().any(|wire| match wire {
        Wire::Open(open) => {
            let ticks = tick(world.now).since(tick(open.ticked)) <= CANARY_DEADLINE;
            !open.processed && ticks && (killed || open.holds(account))
        }
        _ => false,
    })
}

fn overlay(world: &World, account: u8, seen: &Reading) -> Judgement {
    let twin = world.wires.iter().find_map(|wire| match wire {
        Wire::Open(open) if open.processed => Some(open),
        _ => None,
    });
    let told = twin.and_then(|open| open.heard[usize::from(account)]);
    let told = told.filter(|(slot, _)| Some(*slot) > seen.as_of());
    let shown = world.watches[usize::from(account)].shown;
    let fits = match (seen.processed(), told) {
        (None, None) => true,
        (Some((state, slot)), Some((at, value))) => {
            slot == at && value.is_told_by(state, shown) && world.banks.contains(&(slot, value))
        }
        _ => false,
    };
    demand(fits, Check::Overlay)
}

/// Whether a caller that was answered finds what it asked for.
pub(crate) fn reaches(world: &World, account: u8, answer: Slot, floor: Slot) -> bool {
    let known = world.engine.record(&address(account)).map(|record| record.as_of(world.engine.evidence()));
    answer >= floor && known.is_none_or(|known| known >= floor)
}

/// Whether an account is live, and what it was proved to be is the truth.
pub(crate) fn is_settled(plan: &Plan, world: &World, account: u8) -> bool {
    let head = world.chain.head();
    reading(plan, world, account).is_some_and(|seen| {
        let truth = world.chain.value(account, head);
        let shown = world.watches[usize::from(account)].shown;
        let fresh = seen.fresh(CANARY_DEADLINE).ok();
        seen.is_live() && fresh.zip(truth).is_some_and(|(state, value)| value.is_told_by(state, shown))
    })
}
