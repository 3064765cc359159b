//! The mirror's health in one snapshot for an operator, and the line that logs it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tracing::info;

use crate::{
    core::{
        base::{
            ids::{EndpointId, LinkId, Slot},
            time::Tick,
        },
        engine::events::Role,
        link::{feed::LinkPhase, websocket::Capabilities},
    },
    observability::{counters::Quantiles, link_log::LinkStatus, log_target},
    store::{SharedWriter, Store, Writer},
};

/// A snapshot of the mirror's health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// The phase of the best node in use. It is what the sessions have established, not just that a
    /// connect succeeded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "phase_name"))]
    pub phase: LinkPhase,
    /// How long it has been in this phase, in milliseconds.
    pub phase_ms: u64,
    /// Time since the newest canary that proved something, in milliseconds; `None` before the
    /// first.
    pub canary_age_ms: Option<u64>,
    /// Wall time minus the chain's time at the newest canary, in milliseconds. The Clock has whole
    /// seconds.
    pub chain_lag_ms: Option<i64>,
    /// The slot of the newest canary of this connection.
    pub slot: Option<Slot>,
    /// Accounts watched.
    pub watched: usize,
    /// Accounts whose subscription the server acknowledged.
    pub acknowledged: usize,
    /// Accounts that are subscribed, past their barrier and rechecked, while the link is live.
    /// Whether a read is served also depends on `verify_every`.
    pub live: usize,
    /// Connections opened.
    pub connects: u64,
    /// Connections opened after the first.
    pub reconnects: u64,
    /// Connections lost or given up.
    pub losses: u64,
    /// Why a connection was last lost, or the latest other failure on a link, whichever came last.
    /// Without credentials.
    pub last_error: Option<String>,
    /// Reads served from memory.
    pub hits: u64,
    /// Reads for which memory had nothing fresh.
    pub misses: u64,
    /// Reads that fell back to RPC.
    pub fallbacks: u64,
    /// RPC calls that were not made: one for each hit, because a bot without a mirror would ask its
    /// node.
    pub rpc_calls_avoided: u64,
    /// How long callers waited, in microseconds: for reads that fell back to RPC, and for
    /// [`ready`](crate::Reader::ready) and [`wait_for`](crate::Reader::wait_for). A wait is counted
    /// when it ends, however it ends, also if the caller gave up.
    pub wait_us: Quantiles,
    /// How late notifications were, in milliseconds: see
    /// [`notification_lag_mean_ms`](crate::TokenStats::notification_lag_mean_ms).
    pub notification_lag_ms: Quantiles,
    /// The memory held for the accounts, their mints and these counts, in bytes: the size of each
    /// entry, without the allocator's own overhead and spare capacity.
    pub memory_bytes: usize,
    /// With a [dynamic TTL](crate::MirrorBuilder::dynamic_ttl), the shortest current TTL of any
    /// account, in milliseconds: see [`ttl_ms`](crate::TokenStats::ttl_ms).
    pub shortest_ttl_ms: Option<u64>,
    /// RPC calls made, for whatever purpose.
    pub rpc_calls: u64,
    /// RPC calls that failed.
    pub rpc_failures: u64,
    /// Account notifications received.
    pub notifications: u64,
    /// Observations older than what was known.
    pub superseded: u64,
    /// Contradictions between sources.
    pub disputes: u64,
    /// Changes that a subscription should have notified but did not.
    pub missed: u64,
    /// Subscriptions that the server refused.
    pub refused: u64,
    /// Accounts invalidated by the bot.
    pub invalidations: u64,
    /// Accounts that [`Mirror::adopt`](crate::Mirror::adopt) found in wallets and that were not
    /// watched before.
    pub adopted: u64,
    /// How often the mirror ignored a node for a while, because its slots were ahead of what time
    /// allows or it was on another chain.
    pub quarantines: u64,
    /// How often the chain began anew.
    pub resets: u64,
    /// Positions that held nothing and were swept: they are no longer watched.
    pub swept: u64,
    /// The health of each node, in the order in which they were configured.
    pub nodes: Vec<NodeHealth>,
}

/// The health of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeHealth {
    /// Its WebSocket URL, without the parts that may be a key.
    pub url: String,
    /// Whether the mirror uses the node.
    pub enabled: bool,
    /// Whether the mirror leaves the node alone for now, because it is on another chain.
    pub paused: bool,
    /// The phase of the worst of its connections in use.
    #[cfg_attr(feature = "serde", serde(serialize_with = "phase_name"))]
    pub phase: LinkPhase,
    /// How long it has been in this phase, in milliseconds.
    pub phase_ms: u64,
    /// Connections open.
    pub connections: usize,
    /// Accounts whose subscription the node acknowledged.
    pub acknowledged: usize,
    /// Accounts that the node's links prove.
    pub live: usize,
    /// Accounts for which its connections have no room: TTL and RPC serve them.
    pub unplaced: usize,
    /// The slot of its newest canary.
    pub slot: Option<Slot>,
    /// Wall time minus the chain's time at that canary, in milliseconds.
    pub chain_lag_ms: Option<i64>,
    /// Whether its canary ticks; `None` until that is known.
    pub canary: Option<bool>,
    /// Whether it treats subscriptions with different slices as different; `None` until that is
    /// known.
    pub slices: Option<bool>,
    /// What failed last on its connections. Without credentials.
    pub last_error: Option<String>,
}

#[cfg(feature = "serde")]
fn phase_name<S: serde::Serializer>(phase: &LinkPhase, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(phase.name())
}

/// Ranks the phases, from the worst to the best.
fn rank(phase: LinkPhase) -> u8 {
    match phase {
        LinkPhase::Stopped => 0,
        LinkPhase::Parked => 1,
        LinkPhase::Waiting => 2,
        LinkPhase::Connecting => 3,
        LinkPhase::Lagging => 4,
        LinkPhase::Probing => 5,
        LinkPhase::Unproven => 6,
        LinkPhase::Live => 7,
    }
}

impl NodeHealth {
    fn of(id: EndpointId, writer: &Writer, now: Tick) -> Self {
        let (engine, link_log) = (writer.engine(), &writer.link_log);
        let (enabled, paused) = engine.endpoints();
        let mine = |(_, status): &(LinkId, &LinkStatus)| status.endpoint == id && status.role == Role::Mirror;
        let links: Vec<(LinkId, &LinkStatus)> = (0..).map(LinkId).zip(&link_log.links).filter(mine).collect();
        let parked = |status: &LinkStatus| status.phase == LinkPhase::Parked;
        let used = links.iter().filter(|(_, status)| !parked(status));
        let worst = used.clone().map(|(_, status)| *status).min_by_key(|status| rank(status.phase));
        let newest = links.iter().filter_map(|(_, status)| status.canary).max_by_key(|(slot, _)| *slot);
        let mut health = Self {
            url: link_log.url(id).to_owned(),
            enabled: enabled.contains(&id),
            paused: paused.contains(&id),
            phase: worst.map_or(LinkPhase::Parked, |status| status.phase),
            phase_ms: worst.map_or(0, |status| millis(now.since(status.since))),
            connections: 0,
            acknowledged: 0,
            live: 0,
            unplaced: engine.unplaced(id),
            slot: newest.map(|(slot, _)| slot),
            chain_lag_ms: newest.map(|(_, lag)| lag),
            canary: None,
            slices: None,
            last_error: links.iter().find_map(|(_, status)| status.last_error.clone()),
        };
        for (link, _) in used {
            let Some((phase, (acknowledged, live), Capabilities { canary, slices, .. })) = engine.link(*link)
            else {
                continue;
            };
            health.connections += usize::from(rank(phase) >= rank(LinkPhase::Lagging));
            health.acknowledged += acknowledged;
            health.live += live;
            health.canary = health.canary.or(canary);
            health.slices = health.slices.or(slices);
        }
        health
    }
}

impl Health {
    pub(crate) fn of(store: &Store, writer: &Writer) -> Self {
        let now = store.clock.now();
        let stats = &store.stats;
        let (hits, misses) = store.served();
        let nodes: Vec<NodeHealth> = (0..writer.link_log.urls.len())
            .filter_map(|place| Some(NodeHealth::of(EndpointId(u8::try_from(place).ok()?), writer, now)))
            .collect();
        let in_use = nodes.iter().filter(|node| node.enabled);
        // Of equally good nodes, the first.
        let best = in_use.clone().rev().max_by_key(|node| rank(node.phase)).or_else(|| nodes.first());
        let arrived = writer.engine().evidence().links.iter().map(|link| link.arrived).max();
        Self {
            phase: best.map_or(LinkPhase::Stopped, |node| node.phase),
            phase_ms: best.map_or(0, |node| node.phase_ms),
            canary_age_ms: arrived.filter(|tick| *tick != Tick::NEVER).map(|tick| millis(now.since(tick))),
            chain_lag_ms: best.and_then(|node| node.chain_lag_ms),
            slot: best.and_then(|node| node.slot),
            watched: store.entries().len(),
            acknowledged: in_use.clone().map(|node| node.acknowledged).max().unwrap_or(0),
            live: in_use.clone().map(|node| node.live).max().unwrap_or(0),
            connects: stats.connects.get(),
            reconnects: stats.connects.get().saturating_sub(1),
            losses: stats.losses.get(),
            last_error: writer.link_log.last_error.clone(),
            hits,
            misses,
            fallbacks: stats.fallbacks.get(),
            rpc_calls_avoided: hits,
            wait_us: stats.waits.quantiles(),
            notification_lag_ms: stats.notification_lag.quantiles(),
            memory_bytes: store.bytes(),
            shortest_ttl_ms: store.shortest_ttl().map(millis),
            rpc_calls: stats.rpc_calls.get(),
            rpc_failures: stats.rpc_failures.get(),
            notifications: stats.notifications.get(),
            superseded: stats.superseded.get(),
            disputes: stats.disputes.get(),
            missed: stats.missed.get(),
            refused: stats.refused.get(),
            invalidations: stats.invalidations.get(),
            adopted: stats.adopted.get(),
            quarantines: stats.quarantines.get(),
            resets: stats.resets.get(),
            swept: stats.swept.get(),
            nodes,
        }
    }

    fn log(&self) {
        info!(target: log_target::HEALTH,
            phase = self.phase.name(),
            canary_age_ms = self.canary_age_ms,
            chain_lag_ms = self.chain_lag_ms,
            slot = self.slot,
            watched = self.watched,
            acknowledged = self.acknowledged,
            live = self.live,
            reconnects = self.reconnects,
            hits = self.hits,
            misses = self.misses,
            fallbacks = self.fallbacks,
            wait_p99_us = self.wait_us.p99,
            memory_bytes = self.memory_bytes,
            rpc_failures = self.rpc_failures,
            last_error = self.last_error,
            "health"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Logs a health line at each interval until stopped.
pub(crate) async fn run(
    store: Arc<Store>,
    shared: Arc<SharedWriter>,
    interval: Duration,
    mut stop: watch::Receiver<()>,
) {
    let mut interval = tokio::time::interval(interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval.tick().await;
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = interval.tick() => {
                let health = Health::of(&store, &shared.lock());
                health.log();
            }
        }
    }
}
