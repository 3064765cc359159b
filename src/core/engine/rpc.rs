//! What is read by RPC: for callers, for sessions, and for the mirror itself.

use solana_pubkey::Pubkey;

use super::{Engine, events::CallAnswer};
use crate::core::{
    account::observation::{Observation, ObservedVia},
    base::{
        failure::RpcFailure,
        ids::{AskId, Slot},
        time::Tick,
    },
    link::feed::FeedInput,
    rpc::scheduler::{Ask, Call, Crowded, Reply},
};

impl Engine {
    /// Wants an account read by RPC. Refused if the limit of waiting reads is reached.
    pub fn ask(&mut self, now: Tick, ask: Ask) -> Result<(), Crowded> {
        self.rpc.scheduler.take(now, ask)?;
        self.follow(now);
        Ok(())
    }

    /// Cancels an ask whose caller has gone.
    pub fn cancel(&mut self, id: AskId) {
        self.rpc.scheduler.cancel(id);
    }

    /// An ask for the ledger, at any slot, without a caller that waits for it.
    pub(super) fn own_ask(&self, now: Tick, address: Pubkey) -> Ask {
        Ask {
            address,
            min_slot: 0,
            not_before: now,
            urgent: false,
            reply: Reply::Nobody,
            patience: now.plus(self.settings.patience),
            avoid: None,
        }
    }

    /// Takes one of the engine's own asks. A recheck for which there is no room counts as failed,
    /// and is due again later.
    pub(super) fn take_ask(&mut self, now: Tick, ask: Ask) {
        if let Err(Crowded(ask)) = self.rpc.scheduler.take(now, ask)
            && let Reply::Recheck { link, generation, address, attempt } = ask.reply
            && let Some(link) = self.links.get_mut(link)
        {
            link.session.handle(now, FeedInput::Rechecked { generation, address, attempt, slot: None });
        }
    }

    pub fn next_call(&mut self, now: Tick) -> Option<Call> {
        let accounts = &self.accounts;
        self.rpc.scheduler.next_call(now, |address| accounts.wanted_slot(address))
    }

    /// Takes in the answer to a call.
    pub fn answered(&mut self, now: Tick, number: u64, outcome: Result<CallAnswer, RpcFailure>) {
        self.complete(now, number, outcome);
        if self.rpc.scheduler.mints_wanted() > 0 {
            self.forget_mints();
        }
        self.follow(now);
    }

    fn complete(&mut self, now: Tick, number: u64, outcome: Result<CallAnswer, RpcFailure>) {
        let Some(flight) = self.rpc.scheduler.complete(number) else { return };
        let endpoint = flight.endpoint;
        let outcome = outcome.and_then(|answer| {
            let fits =
                answer.accounts.len() == flight.accounts.len() && answer.mints.len() == flight.mints.len();
            if !fits {
                let reason = format!("{} accounts for {} keys", answer.accounts.len(), flight.accounts.len());
                return Err(RpcFailure::Malformed { reason });
            }
            self.links.note_lag(endpoint, answer.lag_ms);
            self.believe_slot(now, endpoint, answer.slot).map(|()| answer)
        });
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                self.rpc.refresher.refused(now);
                return self.rpc.scheduler.fail(now, flight, &failure);
            }
        };
        self.rpc.refresher.answered();
        self.rpc.scheduler.succeeded(endpoint, answer.slot);
        self.share_lag(now, endpoint, answer.lag_ms);
        let told = self.near_wall_time(answer.lag_ms);
        let proof = if told.is_ok() { answer.sent } else { Tick::NEVER };
        for ((address, waiters), presence) in flight.accounts.into_iter().zip(answer.accounts) {
            let told = presence.and_then(|presence| {
                let seen =
                    Observation { presence, slot: answer.slot, source: ObservedVia::Rpc(endpoint), proof };
                self.accounts.apply(now, &address, &seen);
                told.clone()
            });
            match told {
                Ok(()) => self.rpc.scheduler.reply_all(waiters, &Ok(answer.slot)),
                Err(failure) => self.rpc.scheduler.fail_account(now, endpoint, waiters, &failure),
            }
        }
        for ((address, wish), mint) in flight.mints.into_iter().zip(answer.mints) {
            match mint {
                Some(mint) => {
                    let named = || self.rpc.awaited_mints.with(self.accounts.mints());
                    self.rpc.mints.read(now, address, mint, (answer.slot, proof), named);
                }
                // The mint does not exist yet at this commitment, or the account is no mint.
                None => {
                    self.rpc.awaited_mints.note_unseen(&address, answer.slot);
                    self.rpc.scheduler.mint_unread(now, address, wish);
                }
            }
        }
    }

    /// The next answer for a caller.
    pub fn next_reply(&mut self) -> Option<(AskId, Result<Slot, RpcFailure>)> {
        self.rpc.replies.pop_front()
    }

    /// Reads by RPC what no live link proves, so that readers keep finding a fresh state in memory.
    pub(super) fn refresh(&mut self, now: Tick) {
        for address in self.accounts.to_refresh(&mut self.rpc.refresher, now, &self.settings.policy) {
            self.take_ask(now, self.own_ask(now, address));
        }
    }

    /// Starts the refresh, because some account may no longer be proved by a link. If a link covers
    /// it soon, the refresh has nothing to do.
    pub(super) fn refresh_soon(&mut self, now: Tick) {
        self.rpc.refresher.start(now.plus(self.settings.refresh_every));
    }

    /// Drops the mint reads that were wanted only for accounts no longer watched.
    pub(super) fn forget_mints(&mut self) {
        let named = self.rpc.awaited_mints.with(self.accounts.mints());
        self.rpc.scheduler.keep_mints(&named);
    }
}
