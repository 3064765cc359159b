//! What a seed decides before anything happens: the cluster, the mirror's settings, and what goes
//! wrong.

use std::time::Duration;

use crate::{
    agenda::{MS, Nanos, SECOND},
    rng::Rng,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A connection is closed.
    Cut,
    /// A connection is closed, and the last of what was sent is lost, as when a slow subscriber is
    /// cut off.
    Overflow,
    /// Nothing comes through any more, and nobody is told.
    HalfOpen,
    /// Nothing arrives for a while, then all of it at once.
    Stall,
    /// New connections are slow from their first moment.
    SlowLink,
    /// Notices come twice, also after later ones.
    Double,
    /// Connects are refused.
    RefuseConnect,
    /// Connects are never answered.
    HangConnect,
    /// Subscriptions are refused.
    RefuseSubscribe,
    /// Subscriptions are never answered.
    DeafSubscribe,
    /// Subscriptions are taken, and nothing is ever notified.
    Mute,
    /// One subscription dies beside living ones.
    SilentDeath,
    /// One notice is lost in the client.
    LostNotice,
    /// Notices that cannot be read.
    Garbled,
    /// A node stops following the chain for a while.
    NodeStall,
    /// A node falls behind the others.
    NodeBehind,
    /// A node's notifier is slow.
    SlowNotifier,
    /// A node's notifier skips checks of some subscriptions.
    Strained,
    /// RPC cannot be reached.
    RpcDown,
    /// RPC never answers.
    RpcHang,
    /// RPC answers late.
    RpcLate,
    /// RPC limits the rate.
    RpcLimited,
    /// RPC answers with too few accounts.
    RpcShort,
    /// RPC answers with an account that cannot be read.
    RpcGarbled,
    /// RPC is balanced over nodes that differ.
    RpcPool,
    /// Slots far ahead of what can be.
    LieAhead,
    /// A node is on another chain.
    OtherChain,
    /// The host's clocks jump against each other.
    ClockJump,
    /// The mirror's runtime gets no time; readers do.
    Starved,
    /// Everybody writes to everything.
    Burst,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Trouble; 30] = [
        Self::Cut,
        Self::Overflow,
        Self::HalfOpen,
        Self::Stall,
        Self::SlowLink,
        Self::Double,
        Self::RefuseConnect,
        Self::HangConnect,
        Self::RefuseSubscribe,
        Self::DeafSubscribe,
        Self::Mute,
        Self::SilentDeath,
        Self::LostNotice,
        Self::Garbled,
        Self::NodeStall,
        Self::NodeBehind,
        Self::SlowNotifier,
        Self::Strained,
        Self::RpcDown,
        Self::RpcHang,
        Self::RpcLate,
        Self::RpcLimited,
        Self::RpcShort,
        Self::RpcGarbled,
        Self::RpcPool,
        Self::LieAhead,
        Self::OtherChain,
        Self::ClockJump,
        Self::Starved,
        Self::Burst,
    ];
}

/// The cluster, the settings, the troubles.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) finalized: bool,
    pub(crate) race: bool,
    pub(crate) processed: bool,
    pub(crate) endpoints: usize,
    /// Nodes that answer RPC only, beside one for each endpoint.
    pub(crate) backends: usize,
    pub(crate) max_links: usize,
    pub(crate) max_per_link: usize,
    pub(crate) accounts: usize,
    pub(crate) ignores_slices: bool,
    pub(crate) troubles: Vec<Trouble>,
    /// From one trouble to the next, about.
    pub(crate) gap: Nanos,
    /// When the last trouble is over.
    pub(crate) quiet_from: Nanos,
    pub(crate) reconnect_cap: Nanos,
    pub(crate) max_lag: Nanos,
    pub(crate) audit_every: Nanos,
}

/// Accounts of one audit, as in the library.
pub(crate) const BATCH: usize = 99;
pub(crate) const CANARY_DEADLINE: Nanos = 5 * SECOND;
pub(crate) const SUBSCRIBE_DEADLINE: Nanos = 5 * SECOND;
pub(crate) const CONNECT_TIMEOUT: Nanos = 10 * SECOND;
pub(crate) const RPC_TIMEOUT: Nanos = 3 * SECOND;
pub(crate) const READ_DEADLINE: Nanos = 5 * SECOND;
pub(crate) const VERIFY_EVERY: Nanos = 300 * SECOND;

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let finalized = rng.chance(250);
        let endpoints = [1, 1, 2, 2, 3][rng.index(5)];
        let mut troubles = Trouble::ALL.to_vec();
        rng.shuffle(&mut troubles);
        troubles.truncate(rng.between(2, 9) as usize);
        let accounts = rng.between(3, 14) as usize;
        Self {
            finalized,
            race: endpoints > 1 && rng.chance(500),
            processed: rng.chance(300),
            endpoints,
            backends: rng.below(3) as usize,
            max_links: rng.between(1, 3) as usize,
            max_per_link: if rng.chance(500) { accounts } else { rng.between(2, 6) as usize },
            accounts,
            ignores_slices: rng.chance(100),
            troubles,
            gap: rng.between(4, 30) * SECOND,
            quiet_from: rng.between(180, 420) * SECOND,
            reconnect_cap: [2, 8, 30][rng.index(3)] * SECOND,
            max_lag: if finalized { 40 } else { 20 } * SECOND,
            audit_every: 60 * SECOND,
        }
    }

    /// How long after the last trouble every account with a place on a link must be live and true.
    ///
    /// In turn: a dead link is found by its canary, and a subscribe that is never answered by its
    /// deadline; a node that was in quarantine or on another chain is used again; a hanging connect
    /// is given up; the longest wait before the next one passes; an account that cost its
    /// connection waits for its deadline and four times the cap; it is subscribed, rechecked after
    /// a wait of the cap at most, and at finalized its proof settles for 32 slots; what a
    /// subscription missed is found by an audit, which costs another subscribe and recheck. Some
    /// seconds for the way. And a node that took subscriptions and showed no canary, several times,
    /// is used without one for ten minutes before it is tried again.
    pub(crate) fn convergence(&self) -> Nanos {
        let settles = if self.finalized { 20 * SECOND } else { 0 };
        let found = CANARY_DEADLINE.max(SUBSCRIBE_DEADLINE);
        let quarantine = 30 * SECOND;
        let connected = CONNECT_TIMEOUT + self.reconnect_cap;
        let subscribed = SUBSCRIBE_DEADLINE + 4 * self.reconnect_cap;
        let rechecked = self.reconnect_cap + RPC_TIMEOUT;
        let audited = self.audit_every + self.reconnect_cap + RPC_TIMEOUT;
        let silent = [Trouble::Mute, Trouble::RefuseSubscribe, Trouble::DeafSubscribe, Trouble::SlowNotifier];
        let accepts_unproven = self.troubles.iter().any(|trouble| silent.contains(trouble));
        let probed = if accepts_unproven { 600 * SECOND } else { 0 };
        probed + found + quarantine + connected + subscribed + rechecked + settles + audited + 10 * SECOND
    }

    /// Accounts that find a place on a link.
    pub(crate) fn places(&self) -> usize {
        self.max_links * self.max_per_link
    }

    pub(crate) fn nodes(&self) -> usize {
        self.endpoints + self.backends
    }
}

pub(crate) fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos)
}

/// How long a network's way takes.
pub(crate) fn way(rng: &mut Rng) -> Nanos {
    rng.between(5, 90) * MS
}
