//! The sans-I/O engine. Feed it events and time, then drain its outputs in the order below.
//!
//! It routes between its parts: the accounts with their ledgers (`accounts.rs`), the links with a
//! session each (`links.rs`), the RPC work (`rpc_work.rs`), and trading (`trades.rs`). None of them uses
//! a socket, a task or a clock. The other files are the routes, by what comes in.
//!
//! # Inputs
//!
//! Each input takes the present time. Inputs may come in any sequence.
//!
//! * From callers: [`watch`](Engine::watch), [`unwatch`](Engine::unwatch),
//!   [`invalidate`](Engine::invalidate), [`ask`](Engine::ask); positions and buys (`positions.rs`);
//!   holds and transactions (`trading.rs`).
//! * From connections: [`handle`](Engine::handle), once for each event, in the order in which they
//!   arrived.
//! * From RPC: [`answered`](Engine::answered), [`inquired`](Engine::inquired), and the slots of
//!   other answers (`slots.rs`).
//! * From the clock: [`expire_link`](Engine::expire_link) and [`expire`](Engine::expire), at or
//!   after their deadlines; [`clock_jumped`](Engine::clock_jumped).
//!
//! # Outputs
//!
//! Drain them in this order after each input, or after a batch of inputs that is published
//! together:
//!
//! 1. [`take_touched`](Engine::take_touched): publish the record and the overlay of each account it
//!    returns.
//! 2. [`evidence`](Engine::evidence): publish it after the records that it speaks for, never
//!    before.
//! 3. [`take_mints`](Engine::take_mints): publish the mints, if any was read.
//! 4. [`next_event`](Engine::next_event): count, log and send to listeners what was decided.
//!    Readers can see it by now.
//! 5. [`next_reply`](Engine::next_reply) and [`next_outcome`](Engine::next_outcome): wake the
//!    callers that wait.
//! 6. [`next_command`](Engine::next_command) for each link, [`next_call`](Engine::next_call) and
//!    [`next_inquiry`](Engine::next_inquiry): hand them to the drivers. They may stay queued until
//!    the drivers fetch them.
//! 7. [`link_deadline`](Engine::link_deadline) and [`next_deadline`](Engine::next_deadline): when
//!    to call the engine again.
//!
//! # Invariants
//!
//! 1. The engine carries out what a session decides before that session's next input: a watermark
//!    comes after the records that it speaks for.
//! 2. Nothing from an endpoint in quarantine, or on another chain, reaches a record.

pub mod accounts;
pub mod events;
mod feeds;
mod links;
mod nodes;
mod positions;
mod rpc;
mod rpc_work;
pub mod settings;
mod slots;
mod trades;
mod trading;

use std::collections::{BTreeMap, BTreeSet};

use solana_pubkey::Pubkey;

use crate::core::{
    account::{evidence::Evidence, overlay::Shown, record::Record},
    base::{
        ids::{EndpointId, LinkId, Slot},
        time::Tick,
    },
    chain::{mint::MintInfo, state::Expected},
    link::{
        feed::{FeedInput, LinkPhase},
        websocket::{Capabilities, LinkCommand, timers::Timer},
    },
    rpc::{mints::ROOM, scheduler::Reply},
};
use accounts::Accounts;
use events::{EngineEvent, LinkEvent, Role, WatchError};
use links::Links;
use rpc_work::RpcWork;
use settings::EngineSettings;
use trades::Trading;

/// The engine. See the module for how to drive it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engine {
    settings: EngineSettings,
    accounts: Accounts,
    links: Links,
    rpc: RpcWork,
    trading: Trading,
    stopped: bool,
}

impl Engine {
    /// Creates an engine, which starts its first connections at once. `seed` spreads in time what
    /// should not happen all at once.
    pub fn new(settings: EngineSettings, seed: u64, now: Tick) -> Self {
        let links = Links::new(&settings, seed);
        let paced = settings.policy.ttl.is_some();
        let mut engine = Self {
            accounts: Accounts::new(settings.rules, settings.max_accounts, links.len(), paced),
            rpc: RpcWork::new(&settings),
            trading: Trading::new(settings.linger),
            links,
            stopped: false,
            settings,
        };
        engine.review_nodes(now);
        engine
    }

    // Callers.

    /// Watches all of the accounts, or none.
    pub fn watch(&mut self, now: Tick, targets: &[(Pubkey, Expected)]) -> Result<(), WatchError> {
        self.follow_accounts(now, targets)?;
        targets.iter().for_each(|(address, _)| self.trading.positions.pin(address));
        Ok(())
    }

    pub(super) fn follow_accounts(
        &mut self,
        now: Tick,
        targets: &[(Pubkey, Expected)],
    ) -> Result<(), WatchError> {
        if self.stopped {
            return Err(WatchError::Stopped);
        }
        self.refresh_soon(now);
        let fresh: Vec<Pubkey> =
            self.accounts.watch(targets)?.into_iter().map(|(address, _)| address).collect();
        for endpoint in self.links.failover.enabled() {
            for address in &fresh {
                self.place(now, endpoint, *address);
            }
        }
        self.follow(now);
        Ok(())
    }

    /// Stops watching an account. Returns `false` if it was not watched.
    pub fn unwatch(&mut self, now: Tick, address: &Pubkey) -> bool {
        let known = self.forget(now, address);
        self.follow(now);
        known
    }

    pub(super) fn forget(&mut self, now: Tick, address: &Pubkey) -> bool {
        self.trading.positions.forget(address);
        let known = self.accounts.unwatch(now, address, self.settings.max_lag);
        for endpoint in self.links.failover.enabled() {
            self.displace(now, endpoint, address);
        }
        known
    }

    /// Marks what is known of an account as in doubt: only an RPC answer from now on,
    /// of `min_slot` or later, counts. Returns `false` if the account is not watched.
    pub fn invalidate(&mut self, now: Tick, address: &Pubkey, min_slot: Slot) -> bool {
        // The caller usually reads the account next. If that read fails, the refresh tries again.
        self.refresh_soon(now);
        self.accounts.invalidate(address, now, min_slot)
    }

    // Links.

    /// Takes in what happened on a connection.
    pub fn handle(&mut self, now: Tick, link: LinkId, event: impl Into<LinkEvent>) {
        self.take(now, link, event.into());
        self.follow(now);
    }

    /// The next command for a link's driver.
    pub fn next_command(&mut self, link: LinkId) -> Option<LinkCommand> {
        self.links.get_mut(link)?.commands.pop_front()
    }

    /// Whether there is a command for a link's driver.
    pub fn has_commands(&self, link: LinkId) -> bool {
        self.links.get(link).is_some_and(|link| !link.commands.is_empty())
    }

    // Time.

    /// When to call [`Engine::expire`] next.
    pub fn next_deadline(&self) -> Option<Tick> {
        let due =
            [self.rpc.next_deadline(), self.links.failover.next_deadline(), self.trading.next_deadline()];
        // A stopped engine has no deadline: a loop that still runs must not be woken for nothing.
        due.into_iter().flatten().min().filter(|_| !self.stopped)
    }

    /// When to call [`Engine::expire_link`] next.
    pub fn link_deadline(&self, link: LinkId) -> Option<Tick> {
        self.links.get(link)?.session.next_deadline()
    }

    /// Acts on every deadline of a link that has passed. Call it after handling what had arrived on
    /// that link before.
    pub fn expire_link(&mut self, now: Tick, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.session.expire(now);
            self.carry_out(now, id);
            self.follow(now);
        }
    }

    /// Acts on every passed deadline that does not belong to a link.
    pub fn expire(&mut self, now: Tick) {
        if self.stopped {
            return;
        }
        self.refresh(now);
        for mint in self.rpc.mints.take_due(now, || self.accounts.mints()) {
            self.rpc.scheduler.want_mint_again(now, mint);
        }
        if self.links.failover.next_deadline().is_some_and(|due| due <= now) {
            self.review_nodes(now);
        }
        self.sweep(now);
        self.follow(now);
    }

    /// Call when the host's clocks jumped against each other: every proof becomes void, and what is
    /// under way may be old.
    pub fn clock_jumped(&mut self, now: Tick) {
        self.accounts.void_proofs(now);
        self.rpc.mints.read_all(now);
        self.deliver_to_all(now, &FeedInput::ClockJumped);
        self.follow(now);
    }

    /// Ends every connection for good.
    pub fn stop(&mut self, now: Tick) {
        self.stopped = true;
        self.deliver_to_all(now, &FeedInput::Stop);
    }

    fn deliver_to_all(&mut self, now: Tick, input: &FeedInput) {
        for link in self.links.ids() {
            self.deliver(now, link, input.clone());
        }
    }

    /// Carries out what a step has led to: accusations, answers, mints.
    fn follow(&mut self, now: Tick) {
        loop {
            let accused = self.accounts.take_accused();
            let reply = self.rpc.scheduler.next_reply();
            if accused.is_empty() && reply.is_none() {
                break;
            }
            for (address, suspects) in accused {
                self.accuse(now, address, suspects);
            }
            match reply {
                Some((Reply::Caller(id), answer)) => self.rpc.replies.push_back((id, answer)),
                Some((Reply::Recheck { link, generation, address, attempt }, answer)) => {
                    let slot = answer.ok();
                    self.deliver(now, link, FeedInput::Rechecked { generation, address, attempt, slot });
                }
                Some((Reply::Nobody, _)) | None => {}
            }
        }
        self.see_holdings(now);
        self.read_untold(now);
        for mint in self.accounts.take_mints() {
            if self.rpc.mints.name(now, mint) {
                self.rpc.scheduler.want_mint(mint);
            }
        }
        // Done here too, for the case that no call comes back.
        if self.rpc.scheduler.mints_wanted() > ROOM {
            self.forget_mints();
        }
    }

    // What is published.

    pub fn record(&self, address: &Pubkey) -> Option<&Record> {
        self.accounts.record(address)
    }

    pub fn overlay(&self, address: &Pubkey) -> Option<&Shown> {
        self.accounts.overlay(address)
    }

    pub fn evidence(&self) -> &Evidence {
        self.accounts.evidence()
    }

    /// The accounts whose record or overlay changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<Pubkey> {
        self.accounts.take_touched()
    }

    pub fn mint(&self, mint: &Pubkey) -> Option<&MintInfo> {
        self.rpc.mints.get(mint)
    }

    /// The configurations of the mints, if any mint was read since the last call.
    pub fn take_mints(&mut self) -> Option<&BTreeMap<Pubkey, MintInfo>> {
        self.rpc.mints.take_touched()
    }

    pub fn next_event(&mut self) -> Option<EngineEvent> {
        self.accounts.next_event()
    }

    // What `Health` shows.

    pub fn links(&self) -> impl Iterator<Item = (LinkId, EndpointId, Role, LinkPhase)> + '_ {
        self.links.phases()
    }

    /// The endpoint that a link connects to.
    pub fn endpoint_of(&self, link: LinkId) -> EndpointId {
        self.links.get(link).map(|link| link.endpoint).unwrap_or_default()
    }

    /// A link's phase, how many of its accounts are acknowledged and live, and what its node can
    /// do.
    pub fn link(&self, id: LinkId) -> Option<(LinkPhase, (usize, usize), Capabilities)> {
        self.links.standing(id)
    }

    /// The missed deadline because of which the link's connection is to be given up, if there is
    /// one.
    pub fn overdue(&self, link: LinkId) -> Option<Timer> {
        self.links.overdue(link)
    }

    /// How many accounts wait because the endpoint has no room for them.
    pub fn unplaced(&self, endpoint: EndpointId) -> usize {
        let placement = self.links.placements.get(usize::from(endpoint.0));
        placement.map_or(0, |placement| placement.unplaced().len())
    }

    /// The endpoints in use, and those that are not used for now.
    pub fn endpoints(&self) -> (Vec<EndpointId>, Vec<EndpointId>) {
        (self.links.failover.enabled(), self.links.failover.paused())
    }
}

#[cfg(test)]
mod tests;
