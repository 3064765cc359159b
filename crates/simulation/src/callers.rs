//! Those who use the mirror: they watch and unwatch, read memory, ask for balances as
//! `Mirror::balance` does, wait, doubt, and go away in the middle of it.

use balance_mirror::core::{
    account::reading::{Floor, ReadQuery},
    base::{
        failure::RpcFailure,
        ids::{AskId, Slot},
    },
    chain::{state::Expected, token::TokenProgram},
    internals::satisfies,
    rpc::scheduler::{Ask, Reply},
};

use crate::{
    agenda::{MS, Nanos, SECOND},
    chain::{MINT, OWNER},
    checker::{Asked, Expectation, Facts, Served, Violation},
    key,
    plan::{self, READ_DEADLINE, RPC_TIMEOUT},
    run::{Event, World},
    skin::{address, tick},
};

/// How soon a read that is not met asks RPC again.
const ASK_AGAIN: Nanos = 100 * MS;

/// Reads that wait at once.
const MAX_PENDING: usize = 12;

/// A balance that is awaited.
#[derive(Debug)]
pub(crate) struct Pending {
    number: u64,
    account: usize,
    watch: usize,
    asked: Nanos,
    max_age: Nanos,
    floor: Option<u64>,
    /// RPC is asked no more: what the link brings is waited for.
    link_only: bool,
}

impl World {
    /// One caller does something.
    pub(crate) fn act(&mut self) -> Result<(), Violation> {
        let account = self.rng.index(self.plan.accounts);
        let quiet = self.now >= self.plan.quiet_from;
        match self.rng.below(1_000) {
            0..12 if !quiet => self.toggle(account),
            12..20 if !quiet => self.doubt(account),
            20..120 => self.ask(account)?,
            120..135 => self.cancel_one(),
            135..600 => self.look(account, true)?,
            _ => {
                for account in 0..self.plan.accounts {
                    self.look(account, false)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn watch(&mut self, account: usize) {
        let given = self.rng.chance(700).then_some((MINT, OWNER));
        let expected = Expected {
            program: given.map(|_| TokenProgram::Token),
            mint: given.map(|(mint, _)| key(mint)),
            owner: given.map(|(_, owner)| key(owner)),
        };
        if self.skin.engine.watch(tick(self.now), &[(address(account), expected)]).is_ok() {
            let watch = self.checker.watched(account, Expectation { given });
            self.skin.follow(account, watch, self.now);
            self.settle();
        }
    }

    fn toggle(&mut self, account: usize) {
        if self.skin.watched.contains_key(&account) {
            self.skin.engine.unwatch(tick(self.now), &address(account));
            self.skin.leave(account);
            self.settle();
        } else {
            self.watch(account);
        }
    }

    fn doubt(&mut self, account: usize) {
        let min_slot = if self.rng.chance(500) { 0 } else { self.some_slot() };
        let Some(place) = self.skin.watched.get(&account) else { return };
        self.checker.doubted(place.watch, self.now, min_slot);
        self.skin.engine.invalidate(tick(self.now), &address(account), min_slot);
        self.settle();
    }

    /// A slot as a caller may know one: of a transaction that has just landed, at the mirror's
    /// commitment or before.
    fn some_slot(&mut self) -> u64 {
        let newest = self.chain.newest_slot();
        newest - self.rng.below(if self.plan.finalized { 60 } else { 12 })
    }

    /// Reads memory; what is fresh is served.
    fn look(&mut self, account: usize, demanding: bool) -> Result<(), Violation> {
        let Some(look) = self.skin.read(account, self.now, &mut self.rng) else { return Ok(()) };
        let max_age = self.some_age();
        let floor = (demanding && self.rng.chance(200)).then(|| self.some_slot());
        let mut query = ReadQuery::max_age(plan::duration(max_age));
        if let Some(floor) = floor {
            query = query.as_of(Floor::confirmed(floor));
        }
        let state = satisfies(&look.reading, &query, tick(self.now)).ok();
        let asked = state.map(|state| Asked { state, at: self.now, max_age, floor });
        let served =
            Served { reading: &look.reading, watch: look.watch, begun: look.begun, now: self.now, asked };
        self.report.served += u64::from(served.asked.is_some());
        self.checker.judge(facts(&self.chain, &self.nodes, &self.links), &served)
    }

    fn some_age(&mut self) -> Nanos {
        [1, 2, 3, 5, 15, 30, 30, 30, 300][self.rng.index(9)] * SECOND
    }

    // Balances: from memory, else from RPC or from what arrives meanwhile, whichever is first.

    fn ask(&mut self, account: usize) -> Result<(), Violation> {
        let Some(place) = self.skin.watched.get(&account) else { return Ok(()) };
        if self.pending.len() >= MAX_PENDING {
            return Ok(());
        }
        let watch = place.watch;
        let max_age = if self.rng.chance(300) { self.rng.below(400) * MS } else { self.some_age() };
        let floor = self.rng.chance(400).then(|| self.some_slot());
        self.asks += 1;
        let number = self.asks;
        let pending = Pending { number, account, watch, asked: self.now, max_age, floor, link_only: false };
        self.pending.push(pending);
        if !self.meets(number)? {
            self.agenda.plan(self.now + READ_DEADLINE, Event::GiveUp { number });
            self.ask_rpc(number);
        }
        Ok(())
    }

    fn ask_rpc(&mut self, number: u64) {
        let Some(pending) = self.pending.iter().find(|pending| pending.number == number) else { return };
        let ask = Ask {
            address: address(pending.account),
            min_slot: pending.floor.unwrap_or(0),
            not_before: tick(pending.asked.saturating_sub(pending.max_age)),
            urgent: true,
            reply: Reply::Caller(AskId(number)),
            patience: tick(self.now + RPC_TIMEOUT),
            avoid: None,
        };
        if self.skin.engine.ask(tick(self.now), ask).is_err() {
            self.pending.retain(|pending| pending.number != number);
        }
        self.settle();
    }

    /// Whether memory meets what is asked by now; if so it is served, and the caller is content.
    fn meets(&mut self, number: u64) -> Result<bool, Violation> {
        let Some(place) = self.pending.iter().position(|pending| pending.number == number) else {
            return Ok(true);
        };
        let pending = &self.pending[place];
        let (account, watch) = (pending.account, pending.watch);
        if self.skin.watched.get(&account).is_none_or(|place| place.watch != watch) {
            self.pending.swap_remove(place);
            return Ok(true);
        }
        let Some(look) = self.skin.read(account, self.now, &mut self.rng) else { return Ok(false) };
        let pending = &self.pending[place];
        let mut query = ReadQuery::max_age(plan::duration(pending.max_age));
        if let Some(floor) = pending.floor {
            query = query.as_of(Floor::confirmed(floor));
        }
        let Ok(state) = satisfies(&look.reading, &query, tick(pending.asked)) else { return Ok(false) };
        let asked = Asked { state, at: pending.asked, max_age: pending.max_age, floor: pending.floor };
        let served = Served {
            reading: &look.reading,
            watch: look.watch,
            begun: look.begun,
            now: self.now,
            asked: Some(asked),
        };
        self.report.served += 1;
        self.checker.judge(facts(&self.chain, &self.nodes, &self.links), &served)?;
        self.pending.swap_remove(place);
        self.skin.engine.cancel(AskId(number));
        Ok(true)
    }

    /// Something was published: those who wait look again, unless the runtime has not come to them
    /// yet.
    pub(crate) fn wake(&mut self) -> Result<(), Violation> {
        let waiting: Vec<u64> = self.pending.iter().map(|pending| pending.number).collect();
        for number in waiting {
            if self.now >= self.starved_until && self.rng.chance(700) {
                self.meets(number)?;
            }
        }
        Ok(())
    }

    pub(crate) fn replied(&mut self, id: AskId, answer: Result<Slot, RpcFailure>) -> Result<(), Violation> {
        let number = id.0;
        if self.meets(number)? {
            return Ok(());
        }
        let Some(place) = self.pending.iter().position(|pending| pending.number == number) else {
            return Ok(());
        };
        match answer {
            Ok(_) | Err(RpcFailure::Behind { .. }) => {
                self.agenda.plan(self.now + ASK_AGAIN, Event::AskAgain { number });
            }
            Err(_) if self.pending[place].floor.is_some() => self.pending[place].link_only = true,
            Err(_) => {
                self.pending.swap_remove(place);
            }
        }
        Ok(())
    }

    pub(crate) fn ask_again(&mut self, number: u64) -> Result<(), Violation> {
        if !self.meets(number)?
            && !self.pending.iter().any(|pending| pending.number == number && pending.link_only)
        {
            self.ask_rpc(number);
        }
        Ok(())
    }

    pub(crate) fn give_up(&mut self, number: u64) -> Result<(), Violation> {
        if !self.meets(number)? {
            self.pending.retain(|pending| pending.number != number);
            self.skin.engine.cancel(AskId(number));
            self.report.unmet += 1;
        }
        Ok(())
    }

    fn cancel_one(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let place = self.rng.index(self.pending.len());
        let gone = self.pending.swap_remove(place);
        self.skin.engine.cancel(AskId(gone.number));
        self.settle();
    }
}

pub(crate) fn facts<'a>(
    chain: &'a crate::chain::Chain,
    nodes: &'a [crate::node::Node],
    links: &'a crate::links::Links,
) -> Facts<'a> {
    Facts { chain, nodes, links }
}
