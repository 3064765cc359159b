//! Which endpoints' slots are believed. Accepting a slot that is too high would make every later
//! state look old forever.
//!
//! The *anchor* is the newest slot that is believed, with the time at which the chain was there. A
//! *claim* is a slot that an endpoint reports. A claim counts from when it was true, by its chain's
//! Clock, so a node that is merely late contradicts no other.
//!
//! 1. A slot that the chain can have reached since the anchor is plausible, whichever endpoint
//!    reports it. A slot that the chain cannot have reached since genesis never is.
//! 2. A slot beyond that is believed only if more of the endpoints heard lately reach it than do
//!    not, counting the endpoint that reports it. So with one against one the lower slot is
//!    believed: the chain soon passes a lie that is too low, but one that is too high poisons the
//!    mirror. An endpoint that reports such a slot and is not believed is quarantined, longer each
//!    time.
//! 3. The anchor falls when at least half of the endpoints heard lately are well below it and stay
//!    there: either the chain fell back, or the anchor was a lie that came first. A single endpoint
//!    that no other contradicts can also move the anchor up, if it insists for long: the anchor may
//!    have been the lie. Each of these begins a new epoch.
//! 4. So an earlier belief cannot lock an endpoint out forever; only a majority that keeps
//!    contradicting it can.

use std::time::Duration;

pub use crate::core::nodes::genesis::{ChainVerdict, Genesis};
use crate::core::{
    base::{
        ids::{EndpointId, Slot},
        time::Tick,
    },
    nodes::genesis::Chains,
};

/// No chain makes slots faster. Solana takes 400 ms for one, test clusters 20 ms: this only rules
/// out absurd claims, and leaves room for a cluster tuned further.
const MIN_SLOT_TIME: Duration = Duration::from_millis(10);
/// How many slots a claim may be ahead in addition: three and a half minutes of Solana, which
/// covers how far the nodes' Clocks (in whole seconds) differ.
const SLACK: Slot = 512;
/// How far below the anchor a claim must be to contradict it: about twice the slack allowed above
/// it.
const FALLBACK_BY: Slot = 1_000;
/// How long the anchor withstands contradiction: by then a load balancer's late node is gone.
const FALLBACK_AFTER: Duration = Duration::from_secs(10);
/// How long a claim counts.
const LATELY: Duration = Duration::from_secs(10);
/// How long an endpoint that no other contradicts must insist on slots that are too high to be
/// believed.
const INSISTS_AFTER: Duration = Duration::from_secs(60);
/// The first quarantine, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// No chain is older: a century. Bounds which slots a mirror accepts before it knows any.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The verdict on a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotVerdict {
    Plausible,
    /// Further ahead than time allows. Its endpoint is now quarantined.
    Ahead {
        by: Slot,
    },
    /// Plausible in itself, but from an endpoint that is in quarantine.
    Quarantined,
    /// Plausible, and begins a new epoch: slots known from earlier epochs can no longer be
    /// compared.
    Reset,
}

/// A slot, and when the chain was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mark {
    slot: Slot,
    at: Tick,
}

impl Mark {
    /// The highest slot that the chain can have reached by `at`, if it was at this mark.
    fn reach(&self, at: Tick, slack: Slot) -> Slot {
        self.slot.saturating_add(slack).saturating_add(slots_in(at.since(self.at)))
    }
}

fn slots_in(time: Duration) -> Slot {
    Slot::try_from(time.as_nanos() / MIN_SLOT_TIME.as_nanos()).unwrap_or(Slot::MAX)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct SlotClaims {
    claim: Option<Mark>,
    heard: Tick,
    /// Since when it has reported, without a break, slots that are too high and that no other
    /// endpoint contradicts.
    insists: Option<Tick>,
    violations: u32,
    until: Tick,
}

impl SlotClaims {
    /// The claim that counts now.
    fn lately(&self, now: Tick) -> Option<Mark> {
        self.claim.filter(|_| now.since(self.heard) <= LATELY)
    }

    /// Records a claim. Keeps the highest, unless the new one is far below it. Returns whether the
    /// new one continues the last one.
    fn say(&mut self, now: Tick, mark: Mark) -> bool {
        let before = self.lately(now);
        self.heard = now;
        if self.claim.is_none_or(|claim| mark.slot > claim.slot || claim.slot - mark.slot > FALLBACK_BY) {
            self.claim = Some(mark);
        }
        before.is_some_and(|claim| mark.slot <= claim.reach(mark.at, SLACK))
    }

    fn pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(1 << self.violations.saturating_sub(1).min(20)).min(LONGEST_PAUSE)
    }

    fn violate(&mut self, now: Tick) {
        if now >= self.until {
            self.violations = self.violations.saturating_add(1);
            self.until = now.plus(self.pause());
        }
    }

    fn behave(&mut self, now: Tick) {
        if now.since(self.until) >= self.pause() {
            self.violations = 0;
        }
    }
}

/// Decides which endpoints' slots are believed, and which chain the mirror is on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlotGuard {
    endpoints: Vec<SlotClaims>,
    anchor: Option<Mark>,
    /// Since when at least half of the endpoints contradict the anchor.
    contradicted: Option<Tick>,
    chains: Chains,
    epoch: u32,
}

impl SlotGuard {
    pub fn new(endpoints: usize) -> Self {
        Self {
            endpoints: vec![SlotClaims::default(); endpoints],
            anchor: None,
            contradicted: None,
            chains: Chains::new(endpoints),
            epoch: 0,
        }
    }

    /// The verdict on `slot`, which `endpoint` reports at `now`. `lag` is how far the chain's Clock
    /// that came with it (or the last one from that endpoint) is behind wall time; zero if it is
    /// ahead.
    pub fn check(&mut self, now: Tick, endpoint: EndpointId, slot: Slot, lag: Duration) -> SlotVerdict {
        let Some(speaker) = self.endpoints.get_mut(usize::from(endpoint.0)) else {
            return SlotVerdict::Quarantined;
        };
        let since_genesis = slots_in(LONGEST_LIFE);
        if slot > since_genesis {
            speaker.violate(now);
            return SlotVerdict::Ahead { by: slot - since_genesis };
        }
        let mark = Mark { slot, at: now.minus(lag) };
        let continues = speaker.say(now, mark);
        let Some(anchor) = self.anchor else {
            self.anchor = Some(mark);
            return SlotVerdict::Plausible;
        };
        let (reach_it, doubt_it) = self.votes(now, |claim| slot <= claim.reach(mark.at, SLACK));
        let vouched = reach_it > 1 && reach_it > doubt_it;
        let allowed = anchor.reach(mark.at, SLACK);
        if slot > allowed && !vouched {
            return self.ahead(now, endpoint, mark, continues && doubt_it == 0, slot - allowed);
        }
        let speaker = &mut self.endpoints[usize::from(endpoint.0)];
        if vouched {
            speaker.until = speaker.until.min(now);
        }
        if now < speaker.until {
            return SlotVerdict::Quarantined;
        }
        speaker.behave(now);
        if self.has_fallen(now, &anchor) && mark_contradicts(&mark, &anchor) {
            return self.reset(mark, endpoint, now);
        }
        if slot > anchor.slot {
            self.anchor = Some(Mark { slot, at: anchor.at.max(mark.at) });
        }
        SlotVerdict::Plausible
    }

    /// The highest slot that the chain can have reached, going by the anchor.
    pub fn reach(&self, now: Tick) -> Slot {
        self.anchor.map_or(Slot::MAX, |anchor| anchor.reach(now, SLACK))
    }

    /// How many of the claims that count now agree, and how many do not.
    fn votes(&self, now: Tick, agrees: impl Fn(&Mark) -> bool) -> (usize, usize) {
        let claims = self.endpoints.iter().filter_map(|speaker| speaker.lately(now));
        let (agree, doubt): (Vec<_>, Vec<_>) = claims.partition(agrees);
        (agree.len(), doubt.len())
    }

    /// Handles a slot that is not believed: quarantines its endpoint, or resets if that is
    /// uncontradicted and has insisted for long. (Invariants 2 and 3)
    fn ahead(&mut self, now: Tick, endpoint: EndpointId, mark: Mark, insists: bool, by: Slot) -> SlotVerdict {
        let speaker = &mut self.endpoints[usize::from(endpoint.0)];
        let since = speaker.insists.filter(|_| insists).unwrap_or(now);
        speaker.insists = Some(since);
        if now.since(since) >= INSISTS_AFTER {
            return self.reset(mark, endpoint, now);
        }
        speaker.violate(now);
        SlotVerdict::Ahead { by }
    }

    /// Whether at least half of the claims have been well below the anchor for long enough.
    /// (Invariant 3)
    fn has_fallen(&mut self, now: Tick, anchor: &Mark) -> bool {
        let (below, with_it) = self.votes(now, |claim| mark_contradicts(claim, anchor));
        if below < with_it.max(1) {
            self.contradicted = None;
            return false;
        }
        now.since(*self.contradicted.get_or_insert(now)) >= FALLBACK_AFTER
    }

    fn reset(&mut self, mark: Mark, endpoint: EndpointId, now: Tick) -> SlotVerdict {
        self.epoch += 1;
        self.anchor = Some(mark);
        self.contradicted = None;
        for speaker in &mut self.endpoints {
            speaker.insists = None;
        }
        let speaker = &mut self.endpoints[usize::from(endpoint.0)];
        speaker.until = speaker.until.min(now);
        SlotVerdict::Reset
    }

    /// Whether the endpoint is in quarantine.
    pub fn quarantined(&self, endpoint: EndpointId, now: Tick) -> bool {
        self.until(endpoint).is_some_and(|until| now < until)
    }

    /// Until when the endpoint is, or last was, in quarantine.
    pub fn until(&self, endpoint: EndpointId) -> Option<Tick> {
        let speaker = self.endpoints.get(usize::from(endpoint.0))?;
        Some(speaker.until).filter(|until| *until > Tick::NEVER)
    }

    /// How an endpoint's genesis hash compares with the mirror's chain. If the mirror changes to
    /// another chain, a new epoch begins.
    pub fn genesis(&mut self, endpoint: EndpointId, genesis: Genesis) -> ChainVerdict {
        let chain = self.chains.hear(endpoint, genesis);
        if chain == ChainVerdict::Reset {
            self.epoch += 1;
            self.anchor = None;
            self.contradicted = None;
            self.endpoints.fill(SlotClaims::default());
        }
        chain
    }

    /// Whether the endpoint's last genesis report is of a chain other than the mirror's. Do not
    /// check its slots, let alone believe them.
    pub fn is_foreign(&self, endpoint: EndpointId) -> bool {
        self.chains.is_foreign(endpoint)
    }

    /// The current epoch. Slots can be compared only within one epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Sets whether an endpoint is in use. Claims of an endpoint that is not in use do not count.
    pub fn set_enabled(&mut self, endpoint: EndpointId, enabled: bool) {
        if enabled {
            return;
        }
        if let Some(speaker) = self.endpoints.get_mut(usize::from(endpoint.0)) {
            speaker.claim = None;
            speaker.insists = None;
        }
    }
}

/// Whether a claim is so far below the anchor that not both can be true.
fn mark_contradicts(claim: &Mark, anchor: &Mark) -> bool {
    anchor.slot > claim.reach(anchor.at, FALLBACK_BY)
}

#[cfg(test)]
mod tests;
