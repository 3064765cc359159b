//! What each small world has in it, and how often each thing may happen.

use std::time::Duration;

use balance_mirror::core::{
    account::{freshness::Policy, ledger::Rules},
    base::backoff::Backoff,
    engine::settings::EngineSettings,
    link::websocket::{NodeProfile, SessionSettings},
    nodes::failover::NodeMode,
};

use crate::chain::{SLOT_TIME, Value};

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Slots of the chain.
    pub slots: u8,
    /// Times that the time of a slot passes without one.
    pub idles: u8,
    /// Writes in the order of [`Plan::writes`].
    pub writes: u8,
    /// Connections cut, or connects that fail.
    pub cuts: u8,
    /// Connections that turn half-open.
    pub freezes: u8,
    /// Canaries and barriers lost on the wire.
    pub losses: u8,
    /// Notifications told twice, the second time behind all others.
    pub repeats: u8,
    /// Subscriptions that the server forgets in silence.
    pub kills: u8,
    /// RPC calls that fail.
    pub refusals: u8,
    /// Invalidations by a caller, each with a read by RPC.
    pub doubts: u8,
    /// Accounts unwatched and at once watched again.
    pub rewatches: u8,
    /// Reads that wait for RPC as of the chain's newest slot.
    pub asks: u8,
    /// Reads that load the evidence and, any time later, the record.
    pub looks: u8,
    /// Processed banks, of which some lie on a fork.
    pub banks: u8,
}

/// A small world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// What stands at each account at first.
    pub begins: &'static [Value],
    /// What is written, in this order: to which account, and what.
    pub writes: &'static [(u8, Value)],
    /// Endpoints: with one for two nodes, each connect and each call may come to either.
    pub endpoints: u8,
    /// Nodes.
    pub nodes: u8,
    /// Whether the first endpoint is preferred, or all are used.
    pub failover: bool,
    /// Slots that a node may be behind the chain.
    pub lag: u64,
    /// Whether everything is live before the exploration begins, or nothing is connected.
    pub live: bool,
    /// The server takes a request at any time, or at once.
    pub slow_requests: bool,
    /// A subscription takes effect at any time after its answer, or at once.
    pub late_effect: bool,
    /// An RPC answer is of any moment between its request and its arrival, or of its arrival.
    pub old_answers: bool,
    /// A call leaves at any time after somebody asks, or 3 ms after.
    pub late_calls: bool,
    /// One turn of the driver may take several notifications, in the order of `order_turn`.
    pub turns: bool,
    /// Slots between audits; 0 is never.
    pub audits: u32,
    /// Slots between the reads of what no live link proves; 0 is never.
    pub refresh: u32,
    /// Each connection has a twin at processed.
    pub processed: bool,
    /// How often what may happen.
    pub budget: Budget,
    /// Of how many states one is played on without faults, until it is live and true.
    pub fair_every: u64,
}

/// The deadline of a canary.
pub(crate) const CANARY_DEADLINE: Duration = slots(3);
/// For how long a single subscription that died in silence can mislead.
pub(crate) const VERIFY_EVERY: Duration = slots(6);
const NEVER: Duration = Duration::from_secs(3600);

const fn slots(count: u64) -> Duration {
    Duration::from_millis(count * SLOT_TIME)
}

impl Plan {
    pub(crate) fn policy(&self) -> Policy {
        let verify_every = if self.audits > 0 { VERIFY_EVERY } else { NEVER };
        Policy { canary_deadline: CANARY_DEADLINE, verify_every, ttl: None }
    }

    pub(crate) fn settings(&self) -> EngineSettings {
        let every = |count: u32| if count > 0 { slots(u64::from(count)) } else { NEVER };
        let policy = self.policy();
        EngineSettings {
            session: SessionSettings {
                profile: NodeProfile::OwnNode,
                connect_timeout: slots(3),
                subscribe_deadline: slots(3),
                canary_deadline: CANARY_DEADLINE,
                max_lag: Duration::from_secs(20),
                keepalive: NEVER,
                audit_every: every(self.audits),
                audit_batch: 99,
                settled_after: 0,
                healthy_after: NEVER,
                backoff: Backoff::new(slots(1), slots(1)),
                in_flight: 64,
                // Nobody waits for a turn to be sent.
                subscribe_rate: u32::MAX,
            },
            rules: Rules { absence_twice: false, verify_every: policy.verify_every },
            policy,
            endpoints: vec![NodeProfile::OwnNode; usize::from(self.endpoints)],
            mode: if self.failover { NodeMode::Failover } else { NodeMode::Race },
            max_links: 1,
            max_per_link: 8,
            max_accounts: 8,
            max_asks: 64,
            max_lag: Duration::from_secs(20),
            failback_after: Duration::from_secs(30),
            refresh_every: every(self.refresh),
            patience: Duration::from_secs(4),
            processed: self.processed,
            linger: NEVER,
        }
    }
}

const TRADED: &[(u8, Value)] =
    &[(0, Value::Tokens(20)), (0, Value::Absent), (0, Value::Tokens(20)), (0, Value::Tokens(30))];

const BASE: Plan = Plan {
    name: "",
    begins: &[Value::Tokens(10)],
    writes: TRADED,
    endpoints: 1,
    nodes: 1,
    failover: false,
    lag: 0,
    live: true,
    slow_requests: false,
    late_effect: false,
    old_answers: true,
    late_calls: true,
    turns: false,
    audits: 0,
    refresh: 0,
    processed: false,
    budget: Budget {
        slots: 3,
        idles: 0,
        writes: 2,
        cuts: 0,
        freezes: 0,
        losses: 0,
        repeats: 0,
        kills: 0,
        refusals: 0,
        doubts: 0,
        rewatches: 0,
        asks: 0,
        looks: 0,
        banks: 0,
    },
    fair_every: 64,
};

/// The worlds, in the size for every change or, larger, in full: either is explored to its end.
pub fn plans(full: bool) -> Vec<Plan> {
    let more = u8::from(full);
    vec![
        // From nothing: connect, subscribe, baseline, barrier, recheck, while the account is bought
        // into.
        Plan {
            name: "cold",
            begins: &[Value::Absent],
            writes: &[(0, Value::Tokens(10)), (0, Value::Tokens(20)), (0, Value::Absent)],
            live: false,
            late_effect: true,
            budget: Budget { slots: 2, writes: 1 + more, ..BASE.budget },
            ..BASE
        },
        // A connection is cut or goes half-open, and comes back, while the account changes.
        Plan {
            name: "loss",
            late_effect: false,
            turns: true,
            budget: Budget { slots: 3, writes: 1, cuts: 1, freezes: more, ..BASE.budget },
            ..BASE
        },
        // One name for two nodes, of which one may be behind: a connect and a call may come to
        // either.
        Plan {
            name: "balanced",
            nodes: 2,
            lag: 1,
            late_calls: full,
            budget: Budget { slots: 2, writes: 1, cuts: 1, ..BASE.budget },
            ..BASE
        },
        // Two endpoints raced, one of which may be behind.
        Plan {
            name: "race",
            endpoints: 2,
            nodes: 2,
            lag: 1,
            old_answers: full,
            late_calls: false,
            budget: Budget { slots: 2, writes: 1, asks: 1, repeats: 1, ..BASE.budget },
            ..BASE
        },
        // The second endpoint is called when the first is dark.
        Plan {
            name: "failover",
            endpoints: 2,
            nodes: 2,
            old_answers: false,
            late_calls: false,
            budget: Budget { slots: 3, writes: 1 + more, cuts: 1, ..BASE.budget },
            ..BASE
        },
        // A caller doubts what is known, while answers and notifications are under way.
        Plan {
            name: "doubt",
            audits: 4,
            budget: Budget { slots: 2, writes: 1 + more, doubts: 1, looks: 1, refusals: 1, ..BASE.budget },
            ..BASE
        },
        // A reader that is slow between its two loads.
        Plan {
            name: "look",
            turns: true,
            budget: Budget { slots: 2 + more, writes: 1, looks: 1, cuts: 1, ..BASE.budget },
            ..BASE
        },
        // Two accounts, watched anew while their subscribes and unsubscribes are under way.
        Plan {
            name: "rewatch",
            begins: &[Value::Tokens(10)],
            writes: &[(0, Value::Moved(20)), (0, Value::Frozen(20))],
            slow_requests: true,
            late_calls: false,
            old_answers: false,
            budget: Budget { slots: 2, writes: 1 + more, rewatches: 2, ..BASE.budget },
            ..BASE
        },
        // A subscription dies in silence beside living ones: audits find it.
        Plan {
            name: "silence",
            audits: 3,
            late_calls: false,
            budget: Budget { slots: 4 + more, writes: 1, kills: 1, ..BASE.budget },
            ..BASE
        },
        // Nobody is live: what RPC says again and again must do.
        Plan {
            name: "dark",
            refresh: 2,
            nodes: 2,
            lag: 1,
            late_calls: false,
            budget: Budget { slots: 1 + more, writes: 1, cuts: 1, refusals: more, ..BASE.budget },
            ..BASE
        },
        // The processed view, with forks that are abandoned.
        Plan {
            name: "forks",
            processed: true,
            old_answers: false,
            late_calls: false,
            budget: Budget { slots: 2 + more, writes: 1, banks: 2, ..BASE.budget },
            ..BASE
        },
    ]
}
