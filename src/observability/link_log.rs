//! The last reported state of each link, for [`Health`](crate::Health), and the log lines about
//! changes.

use tracing::{debug, error, info, warn};

use super::log_target;
use crate::core::{
    account::observation::ObservedVia,
    base::{
        ids::{EndpointId, LinkId, Slot},
        time::Tick,
    },
    engine::{
        Engine,
        events::{EngineEvent, Role},
    },
    link::{feed::LinkPhase, websocket::timers::Timer},
    trade::signatures::TradeOutcome,
};

/// The last reported state of a link.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinkStatus {
    pub(crate) endpoint: EndpointId,
    pub(crate) role: Role,
    pub(crate) phase: LinkPhase,
    pub(crate) since: Tick,
    /// The newest canary's slot, and how far its Clock was behind wall time, in milliseconds.
    pub(crate) canary: Option<(Slot, i64)>,
    pub(crate) last_error: Option<String>,
    /// The reason for the loss that was last logged: a node that is down gives the same reason at
    /// every try.
    logged_reason: Option<String>,
}

/// What it means for the connection that this timer's deadline passed.
fn overdue_reason(timer: Timer) -> &'static str {
    match timer {
        Timer::Connect => "the connect took too long",
        Timer::Probe => "no canary for too long: another connection may work better",
        Timer::Subscribe => "a subscribe was not answered in time",
        _ => "no canary in time: the node is silent, or the connection half-open",
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LinkLog {
    pub(crate) links: Vec<LinkStatus>,
    /// The endpoints' WebSocket URLs, redacted.
    pub(crate) urls: Vec<String>,
    /// The latest failure on any link.
    pub(crate) last_error: Option<String>,
}

impl LinkLog {
    pub(crate) fn new(engine: &Engine, urls: Vec<String>, now: Tick) -> Self {
        let link = |(_, endpoint, role, phase)| LinkStatus {
            endpoint,
            role,
            phase,
            since: now,
            canary: None,
            last_error: None,
            logged_reason: None,
        };
        Self { links: engine.links().map(link).collect(), urls, last_error: None }
    }

    pub(crate) fn url(&self, endpoint: EndpointId) -> &str {
        self.urls.get(usize::from(endpoint.0)).map_or("", String::as_str)
    }

    pub(crate) fn canary(&mut self, link: LinkId, slot: Slot, lag_ms: i64) {
        if let Some(status) = self.links.get_mut(usize::from(link.0)) {
            status.canary = Some((slot, lag_ms));
        }
    }

    pub(crate) fn failed(&mut self, link: LinkId, error: String) {
        if let Some(status) = self.links.get_mut(usize::from(link.0)) {
            status.last_error = Some(error.clone());
        }
        self.last_error = Some(error);
    }

    /// Logs the changes of phase.
    pub(crate) fn log_phases(&mut self, engine: &Engine, now: Tick) {
        for ((id, _, _, phase), status) in engine.links().zip(&mut self.links) {
            if phase == status.phase {
                continue;
            }
            if let Some(timer) = engine.overdue(id) {
                status.last_error = Some(overdue_reason(timer).to_owned());
                self.last_error.clone_from(&status.last_error);
            }
            let (from, spent_ms) = (status.phase.name(), now.since(status.since).as_millis());
            let url = self.urls.get(usize::from(status.endpoint.0)).map_or("", String::as_str);
            let error = status.last_error.as_deref().unwrap_or_default();
            match (phase, status.role) {
                // Processed links give hints only; nothing that is served depends on them.
                (_, Role::Processed) => {
                    debug!(target: log_target::LOG, url, from, spent_ms, "processed link {}", phase.name())
                }
                (LinkPhase::Waiting, _) => {
                    let failed_to_connect = status.phase == LinkPhase::Connecting;
                    if failed_to_connect && status.logged_reason == status.last_error {
                        debug!(target: log_target::LOG, url, from, spent_ms, error, "the connect failed again");
                    } else if failed_to_connect {
                        warn!(target: log_target::LOG, url, from, spent_ms, error, "cannot connect, trying again soon");
                    } else {
                        warn!(target: log_target::LOG, url, from, spent_ms, error, "link lost, connecting anew soon");
                    }
                    status.logged_reason.clone_from(&status.last_error);
                    status.canary = None;
                }
                (LinkPhase::Lagging, _) => {
                    warn!(target: log_target::LOG, url, from, spent_ms, "link lags: it proves nothing for now")
                }
                (LinkPhase::Unproven, _) => {
                    warn!(target: log_target::LOG, url, from, spent_ms, "link without canaries: TTL and RPC serve its accounts");
                }
                // Debug only: at a higher level, each try of a node that is down would be a line.
                (LinkPhase::Connecting, _) => {
                    debug!(target: log_target::LOG, url, from, spent_ms, "link connecting")
                }
                // The link was not in use.
                (LinkPhase::Stopped, _) if status.phase == LinkPhase::Parked => {}
                _ => info!(target: log_target::LOG, url, from, spent_ms, "link {}", phase.name()),
            }
            status.phase = phase;
            status.since = now;
        }
    }

    /// Logs the events that an operator should know of.
    pub(crate) fn log(&mut self, event: &EngineEvent, engine: &Engine) {
        let who = |source: ObservedVia| match source {
            ObservedVia::Subscription(generation) => engine.endpoint_of(generation.link),
            ObservedVia::Rpc(endpoint) => endpoint,
        };
        match event {
            EngineEvent::Changed { .. } | EngineEvent::Superseded | EngineEvent::Overlaid { .. } => {}
            EngineEvent::Disputed { address, by, against } => {
                let (by, against) = (self.url(who(*by)), self.url(who(*against)));
                warn!(target: log_target::LOG, account = %address, by, against, "two sources contradict each other: asking RPC which is right");
            }
            EngineEvent::Missed { address, endpoint } => {
                let url = self.url(*endpoint);
                warn!(target: log_target::LOG, account = %address, url, "the node did not notify a change: subscribing the account again");
            }
            EngineEvent::Reverted { address } => {
                debug!(target: log_target::LOG, account = %address, "what the processed bank showed did not come to be");
            }
            EngineEvent::Quarantined { endpoint, slot } => {
                let url = self.url(*endpoint);
                warn!(target: log_target::LOG, url, slot, "slots ahead of what time allows: the node is not believed for a while");
                self.last_error = Some(format!("slot {slot} is ahead of what time allows"));
            }
            EngineEvent::Foreign { endpoint } => {
                let url = self.url(*endpoint);
                error!(target: log_target::LOG, url, "the node is on another chain than the others: check its URL");
                self.last_error = Some("a node is on another chain than the others".to_owned());
            }
            EngineEvent::Reset { epoch } => {
                warn!(target: log_target::LOG, epoch, "the chain began anew: every account is read and subscribed anew");
            }
            EngineEvent::Swept { address } => {
                info!(target: log_target::LOG, account = %address, "a position that held nothing was swept: it is no longer watched");
            }
            EngineEvent::SellEnded { address, amount, signature, outcome } => {
                let (account, amount) = (address, *amount);
                match *outcome {
                    TradeOutcome::Landed { slot } => {
                        info!(target: log_target::LOG, %account, amount, %signature, slot, "a sell in flight landed");
                    }
                    TradeOutcome::Failed { slot } => {
                        warn!(target: log_target::LOG, %account, amount, %signature, slot, "a sell in flight failed on chain: its tokens are free");
                    }
                    TradeOutcome::Expired { slot } => {
                        warn!(target: log_target::LOG, %account, amount, %signature, slot, "a sell in flight can land no more: its tokens are free as of that slot");
                    }
                }
            }
            EngineEvent::Enabled { endpoint, enabled } => {
                let url = self.url(*endpoint);
                if *enabled {
                    info!(target: log_target::LOG, url, "using this node");
                } else {
                    info!(target: log_target::LOG, url, "using this node no more");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::builder::MirrorBuilder;

    #[test]
    fn a_connection_given_up_for_a_deadline_names_it_when_it_is_told_lost() {
        let builder = MirrorBuilder::new("http://127.0.0.1:8899".to_owned());
        let settings = builder.check().expect("settings").engine;
        let (start, link) = (Tick::from_nanos(1), LinkId(0));
        let mut engine = Engine::new(settings, 1, start);
        let mut link_log = LinkLog::new(&engine, vec![String::new()], start);
        link_log.failed(link, "what was wrong before".to_owned());
        let late = start.plus(Duration::from_secs(60));
        engine.expire_link(late, link);
        link_log.log_phases(&engine, late);
        let status = &link_log.links[0];
        assert_eq!(status.phase, LinkPhase::Waiting);
        assert_eq!(status.logged_reason.as_deref(), Some("the connect took too long"));
        assert_eq!(link_log.last_error, status.last_error);
    }
}
