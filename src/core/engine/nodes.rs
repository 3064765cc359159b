//! Which nodes are used, which of their connections carries which account, and what ends when the
//! engine stops trusting a node.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::{Engine, events::EngineEvent};
use crate::core::{
    base::{
        ids::{EndpointId, LinkId},
        time::Tick,
    },
    link::feed::{FeedInput, LinkPhase},
    nodes::genesis::{ChainVerdict, Genesis},
};

/// How long an endpoint on another chain is not used.
const FOREIGN_PAUSE: Duration = Duration::from_secs(30);

impl Engine {
    /// Checks the state of the nodes, and starts and stops using them accordingly.
    pub(super) fn review_nodes(&mut self, now: Tick) {
        let wanted = self.links.wanted(&self.settings, now);
        for (endpoint, wanted) in wanted.into_iter().enumerate() {
            if wanted != self.links.failover.is_enabled(endpoint) {
                self.enable(now, endpoint, wanted);
            }
            let usable = !self.links.failover.is_paused(endpoint);
            self.rpc.scheduler.set_usable(now, endpoint_id(endpoint), usable);
        }
        self.links.failover.plan_review(self.settings.mode, now);
    }

    fn enable(&mut self, now: Tick, endpoint: usize, enabled: bool) {
        self.links.failover.set_enabled(endpoint, enabled, now);
        self.links.slot_guard.set_enabled(endpoint_id(endpoint), enabled);
        self.accounts.emit(EngineEvent::Enabled { endpoint: endpoint_id(endpoint), enabled });
        let addresses: Vec<Pubkey> = self.accounts.watches().map(|(address, _)| address).collect();
        let first = self.links.first_of(endpoint);
        if enabled {
            self.deliver_to_both(now, first, &FeedInput::Start);
            for address in addresses {
                self.place(now, endpoint_id(endpoint), address);
            }
        } else {
            for address in addresses {
                self.displace(now, endpoint_id(endpoint), &address);
            }
            self.deliver_to_both(now, first, &FeedInput::Park);
        }
    }

    /// Sends a link and its twin the same input.
    fn deliver_to_both(&mut self, now: Tick, link: LinkId, input: &FeedInput) {
        for link in [Some(link), self.links.twin(link)].into_iter().flatten() {
            self.deliver(now, link, input.clone());
        }
    }

    /// Places a watched account on one of an endpoint's connections, if there is room.
    pub(super) fn place(&mut self, now: Tick, endpoint: EndpointId, address: Pubkey) {
        let Some(watch) = self.accounts.watch_of(&address) else { return };
        let Some(link) = self.links.placements[usize::from(endpoint.0)].place(address) else { return };
        self.deliver_to_both(now, link, &FeedInput::Start);
        self.deliver_to_both(now, link, &FeedInput::Watch { address, watch });
    }

    /// Takes an account off an endpoint. An account that waited for room takes its place.
    pub(super) fn displace(&mut self, now: Tick, endpoint: EndpointId, address: &Pubkey) {
        let place = usize::from(endpoint.0);
        let link = self.links.placements[place].link_of(address);
        let moved_in = self.links.placements[place].release(address);
        if let Some(link) = link {
            self.deliver_to_both(now, link, &FeedInput::Unwatch { address: *address });
            let empty = self.links.placements[place].load(link) == 0;
            if empty && link != self.links.first_of(place) {
                self.deliver_to_both(now, link, &FeedInput::Park);
            }
        }
        if let Some((address, link)) = moved_in
            && let Some(watch) = self.accounts.watch_of(&address)
        {
            self.deliver_to_both(now, link, &FeedInput::Watch { address, watch });
        }
    }

    /// Ends the live connections of a node that claimed something impossible: nothing that it sent
    /// proves anything.
    pub(super) fn lose_live(&mut self, now: Tick, endpoint: EndpointId) {
        for link in self.links.of(endpoint) {
            if self.links.get(link).is_some_and(|link| link.session.phase() == LinkPhase::Live) {
                self.deliver(now, link, FeedInput::Lost);
            }
        }
    }

    /// Whether an endpoint is on the mirror's chain.
    pub(super) fn is_ours(&mut self, now: Tick, endpoint: EndpointId, genesis: [u8; 32]) -> bool {
        match self.links.slot_guard.genesis(endpoint, Genesis(genesis)) {
            ChainVerdict::Same | ChainVerdict::First => true,
            ChainVerdict::Foreign => {
                self.accounts.emit(EngineEvent::Foreign { endpoint });
                self.links.failover.pause(endpoint, now.plus(FOREIGN_PAUSE));
                self.review_nodes(now);
                false
            }
            ChainVerdict::Reset => {
                self.reset(now);
                false
            }
        }
    }

    /// Starts over after the chain began anew: every record and every connection begins anew.
    pub(super) fn reset(&mut self, now: Tick) {
        self.rpc.scheduler.forget_slots();
        self.trading.signatures.begin();
        for link in self.links.ids() {
            self.deliver(now, link, FeedInput::Lost);
        }
        self.accounts.reset(now, self.links.slot_guard.epoch());
        self.rpc.mints.begin_anew(now);
    }
}

fn endpoint_id(endpoint: usize) -> EndpointId {
    EndpointId(u8::try_from(endpoint).unwrap_or(u8::MAX))
}
