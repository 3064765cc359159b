//! What the connections report, and what the engine sends to their sessions.

use solana_pubkey::Pubkey;

use super::{
    Engine,
    events::{LinkEvent, Role, Suspects},
};
use crate::core::{
    account::observation::{Observation, ObservedVia},
    base::{
        ids::{EndpointId, LinkId},
        time::Tick,
    },
    link::{
        feed::{FeedEvent, FeedInput, FeedRead, SlotClaim},
        websocket::{SessionEvent, SessionOutput},
    },
    rpc::scheduler::{Ask, Reply},
};

impl Engine {
    pub(super) fn take(&mut self, now: Tick, id: LinkId, event: LinkEvent) {
        let Some(link) = self.links.get(id) else { return };
        let endpoint = link.endpoint;
        match event {
            LinkEvent::Connected { genesis } => {
                let ours = genesis.is_none_or(|genesis| self.is_ours(now, endpoint, genesis));
                self.deliver(now, id, if ours { FeedInput::Connected } else { FeedInput::Lost });
            }
            LinkEvent::Lost => self.deliver(now, id, FeedInput::Lost),
            LinkEvent::Session(event) => self.receive(now, id, event),
        }
    }

    /// Passes a session what its connection received, unless that claims an impossible slot.
    /// (Invariant 2)
    fn receive(&mut self, now: Tick, id: LinkId, event: SessionEvent) {
        let Some(link) = self.links.get(id) else { return };
        let endpoint = link.endpoint;
        if let Some(SlotClaim { slot, lag_ms }) = link.session.claim(&event) {
            if let Some(lag_ms) = lag_ms {
                self.links.note_lag(endpoint, lag_ms);
            }
            if !self.is_plausible(now, endpoint, slot) {
                return;
            }
        }
        if let Some(link) = self.links.get_mut(id) {
            link.session.receive(now, event);
            self.carry_out(now, id);
        }
    }

    /// Sends a session an input, and carries out what it decides. (Invariant 1)
    pub(super) fn deliver(&mut self, now: Tick, id: LinkId, input: FeedInput) {
        if let Some(link) = self.links.get_mut(id) {
            link.session.handle(now, input);
            self.carry_out(now, id);
        }
    }

    pub(super) fn carry_out(&mut self, now: Tick, id: LinkId) {
        while let Some(link) = self.links.get_mut(id)
            && let Some(output) = link.session.next_output()
        {
            let (endpoint, role) = (link.endpoint, link.role);
            match (output, role) {
                (SessionOutput::Command(command), _) => self.links.command(id, command),
                (SessionOutput::Event(event), Role::Mirror) => self.observe(now, id, endpoint, event),
                (SessionOutput::Event(event), Role::Processed) => self.observe_processed(id, event),
            }
        }
    }

    /// Takes in an event of a connection at the mirror's commitment.
    fn observe(&mut self, now: Tick, id: LinkId, endpoint: EndpointId, event: FeedEvent) {
        match event {
            FeedEvent::Account { address, slot, presence, generation, proof } => {
                let source = ObservedVia::Subscription(generation);
                self.accounts.apply(now, &address, &Observation { presence, slot, source, proof });
            }
            FeedEvent::Watermark(evidence) => {
                self.accounts.prove(evidence);
                if !evidence.ticking {
                    self.refresh_soon(now);
                }
            }
            FeedEvent::Cover { address, watch, generation } => {
                if !self.accounts.cover(&address, watch, endpoint, generation)
                    && let Some(link) = self.links.get_mut(id)
                {
                    link.session.handle(now, FeedInput::NotCovered { address });
                }
            }
            FeedEvent::Uncover { address } => {
                self.accounts.uncover(&address, endpoint);
                self.refresh_soon(now);
            }
            FeedEvent::UncoverAll => {
                if let Some(link) = self.links.get(id) {
                    self.accounts.uncover_all(endpoint, link.session.generation());
                }
            }
            FeedEvent::Read(read) => self.read_for(now, id, endpoint, read),
        }
    }

    /// Takes in an event of a connection that shows the processed bank. A bank that may be
    /// abandoned is no evidence, so its proofs and reads are ignored.
    fn observe_processed(&mut self, id: LinkId, event: FeedEvent) {
        match event {
            FeedEvent::Account { address, slot, presence, generation, .. } => {
                self.accounts.apply_processed(&address, generation, slot, &presence);
            }
            FeedEvent::UncoverAll => {
                if let Some(link) = self.links.get(id) {
                    self.accounts.drop_overlays(link.session.generation());
                }
            }
            FeedEvent::Watermark(_)
            | FeedEvent::Cover { .. }
            | FeedEvent::Uncover { .. }
            | FeedEvent::Read(_) => {}
        }
    }

    /// Asks RPC for the accounts that a session wants read.
    fn read_for(&mut self, now: Tick, link: LinkId, endpoint: EndpointId, read: FeedRead) {
        let ask = |address| self.own_ask(now, address);
        let asks: Vec<Ask> = match read {
            FeedRead::Baseline(address) => vec![ask(address)],
            // An RPC node other than the one that notifies also shows whether the latter lies.
            FeedRead::Audit(addresses) => {
                addresses.into_iter().map(|address| Ask { avoid: Some(endpoint), ..ask(address) }).collect()
            }
            FeedRead::Recheck { generation, accounts, min_slot } => accounts
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

    /// Passes the Clock's lag in an endpoint's RPC answer to all its links, which learn from it
    /// what lag is usual.
    pub(super) fn share_lag(&mut self, now: Tick, endpoint: EndpointId, lag_ms: i64) {
        for link in self.links.of(endpoint) {
            self.deliver(now, link, FeedInput::ChainLag { lag_ms });
        }
    }

    /// Informs the suspected sessions that an account's subscription missed a change.
    pub(super) fn accuse(&mut self, now: Tick, address: Pubkey, suspects: Suspects) {
        for endpoint in self.links.failover.enabled() {
            let suspected = suspects == Suspects::All || suspects == Suspects::One(endpoint);
            if suspected && let Some(link) = self.links.placements[usize::from(endpoint.0)].link_of(&address)
            {
                self.deliver(now, link, FeedInput::Accused { address });
            }
        }
    }
}
