//! The engine's settings in a world: the library's defaults but for what the plan varies.

use balance_mirror::core::{
    account::{evidence::FINALIZED_SETTLES, freshness::Policy, ledger::Rules},
    base::backoff::Backoff,
    engine::{Engine, settings::EngineSettings},
    link::websocket::{NodeProfile, SessionSettings},
    nodes::failover::NodeMode,
};

use crate::{
    agenda::SECOND,
    plan::{
        self, CANARY_DEADLINE, CONNECT_TIMEOUT, Plan, RPC_TIMEOUT, SUBSCRIBE_DEADLINE, VERIFY_EVERY, duration,
    },
    skin::tick,
};

pub(crate) fn policy() -> Policy {
    Policy { canary_deadline: duration(CANARY_DEADLINE), verify_every: duration(VERIFY_EVERY), ttl: None }
}

pub(crate) fn engine(plan: &Plan, seed: u64) -> Engine {
    let session = SessionSettings {
        connect_timeout: duration(CONNECT_TIMEOUT),
        subscribe_deadline: duration(SUBSCRIBE_DEADLINE),
        canary_deadline: duration(CANARY_DEADLINE),
        max_lag: duration(plan.max_lag),
        keepalive: duration(30 * SECOND),
        audit_every: duration(plan.audit_every),
        audit_batch: plan::BATCH,
        settled_after: if plan.finalized { FINALIZED_SETTLES } else { 0 },
        healthy_after: duration(8 * SECOND),
        backoff: Backoff::new(duration(SECOND / 4), duration(plan.reconnect_cap)),
        in_flight: 64,
        subscribe_rate: 64,
        profile: NodeProfile::default(),
    };
    let settings = EngineSettings {
        session,
        rules: Rules { absence_twice: plan.finalized, verify_every: duration(VERIFY_EVERY) },
        policy: policy(),
        endpoints: vec![NodeProfile::default(); plan.endpoints],
        mode: if plan.race { NodeMode::Race } else { NodeMode::Failover },
        max_links: plan.max_links,
        max_per_link: plan.max_per_link,
        max_accounts: 64,
        max_asks: 256,
        max_lag: duration(plan.max_lag),
        failback_after: duration(30 * SECOND),
        refresh_every: duration(4 * SECOND),
        patience: duration(RPC_TIMEOUT),
        processed: plan.processed,
        linger: duration(60 * SECOND),
    };
    Engine::new(settings, seed, tick(1))
}
