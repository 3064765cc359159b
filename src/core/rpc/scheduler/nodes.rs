//! What the scheduler knows of each endpoint's RPC: whether it may be asked, with how many keys,
//! and how far it is.
//!
//! An endpoint that does not answer is asked after the others for a while: two seconds, doubling up
//! to thirty.

use std::time::Duration;

use crate::core::{
    base::{
        failure::RpcFailure,
        ids::{EndpointId, MAX_ENDPOINTS, Slot},
        time::Tick,
    },
    rpc::scheduler::request::{Attempts, BATCH},
};

/// How long a node that limits its rate is not asked, unless it names a time itself.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a node can request.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many good answers in a row double the batch size of a node that failed at a larger one. More
/// than a few, because a key that no node can answer for would otherwise spoil every other batch.
const GOOD_ANSWERS: u32 = 16;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RpcNode {
    usable: bool,
    /// Until when it limits its rate, and the failure that said so.
    refusal: Option<(Tick, RpcFailure)>,
    /// The newest slot at which it has answered.
    newest: Slot,
    /// The most keys that one call to it may have.
    batch: usize,
    good: u32,
    /// How many calls in a row it failed to answer at all.
    silent: u32,
    /// Until when the other endpoints are asked first.
    behind_others: Tick,
}

/// The endpoints in the order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Nodes(Vec<RpcNode>);

impl Nodes {
    pub(super) fn new(endpoints: usize) -> Self {
        let node = RpcNode {
            usable: true,
            refusal: None,
            newest: 0,
            batch: BATCH,
            good: 0,
            silent: 0,
            behind_others: Tick::NEVER,
        };
        Self(vec![node; endpoints.clamp(1, MAX_ENDPOINTS)])
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = EndpointId> + Clone + use<> {
        (0..).map(EndpointId).take(self.0.len())
    }

    fn node(&self, endpoint: EndpointId) -> Option<&RpcNode> {
        self.0.get(usize::from(endpoint.0))
    }

    fn node_mut(&mut self, endpoint: EndpointId) -> Option<&mut RpcNode> {
        self.0.get_mut(usize::from(endpoint.0))
    }

    pub(super) fn set_usable(&mut self, endpoint: EndpointId, usable: bool) {
        if let Some(node) = self.node_mut(endpoint) {
            node.usable = usable;
        }
    }

    /// Whether it may be asked now.
    pub(super) fn is_open(&self, endpoint: EndpointId) -> bool {
        self.node(endpoint).is_some_and(|node| node.usable && node.refusal.is_none())
    }

    /// The endpoint to try next: the first that may be asked and has not been tried. Prefers one
    /// that answers, and one other than `avoid`.
    pub(super) fn route(&self, attempts: &Attempts, avoid: Option<EndpointId>) -> Option<EndpointId> {
        let mut open = self.ids().filter(|id| self.is_open(*id) && !attempts.tried.contains(*id));
        let answers = |id: &EndpointId| self.node(*id).is_some_and(|node| node.behind_others == Tick::NEVER);
        let mut wanted = open.clone().filter(|id| Some(*id) != avoid);
        wanted.clone().find(answers).or_else(|| wanted.next()).or_else(|| open.next())
    }

    /// Why no endpoint can be asked now, and until when, if that is known; `None` if one can be.
    pub(super) fn closed(&self) -> Option<(Option<Tick>, RpcFailure)> {
        if self.ids().any(|id| self.is_open(id)) {
            return None;
        }
        let usable = self.0.iter().filter(|node| node.usable);
        let first = usable.filter_map(|node| node.refusal.as_ref()).min_by_key(|(until, _)| *until);
        Some(match first {
            Some((until, failure)) => (Some(*until), failure.clone()),
            None => (None, RpcFailure::Unreachable { reason: "no endpoint may be asked".to_owned() }),
        })
    }

    /// Records a failure that says something about the node itself.
    pub(super) fn failed(&mut self, endpoint: EndpointId, now: Tick, failure: &RpcFailure) {
        let Some(node) = self.node_mut(endpoint) else { return };
        match failure {
            RpcFailure::RateLimited { retry_after } => {
                let pause = retry_after.unwrap_or(REFUSED_PAUSE).clamp(REFUSED_PAUSE, LONGEST_PAUSE);
                node.refusal = Some((now.plus(pause), failure.clone()));
            }
            // Otherwise each ask that tried this node first would wait for its timeout.
            RpcFailure::Unreachable { .. }
            | RpcFailure::Timeout { .. }
            | RpcFailure::Status { status: 500.. } => {
                node.silent = node.silent.saturating_add(1);
                let pause = REFUSED_PAUSE.saturating_mul(1 << node.silent.min(10)).min(LONGEST_PAUSE);
                node.behind_others = now.plus(pause);
            }
            _ => {}
        }
    }

    /// Ends the refusals and pauses that are over.
    pub(super) fn reopen(&mut self, now: Tick) {
        for node in &mut self.0 {
            node.refusal.take_if(|(until, _)| *until <= now);
            if node.behind_others <= now {
                node.behind_others = Tick::NEVER;
            }
        }
    }

    /// Reduces the batch size after a call of `keys` keys that may have been too large.
    pub(super) fn halve(&mut self, endpoint: EndpointId, keys: usize) {
        if let Some(node) = self.node_mut(endpoint) {
            node.batch = node.batch.min(keys / 2).max(1);
            node.good = 0;
        }
    }

    pub(super) fn succeeded(&mut self, endpoint: EndpointId, slot: Slot) {
        let Some(node) = self.node_mut(endpoint) else { return };
        node.newest = node.newest.max(slot);
        node.silent = 0;
        node.behind_others = Tick::NEVER;
        node.good += 1;
        if node.good >= GOOD_ANSWERS {
            node.batch = (node.batch * 2).min(BATCH);
            node.good = 0;
        }
    }

    pub(super) fn newest(&self, endpoint: EndpointId) -> Slot {
        self.node(endpoint).map_or(0, |node| node.newest)
    }

    pub(super) fn batch(&self, endpoint: EndpointId) -> usize {
        self.node(endpoint).map_or(1, |node| node.batch)
    }

    /// Forgets the newest slots: slots of another chain cannot be compared with this one's.
    pub(super) fn forget_slots(&mut self) {
        self.0.iter_mut().for_each(|node| node.newest = 0);
    }
}

/// Whether a call may have failed because of its size, or because of one of its keys, so that a
/// smaller call may succeed.
///
/// For `getMultipleAccounts` with too many keys, Agave answers -32602; load balancers in front of
/// it answer 413 or an error page. An answer above our own size limit is also reported as
/// malformed.
pub(super) fn blames_size(failure: &RpcFailure) -> bool {
    match failure {
        RpcFailure::Malformed { .. } | RpcFailure::Status { status: 413 } => true,
        RpcFailure::Server { code, message } => {
            let message = message.to_ascii_lowercase();
            let too_many = message.contains("too many") && !message.contains("too many requests");
            *code == -32602 || too_many || message.contains("too large") || message.contains("too big")
        }
        _ => false,
    }
}
