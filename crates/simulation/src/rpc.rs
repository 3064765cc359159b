//! RPC in this world: answers of one bank, and all the ways of not getting one.

use balance_mirror::core::{
    base::failure::RpcFailure,
    chain::token::{Presence, TokenProgram},
    engine::events::CallAnswer,
    internals::plain_mint,
    rpc::scheduler::Call,
};
use solana_pubkey::Pubkey;

use crate::{
    agenda::{MS, Nanos, SECOND},
    chain::{Held, Tokens, lag_ms},
    key,
    node::{Lie, Thing, Told, View, sight},
    plan::{self, RPC_TIMEOUT},
    run::{Event, World},
    skin::{account_of, tick},
};

/// A call under way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) call: Call,
    pub(crate) sent: Nanos,
    pub(crate) node: usize,
    /// What comes back, once the node has answered: its slot, its Clock, what it holds.
    outcome: Option<Result<Sight, RpcFailure>>,
}

#[derive(Debug)]
struct Sight {
    slot: u64,
    clock: i64,
    held: Vec<Result<Held, RpcFailure>>,
    mints: bool,
}

/// The bytes that a node holds at an address, by the layout of the token programs.
pub(crate) fn presence(held: Held) -> Presence {
    match held {
        Held::Nothing => Presence::decode(&Pubkey::default(), 0, &[]),
        Held::Foreign => Presence::decode(&key(250), 1, &[1, 2, 3]),
        Held::Tokens(Tokens { amount, mint, owner, frozen }) => {
            let mut data = [0u8; 165];
            data[0..32].copy_from_slice(key(mint).as_ref());
            data[32..64].copy_from_slice(key(owner).as_ref());
            data[64..72].copy_from_slice(&amount.to_le_bytes());
            data[108] = if frozen { 2 } else { 1 };
            Presence::decode(&TokenProgram::Token.id(), 2_039_280, &data)
        }
    }
}

impl World {
    pub(crate) fn call(&mut self, call: Call) {
        let endpoint = usize::from(call.endpoint.0);
        // Balanced over nodes that differ, for a while, or always if there are such.
        let pooled = self.now < self.moods[endpoint].pooled_until || self.rng.chance(100);
        let backend = self.plan.backends > 0 && pooled;
        let node = if backend { self.plan.endpoints + self.rng.index(self.plan.backends) } else { endpoint };
        let mood = &self.moods[node];
        let number = call.number;
        let arrives = self.now + plan::way(&mut self.rng);
        let outcome = if self.now < mood.rpc_down_until {
            Some(Err(RpcFailure::Unreachable { reason: "refused".to_owned() }))
        } else {
            None
        };
        self.report.calls += 1;
        self.flights.insert(number, Flight { call, sent: self.now, node, outcome });
        self.agenda.plan(arrives, Event::RpcArrives { number });
        self.agenda.plan(self.now + RPC_TIMEOUT, Event::RpcTimesOut { number });
    }

    /// The node answers as of the bank it holds now.
    pub(crate) fn rpc_arrives(&mut self, number: u64) {
        let Some(flight) = self.flights.get(&number) else { return };
        let mood = &self.moods[flight.node];
        if self.now < mood.rpc_hang_until {
            return;
        }
        let late = if self.now < mood.rpc_late_until { self.rng.between(300, 3_500) * MS } else { 0 };
        let answers = self.now + late + plan::way(&mut self.rng);
        let outcome = if flight.outcome.is_some() { None } else { Some(self.look_up(number)) };
        if let Some(flight) = self.flights.get_mut(&number)
            && let Some(outcome) = outcome
        {
            flight.outcome = Some(outcome);
        }
        self.agenda.plan(answers, Event::RpcAnswers { number });
    }

    fn look_up(&mut self, number: u64) -> Result<Sight, RpcFailure> {
        let flight = &self.flights[&number];
        let (mood, node) = (&self.moods[flight.node], &self.nodes[flight.node]);
        if self.now < mood.rpc_limited_until {
            let retry_after = self.rng.chance(300).then(|| plan::duration(self.rng.between(1, 4) * SECOND));
            return Err(RpcFailure::RateLimited { retry_after });
        }
        if self.now < mood.rpc_short_until && self.rng.chance(700) {
            return Err(RpcFailure::Malformed { reason: "too few accounts".to_owned() });
        }
        // What the mirror has not been told is another chain nobody can tell from this one.
        if node.lie == Some(Lie::OtherChain) && !self.foreign_shown[flight.node] {
            return Err(RpcFailure::Unreachable { reason: "moving".to_owned() });
        }
        let Some(bank) = node.holds else {
            return Err(RpcFailure::Server { code: -32005, message: "Node is unhealthy".to_owned() });
        };
        let min_slot = flight.call.min_slot;
        let mut slot = self.chain.banks[bank].slot;
        if let Some(Lie::Ahead(by)) = node.lie {
            slot = slot.saturating_add(by);
        }
        if slot < min_slot {
            return Err(RpcFailure::Behind { min_slot });
        }
        let foreign = node.lie == Some(Lie::OtherChain);
        let garbled = self.now < mood.rpc_garbled_until;
        let mut held = Vec::with_capacity(flight.call.accounts.len());
        for address in &flight.call.accounts {
            let thing = Thing::Account(account_of(address));
            let Told::Account(here) = sight(&self.chain, View::Bank(bank), thing).2 else { continue };
            held.push(if garbled && self.rng.chance(300) {
                Err(RpcFailure::Malformed { reason: "not base64".to_owned() })
            } else {
                Ok(if foreign { Held::Nothing } else { here })
            });
        }
        let mints = !self.rng.chance(100);
        Ok(Sight { slot, clock: self.chain.banks[bank].clock, held, mints })
    }

    pub(crate) fn rpc_answers(&mut self, number: u64) {
        // A starved runtime reads it later.
        if self.now < self.starved_until {
            self.agenda.plan(self.starved_until, Event::RpcAnswers { number });
            return;
        }
        let Some(flight) = self.flights.remove(&number) else { return };
        let Some(outcome) = flight.outcome else { return };
        let outcome = outcome.map(|sight| {
            for (address, held) in flight.call.accounts.iter().zip(&sight.held) {
                self.report.observations += 1;
                // What it says of the future, or of long ago, settles nothing.
                let proves = sight.slot <= self.chain.newest_slot()
                    && lag_ms(self.now, sight.clock).unsigned_abs() <= self.plan.max_lag / MS;
                if held.is_ok()
                    && proves
                    && let Some(place) = self.skin.watched.get(&account_of(address))
                {
                    self.checker.answered(place.watch, flight.sent, sight.slot);
                }
            }
            let mint = plain_mint(TokenProgram::Token, 6);
            CallAnswer {
                slot: sight.slot,
                sent: tick(flight.sent),
                lag_ms: lag_ms(self.now, sight.clock),
                accounts: sight.held.into_iter().map(|held| held.map(presence)).collect(),
                mints: flight.call.mints.iter().map(|_| sight.mints.then_some(mint)).collect(),
            }
        });
        self.skin.engine.answered(tick(self.now), number, outcome);
        self.settle();
    }

    pub(crate) fn rpc_times_out(&mut self, number: u64) {
        if self.now < self.starved_until {
            self.agenda.plan(self.starved_until, Event::RpcTimesOut { number });
            return;
        }
        if self.flights.remove(&number).is_some() {
            let failure = RpcFailure::Timeout { after: plan::duration(RPC_TIMEOUT) };
            self.skin.engine.answered(tick(self.now), number, Err(failure));
            self.settle();
        }
    }
}
