//! The whole engine as a script: a chain, time, and nodes that behave unless a test makes them
//! misbehave.
//!
//! The nodes here are written from what servers do (docs/facts.md), not from what the engine
//! expects of them: each holds the chain's own history, answers RPC from it at its own slot, and
//! sends a slot's changes before its Clock.

mod lies;
mod nodes;
mod positions;
mod reads;
mod records;
mod trading;

use std::time::Duration;

use super::*;
use crate::core::{
    account::{
        freshness::{Policy, Standing, standing},
        ledger::Rules,
        ttl::{ChangeRate, TtlBounds},
    },
    base::{
        backoff::Backoff,
        failure::RpcFailure,
        ids::{AskId, Generation},
    },
    chain::token::{Presence, TokenProgram, tests::account_bytes},
    engine::events::CallAnswer,
    link::websocket::{NodeProfile, SessionEvent, SessionSettings, Subject},
    nodes::failover::NodeMode,
    rpc::scheduler::{Ask, Call},
};

const SLOT: Duration = Duration::from_millis(400);
const STEP: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);
const MINT: MintInfo = MintInfo::plain(TokenProgram::Token, 6);
/// The first connection of the first node, and of the second.
const FIRST: LinkId = LinkId(0);
const SECOND_NODE: LinkId = LinkId(2);

fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

fn holding(amount: u64) -> Presence {
    Presence::decode(&TokenProgram::Token.id(), 1, &account_bytes(key(201), key(202), amount))
}

fn settings(nodes: usize) -> EngineSettings {
    let verify_every = Duration::from_secs(300);
    EngineSettings {
        session: SessionSettings {
            profile: NodeProfile::Auto,
            connect_timeout: 10 * SECOND,
            subscribe_deadline: 5 * SECOND,
            canary_deadline: 5 * SECOND,
            max_lag: 20 * SECOND,
            keepalive: 30 * SECOND,
            audit_every: 60 * SECOND,
            audit_batch: 99,
            settled_after: 0,
            healthy_after: 8 * SECOND,
            backoff: Backoff::new(Duration::from_millis(250), 30 * SECOND),
            in_flight: 64,
            subscribe_rate: 200,
        },
        rules: Rules { absence_twice: false, verify_every },
        policy: Policy { canary_deadline: 5 * SECOND, verify_every, ttl: None },
        endpoints: vec![NodeProfile::Auto; nodes],
        mode: NodeMode::Failover,
        max_links: 2,
        max_per_link: 100,
        max_accounts: 1_000,
        max_asks: 1_000,
        max_lag: 20 * SECOND,
        failback_after: 30 * SECOND,
        refresh_every: 3 * SECOND,
        patience: 3 * SECOND,
        processed: false,
        linger: 60 * SECOND,
    }
}

/// An address without a mint.
fn nowhere() -> Pubkey {
    key(77)
}

/// A node, and what is wrong with it.
#[derive(Clone, Debug)]
struct Node {
    /// Accepts connections and sends on them.
    up: bool,
    rpc: bool,
    genesis: [u8; 32],
    /// It knows nothing of later slots.
    stands_at: Option<Slot>,
    /// The offset that it adds to the slots of its notifications, and of its answers.
    ahead: (Slot, Slot),
}

struct World {
    engine: Engine,
    now: Tick,
    slot: Slot,
    /// What became of each account, by slot.
    chain: BTreeMap<Pubkey, BTreeMap<Slot, Presence>>,
    nodes: Vec<Node>,
    /// The connections that are open, with what is subscribed there.
    open: BTreeMap<LinkId, BTreeSet<Subject>>,
    /// Subscriptions that died silently.
    dead: BTreeSet<(LinkId, Pubkey)>,
    /// Accounts that a node refuses to subscribe.
    refused: BTreeSet<Pubkey>,
    /// Leaves calls to the test.
    by_hand: bool,
    /// What each node shows of a mint; a plain one unless set.
    mints: BTreeMap<Pubkey, MintInfo>,
    calls: Vec<Call>,
    /// Every call made.
    made: Vec<(Tick, Call)>,
    commands: Vec<(LinkId, LinkCommand)>,
    events: Vec<EngineEvent>,
    replies: Vec<(AskId, Result<Slot, RpcFailure>)>,
}

impl World {
    fn new(settings: EngineSettings) -> Self {
        let now = Tick::from_nanos(1_000_000_000);
        let node = Node { up: true, rpc: true, genesis: [1; 32], stands_at: None, ahead: (0, 0) };
        Self {
            nodes: vec![node; settings.endpoints.len()],
            engine: Engine::new(settings, 7, now),
            now,
            slot: 1_000,
            chain: BTreeMap::new(),
            open: BTreeMap::new(),
            dead: BTreeSet::new(),
            refused: BTreeSet::new(),
            by_hand: false,
            mints: BTreeMap::new(),
            calls: Vec::new(),
            made: Vec::new(),
            commands: Vec::new(),
            events: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// That many nodes in failover, and account 1, which holds 100 and is live.
    fn failover(nodes: usize) -> Self {
        Self::new(settings(nodes)).with_live_account()
    }

    /// Two nodes that race, and account 1, which holds 100 and is live on both.
    fn race() -> Self {
        Self::new(EngineSettings { mode: NodeMode::Race, ..settings(2) }).with_live_account()
    }

    fn with_live_account(mut self) -> Self {
        self.chain.insert(key(1), BTreeMap::from([(1, holding(100))]));
        self.watch(1);
        let nodes = self.engine.endpoints().0.len();
        self.until("live", |world| world.covers(1) == nodes && world.is_live(1));
        self
    }

    // The chain and its nodes.

    fn node_of(&self, link: LinkId) -> &Node {
        &self.nodes[usize::from(self.engine.endpoint_of(link).0)]
    }

    fn tip(&self, node: &Node) -> Slot {
        node.stands_at.unwrap_or(self.slot)
    }

    fn state(&self, address: &Pubkey, slot: Slot) -> Presence {
        let states = self.chain.get(address).and_then(|states| states.range(..=slot).next_back());
        states.map_or(Presence::Absent, |(_, presence)| *presence)
    }

    fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        self.engine.links.ids()
    }

    /// Runs everything that is due at this moment.
    fn settle(&mut self) {
        loop {
            let mut commands = Vec::new();
            for link in self.links() {
                commands.extend(
                    std::iter::from_fn(|| self.engine.next_command(link)).map(|command| (link, command)),
                );
            }
            let calls: Vec<Call> = std::iter::from_fn(|| self.engine.next_call(self.now)).collect();
            self.events.extend(std::iter::from_fn(|| self.engine.next_event()));
            self.replies.extend(std::iter::from_fn(|| self.engine.next_reply()));
            if commands.is_empty() && calls.is_empty() {
                return;
            }
            for (link, command) in commands {
                self.commands.push((link, command.clone()));
                self.carry_out(link, command);
            }
            for call in calls {
                self.made.push((self.now, call.clone()));
                if self.by_hand {
                    self.calls.push(call);
                } else {
                    self.answer(&call);
                }
            }
        }
    }

    fn carry_out(&mut self, link: LinkId, command: LinkCommand) {
        let node = self.node_of(link).clone();
        match command {
            LinkCommand::Connect if node.up => {
                self.open.insert(link, BTreeSet::new());
                self.deliver(link, LinkEvent::Connected { genesis: Some(node.genesis) });
            }
            LinkCommand::Connect => self.deliver(link, LinkEvent::Lost),
            LinkCommand::Disconnect { .. } => {
                self.open.remove(&link);
            }
            LinkCommand::Subscribe(subject) if node.up => {
                let refused = |subject| matches!(subject, Subject::Account { address, .. } if self.refused.contains(&address));
                if refused(subject) {
                    return self.deliver(link, SessionEvent::Refused(subject));
                }
                if let Some(subjects) = self.open.get_mut(&link) {
                    assert!(subjects.insert(subject), "{subject:?} is subscribed twice on {link:?}");
                    if let Subject::Account { address, .. } = subject {
                        self.dead.remove(&(link, address));
                    }
                    self.deliver(link, SessionEvent::Acknowledged(subject));
                }
            }
            LinkCommand::Unsubscribe(subject) if node.up => {
                if self.open.get_mut(&link).is_some_and(|subjects| subjects.remove(&subject)) {
                    self.deliver(link, SessionEvent::Unsubscribed(subject));
                }
            }
            LinkCommand::Subscribe(_) | LinkCommand::Unsubscribe(_) => {}
        }
    }

    fn deliver(&mut self, link: LinkId, event: impl Into<LinkEvent>) {
        self.engine.handle(self.now, link, event);
        self.events.extend(std::iter::from_fn(|| self.engine.next_event()));
    }

    /// The chain's answer to a call, at the slot where the node is.
    fn answer(&mut self, call: &Call) {
        let node = self.nodes[usize::from(call.endpoint.0)].clone();
        let slot = self.tip(&node);
        let outcome = if !node.rpc {
            Err(RpcFailure::Unreachable { reason: "down".to_owned() })
        } else if slot < call.min_slot {
            Err(RpcFailure::Behind { min_slot: call.min_slot })
        } else {
            Ok(self.told(call, slot, slot.saturating_add(node.ahead.1)))
        };
        self.engine.answered(self.now, call.number, outcome);
    }

    /// The answer with the states of `slot`, labelled as of slot `told`.
    fn told(&self, call: &Call, slot: Slot, told: Slot) -> CallAnswer {
        CallAnswer {
            slot: told,
            sent: self.now,
            lag_ms: 500,
            accounts: call.accounts.iter().map(|address| Ok(self.state(address, slot))).collect(),
            mints: call.mints.iter().map(|mint| self.mint(mint)).collect(),
        }
    }

    fn mint(&self, mint: &Pubkey) -> Option<MintInfo> {
        (*mint != nowhere()).then(|| self.mints.get(mint).copied().unwrap_or(MINT))
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while self.now < end {
            self.now = self.now.plus(STEP);
            for link in self.links() {
                if self.engine.link_deadline(link).is_some_and(|due| due <= self.now) {
                    self.engine.expire_link(self.now, link);
                }
            }
            if self.engine.next_deadline().is_some_and(|due| due <= self.now) {
                self.engine.expire(self.now);
            }
            self.settle();
        }
    }

    /// The next slot, in which these accounts change: notified by every node that stands at the
    /// chain's tip, the slot's changes first, then barriers, then the Clock.
    fn write(&mut self, changes: &[(u8, Presence)]) {
        self.pass(SLOT);
        self.slot += 1;
        for (byte, presence) in changes {
            self.chain.entry(key(*byte)).or_default().insert(self.slot, *presence);
        }
        for link in self.links() {
            let node = self.node_of(link).clone();
            if !node.up || node.stands_at.is_some() {
                continue;
            }
            let slot = self.slot.saturating_add(node.ahead.0);
            let subjects = self.open.get(&link).cloned().unwrap_or_default();
            for (byte, presence) in changes {
                self.notify(link, *byte, slot, *presence);
            }
            for subject in &subjects {
                if let Subject::Barrier { length } = *subject {
                    self.deliver(link, SessionEvent::Barrier { length, slot });
                }
            }
            if subjects.contains(&Subject::Canary) {
                self.deliver(link, SessionEvent::Canary { slot, lag_ms: 500 });
            }
        }
        self.settle();
    }

    /// The notification of an account on a connection, if it is subscribed there.
    fn notify(&mut self, link: LinkId, byte: u8, slot: Slot, presence: Presence) {
        if self.dead.contains(&(link, key(byte))) {
            return;
        }
        let subject = self.subject(link, byte);
        if let Some(subject) = subject {
            self.deliver(link, SessionEvent::Account { subject, slot, presence: Some(presence) });
        }
    }

    /// What an account is subscribed as.
    fn subject(&self, link: LinkId, byte: u8) -> Option<Subject> {
        let is_it =
            |subject: &&Subject| matches!(subject, Subject::Account { address, .. } if *address == key(byte));
        self.open.get(&link)?.iter().find(is_it).copied()
    }

    fn slots(&mut self, count: usize) {
        for _ in 0..count {
            self.write(&[]);
        }
    }

    /// Adds slots until the condition holds. Returns how many.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> usize {
        for passed in 0..500 {
            if holds(self) {
                return passed;
            }
            self.write(&[]);
        }
        panic!(
            "not {what} after 500 slots: {:?}; {:?}",
            self.engine.links().collect::<Vec<_>>(),
            self.events
        );
    }

    fn cut(&mut self, link: LinkId) {
        self.open.remove(&link);
        self.deliver(link, LinkEvent::Lost);
        self.settle();
    }

    /// The node goes down with its connections.
    fn fell(&mut self, node: usize) {
        self.nodes[node].up = false;
        for link in self.open.keys().copied().collect::<Vec<_>>() {
            if usize::from(self.engine.endpoint_of(link).0) == node {
                self.cut(link);
            }
        }
    }

    // The mirror.

    fn watch(&mut self, byte: u8) {
        self.engine.watch(self.now, &[(key(byte), Expected::default())]).expect("room");
        self.settle();
    }

    fn unwatch(&mut self, byte: u8) {
        assert!(self.engine.unwatch(self.now, &key(byte)), "it is watched");
        self.settle();
    }

    fn ask(&mut self, byte: u8, min_slot: Slot, caller: u64) {
        let ask = Ask {
            address: key(byte),
            min_slot,
            not_before: self.now,
            urgent: true,
            reply: Reply::Caller(AskId(caller)),
            patience: self.now.plus(3 * SECOND),
            avoid: None,
        };
        self.engine.ask(self.now, ask).expect("room");
        self.settle();
    }

    fn record(&self, byte: u8) -> Record {
        *self.engine.record(&key(byte)).unwrap_or_else(|| panic!("account {byte} was seen"))
    }

    fn held(&self, byte: u8) -> Option<u64> {
        self.engine.record(&key(byte)).and_then(|record| record.state.token_amount())
    }

    fn standing(&self, byte: u8) -> Option<Standing> {
        let record = self.engine.record(&key(byte))?;
        Some(standing(record, self.engine.evidence(), self.now, &self.engine.settings.policy))
    }

    fn is_live(&self, byte: u8) -> bool {
        self.standing(byte).is_some_and(|standing| standing.live)
    }

    fn as_of(&self, byte: u8) -> Slot {
        self.standing(byte).map_or(0, |standing| standing.as_of)
    }

    fn covers(&self, byte: u8) -> usize {
        self.engine.record(&key(byte)).map_or(0, |record| record.covers.iter().count())
    }

    fn phase(&self, link: LinkId) -> LinkPhase {
        self.engine.link(link).expect("a link").0
    }

    fn enabled(&self) -> Vec<u8> {
        self.engine.endpoints().0.into_iter().map(|id| id.0).collect()
    }

    /// What a link was commanded since so many commands ago.
    fn commands_since(&self, since: usize, link: LinkId) -> Vec<LinkCommand> {
        self.commands[since..]
            .iter()
            .filter(|(id, _)| *id == link)
            .map(|(_, command)| command.clone())
            .collect()
    }

    /// How often an account was asked for since so many calls ago.
    fn asked(&self, since: usize, byte: u8) -> usize {
        self.made[since..].iter().filter(|(_, call)| call.accounts.contains(&key(byte))).count()
    }
}
