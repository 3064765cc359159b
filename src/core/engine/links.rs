//! Which endpoints are used, and which of their connections carries which account.
//!
//! An endpoint is paused while it is on another chain. Of the others, a race uses all; failover uses
//! the first, and while that has been dark for a while also the next, until the one before has been live for a while
//! again. On each endpoint used, every account has a place on one connection, if there is room.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::{Engine, EngineEvent, Input, LinkPhase, id_of};
use crate::core::{
    account::observation::{EndpointId, LinkId, Slot},
    base::time::Tick,
    nodes::slot_guard::{Chain, Genesis, SlotVerdict},
};

/// How a mirror uses its nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeMode {
    /// The first, and the next one beside it while the first is not live.
    #[default]
    Failover,
    /// All at once: the newest slot wins.
    Race,
}

/// How often it is looked at how the endpoints do.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long an endpoint on another chain is left alone.
const FOREIGN_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct NodeState {
    enabled: bool,
    /// Until when nothing is taken from it.
    paused: Option<Tick>,
    /// Since when all its links are live, or not all.
    live: bool,
    since: Tick,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Failover {
    nodes: Vec<NodeState>,
    next_look: Option<Tick>,
}

impl Failover {
    pub(super) fn new(endpoints: usize) -> Self {
        Self { nodes: vec![NodeState::default(); endpoints], next_look: None }
    }

    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.next_look
    }

    /// The endpoints in use.
    pub(super) fn enabled(&self) -> Vec<EndpointId> {
        let places = (0u8..).zip(&self.nodes);
        places.filter(|(_, place)| place.enabled).map(|(id, _)| EndpointId(id)).collect()
    }

    /// Those that nothing is taken from for now.
    pub(super) fn paused(&self) -> Vec<EndpointId> {
        let places = (0u8..).zip(&self.nodes);
        places.filter(|(_, place)| place.paused.is_some()).map(|(id, _)| EndpointId(id)).collect()
    }

    fn is_paused(&self, endpoint: usize) -> bool {
        self.nodes[endpoint].paused.is_some()
    }

    fn note_live(&mut self, endpoint: usize, live: bool, now: Tick) {
        let place = &mut self.nodes[endpoint];
        if place.live != live {
            place.live = live;
            place.since = now;
        }
    }

    /// Which endpoints are wanted now.
    fn wanted(&self, mode: NodeMode, dark_after: Duration, steady_after: Duration, now: Tick) -> Vec<bool> {
        let mut wanted = vec![false; self.nodes.len()];
        for (endpoint, place) in self.nodes.iter().enumerate().filter(|(_, place)| place.paused.is_none()) {
            wanted[endpoint] = true;
            if mode == NodeMode::Race {
                continue;
            }
            let spell = now.since(place.since);
            let next_enabled = self.nodes.iter().skip(endpoint + 1).any(|place| place.enabled);
            // What stands behind it is kept until it is steady, and called when it has been dark for long enough.
            let enough = if place.live {
                !next_enabled || spell >= steady_after
            } else {
                !next_enabled && (!place.enabled || spell < dark_after)
            };
            if enough {
                break;
            }
        }
        wanted
    }
}

impl Engine {
    /// Looks at how the endpoints do, and uses those that should be.
    pub(super) fn review_nodes(&mut self, now: Tick) {
        for endpoint in 0..self.failover.nodes.len() {
            if self.failover.nodes[endpoint].paused.is_some_and(|until| until <= now) {
                self.failover.nodes[endpoint].paused = None;
            }
            let live = self.is_live(endpoint);
            self.failover.note_live(endpoint, live, now);
        }
        let settings = &self.settings;
        let (dark_after, steady_after) = (settings.policy.canary_deadline, settings.failback_after);
        let wanted = self.failover.wanted(settings.mode, dark_after, steady_after, now);
        for (endpoint, wanted) in wanted.into_iter().enumerate() {
            if wanted != self.failover.nodes[endpoint].enabled {
                self.enable(now, endpoint, wanted);
            }
            let usable = !self.failover.is_paused(endpoint);
            self.scheduler.set_usable(now, endpoint_id(endpoint), usable);
        }
        let one_is_paused = self.failover.nodes.iter().any(|place| place.paused.is_some());
        let several = self.failover.nodes.len() > 1 && self.settings.mode == NodeMode::Failover;
        self.failover.next_look = (one_is_paused || several).then(|| now.plus(LOOK_EVERY));
    }

    /// Whether every connection in use of an endpoint is live.
    fn is_live(&self, endpoint: usize) -> bool {
        let phase = |id: &LinkId| self.links[usize::from(id.0)].session.phase();
        self.links_in_use(endpoint).iter().all(|id| phase(id) == LinkPhase::Live)
    }

    /// The first connection of an endpoint, and all others that carry accounts.
    fn links_in_use(&self, endpoint: usize) -> Vec<LinkId> {
        let mut links: Vec<LinkId> = self.placements[endpoint].in_use().collect();
        let first = self.first_link(endpoint);
        if !links.contains(&first) {
            links.insert(0, first);
        }
        links
    }

    fn first_link(&self, endpoint: usize) -> LinkId {
        let roles = if self.settings.processed { 2 } else { 1 };
        id_of(endpoint * roles * self.settings.max_links)
    }

    /// The connection that shows the processed bank to the accounts of `link`.
    fn twin(&self, link: LinkId) -> Option<LinkId> {
        self.settings.processed.then(|| id_of(usize::from(link.0) + self.settings.max_links))
    }

    fn enable(&mut self, now: Tick, endpoint: usize, enabled: bool) {
        self.failover.nodes[endpoint].enabled = enabled;
        self.failover.nodes[endpoint].since = now;
        self.slot_guard.set_enabled(endpoint_id(endpoint), enabled);
        self.accounts.emit(EngineEvent::Enabled { endpoint: endpoint_id(endpoint), enabled });
        let addresses: Vec<Pubkey> = self.accounts.watches().map(|(address, _)| address).collect();
        if enabled {
            self.deliver_to_both(now, self.first_link(endpoint), &Input::Start);
            for address in addresses {
                self.place(now, endpoint_id(endpoint), address);
            }
        } else {
            for address in addresses {
                self.displace(now, endpoint_id(endpoint), &address);
            }
            self.deliver_to_both(now, self.first_link(endpoint), &Input::Park);
        }
    }

    /// Tells a link and its twin the same.
    fn deliver_to_both(&mut self, now: Tick, link: LinkId, input: &Input) {
        for link in [Some(link), self.twin(link)].into_iter().flatten() {
            self.deliver(now, link, input.clone());
        }
    }

    /// Gives a watched account its place on an endpoint, if there is room.
    pub(super) fn place(&mut self, now: Tick, endpoint: EndpointId, address: Pubkey) {
        let Some(watch) = self.accounts.watch_of(&address) else { return };
        let Some(link) = self.placements[usize::from(endpoint.0)].place(address) else { return };
        self.deliver_to_both(now, link, &Input::Start);
        self.deliver_to_both(now, link, &Input::Watch { address, watch });
    }

    /// Takes an account's place on an endpoint from it; those that waited for room move in.
    pub(super) fn displace(&mut self, now: Tick, endpoint: EndpointId, address: &Pubkey) {
        let placement = &mut self.placements[usize::from(endpoint.0)];
        let link = placement.link_of(address);
        let moved_in = placement.release(address);
        if let Some(link) = link {
            self.deliver_to_both(now, link, &Input::Unwatch { address: *address });
            let empty = self.placements[usize::from(endpoint.0)].load(link) == 0;
            if empty && link != self.first_link(usize::from(endpoint.0)) {
                self.deliver_to_both(now, link, &Input::Park);
            }
        }
        if let Some((address, link)) = moved_in
            && let Some(watch) = self.accounts.watch_of(&address)
        {
            self.deliver_to_both(now, link, &Input::Watch { address, watch });
        }
    }

    /// Whether what an endpoint says of this slot may be believed.
    pub(super) fn is_plausible(&mut self, now: Tick, endpoint: EndpointId, slot: Slot) -> bool {
        if self.slot_guard.is_foreign(endpoint) {
            return false;
        }
        let lag = self.lag[usize::from(endpoint.0)];
        let before = self.slot_guard.quarantined(endpoint, now);
        match self.slot_guard.check(now, endpoint, slot, lag) {
            SlotVerdict::Plausible => true,
            SlotVerdict::Ahead { .. } => {
                if !before {
                    self.accounts.emit(EngineEvent::Quarantined { endpoint, slot });
                    self.lose_live(now, endpoint);
                }
                false
            }
            SlotVerdict::Quarantined => false,
            SlotVerdict::Reset => {
                self.reset(now);
                false
            }
        }
    }

    /// A node that says what cannot be proves nothing.
    fn lose_live(&mut self, now: Tick, endpoint: EndpointId) {
        for place in 0..self.links.len() {
            let link = &self.links[place];
            if link.endpoint == endpoint && link.session.phase() == LinkPhase::Live {
                self.deliver(now, id_of(place), Input::Lost);
            }
        }
    }

    /// Whether an endpoint is on the mirror's chain.
    pub(super) fn is_ours(&mut self, now: Tick, endpoint: EndpointId, genesis: [u8; 32]) -> bool {
        match self.slot_guard.genesis(endpoint, Genesis(genesis)) {
            Chain::Same | Chain::First => true,
            Chain::Foreign => {
                self.accounts.emit(EngineEvent::Foreign { endpoint });
                self.pause(now, endpoint, now.plus(FOREIGN_PAUSE));
                false
            }
            Chain::Reset => {
                self.reset(now);
                false
            }
        }
    }

    fn pause(&mut self, now: Tick, endpoint: EndpointId, until: Tick) {
        self.failover.nodes[usize::from(endpoint.0)].paused = Some(until);
        self.review_nodes(now);
    }

    /// The chain began anew: every record does, and every connection.
    pub(super) fn reset(&mut self, now: Tick) {
        self.scheduler.forget_slots();
        self.signatures.begin();
        for place in 0..self.links.len() {
            self.deliver(now, id_of(place), Input::Lost);
        }
        self.accounts.reset(now, self.slot_guard.epoch());
        self.mints.begin_anew(now);
    }
}

fn endpoint_id(endpoint: usize) -> EndpointId {
    EndpointId(u8::try_from(endpoint).unwrap_or(u8::MAX))
}
