//! Judges every served reading against what truly was.
//!
//! It knows the chain's whole history, what every node held and since when, and what reached the
//! mirror. Of the mirror it knows nothing but the public face of a reading. Its promises are those
//! of the crate's documentation:
//!
//! * *value*, *as-of*: the state stood on the chain at the slot at which it is said to have been
//!   observed, and at the slot as of which it is said to be known; and neither slot is one that no
//!   node can have seen.
//! * *age*, *lag*: the state is no older than what some node, whose Clock lagged by no more than it
//!   may, held so long ago as the reading says it was proved; and that is no longer ago than was
//!   asked for.
//! * *order*: slots and as-of slots of one watch never go back.
//! * *floor*: the state stood at some slot of the floor or later.
//! * *phantom*: absent, closed, frozen, another's, of another mint, no token account: as the chain
//!   has it.
//! * *doubt*: after an invalidation nothing is served before an RPC answer to a later request, of
//!   the slot named or later.
//! * *jump*: after the host's clocks jumped against each other nothing is proved by what was proved
//!   before.
//! * *life*: a reading is live only while a connection is there whose canary came within its
//!   deadline.
//!
//! Where a single subscription died in silence, only a weaker promise holds for its account: that
//! of `verify_every`.

use std::{fmt, time::Duration};

use balance_mirror::core::{
    account::reading::Reading,
    chain::{
        state::AccountState,
        token::{NotToken, TokenAccount},
    },
};

use crate::{
    agenda::{MS, Nanos, SECOND},
    chain::{Chain, GRAIN, Held, STRAY, Tokens, lag_ms},
    key,
    links::Links,
    node::{Node, Told, View, sight},
};

/// What was violated, as mutants name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The state did not stand at the slot it was observed at.
    Value,
    /// The state did not stand at the slot it is known as of.
    AsOf,
    /// The state is older than its age says, or than was asked for.
    Age,
    /// No node's Clock was near enough to wall time when this was proved.
    Lag,
    /// A slot went back.
    Order,
    /// The floor was not reached.
    Floor,
    /// One state is called another.
    Phantom,
    /// An invalidated state was served.
    Doubt,
    /// A proof from before the clocks jumped was taken for one.
    Jump,
    /// Live without a living link.
    Life,
    /// The processed view showed what no fork held.
    Overlay,
    /// After the faults stopped, the mirror did not come to the truth in time.
    Convergence,
    /// The mirror asks for more than the plan allows.
    Bounds,
    /// The code under judgement panicked.
    Panic,
}

/// The first promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which one.
    pub check: Check,
    /// Virtual seconds since the beginning.
    pub at: f64,
    /// Of what, and how.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.3} s: {}", self.check, self.at, self.text)
    }
}

/// The promised bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) max_lag: Nanos,
    pub(crate) canary_deadline: Nanos,
    pub(crate) verify_every: Nanos,
}

/// What the caller that watches said to expect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    /// Mint and owner; `None` where they are to be learnt.
    pub(crate) given: Option<(u8, u8)>,
}

/// One watch of one account.
#[derive(Debug)]
struct Watch {
    account: usize,
    expectation: Expectation,
    learnt: Option<(u8, u8)>,
    has_been_token: bool,
    slot: u64,
    as_of: u64,
    revision: u64,
    /// When it was doubted last, and the slot that has to be seen.
    doubt: Option<(Nanos, u64)>,
    doubt_cleared: bool,
}

/// Until when what is served of an account may rest on a subscription that died in silence, or on
/// one that lost a notice.
#[derive(Clone, Copy, Debug, Default)]
struct Excuse {
    dead: Nanos,
    lost: Nanos,
}

/// A reading, and what was asked of it.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    pub(crate) reading: &'a Reading,
    pub(crate) watch: usize,
    /// When the read began to load.
    pub(crate) begun: Nanos,
    pub(crate) now: Nanos,
    /// `None` for what was merely looked at.
    pub(crate) asked: Option<Asked<'a>>,
}

#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) state: &'a AccountState,
    pub(crate) at: Nanos,
    pub(crate) max_age: Nanos,
    pub(crate) floor: Option<u64>,
}

/// What truly was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) nodes: &'a [Node],
    pub(crate) links: &'a Links,
}

#[derive(Debug)]
pub(crate) struct Checker {
    promise: Promise,
    watches: Vec<Watch>,
    excuses: Vec<Excuse>,
    /// When the clocks jumped last.
    jumped: Nanos,
    pub(crate) judged: u64,
    pub(crate) live: u64,
    pub(crate) excused: u64,
}

type Judgement = Result<(), (Check, String)>;

fn demand(holds: bool, check: Check, text: impl FnOnce() -> String) -> Judgement {
    if holds { Ok(()) } else { Err((check, text())) }
}

impl Checker {
    pub(crate) fn new(promise: Promise, accounts: usize) -> Self {
        let excuses = vec![Excuse::default(); accounts];
        Self { promise, watches: Vec::new(), excuses, jumped: 0, judged: 0, live: 0, excused: 0 }
    }

    // What happens.

    pub(crate) fn watched(&mut self, account: usize, expectation: Expectation) -> usize {
        self.watches.push(Watch {
            account,
            expectation,
            learnt: None,
            has_been_token: false,
            slot: 0,
            as_of: 0,
            revision: 0,
            doubt: None,
            doubt_cleared: false,
        });
        self.watches.len() - 1
    }

    pub(crate) fn doubted(&mut self, watch: usize, now: Nanos, min_slot: u64) {
        let watch = &mut self.watches[watch];
        let before = watch.doubt.filter(|_| !watch.doubt_cleared).map_or(0, |(_, slot)| slot);
        watch.doubt = Some((now, min_slot.max(before)));
        watch.doubt_cleared = false;
    }

    /// An RPC answer about the account has reached the mirror.
    pub(crate) fn answered(&mut self, watch: usize, sent: Nanos, slot: u64) {
        let watch = &mut self.watches[watch];
        watch.doubt_cleared |= watch.doubt.is_some_and(|(at, min_slot)| sent >= at && slot >= min_slot);
    }

    pub(crate) fn jumped(&mut self, now: Nanos) {
        self.jumped = now;
    }

    /// A subscription of the account has died in silence.
    pub(crate) fn silenced(&mut self, account: usize) {
        self.excuses[account].dead = Nanos::MAX;
    }

    /// No subscription of the account is dead any more; what rested on one may be served until
    /// then.
    pub(crate) fn buried(&mut self, account: usize, until: Nanos) {
        self.excuses[account].dead = until;
    }

    /// A notice of the account was lost.
    pub(crate) fn lost(&mut self, account: usize, until: Nanos) {
        self.excuses[account].lost = until;
    }

    pub(crate) fn is_excused(&self, account: usize, at: Nanos) -> bool {
        let excuse = self.excuses[account];
        at <= excuse.dead.max(excuse.lost)
    }

    // What is served.

    pub(crate) fn judge(&mut self, facts: Facts<'_>, served: &Served<'_>) -> Result<(), Violation> {
        self.judged += 1;
        self.live += u64::from(served.reading.is_live());
        let judgement = self.every_promise(facts, served);
        judgement.map_err(|(check, text)| {
            let account = self.watches[served.watch].account;
            Violation {
                check,
                at: served.now as f64 / SECOND as f64,
                text: format!("account {account}: {text}; {:?}", served.reading),
            }
        })
    }

    fn every_promise(&mut self, facts: Facts<'_>, served: &Served<'_>) -> Judgement {
        let reading = served.reading;
        let account = self.watches[served.watch].account;
        let excused = self.is_excused(account, served.begun);
        self.excused += u64::from(excused);
        let newest = facts.chain.newest_slot();
        if let (Some(state), Some(slot), Some(as_of)) =
            (reading.last_known(), reading.slot(), reading.as_of())
        {
            demand(slot <= newest && as_of <= newest, Check::AsOf, || {
                format!("the newest slot is {newest}")
            })?;
            demand(slot <= as_of, Check::AsOf, || "known as of before it was observed".to_owned())?;
            self.phantom(served.watch, state)?;
            let (_, held) = facts.chain.at(account, slot);
            demand(is(state, held), Check::Value, || format!("at slot {slot} it held {held:?}"))?;
            let (_, held) = facts.chain.at(account, as_of);
            // What is disputed or doubted is not said to be known as of anything.
            let said = served.asked.is_some();
            demand(excused || !said || is(state, held), Check::AsOf, || {
                format!("at slot {as_of} it held {held:?}")
            })?;
            self.order(served, slot, as_of)?;
        }
        demand(reading.epoch() == 0, Check::Order, || "the chain never began anew".to_owned())?;
        if reading.is_live() {
            let from = served.begun.saturating_sub(self.promise.canary_deadline);
            demand(facts.links.ticked_since(from, served.begun), Check::Life, || {
                "no connection is there whose canary came in time".to_owned()
            })?;
        }
        overlay(facts, account, reading)?;
        match &served.asked {
            Some(asked) => self.served(facts, served, asked, excused),
            None => Ok(()),
        }
    }

    /// What somebody may trade on.
    fn served(&self, facts: Facts<'_>, served: &Served<'_>, asked: &Asked<'_>, excused: bool) -> Judgement {
        let watch = &self.watches[served.watch];
        let age = served.reading.age().map(|age: Duration| age.as_nanos() as Nanos);
        let Some(age) = age else { return Err((Check::Age, "served without an age".to_owned())) };
        let proved = served.now.saturating_sub(age);
        demand(proved + asked.max_age >= asked.at, Check::Age, || {
            format!("asked for {} ns at {}, proved at {proved}", asked.max_age, asked.at)
        })?;
        demand(proved >= self.jumped || served.begun <= self.jumped, Check::Jump, || {
            format!("proved at {proved}, and the clocks jumped at {}", self.jumped)
        })?;
        self.no_older(facts, served, proved, excused, asked.state)?;
        if let Some(floor) = asked.floor {
            let account = watch.account;
            let stood = facts.chain.was_since(account, floor, |held| is(asked.state, held));
            let known = served.reading.as_of().is_some_and(|as_of| as_of >= floor);
            demand(known && (stood || excused), Check::Floor, || {
                format!("the floor is {floor}; held since: {stood}")
            })?;
        }
        if let Some((at, min_slot)) = watch.doubt {
            demand(watch.doubt_cleared, Check::Doubt, || {
                format!("doubted at {at} as of {min_slot}, and no answer since then settled it")
            })?;
        }
        Ok(())
    }

    /// No older than what some node held when it is said to have been proved.
    fn no_older(
        &self,
        facts: Facts<'_>,
        served: &Served<'_>,
        proved: Nanos,
        excused: bool,
        state: &AccountState,
    ) -> Judgement {
        let account = self.watches[served.watch].account;
        // What is the same for everything that comes over a link cannot be told from here: its
        // smallest delay of late. Nor can the Clock's grain and its stray.
        let hidden = facts.links.hidden_delay() + GRAIN + STRAY;
        let spell = if excused { self.promise.verify_every } else { 0 };
        let then = proved.saturating_sub(hidden + spell);
        let max_lag_ms = ((self.promise.max_lag + GRAIN + STRAY) / MS) as i64;
        let near = |at: Nanos, bank: usize| lag_ms(at, facts.chain.banks[bank].clock) <= max_lag_ms;
        let oldest = facts.nodes.iter().filter_map(|node| node.oldest_since(then, served.now, near)).min();
        let Some(oldest) = oldest else {
            return Err((Check::Lag, format!("no node's Clock was near enough from {then} on")));
        };
        let oldest = facts.chain.banks[oldest].slot;
        if excused {
            let stood = facts.chain.was_since(account, oldest, |held| is(state, held));
            return demand(stood, Check::Age, || {
                format!("not so since slot {oldest}, which is the last bound")
            });
        }
        let as_of = served.reading.as_of().unwrap_or(0);
        demand(as_of >= oldest, Check::Age, || {
            format!("proved at {proved}; at {then} every node held slot {oldest} or later")
        })
    }

    fn order(&mut self, served: &Served<'_>, slot: u64, as_of: u64) -> Judgement {
        let watch = &mut self.watches[served.watch];
        let revision = served.reading.revision();
        demand(slot >= watch.slot && revision >= watch.revision, Check::Order, || {
            format!("slot {} and revision {} before", watch.slot, watch.revision)
        })?;
        (watch.slot, watch.revision) = (slot, revision);
        if served.asked.is_some() {
            demand(as_of >= watch.as_of, Check::Order, || format!("as of {} before", watch.as_of))?;
            watch.as_of = as_of;
        }
        Ok(())
    }

    /// Whether a state is called what it is.
    fn phantom(&mut self, watch: usize, state: &AccountState) -> Judgement {
        let watch = &mut self.watches[watch];
        let token = state.token();
        let right = match (state, token.map(|token| (identity(token), token.frozen))) {
            (AccountState::Absent, _) => !watch.has_been_token,
            (_, None) => true,
            (_, Some((identity, frozen))) => {
                let expected = watch.expectation.given.or(watch.learnt);
                let (mint, owner) = expected.unwrap_or(identity);
                match state {
                    AccountState::Initialized(_) => identity == (mint, owner) && !frozen,
                    AccountState::Frozen(_) => identity == (mint, owner) && frozen,
                    // What was learnt may be something that nobody read.
                    AccountState::OwnerChanged(_) => expected.is_none() || identity.1 != owner,
                    AccountState::WrongMint(_) => expected.is_none() || identity.0 != mint,
                    _ => false,
                }
            }
        };
        demand(right, Check::Phantom, || format!("{} is not what it is called", state.name()))?;
        watch.has_been_token |= token.is_some();
        if let AccountState::Initialized(token) | AccountState::Frozen(token) = state {
            watch.learnt.get_or_insert(identity(token));
        }
        Ok(())
    }
}

fn identity(token: &TokenAccount) -> (u8, u8) {
    (token.mint.to_bytes()[0], token.owner.to_bytes()[0])
}

/// Whether that is what the address held, whatever it is called.
fn is(state: &AccountState, held: Held) -> bool {
    match (state, held) {
        (AccountState::Absent | AccountState::Closed, Held::Nothing) => true,
        (AccountState::NotToken(NotToken::ForeignProgram(_)), Held::Foreign) => true,
        (_, Held::Tokens(Tokens { amount, mint, owner, frozen })) => state.token().is_some_and(|token| {
            token.amount == amount
                && token.mint == key(mint)
                && token.owner == key(owner)
                && token.frozen == frozen
        }),
        _ => false,
    }
}

/// What the processed view shows stood in a bank of that slot, of the chain or of a fork.
fn overlay(facts: Facts<'_>, account: usize, reading: &Reading) -> Judgement {
    let Some((state, slot)) = reading.processed() else { return Ok(()) };
    let chain = facts.chain;
    let fork = chain.abandoned.iter().position(|fork| fork.slot == slot).map(View::Abandoned);
    let bank = chain.banks.binary_search_by_key(&slot, |bank| bank.slot).ok().map(View::Bank);
    let stood = fork.or(bank).is_some_and(|view| {
        matches!(sight(chain, view, crate::node::Thing::Account(account)).2, Told::Account(held) if is(state, held))
    });
    demand(stood, Check::Overlay, || format!("processed: no bank of slot {slot} held {state:?}"))
}
