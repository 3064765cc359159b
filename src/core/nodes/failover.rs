//! Which nodes are used, and which are paused.
//!
//! A node is paused while it is on another chain. Of the others, [`NodeMode::Race`] uses all.
//! [`NodeMode::Failover`] uses the first. Once that has been dark for a while, it also uses the
//! next, until the one before has been live for a while again.

use std::time::Duration;

use crate::core::base::{ids::EndpointId, time::Tick};

/// How often the nodes are reviewed.
const REVIEW_EVERY: Duration = Duration::from_millis(500);

/// How a mirror uses its nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeMode {
    /// Use the first node, and also the next one while the first is not live.
    #[default]
    Failover,
    /// Use all nodes at once: the newest slot wins.
    Race,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct FailoverNode {
    enabled: bool,
    /// Until when nothing is taken from it.
    paused: Option<Tick>,
    /// Whether all its links are live, and (in `since`) since when.
    live: bool,
    since: Tick,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failover {
    nodes: Vec<FailoverNode>,
    next_review: Option<Tick>,
}

impl Failover {
    pub fn new(endpoints: usize) -> Self {
        Self { nodes: vec![FailoverNode::default(); endpoints], next_review: None }
    }

    pub fn next_deadline(&self) -> Option<Tick> {
        self.next_review
    }

    /// How many nodes there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Takes nothing from a node until then.
    pub fn pause(&mut self, endpoint: EndpointId, until: Tick) {
        self.nodes[usize::from(endpoint.0)].paused = Some(until);
    }

    /// Ends the pauses that are over.
    pub fn end_pauses(&mut self, now: Tick) {
        for node in &mut self.nodes {
            node.paused.take_if(|until| *until <= now);
        }
    }

    pub fn is_enabled(&self, endpoint: usize) -> bool {
        self.nodes[endpoint].enabled
    }

    /// Starts or stops using a node.
    pub fn set_enabled(&mut self, endpoint: usize, enabled: bool, now: Tick) {
        self.nodes[endpoint].enabled = enabled;
        self.nodes[endpoint].since = now;
    }

    /// Plans the next review, if time alone may change which nodes are wanted.
    pub fn plan_review(&mut self, mode: NodeMode, now: Tick) {
        let one_is_paused = self.nodes.iter().any(|node| node.paused.is_some());
        let several = self.nodes.len() > 1 && mode == NodeMode::Failover;
        self.next_review = (one_is_paused || several).then(|| now.plus(REVIEW_EVERY));
    }

    /// The endpoints in use.
    pub fn enabled(&self) -> Vec<EndpointId> {
        let nodes = (0u8..).zip(&self.nodes);
        nodes.filter(|(_, node)| node.enabled).map(|(id, _)| EndpointId(id)).collect()
    }

    /// The paused endpoints, from which nothing is taken for now.
    pub fn paused(&self) -> Vec<EndpointId> {
        let nodes = (0u8..).zip(&self.nodes);
        nodes.filter(|(_, node)| node.paused.is_some()).map(|(id, _)| EndpointId(id)).collect()
    }

    pub fn is_paused(&self, endpoint: usize) -> bool {
        self.nodes[endpoint].paused.is_some()
    }

    pub fn note_live(&mut self, endpoint: usize, live: bool, now: Tick) {
        let node = &mut self.nodes[endpoint];
        if node.live != live {
            node.live = live;
            node.since = now;
        }
    }

    /// Which endpoints should be in use now.
    pub fn wanted(
        &self,
        mode: NodeMode,
        dark_after: Duration,
        steady_after: Duration,
        now: Tick,
    ) -> Vec<bool> {
        let mut wanted = vec![false; self.nodes.len()];
        for (endpoint, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.paused.is_none()) {
            wanted[endpoint] = true;
            if mode == NodeMode::Race {
                continue;
            }
            let spell = now.since(node.since);
            let next_enabled = self.nodes.iter().skip(endpoint + 1).any(|node| node.enabled);
            // Keep the next node until this one has been live for long enough; call it once this
            // one has been dark for long enough.
            let enough = if node.live {
                !next_enabled || spell >= steady_after
            } else {
                !next_enabled && (!node.enabled || spell < dark_after)
            };
            if enough {
                break;
            }
        }
        wanted
    }
}
