//! What a provider turns out to be able to do, from connection to connection.

use std::time::Duration;

/// What stands behind an endpoint. It decides how soon a connection without a ticking canary is made do with; what
/// the provider can do is found out on each connection in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeProfile {
    /// Unknown: after three connections in a row that never ticked, the next one is made do with.
    #[default]
    Auto,
    /// A node of one's own. It can notify the Clock; where it does not, something is wrong with it, and each
    /// connection is given up until one ticks.
    OwnNode,
    /// A provider's own fan-out of account changes, which may not carry sysvars: one connection that never
    /// ticked is enough.
    FanOut,
    /// Many nodes behind one name: as [`Auto`](NodeProfile::Auto), but another connection may reach a node that
    /// can do more, so it is tried every 2 minutes instead of every 10.
    LoadBalanced,
}

impl NodeProfile {
    /// How many connections in a row must never have ticked before one is made do with.
    fn patience(self) -> Option<u32> {
        match self {
            Self::OwnNode => None,
            Self::FanOut => Some(1),
            Self::Auto | Self::LoadBalanced => Some(3),
        }
    }

    /// How long an unproven connection is kept before another is tried.
    pub(super) fn unproven_for(self) -> Duration {
        match self {
            Self::LoadBalanced => Duration::from_secs(120),
            _ => Duration::from_secs(600),
        }
    }
}

/// What a provider was last seen to do; `None` is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Capabilities {
    /// It notifies the Clock sysvar, without which no connection to it proves anything.
    pub canary: Option<bool>,
    /// It takes subscriptions that differ by their data slice alone for different ones. Where it does not,
    /// audits carry what barriers would.
    pub slices: Option<bool>,
}

/// How many times as much patience there is with a provider that has ticked before. With the waits between
/// connects, twelve in a row take minutes, and a node that restarts is back by then.
const TRUST: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CapabilityProbe {
    pub(super) profile: NodeProfile,
    pub(super) found: Capabilities,
    /// Connections in a row that answered and never ticked.
    mute: u32,
    /// It ticked once: then it is rather a passing trouble than the provider's way.
    ticked_once: bool,
    /// A barrier was given the canary's own id once.
    ignores_slices: bool,
}

impl CapabilityProbe {
    pub(super) fn new(profile: NodeProfile) -> Self {
        Self { profile, found: Capabilities::default(), mute: 0, ticked_once: false, ignores_slices: false }
    }

    pub(super) fn ticked(&mut self) {
        self.mute = 0;
        self.ticked_once = true;
        self.found.canary = Some(true);
    }

    /// A connection is lost that answered and never ticked.
    pub(super) fn was_mute(&mut self) {
        self.mute = self.mute.saturating_add(1);
    }

    /// Whether a connection that does not tick is made do with.
    pub(super) fn makes_do(&self) -> bool {
        let trust = if self.ticked_once { TRUST } else { 1 };
        self.profile.patience().is_some_and(|patience| self.mute >= patience * trust)
    }

    pub(super) fn ignores_slices(&self) -> bool {
        self.ignores_slices
    }

    /// Slices are no part of this provider's keys, which costs a connection to find out: so for good.
    pub(super) fn found_to_ignore_slices(&mut self) {
        self.ignores_slices = true;
        self.found.slices = Some(false);
    }
}
