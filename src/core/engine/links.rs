//! The connections: a session for each, which accounts each carries, and how far their nodes are
//! trusted.

use std::{collections::VecDeque, time::Duration};

use super::{events::Role, settings::EngineSettings};
use crate::core::{
    base::{
        ids::{EndpointId, LinkId},
        time::Tick,
    },
    link::{
        feed::LinkPhase,
        placement::Placement,
        websocket::{Capabilities, LinkCommand, Session, SessionSettings, timers::Timer},
    },
    nodes::{failover::Failover, slot_guard::SlotGuard},
};

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkEntry {
    pub(super) endpoint: EndpointId,
    pub(super) role: Role,
    pub(super) session: Session,
    /// The commands that wait for its driver.
    pub(super) commands: VecDeque<LinkCommand>,
}

/// All connections. Each endpoint has a fixed number of links; with the processed view, each link
/// has a twin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Links {
    entries: Vec<LinkEntry>,
    /// By endpoint: which account is on which of its links.
    pub(super) placements: Vec<Placement>,
    pub(super) failover: Failover,
    pub(super) slot_guard: SlotGuard,
    /// By endpoint: how far its Clock lagged last.
    lag: Vec<Duration>,
    max_links: usize,
    processed: bool,
}

impl Links {
    pub(super) fn new(settings: &EngineSettings, seed: u64) -> Self {
        let endpoints = settings.endpoints.len();
        let mut entries = Vec::new();
        let mut placements = Vec::new();
        for (endpoint, profile) in (0u8..).zip(&settings.endpoints) {
            let first = entries.len();
            let roles =
                if settings.processed { &[Role::Mirror, Role::Processed][..] } else { &[Role::Mirror] };
            for role in roles {
                for _ in 0..settings.max_links {
                    let id = id_of(entries.len());
                    let session = SessionSettings { profile: *profile, ..settings.session.clone() };
                    let session = Session::parked(session, id, seed.wrapping_add(u64::from(id.0)));
                    let endpoint = EndpointId(endpoint);
                    entries.push(LinkEntry { endpoint, role: *role, session, commands: VecDeque::new() });
                }
            }
            let ids = (first..first + settings.max_links).map(id_of);
            placements.push(Placement::new(ids.collect(), settings.max_per_link));
        }
        Self {
            entries,
            placements,
            failover: Failover::new(endpoints),
            slot_guard: SlotGuard::new(endpoints),
            lag: vec![Duration::ZERO; endpoints],
            max_links: settings.max_links,
            processed: settings.processed,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every link's id, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.entries.len()).map(id_of)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&LinkEntry> {
        self.entries.get(usize::from(id.0))
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut LinkEntry> {
        self.entries.get_mut(usize::from(id.0))
    }

    pub(super) fn phases(&self) -> impl Iterator<Item = (LinkId, EndpointId, Role, LinkPhase)> + '_ {
        let links = self.ids().zip(&self.entries);
        links.map(|(id, link)| (id, link.endpoint, link.role, link.session.phase()))
    }

    /// A link's phase, how many of its accounts are acknowledged and live, and what its node can
    /// do.
    pub(super) fn standing(&self, id: LinkId) -> Option<(LinkPhase, (usize, usize), Capabilities)> {
        let session = &self.get(id)?.session;
        Some((session.phase(), session.counts(), session.capabilities()))
    }

    /// The links of an endpoint.
    pub(super) fn of(&self, endpoint: EndpointId) -> Vec<LinkId> {
        let links = self.ids().zip(&self.entries);
        links.filter(|(_, link)| link.endpoint == endpoint).map(|(id, _)| id).collect()
    }

    /// Whether every connection in use of an endpoint is live.
    pub(super) fn are_live(&self, endpoint: usize) -> bool {
        let live = |id: &LinkId| self.get(*id).is_some_and(|link| link.session.phase() == LinkPhase::Live);
        self.in_use(endpoint).iter().all(live)
    }

    /// The first connection of an endpoint, and all others that carry accounts.
    fn in_use(&self, endpoint: usize) -> Vec<LinkId> {
        let mut links: Vec<LinkId> = self.placements[endpoint].in_use().collect();
        let first = self.first_of(endpoint);
        if !links.contains(&first) {
            links.insert(0, first);
        }
        links
    }

    pub(super) fn first_of(&self, endpoint: usize) -> LinkId {
        let roles = if self.processed { 2 } else { 1 };
        id_of(endpoint * roles * self.max_links)
    }

    /// The connection that shows the processed bank to the accounts of `link`.
    pub(super) fn twin(&self, link: LinkId) -> Option<LinkId> {
        self.processed.then(|| id_of(usize::from(link.0) + self.max_links))
    }

    /// Notes how far an endpoint's Clock lags. A Clock ahead of wall time counts as no lag.
    pub(super) fn note_lag(&mut self, endpoint: EndpointId, lag_ms: i64) {
        self.lag[usize::from(endpoint.0)] = Duration::from_millis(u64::try_from(lag_ms).unwrap_or(0));
    }

    pub(super) fn lag(&self, endpoint: EndpointId) -> Duration {
        self.lag[usize::from(endpoint.0)]
    }

    /// The missed deadline because of which the link's connection is to be given up, if there is
    /// one.
    pub(super) fn overdue(&self, link: LinkId) -> Option<Timer> {
        self.get(link)?.commands.iter().find_map(|command| match command {
            LinkCommand::Disconnect { overdue } => *overdue,
            _ => None,
        })
    }

    /// Queues a session's command for the driver of its connection.
    pub(super) fn command(&mut self, id: LinkId, command: LinkCommand) {
        let Some(link) = self.get_mut(id) else { return };
        if matches!(command, LinkCommand::Disconnect { .. }) {
            // Commands for the connection that ends are void.
            link.commands.clear();
        }
        link.commands.push_back(command);
    }

    /// Reviews which nodes are live, and returns which ones should be used now, in their order.
    pub(super) fn wanted(&mut self, settings: &EngineSettings, now: Tick) -> Vec<bool> {
        self.failover.end_pauses(now);
        for endpoint in 0..self.failover.count() {
            let live = self.are_live(endpoint);
            self.failover.note_live(endpoint, live, now);
        }
        let (dark_after, steady_after) = (settings.policy.canary_deadline, settings.failback_after);
        self.failover.wanted(settings.mode, dark_after, steady_after, now)
    }
}

/// The link at an index.
pub(super) fn id_of(place: usize) -> LinkId {
    LinkId(u16::try_from(place).unwrap_or(u16::MAX))
}
