//! Everything that decides, in one: the accounts, a session for each connection, the RPC scheduler, and which endpoints
//! and connections are used.
//!
//! The skin tells it what happened and carries out what it wants: a link's [`Order`]s, RPC [`Call`]s, replies to
//! callers. It publishes what readers see after each step, changed records first and the links' evidence second.
//!
//! 1. A session's actions are carried out before its next input: a canary's proof comes after the records that it
//!    speaks for.
//! 2. Nothing of an endpoint in quarantine, or on another chain, reaches a record.

pub mod accounts;
mod links;
mod positions;
mod slots;
mod trading;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use solana_pubkey::Pubkey;

use crate::core::{
    account::{
        evidence::Evidence,
        freshness::Policy,
        ledger::{Record, Rules},
        observation::{EndpointId, LinkId, Observation, ObservedVia, Slot},
        overlay::Shown,
    },
    base::{failure::RpcFailure, time::Tick},
    chain::{mint::MintInfo, state::Expected, token::Presence},
    engine::accounts::{Accounts, EngineEvent, Suspects, WatchError},
    link::{
        placement::Placement,
        websocket::{
            Action, Capabilities, Fetch, Input, LinkPhase, NodeProfile, Session, SessionSettings, Subject,
            timers::Timer,
        },
    },
    nodes::slot_guard::SlotGuard,
    rpc::{
        mints::{Mints, ROOM},
        refresh::{RefreshSettings, Refresher},
        scheduler::{Ask, AskId, Call, Crowded, Reply, RpcScheduler},
    },
    trade::{
        positions::Positions,
        signatures::{Signatures, TradeId, TradeOutcome},
    },
};
use links::Failover;
pub use links::NodeMode;
use positions::AwaitedMints;

/// What is the same for the life of a mirror.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EngineSettings {
    pub session: SessionSettings,
    pub rules: Rules,
    pub policy: Policy,
    /// In the order of preference.
    pub endpoints: Vec<NodeProfile>,
    pub mode: NodeMode,
    /// How long a preferred endpoint must be live again before the one behind it is given up.
    pub failback_after: Duration,
    /// Connections of one endpoint, at most.
    pub max_links: usize,
    /// Accounts on one connection, at most.
    pub max_per_link: usize,
    pub max_accounts: usize,
    /// RPC reads that wait, at most.
    pub max_asks: usize,
    pub max_lag: Duration,
    /// How often an account that no live link proves is read by RPC.
    pub refresh_every: Duration,
    /// How long a node that is behind is asked again for.
    pub patience: Duration,
    /// Whether each connection has a twin at processed.
    pub processed: bool,
    /// How long a position that holds nothing is watched on.
    pub linger: Duration,
}

impl EngineSettings {
    /// What is held for each account, in bytes: its entries here, and those of one connection to each endpoint.
    pub fn bytes_each(&self) -> usize {
        let connections = self.endpoints.len() * if self.processed { 2 } else { 1 };
        Accounts::BYTES_EACH
            + connections * Session::BYTES_EACH
            + self.endpoints.len() * Placement::BYTES_EACH
    }
}

/// What a call came back with, from one bank.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallAnswer {
    pub slot: Slot,
    /// When the request was sent: what the answer says was true no earlier.
    pub sent: Tick,
    /// Wall time at its arrival less the chain's Clock.
    pub lag_ms: i64,
    /// In the order of the call; each for itself what is wrong with it.
    pub accounts: Vec<Result<Presence, RpcFailure>>,
    /// In the order of the call; `None` where there is no mint.
    pub mints: Vec<Option<MintInfo>>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It feeds the mirror at its own commitment.
    Mirror,
    /// It shows the processed bank: hints, and no proof of anything.
    Processed,
}

/// What the driver of a connection should do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkCommand {
    Connect,
    Disconnect { overdue: Option<Timer> },
    Subscribe(Subject),
    Unsubscribe(Subject),
}

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkEvent {
    /// It is open; with the genesis hash that the endpoint's RPC tells, if it does.
    Connected {
        genesis: Option<[u8; 32]>,
    },
    /// The connect failed, or the connection is gone.
    Lost,
    /// A barrier took the canary's place: the node ignores what should tell the two apart.
    CanaryReplaced,
    Acknowledged(Subject),
    Refused(Subject),
    /// The server has taken note that a subscription is ended.
    Unsubscribed(Subject),
    /// After everything that arrived before it. The lag is wall time at its arrival less the chain's Clock.
    Canary {
        slot: Slot,
        lag_ms: i64,
    },
    Barrier {
        length: u64,
        slot: Slot,
    },
    /// An account's notification; without a presence where it cannot be read.
    Account {
        subject: Subject,
        slot: Slot,
        presence: Option<Presence>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LinkEntry {
    endpoint: EndpointId,
    role: Role,
    session: Session,
    commands: VecDeque<LinkCommand>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engine {
    settings: EngineSettings,
    accounts: Accounts,
    links: Vec<LinkEntry>,
    placements: Vec<Placement>,
    scheduler: RpcScheduler,
    slot_guard: SlotGuard,
    refresh: Refresher,
    failover: Failover,
    positions: Positions,
    awaited_mints: AwaitedMints,
    mints: Mints,
    /// By how much each endpoint's Clock lagged last.
    lag: Vec<Duration>,
    replies: VecDeque<(AskId, Result<Slot, RpcFailure>)>,
    signatures: Signatures,
    last_trade: u64,
    outcomes: VecDeque<(TradeId, TradeOutcome)>,
    stopped: bool,
}

impl Engine {
    pub fn new(settings: EngineSettings, seed: u64, now: Tick) -> Self {
        let endpoints = settings.endpoints.len();
        let mut links = Vec::new();
        let mut placements = Vec::new();
        for (endpoint, profile) in (0u8..).zip(&settings.endpoints) {
            let first = links.len();
            let roles =
                if settings.processed { &[Role::Mirror, Role::Processed][..] } else { &[Role::Mirror] };
            for role in roles {
                for _ in 0..settings.max_links {
                    let id = id_of(links.len());
                    let session = SessionSettings { profile: *profile, ..settings.session.clone() };
                    let session = Session::parked(session, id, seed.wrapping_add(u64::from(id.0)));
                    let endpoint = EndpointId(endpoint);
                    links.push(LinkEntry { endpoint, role: *role, session, commands: VecDeque::new() });
                }
            }
            let ids = (first..first + settings.max_links).map(id_of);
            placements.push(Placement::new(ids.collect(), settings.max_per_link));
        }
        let mut engine = Self {
            accounts: Accounts::new(
                settings.rules,
                settings.max_accounts,
                links.len(),
                settings.policy.ttl.is_some(),
            ),
            links,
            placements,
            scheduler: RpcScheduler::new(endpoints, settings.max_asks),
            slot_guard: SlotGuard::new(endpoints),
            refresh: Refresher::new(RefreshSettings {
                every: settings.refresh_every,
                longest_wait: settings.refresh_every * 10,
                batches_a_second: batches_a_second(settings.refresh_every),
                ..RefreshSettings::default()
            }),
            failover: Failover::new(endpoints),
            positions: Positions::new(settings.linger),
            awaited_mints: AwaitedMints::default(),
            mints: Mints::default(),
            lag: vec![Duration::ZERO; endpoints],
            replies: VecDeque::new(),
            signatures: Signatures::default(),
            last_trade: 0,
            outcomes: VecDeque::new(),
            stopped: false,
            settings,
        };
        engine.review_nodes(now);
        engine
    }

    // Callers.

    /// Watches all of them, or none.
    pub fn watch(&mut self, now: Tick, targets: &[(Pubkey, Expected)]) -> Result<(), WatchError> {
        self.follow_accounts(now, targets)?;
        targets.iter().for_each(|(address, _)| self.positions.pin(address));
        Ok(())
    }

    fn follow_accounts(&mut self, now: Tick, targets: &[(Pubkey, Expected)]) -> Result<(), WatchError> {
        if self.stopped {
            return Err(WatchError::Stopped);
        }
        self.refresh_soon(now);
        let fresh: Vec<Pubkey> =
            self.accounts.watch(targets)?.into_iter().map(|(address, _)| address).collect();
        for endpoint in self.failover.enabled() {
            for address in &fresh {
                self.place(now, endpoint, *address);
            }
        }
        self.follow(now);
        Ok(())
    }

    pub fn unwatch(&mut self, now: Tick, address: &Pubkey) -> bool {
        let known = self.forget(now, address);
        self.follow(now);
        known
    }

    fn forget(&mut self, now: Tick, address: &Pubkey) -> bool {
        self.positions.forget(address);
        let known = self.accounts.unwatch(now, address, self.settings.max_lag);
        for endpoint in self.failover.enabled() {
            self.displace(now, endpoint, address);
        }
        known
    }

    /// What is known of an account is in doubt: only an RPC answer from now on, of `min_slot` or later, counts.
    pub fn invalidate(&mut self, now: Tick, address: &Pubkey, min_slot: Slot) -> bool {
        // Whoever doubts it reads it next, as a rule; where that read fails, the refresh tries again.
        self.refresh_soon(now);
        self.accounts.invalidate(address, now, min_slot)
    }

    /// Wants an account read by RPC; refused where as many are wanted as the limit allows.
    pub fn ask(&mut self, now: Tick, ask: Ask) -> Result<(), Crowded> {
        self.scheduler.take(now, ask)?;
        self.follow(now);
        Ok(())
    }

    /// Whoever asked has gone.
    pub fn cancel(&mut self, id: AskId) {
        self.scheduler.cancel(id);
    }

    // Links.

    pub fn handle(&mut self, now: Tick, link: LinkId, event: LinkEvent) {
        self.take(now, link, event);
        self.follow(now);
    }

    fn take(&mut self, now: Tick, id: LinkId, event: LinkEvent) {
        let Some(link) = self.links.get(usize::from(id.0)) else { return };
        let endpoint = link.endpoint;
        match event {
            LinkEvent::Connected { genesis } => {
                if genesis.is_none_or(|genesis| self.is_ours(now, endpoint, genesis)) {
                    self.deliver(now, id, Input::Connected);
                } else {
                    self.deliver(now, id, Input::Lost);
                }
            }
            LinkEvent::Lost => self.deliver(now, id, Input::Lost),
            LinkEvent::CanaryReplaced => self.deliver(now, id, Input::CanaryReplaced),
            LinkEvent::Acknowledged(subject) => self.deliver(now, id, Input::Acknowledged(subject)),
            LinkEvent::Refused(subject) => self.deliver(now, id, Input::Refused(subject)),
            LinkEvent::Unsubscribed(subject) => self.deliver(now, id, Input::Unsubscribed(subject)),
            LinkEvent::Canary { slot, lag_ms } => self.canary(now, id, slot, lag_ms),
            LinkEvent::Barrier { length, slot } => {
                if self.is_plausible(now, endpoint, slot) {
                    self.deliver(now, id, Input::Barrier { length, slot });
                }
            }
            LinkEvent::Account { subject, slot, presence } => self.account(now, id, subject, slot, presence),
        }
    }

    fn canary(&mut self, now: Tick, id: LinkId, slot: Slot, lag_ms: i64) {
        let Some(link) = self.links.get(usize::from(id.0)) else { return };
        let endpoint = link.endpoint;
        self.note_lag(endpoint, lag_ms);
        if !self.is_plausible(now, endpoint, slot) {
            return;
        }
        self.deliver(now, id, Input::Canary { slot, lag_ms });
    }

    fn note_lag(&mut self, endpoint: EndpointId, lag_ms: i64) {
        self.lag[usize::from(endpoint.0)] = Duration::from_millis(u64::try_from(lag_ms).unwrap_or(0));
    }

    fn account(&mut self, now: Tick, id: LinkId, subject: Subject, slot: Slot, presence: Option<Presence>) {
        let Some(link) = self.links.get(usize::from(id.0)) else { return };
        let Some(address) = link.session.account(subject) else { return };
        let (endpoint, role, generation) = (link.endpoint, link.role, link.session.generation());
        let proof = link.session.proof();
        let Some(presence) = presence else {
            return self.deliver(now, id, Input::Accused { address });
        };
        if !self.is_plausible(now, endpoint, slot) {
            return;
        }
        match role {
            Role::Mirror => {
                let source = ObservedVia::Subscription(generation);
                self.accounts.apply(now, &address, &Observation { presence, slot, source, proof });
            }
            Role::Processed => self.accounts.apply_processed(&address, generation, slot, &presence),
        }
    }

    pub fn next_command(&mut self, link: LinkId) -> Option<LinkCommand> {
        self.links.get_mut(usize::from(link.0))?.commands.pop_front()
    }

    /// Whether a link has orders waiting.
    pub fn has_commands(&self, link: LinkId) -> bool {
        self.links.get(usize::from(link.0)).is_some_and(|link| !link.commands.is_empty())
    }

    /// The deadline for which a link's connection is to be given up, if that is why.
    pub fn overdue(&self, link: LinkId) -> Option<Timer> {
        self.links.get(usize::from(link.0))?.commands.iter().find_map(|order| match order {
            LinkCommand::Disconnect { overdue } => *overdue,
            _ => None,
        })
    }

    /// Tells a session something, and carries out what it decides. (Invariant 1)
    fn deliver(&mut self, now: Tick, id: LinkId, input: Input) {
        if let Some(link) = self.links.get_mut(usize::from(id.0)) {
            link.session.handle(now, input);
            self.carry_out(now, id);
        }
    }

    fn carry_out(&mut self, now: Tick, id: LinkId) {
        let place = usize::from(id.0);
        while let Some(link) = self.links.get_mut(place)
            && let Some(action) = link.session.next_action()
        {
            let (endpoint, role) = (link.endpoint, link.role);
            match (action, role) {
                (Action::Connect, _) => link.commands.push_back(LinkCommand::Connect),
                (Action::Disconnect { overdue }, _) => {
                    // What was to be said on that connection is void.
                    link.commands.clear();
                    link.commands.push_back(LinkCommand::Disconnect { overdue });
                }
                (Action::Subscribe(subject), _) => link.commands.push_back(LinkCommand::Subscribe(subject)),
                (Action::Unsubscribe(subject), _) => {
                    link.commands.push_back(LinkCommand::Unsubscribe(subject))
                }
                (Action::UncoverAll, Role::Mirror) => {
                    let generation = link.session.generation();
                    self.accounts.uncover_all(endpoint, generation);
                }
                (Action::UncoverAll, Role::Processed) => {
                    let generation = link.session.generation();
                    self.accounts.drop_overlays(generation);
                }
                // What a bank that may be abandoned shows is no evidence.
                (
                    Action::Fetch(_) | Action::Cover { .. } | Action::Uncover { .. } | Action::Prove(_),
                    Role::Processed,
                ) => {}
                (Action::Fetch(fetch), Role::Mirror) => self.fetch(now, id, endpoint, fetch),
                (Action::Cover { address, watch, generation }, Role::Mirror) => {
                    if !self.accounts.cover(&address, watch, endpoint, generation) {
                        link.session.handle(now, Input::NotCovered { address });
                    }
                }
                (Action::Uncover { address }, Role::Mirror) => {
                    self.accounts.uncover(&address, endpoint);
                    self.refresh_soon(now);
                }
                (Action::Prove(evidence), Role::Mirror) => {
                    self.accounts.prove(evidence);
                    if !evidence.ticking {
                        self.refresh_soon(now);
                    }
                }
            }
        }
    }

    fn fetch(&mut self, now: Tick, link: LinkId, endpoint: EndpointId, fetch: Fetch) {
        let ask = |address| self.own_ask(now, address);
        let asks: Vec<Ask> = match fetch {
            Fetch::Baseline(address) => vec![ask(address)],
            // Another node than the one that notifies tells also whether that one lies.
            Fetch::Audit(addresses) => {
                addresses.into_iter().map(|address| Ask { avoid: Some(endpoint), ..ask(address) }).collect()
            }
            Fetch::Recheck { generation, accounts, min_slot } => accounts
                .into_iter()
                .map(|(address, attempt)| {
                    let reply = Reply::Recheck { link, generation, address, attempt };
                    Ask { min_slot, reply, ..ask(address) }
                })
                .collect(),
        };
        for ask in asks {
            self.take_ask(now, ask);
        }
    }

    /// An ask for the ledger's sake, at whatever slot, which nobody waits for.
    fn own_ask(&self, now: Tick, address: Pubkey) -> Ask {
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

    /// Takes an ask of the engine's own; a recheck that there is no room for has failed, and is due again later.
    fn take_ask(&mut self, now: Tick, ask: Ask) {
        if let Err(Crowded(ask)) = self.scheduler.take(now, ask)
            && let Reply::Recheck { link, generation, address, attempt } = ask.reply
            && let Some(link) = self.links.get_mut(usize::from(link.0))
        {
            link.session.handle(now, Input::Rechecked { generation, address, attempt, slot: None });
        }
    }

    // RPC.

    pub fn next_call(&mut self, now: Tick) -> Option<Call> {
        let accounts = &self.accounts;
        self.scheduler.next_call(now, |address| accounts.wanted_slot(address))
    }

    /// Takes in what a call came back with.
    pub fn answered(&mut self, now: Tick, number: u64, outcome: Result<CallAnswer, RpcFailure>) {
        self.complete(now, number, outcome);
        if self.scheduler.mints_wanted() > 0 {
            self.forget_mints();
        }
        self.follow(now);
    }

    fn complete(&mut self, now: Tick, number: u64, outcome: Result<CallAnswer, RpcFailure>) {
        let Some(flight) = self.scheduler.complete(number) else { return };
        let endpoint = flight.endpoint;
        let outcome = outcome.and_then(|answer| {
            let fits =
                answer.accounts.len() == flight.accounts.len() && answer.mints.len() == flight.mints.len();
            if !fits {
                let reason = format!("{} accounts for {} keys", answer.accounts.len(), flight.accounts.len());
                return Err(RpcFailure::Malformed { reason });
            }
            self.note_lag(endpoint, answer.lag_ms);
            self.believe_slot(now, endpoint, answer.slot).map(|()| answer)
        });
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                self.refresh.refused(now);
                return self.scheduler.fail(now, flight, &failure);
            }
        };
        self.refresh.answered();
        self.scheduler.succeeded(endpoint, answer.slot);
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
                Ok(()) => self.scheduler.reply_all(waiters, &Ok(answer.slot)),
                Err(failure) => self.scheduler.fail_account(now, endpoint, waiters, &failure),
            }
        }
        for ((address, wish), mint) in flight.mints.into_iter().zip(answer.mints) {
            match mint {
                Some(mint) => {
                    let named = || self.awaited_mints.with(self.accounts.mints());
                    self.mints.read(now, address, mint, (answer.slot, proof), named);
                }
                // Not there yet at this commitment, or no mint at all.
                None => {
                    self.awaited_mints.note_unseen(&address, answer.slot);
                    self.scheduler.mint_unread(now, address, wish);
                }
            }
        }
    }

    /// Every link of an endpoint learns from its RPC what delay of its Clock is usual.
    fn share_lag(&mut self, now: Tick, endpoint: EndpointId, lag_ms: i64) {
        for place in 0..self.links.len() {
            if self.links[place].endpoint == endpoint {
                self.deliver(now, id_of(place), Input::ChainLag { lag_ms });
            }
        }
    }

    /// An answer for a caller.
    pub fn next_reply(&mut self) -> Option<(AskId, Result<Slot, RpcFailure>)> {
        self.replies.pop_front()
    }

    // Time.

    /// When [`Engine::expire`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Tick> {
        let others = [
            self.scheduler.next_deadline(),
            self.refresh.next_deadline(),
            self.failover.next_deadline(),
            self.positions.next_deadline(),
            self.signatures.next_deadline(),
            self.mints.next_deadline(),
        ];
        // Stopped, it does nothing: a loop that still runs must not be woken for it.
        others.into_iter().flatten().min().filter(|_| !self.stopped)
    }

    /// When [`Engine::expire_link`] wants to be called next.
    pub fn link_deadline(&self, link: LinkId) -> Option<Tick> {
        self.links.get(usize::from(link.0))?.session.next_deadline()
    }

    /// Acts on every deadline of a link that has passed: after what had arrived there before.
    pub fn expire_link(&mut self, now: Tick, id: LinkId) {
        if let Some(link) = self.links.get_mut(usize::from(id.0)) {
            link.session.expire(now);
            self.carry_out(now, id);
            self.follow(now);
        }
    }

    /// Acts on every deadline that has passed and is no link's.
    pub fn expire(&mut self, now: Tick) {
        if self.stopped {
            return;
        }
        self.refresh(now);
        for mint in self.mints.take_due(now, || self.accounts.mints()) {
            self.scheduler.want_mint_again(now, mint);
        }
        if self.failover.next_deadline().is_some_and(|due| due <= now) {
            self.review_nodes(now);
        }
        self.sweep(now);
        self.follow(now);
    }

    /// The host's clocks jumped against each other: every proof is void, and what is under way may be old.
    pub fn clock_jumped(&mut self, now: Tick) {
        self.accounts.void_proofs(now);
        self.mints.read_all(now);
        for place in 0..self.links.len() {
            self.deliver(now, id_of(place), Input::ClockJumped);
        }
        self.follow(now);
    }

    /// Ends every connection, for good.
    pub fn stop(&mut self, now: Tick) {
        self.stopped = true;
        for place in 0..self.links.len() {
            self.deliver(now, id_of(place), Input::Stop);
        }
    }

    /// Reads by RPC what no live link proves, so that readers go on finding something fresh in memory.
    fn refresh(&mut self, now: Tick) {
        for address in self.accounts.to_refresh(&mut self.refresh, now, &self.settings.policy) {
            self.take_ask(now, self.own_ask(now, address));
        }
    }

    /// Some account may no longer be proved by a link. A link that comes soon leaves nothing to do.
    fn refresh_soon(&mut self, now: Tick) {
        self.refresh.start(now.plus(self.settings.refresh_every));
    }

    /// Lets what a step has brought about take effect: accusations, answers, mints.
    fn follow(&mut self, now: Tick) {
        loop {
            let accused = self.accounts.take_accused();
            let reply = self.scheduler.next_reply();
            if accused.is_empty() && reply.is_none() {
                break;
            }
            for (address, suspects) in accused {
                self.accuse(now, address, suspects);
            }
            match reply {
                Some((Reply::Caller(id), answer)) => self.replies.push_back((id, answer)),
                Some((Reply::Recheck { link, generation, address, attempt }, answer)) => {
                    let slot = answer.ok();
                    self.deliver(now, link, Input::Rechecked { generation, address, attempt, slot });
                }
                Some((Reply::Nobody, _)) | None => {}
            }
        }
        self.see_holdings(now);
        self.read_untold(now);
        for mint in self.accounts.take_mints() {
            if self.mints.name(now, mint) {
                self.scheduler.want_mint(mint);
            }
        }
        // Also where no call comes back.
        if self.scheduler.mints_wanted() > ROOM {
            self.forget_mints();
        }
    }

    /// What is wanted for the sake of accounts no longer watched is wanted by nobody.
    fn forget_mints(&mut self) {
        let named = self.awaited_mints.with(self.accounts.mints());
        self.scheduler.keep_mints(&named);
    }

    fn accuse(&mut self, now: Tick, address: Pubkey, suspects: Suspects) {
        for endpoint in self.failover.enabled() {
            let suspected = suspects == Suspects::All || suspects == Suspects::One(endpoint);
            if suspected && let Some(link) = self.placements[usize::from(endpoint.0)].link_of(&address) {
                self.deliver(now, link, Input::Accused { address });
            }
        }
    }

    // What others look at.

    pub fn record(&self, address: &Pubkey) -> Option<&Record> {
        self.accounts.record(address)
    }

    pub fn overlay(&self, address: &Pubkey) -> Option<&Shown> {
        self.accounts.overlay(address)
    }

    pub fn evidence(&self) -> &Evidence {
        self.accounts.evidence()
    }

    pub fn take_touched(&mut self) -> BTreeSet<Pubkey> {
        self.accounts.take_touched()
    }

    pub fn mint(&self, mint: &Pubkey) -> Option<&MintInfo> {
        self.mints.get(mint)
    }

    /// The mints' configurations, if one was read since the last call.
    pub fn take_mints(&mut self) -> Option<&BTreeMap<Pubkey, MintInfo>> {
        self.mints.take_touched()
    }

    pub fn next_event(&mut self) -> Option<EngineEvent> {
        self.accounts.next_event()
    }

    pub fn links(&self) -> impl Iterator<Item = (LinkId, EndpointId, Role, LinkPhase)> + '_ {
        let places = (0..self.links.len()).map(id_of).zip(&self.links);
        places.map(|(id, link)| (id, link.endpoint, link.role, link.session.phase()))
    }

    /// The endpoint that a link connects to.
    pub fn endpoint_of(&self, link: LinkId) -> EndpointId {
        self.links.get(usize::from(link.0)).map(|link| link.endpoint).unwrap_or_default()
    }

    /// How many accounts an endpoint has no room for.
    pub fn unplaced(&self, endpoint: EndpointId) -> usize {
        self.placements.get(usize::from(endpoint.0)).map_or(0, |placement| placement.unplaced().len())
    }

    /// The endpoints in use, and those that are left alone for now.
    pub fn endpoints(&self) -> (Vec<EndpointId>, Vec<EndpointId>) {
        (self.failover.enabled(), self.failover.paused())
    }

    /// Where a link stands: its phase, how many accounts are acknowledged and live, and what its node can do.
    pub fn link(&self, id: LinkId) -> Option<(LinkPhase, (usize, usize), Capabilities)> {
        let session = &self.links.get(usize::from(id.0))?.session;
        Some((session.phase(), session.counts(), session.capabilities()))
    }
}

/// The link at a place.
fn id_of(place: usize) -> LinkId {
    LinkId(u16::try_from(place).unwrap_or(u16::MAX))
}

/// Two, or as many as it takes where each account is wanted more often than that.
fn batches_a_second(every: Duration) -> u32 {
    let often = Duration::from_secs(1).as_millis().div_ceil(every.as_millis().max(1));
    u32::try_from(often).unwrap_or(u32::MAX).max(2)
}

#[cfg(test)]
mod tests;
