//! RPC calls under way.

use balance_mirror::core::{
    base::failure::RpcFailure, chain::token::TokenProgram, engine::events::CallAnswer, internals::plain_mint,
    rpc::scheduler::Call,
};

use crate::{
    chain::{Millis, Slot, account_of, tick},
    world::World,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) call: Call,
    pub(crate) sent: Millis,
    /// The slot that it is answered at, once it is.
    pub(crate) slot: Option<Slot>,
}

impl World {
    pub(crate) fn depart(&mut self) -> Option<()> {
        let mut departed = self.next_calls();
        if !departed {
            self.pass(self.now + 3);
            departed = self.next_calls();
        }
        departed.then_some(())
    }

    pub(crate) fn next_calls(&mut self) -> bool {
        let mut departed = false;
        while let Some(call) = self.engine.next_call(tick(self.now)) {
            departed = true;
            let number = call.number;
            let only_mints = call.accounts.is_empty();
            self.flights.push(Flight { call, sent: self.now, slot: None });
            if only_mints {
                // Nothing of an account depends on it.
                let newest = self.heads.iter().copied().min();
                self.flights.iter_mut().for_each(|flight| {
                    if flight.call.number == number {
                        flight.slot = newest;
                    }
                });
                self.land(number);
            }
        }
        departed
    }

    pub(crate) fn land(&mut self, number: u64) {
        let Some(place) = self.flights.iter().position(|flight| flight.call.number == number) else { return };
        let Flight { call, sent, slot } = self.flights.remove(place);
        let Some(slot) = slot else { return };
        let now = tick(self.now);
        if slot < call.min_slot {
            return self.engine.answered(now, number, Err(RpcFailure::Behind { min_slot: call.min_slot }));
        }
        let accounts = call.accounts.iter().map(account_of);
        let presences = accounts.clone().filter_map(|account| self.chain.value(account, slot));
        let mint = plain_mint(TokenProgram::Token, 6);
        let answer = CallAnswer {
            slot,
            sent: tick(sent),
            lag_ms: (self.now - self.chain.made(slot, self.now)) as i64,
            accounts: presences.map(|value| Ok(value.presence())).collect(),
            mints: call.mints.iter().map(|_| Some(mint)).collect(),
        };
        for account in accounts {
            let watch = &mut self.watches[usize::from(account)];
            if watch.doubt.is_some_and(|(at, min_slot)| sent >= at && slot >= min_slot) {
                watch.doubt = None;
            }
        }
        self.engine.answered(now, number, Ok(answer));
    }
}
