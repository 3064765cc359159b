//! What a provider turns out to be able to do, learned over successive connections.

use std::time::Duration;

/// What stands behind an endpoint. The profile decides how soon the mirror accepts a connection
/// whose canary does not tick. What the provider can do is found out on each connection in any
/// case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeProfile {
    /// Unknown provider. After three connections in a row that never ticked, the next one is
    /// accepted as [`Unproven`](crate::LinkPhase::Unproven).
    #[default]
    Auto,
    /// A node that you run. It can notify the Clock; if it does not, something is wrong with it, so
    /// the mirror gives up each connection until one ticks.
    OwnNode,
    /// A provider's own fan-out of account changes, which may not carry sysvars. After one
    /// connection that never ticked, the next one is accepted.
    FanOut,
    /// Many nodes behind one name. Like [`Auto`](NodeProfile::Auto), but because another connection
    /// may reach a node that can do more, one is tried every 2 minutes instead of every 10.
    LoadBalanced,
}

impl NodeProfile {
    /// How many connections in a row must never have ticked before the next one is accepted as
    /// unproven. `None`: it never is.
    fn patience(self) -> Option<u32> {
        match self {
            Self::OwnNode => None,
            Self::FanOut => Some(1),
            Self::Auto | Self::LoadBalanced => Some(3),
        }
    }

    /// How long an unproven connection is kept before another one is tried.
    pub(super) fn unproven_for(self) -> Duration {
        match self {
            Self::LoadBalanced => Duration::from_secs(120),
            _ => Duration::from_secs(600),
        }
    }
}

/// What a provider was last seen to do. `None` means not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Capabilities {
    /// It notifies the Clock sysvar. Without that, no connection to it proves anything.
    pub canary: Option<bool>,
    /// It treats subscriptions that differ only in their data slice as different ones. If it does
    /// not, audits do the work of barriers.
    pub slices: Option<bool>,
}

/// Factor on the number of connections that may fail to tick if the provider has ticked before.
/// With the waits between connects, twelve in a row take minutes, and a node that restarts is back
/// by then.
const TRUST: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CapabilityProbe {
    pub(super) profile: NodeProfile,
    pub(super) found: Capabilities,
    /// Connections in a row that answered but never ticked.
    mute: u32,
    /// A connection to it has ticked: a canary that stops now is more likely a passing trouble than
    /// how the provider works.
    ticked_once: bool,
    /// The server once gave a barrier the canary's own id.
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

    /// Notes the loss of a connection that answered but never ticked.
    pub(super) fn was_mute(&mut self) {
        self.mute = self.mute.saturating_add(1);
    }

    /// Whether a connection that does not tick is accepted as unproven.
    pub(super) fn accepts_unproven(&self) -> bool {
        let trust = if self.ticked_once { TRUST } else { 1 };
        self.profile.patience().is_some_and(|patience| self.mute >= patience * trust)
    }

    pub(super) fn ignores_slices(&self) -> bool {
        self.ignores_slices
    }

    /// This provider's keys do not include slices. Finding that out costs a connection, so it is
    /// remembered for good.
    pub(super) fn found_to_ignore_slices(&mut self) {
        self.ignores_slices = true;
        self.found.slices = Some(false);
    }
}
