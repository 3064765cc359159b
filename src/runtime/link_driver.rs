//! The loop of one connection: reports to the engine what happens on the socket, and carries out
//! the engine's commands.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use solana_commitment_config::CommitmentLevel;
use solana_pubsub_client::nonblocking::pubsub_client::PubsubClient;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use crate::{
    clock::wall_ms,
    core::{
        base::{ids::LinkId, time::Tick},
        engine::events::LinkEvent,
        link::{
            feed::LinkPhase,
            websocket::{LinkCommand, SessionEvent, Subject},
        },
    },
    observability::{log_target, notification_lag::NotificationLags},
    sources::{
        RawAccount,
        endpoint::{Endpoint, Redacted},
        lag_ms,
        rpc::RpcSource,
        websocket::{
            client,
            demux::{Turn, Wire},
        },
    },
    store::{SharedWriter, Store},
};

/// How long the loop waits at its end for the last connection to close.
const GOODBYE: Duration = Duration::from_millis(1_500);

/// The most messages taken from a connection in one second. A thousand accounts that all change in
/// every slot make some 2 500. A server that sends more is dropped before the client's buffer
/// grows.
const MAX_RATE: usize = 50_000;

/// Counts the messages of the current second.
#[derive(Debug, Default)]
struct Flow {
    since: Tick,
    count: usize,
}

impl Flow {
    /// Whether this many more messages are still within the limit.
    fn admits(&mut self, now: Tick, messages: usize) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, count: 0 };
        }
        self.count += messages;
        self.count <= MAX_RATE
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum Loss {
    Refused(String),
    Ended,
    Flooded,
    CanaryReplaced,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "cannot connect: {reason}"),
            Self::Ended => f.write_str("the connection ended"),
            Self::Flooded => f.write_str("the server sends faster than can be read"),
            Self::CanaryReplaced => {
                f.write_str("the node ignores slices in its keys: connecting without barriers")
            }
        }
    }
}

/// What it means that this subscription was refused, and what helps.
fn effect_of_refusal(subject: Subject) -> &'static str {
    match subject {
        Subject::Account { .. } => {
            "RPC serves the account until a retry succeeds; if many are refused, set max_per_connection to what the node allows"
        }
        Subject::Canary => {
            "without its canary the connection proves nothing, and RPC serves its accounts; use a node that notifies the Clock sysvar"
        }
        Subject::Barrier { .. } => {
            "audits do the work of barriers on this connection; nothing needs to be done"
        }
        Subject::Keepalive { .. } => "any answer keeps the connection; nothing needs to be done",
    }
}

/// An open connection, and the genesis hash of its node's chain if the node's RPC returned one.
type Connection = (PubsubClient, Option<[u8; 32]>);

enum DriverEvent {
    Stop,
    Wake,
    Connected(Result<Connection, String>),
    Turn(Turn),
    /// A connection has closed, with the reason why it ended if its client knows one.
    Closed(Option<String>),
}

/// Drives one connection. See the module.
pub(crate) struct LinkDriver {
    id: LinkId,
    shared: Arc<SharedWriter>,
    store: Arc<Store>,
    rpc: Arc<RpcSource>,
    endpoint: Endpoint,
    commitment: CommitmentLevel,
    wake: Arc<Notify>,
    connecting: Option<BoxFuture<'static, Result<Connection, String>>>,
    wire: Option<Wire>,
    lags: NotificationLags,
    flow: Flow,
    /// Connections that are closing.
    closing: FuturesUnordered<BoxFuture<'static, DriverEvent>>,
}

impl LinkDriver {
    pub(crate) fn new(
        id: LinkId,
        shared: Arc<SharedWriter>,
        store: Arc<Store>,
        rpc: Arc<RpcSource>,
        endpoint: Endpoint,
        commitment: CommitmentLevel,
    ) -> Self {
        let wake = shared.lock().driver_wake(id);
        Self {
            id,
            shared,
            store,
            rpc,
            endpoint,
            commitment,
            wake,
            connecting: None,
            wire: None,
            lags: NotificationLags::default(),
            flow: Flow::default(),
            closing: FuturesUnordered::new(),
        }
    }

    /// Runs until `stop` changes.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<()>) {
        loop {
            let due = self.shared.lock().expire_link(self.id);
            self.carry_out();
            if self.shared.lock().phase(self.id) == LinkPhase::Stopped {
                break;
            }
            let event = self.next_event(&mut stop, due).await;
            self.take(event);
        }
        // Waits until the closing connections are closed. Everything else under way ends by itself.
        let goodbye = async { while self.closing.next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            debug!(target: log_target::LOG, url = self.url(), "the server did not close the connection in time");
        }
    }

    /// Returns the next event, in this order of priority: the stop; then commands, which are few;
    /// then the wire, which may be busy; and the clock last, so that everything that arrived before
    /// a deadline is handled before the deadline is judged.
    async fn next_event(&mut self, stop: &mut watch::Receiver<()>, due: Option<Tick>) -> DriverEvent {
        let wait = due.map(|due| due.since(self.store.clock.now()));
        let Self { wake, connecting, wire, closing, .. } = self;
        let turn = async {
            match wire {
                Some(wire) => wire.turn().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.changed() => DriverEvent::Stop,
            () = wake.notified() => DriverEvent::Wake,
            Some(outcome) = OptionFuture::from(connecting.as_mut()) => DriverEvent::Connected(outcome),
            Some(event) = closing.next(), if !closing.is_empty() => event,
            turn = turn => DriverEvent::Turn(turn),
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => DriverEvent::Wake,
        }
    }

    fn take(&mut self, event: DriverEvent) {
        match event {
            DriverEvent::Stop => self.shared.lock().stop(),
            DriverEvent::Wake => {}
            DriverEvent::Connected(outcome) => {
                self.connecting = None;
                match outcome {
                    Ok((client, genesis)) => {
                        self.store.stats.connects.add(1);
                        self.wire = Some(Wire::new(client, self.commitment));
                        self.shared.lock().handle(self.id, [LinkEvent::Connected { genesis }]);
                    }
                    Err(reason) => self.lose(&Loss::Refused(reason)),
                }
            }
            DriverEvent::Turn(Turn::Events(events))
                if self.flow.admits(self.store.clock.now(), events.len()) =>
            {
                self.take_turn(events);
            }
            DriverEvent::Turn(Turn::Events(_)) => self.lose(&Loss::Flooded),
            DriverEvent::Turn(Turn::Ended) => self.lose(&Loss::Ended),
            DriverEvent::Turn(Turn::Flooded) => self.lose(&Loss::Flooded),
            DriverEvent::Turn(Turn::CanaryReplaced) => self.lose(&Loss::CanaryReplaced),
            DriverEvent::Closed(Some(reason)) => {
                info!(target: log_target::LOG, url = self.url(), reason, "why the connection ended");
                self.shared.lock().link_log.failed(self.id, reason);
            }
            DriverEvent::Closed(None) => {}
        }
    }

    fn lose(&mut self, loss: &Loss) {
        let event = match loss {
            Loss::CanaryReplaced => SessionEvent::CanaryReplaced.into(),
            _ => LinkEvent::Lost,
        };
        let mut writer = self.shared.lock();
        writer.link_log.failed(self.id, loss.to_string());
        writer.handle(self.id, [event]);
    }

    /// Takes a turn of the wire in order and as one step, so that all its changes are published
    /// together.
    fn take_turn(&mut self, events: Vec<(Subject, client::SubscriptionEvent)>) {
        let events: Vec<SessionEvent> =
            events.into_iter().filter_map(|(subject, event)| self.read(subject, event)).collect();
        self.note_lags(&events);
        let mut writer = self.shared.lock();
        for event in &events {
            if let SessionEvent::Canary { slot, lag_ms } = event {
                writer.link_log.canary(self.id, *slot, *lag_ms);
            }
        }
        writer.handle(self.id, events);
    }

    /// Measures how late notifications are. Those at processed are only hints and do not count.
    fn note_lags(&mut self, events: &[SessionEvent]) {
        if self.commitment == CommitmentLevel::Processed {
            return;
        }
        let now = wall_ms();
        for event in events {
            match event {
                SessionEvent::Account { subject: Subject::Account { address, .. }, slot, .. } => {
                    if let Some(entry) = self.store.entry(address) {
                        entry.counters.notifications.add(1);
                        self.lags.notified(entry, *slot, now);
                    }
                }
                SessionEvent::Canary { slot, lag_ms } => {
                    self.lags.canary(*slot, now, *lag_ms, &self.store.stats)
                }
                _ => {}
            }
        }
    }

    /// Translates what the server sent into an event for the engine.
    fn read(&self, subject: Subject, event: client::SubscriptionEvent) -> Option<SessionEvent> {
        let response = match event {
            client::SubscriptionEvent::Acknowledged => return Some(SessionEvent::Acknowledged(subject)),
            client::SubscriptionEvent::Refused { reason } => {
                let reason = self.endpoint.scrub(&reason);
                // Warns about an account's first refusal only: it is retried again and again, and
                // each refusal would be a line.
                if matches!(subject, Subject::Account { attempt: 1.., .. }) {
                    debug!(target: log_target::LOG, url = self.url(), ?subject, reason, "a subscription was refused: {}", effect_of_refusal(subject));
                } else {
                    warn!(target: log_target::LOG, url = self.url(), ?subject, reason, "a subscription was refused: {}", effect_of_refusal(subject));
                }
                self.store.stats.refused.add(1);
                let error = format!("a subscription was refused: {reason}");
                self.shared.lock().link_log.failed(self.id, error);
                return Some(SessionEvent::Refused(subject));
            }
            client::SubscriptionEvent::Unsubscribed => return Some(SessionEvent::Unsubscribed(subject)),
            client::SubscriptionEvent::Notified(response) => response,
        };
        let slot = response.context.slot;
        let account = RawAccount::decode(&response.value);
        match subject {
            Subject::Barrier { length } => Some(SessionEvent::Barrier { length, slot }),
            Subject::Canary => match account.ok().and_then(|clock| clock.unix_timestamp()) {
                Some(time) => Some(SessionEvent::Canary { slot, lag_ms: lag_ms(wall_ms(), time) }),
                // This is not a tick. If none follows, the canary's deadline expires.
                None => {
                    warn!(target: log_target::LOG, url = self.url(), "a canary's notification contains no Clock, so it proves nothing: RPC serves the accounts of this connection if no canary follows; if it lasts, use another node");
                    None
                }
            },
            // The account never changes, so its notification is of no interest.
            Subject::Keepalive { .. } => None,
            Subject::Account { address, .. } => {
                self.store.stats.notifications.add(1);
                if let Err(reason) = &account {
                    warn!(target: log_target::LOG, url = self.url(), account = %address, reason, "a notification cannot be read: RPC serves the account until it is subscribed anew; if it comes again, use another node");
                }
                let presence = account.ok().map(|account| account.presence());
                Some(SessionEvent::Account { subject, slot, presence })
            }
        }
    }

    /// The node's WebSocket URL, for log lines.
    fn url(&self) -> String {
        Redacted(&self.endpoint.ws).to_string()
    }

    fn carry_out(&mut self) {
        loop {
            // Takes one command at a time, so that the lock is not held while the command is
            // carried out.
            let command = self.shared.lock().next_command(self.id);
            match command {
                None => return,
                Some(LinkCommand::Connect) => {
                    let (endpoint, rpc) = (self.endpoint.clone(), self.rpc.clone());
                    let connect = async move {
                        let (client, genesis) = tokio::join!(client::connect(&endpoint), rpc.genesis());
                        Ok((client?, genesis))
                    };
                    self.connecting = Some(connect.boxed());
                }
                Some(LinkCommand::Disconnect { .. }) => self.disconnect(),
                Some(LinkCommand::Subscribe(subject)) => {
                    if let Some(wire) = &mut self.wire {
                        wire.subscribe(subject);
                    }
                }
                Some(LinkCommand::Unsubscribe(subject)) => {
                    if let Some(wire) = &mut self.wire {
                        wire.unsubscribe(subject);
                    }
                }
            }
        }
    }

    fn disconnect(&mut self) {
        self.connecting = None;
        self.lags = NotificationLags::default();
        if let Some(wire) = self.wire.take() {
            self.store.stats.losses.add(1);
            let (client, endpoint) = (wire.into_client(), self.endpoint.clone());
            self.closing
                .push(async move { DriverEvent::Closed(client::close(client, &endpoint).await) }.boxed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_by_the_second() {
        let at = |ms: u64| Tick::from_nanos((10_000 + ms) * 1_000_000);
        let mut flow = Flow::default();
        assert!(flow.admits(at(0), MAX_RATE - 1));
        assert!(flow.admits(at(500), 1));
        assert!(!flow.admits(at(999), 1));
        assert!(flow.admits(at(1_000), MAX_RATE), "the next second has its own");
    }
}
