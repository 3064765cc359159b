//! What a session does for one account: wanted, accused, rechecked, audited.

use solana_pubkey::Pubkey;

use super::{LinkCommand, Session, Stage};
use crate::core::{
    base::{
        ids::{Slot, WatchId},
        time::Tick,
    },
    link::{
        feed::{Attempt, FeedEvent, FeedRead},
        websocket::timers::Timer,
    },
};

impl Session {
    pub(super) fn watch(&mut self, address: Pubkey, watch: WatchId) {
        match self.subscriptions.watch_of(&address) {
            Some(known) if known == watch => {}
            Some(_) => {
                // Watched anew: the record is a new one, so the subscription starts again from the
                // beginning.
                self.release(address);
                self.subscriptions.want(address, watch, self.settings.backoff.clone());
            }
            None => self.subscriptions.want(address, watch, self.settings.backoff.clone()),
        }
    }

    pub(super) fn release(&mut self, address: Pubkey) {
        if let Some(subject) = self.subscriptions.release(&address) {
            self.act(LinkCommand::Unsubscribe(subject));
        }
    }

    pub(super) fn accused(&mut self, now: Tick, address: Pubkey) {
        self.act(FeedEvent::Uncover { address });
        let until = self.subscriptions.retry_at(&address, now, &mut self.random);
        if let Some(old) = self.subscriptions.again(&address, until) {
            self.act(LinkCommand::Unsubscribe(old));
            self.timers.set_by(Timer::Retry, until);
        }
    }

    pub(super) fn recheck(&mut self, accounts: Vec<Attempt>, min_slot: Slot) {
        if accounts.is_empty() {
            return;
        }
        for (address, _) in &accounts {
            self.subscriptions.set(address, Stage::Rechecking { slot: min_slot });
        }
        self.act(FeedEvent::Read(FeedRead::Recheck { generation: self.generation, accounts, min_slot }));
    }

    pub(super) fn rechecked(&mut self, now: Tick, address: Pubkey, attempt: u32, answer: Option<Slot>) {
        let Some(Stage::Rechecking { slot }) = self.subscriptions.stage(&address, attempt) else { return };
        if answer.is_some_and(|answer| answer >= slot) {
            self.subscriptions.set(&address, Stage::Live { slot });
            if let Some(watch) = self.subscriptions.watch_of(&address) {
                self.act(FeedEvent::Cover { address, watch, generation: self.generation });
            }
        } else {
            self.recheck_later(now, address);
        }
    }

    pub(super) fn recheck_later(&mut self, now: Tick, address: Pubkey) {
        let Some(Stage::Rechecking { slot } | Stage::Live { slot }) =
            self.subscriptions.current_stage(&address)
        else {
            return;
        };
        let until = self.subscriptions.retry_at(&address, now, &mut self.random);
        self.subscriptions.set(&address, Stage::RecheckDue { slot, until });
        self.timers.set_by(Timer::Retry, until);
    }

    pub(super) fn retry(&mut self, now: Tick) {
        let (rechecks, next) = self.subscriptions.retry(now);
        for (slot, accounts) in rechecks {
            self.recheck(accounts, slot);
        }
        if let Some(next) = next {
            self.timers.set_by(Timer::Retry, next);
        }
    }

    pub(super) fn audit(&mut self, now: Tick) {
        let due = self.subscriptions.next_audit(&mut self.audit);
        if !due.is_empty() {
            self.act(FeedEvent::Read(FeedRead::Audit(due)));
        }
        self.timers.set(Timer::Audit, now.plus(self.audit.interval(self.subscriptions.len())));
    }
}
