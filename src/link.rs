//! The one loop of a connection: it feeds the session and carries out what the session decides.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;
use solana_pubsub_client::nonblocking::pubsub_client::PubsubClient;
use tokio::sync::{Notify, oneshot, watch};
use tracing::{debug, info, warn};

use crate::{
    book::{Book, Shared},
    clock::{JumpDetector, wall_ms},
    config::Settings,
    core::{
        observation::{Generation, Observation, Slot, Source},
        session::{Action, Fetch, Input, LinkPhase, Session, Subject},
        time::Tick,
        timers::Timer,
    },
    endpoint::{Endpoint, Redacted},
    fallback::{Ask, Fallback, Reply},
    source::{RawAccount, lag_ms, pubsub},
    wire::{Turn, Wire},
};

/// The clocks are compared at least so often, also where nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long the end of the last connection may take.
const GOODBYE: Duration = Duration::from_millis(1_500);

/// Where the link stands, for [`Health`](crate::Health).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinkStatus {
    pub(crate) phase: LinkPhase,
    pub(crate) since: Tick,
    pub(crate) acknowledged: usize,
    pub(crate) live: usize,
    /// The newest canary's slot, and by how much its Clock lagged wall time.
    pub(crate) canary: Option<(Slot, i64)>,
    pub(crate) last_error: Option<String>,
}

impl LinkStatus {
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            phase: LinkPhase::Connecting,
            since: now,
            acknowledged: 0,
            live: 0,
            canary: None,
            last_error: None,
        }
    }
}

/// How a connection came to its end.
#[derive(Debug)]
enum Loss {
    Refused(String),
    Ended,
    Flooded,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "cannot connect: {reason}"),
            Self::Ended => f.write_str("the connection ended"),
            Self::Flooded => f.write_str("the server sends faster than can be read"),
        }
    }
}

/// What a deadline that passed says of the connection.
fn overdue_reason(timer: Timer) -> &'static str {
    match timer {
        Timer::Connect => "the connect took too long",
        Timer::Subscribe => "a subscribe was not answered in time",
        _ => "no canary in time: the node is silent, or the connection half-open",
    }
}

enum Event {
    Stop,
    Orders,
    Connected(Result<PubsubClient, String>),
    Turn(Turn),
    Rechecked {
        generation: Generation,
        address: Pubkey,
        attempt: u32,
        slot: Option<Slot>,
    },
    /// A connection is closed; why it had ended, if its client knows.
    Closed(Option<String>),
    Wake,
}

/// See the module.
pub(crate) struct Link {
    session: Session,
    shared: Arc<Shared>,
    book: Arc<Book>,
    fallback: Fallback,
    /// How long a node that is behind is asked again for.
    patience: Duration,
    endpoint: Endpoint,
    commitment: CommitmentLevel,
    status: Arc<ArcSwap<LinkStatus>>,
    jumps: JumpDetector,
    orders: Arc<Notify>,
    connecting: Option<BoxFuture<'static, Result<PubsubClient, String>>>,
    wire: Option<Wire>,
    /// What is under way beside the wire: rechecks, and connections that are closing.
    answers: FuturesUnordered<BoxFuture<'static, Event>>,
    baselines: Vec<Pubkey>,
    now: LinkStatus,
}

impl Link {
    pub(crate) fn new(
        settings: &Settings,
        session: Session,
        shared: Arc<Shared>,
        book: Arc<Book>,
        fallback: Fallback,
        status: Arc<ArcSwap<LinkStatus>>,
    ) -> Self {
        let tick = book.clock.now();
        let orders = shared.lock().orders_given();
        Self {
            session,
            shared,
            fallback,
            patience: settings.rpc_timeout,
            endpoint: settings.endpoint.clone(),
            commitment: settings.commitment,
            jumps: JumpDetector::new(tick, wall_ms()),
            orders,
            connecting: None,
            wire: None,
            answers: FuturesUnordered::new(),
            baselines: Vec::new(),
            now: LinkStatus::clone(&status.load()),
            status,
            book,
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<()>) {
        self.carry_out();
        while self.session.phase() != LinkPhase::Stopped {
            let event = self.next_event(&mut stop).await;
            self.take(event);
            let now = self.book.clock.now();
            if self.jumps.jumped(now, wall_ms()) {
                warn!("the host's clocks jumped: every proof is void");
                self.now.last_error = Some("the host's clocks jumped against each other".to_owned());
                self.session.handle(now, Input::ClockJumped);
            }
            self.session.expire(now);
            self.carry_out();
            self.report(now);
        }
        // The goodbye to the server; what else is under way ends by itself.
        let goodbye = async { while self.answers.next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            debug!("the server does not take the goodbye");
        }
    }

    /// To stop comes first, then orders and answers, which are few; the wire, which may be busy, after them;
    /// the clock last, so that a deadline is judged by all that had arrived before it.
    async fn next_event(&mut self, stop: &mut watch::Receiver<()>) -> Event {
        let now = self.book.clock.now();
        let wake = self.session.next_deadline().map_or(HEARTBEAT, |due| due.since(now).min(HEARTBEAT));
        let Self { orders, connecting, wire, answers, .. } = self;
        let turn = async {
            match wire {
                Some(wire) => wire.turn().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.changed() => Event::Stop,
            () = orders.notified() => Event::Orders,
            Some(outcome) = OptionFuture::from(connecting.as_mut()) => Event::Connected(outcome),
            Some(event) = answers.next(), if !answers.is_empty() => event,
            turn = turn => Event::Turn(turn),
            () = tokio::time::sleep(wake) => Event::Wake,
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.book.clock.now();
        match event {
            Event::Stop => self.session.handle(now, Input::Stop),
            Event::Orders => {
                let orders = self.shared.lock().take_orders();
                for (address, watch) in orders.watches {
                    let input = match watch {
                        Some(watch) => Input::Watch { address, watch },
                        None => Input::Unwatch { address },
                    };
                    self.session.handle(now, input);
                }
                for address in orders.accused {
                    self.session.handle(now, Input::Accused { address });
                }
            }
            Event::Connected(outcome) => {
                self.connecting = None;
                match outcome {
                    Ok(client) => {
                        self.book.stats.connects.add(1);
                        self.wire = Some(Wire::new(client, self.commitment));
                        self.session.handle(now, Input::Connected);
                    }
                    Err(reason) => self.lose(now, &Loss::Refused(reason)),
                }
            }
            Event::Turn(Turn::Events(events)) => {
                for (subject, event) in events {
                    self.notified(subject, event);
                    // Each input's actions before the next input: a canary's proof is published after the
                    // records that it speaks for, and what is told of the link is not behind either.
                    self.carry_out();
                    self.report(now);
                }
            }
            Event::Turn(Turn::Ended) => self.lose(now, &Loss::Ended),
            Event::Turn(Turn::Flooded) => self.lose(now, &Loss::Flooded),
            Event::Rechecked { generation, address, attempt, slot } => {
                self.session.handle(now, Input::Rechecked { generation, address, attempt, slot });
            }
            Event::Closed(Some(reason)) => {
                info!(url = %Redacted(&self.endpoint.ws), reason, "why the connection ended");
                self.now.last_error = Some(reason);
            }
            Event::Closed(None) | Event::Wake => {}
        }
    }

    fn lose(&mut self, now: Tick, loss: &Loss) {
        self.now.last_error = Some(loss.to_string());
        self.session.handle(now, Input::Lost);
    }

    fn notified(&mut self, subject: Subject, event: pubsub::Event) {
        let now = self.book.clock.now();
        let response = match event {
            pubsub::Event::Acknowledged => return self.session.handle(now, Input::Acknowledged(subject)),
            pubsub::Event::Refused { reason } => {
                let reason = self.endpoint.scrub(&reason);
                // Each further try of an account that is refused would be a line.
                if matches!(subject, Subject::Account { attempt: 1.., .. }) {
                    debug!(?subject, reason, "a subscription was refused");
                } else {
                    warn!(?subject, reason, "a subscription was refused");
                }
                self.book.stats.refused.add(1);
                self.now.last_error = Some(format!("a subscription was refused: {reason}"));
                return self.session.handle(now, Input::Refused(subject));
            }
            pubsub::Event::Notified(response) => response,
        };
        let slot = response.context.slot;
        let account = RawAccount::decode(&response.value);
        match subject {
            Subject::Barrier { length } => self.session.handle(now, Input::Barrier { length, slot }),
            Subject::Canary => match account.ok().and_then(|clock| clock.unix_timestamp()) {
                Some(time) => {
                    let lag_ms = lag_ms(wall_ms(), time);
                    self.now.canary = Some((slot, lag_ms));
                    let of_rpc = self.shared.lock().take_chain_lag();
                    if let Some(lag_ms) = of_rpc {
                        self.session.handle(now, Input::ChainLag { lag_ms });
                    }
                    self.session.handle(now, Input::Canary { slot, lag_ms });
                }
                // Not a tick: if none follows, the deadline speaks.
                None => warn!("a canary does not hold a Clock"),
            },
            Subject::Account { .. } => {
                let Some(address) = self.session.account(subject) else { return };
                self.book.stats.notifications.add(1);
                match account {
                    Ok(account) => {
                        let seen = Observation {
                            presence: account.presence(),
                            slot,
                            source: Source::Subscription(self.session.generation()),
                            proof: self.session.proof(),
                        };
                        self.shared.lock().apply(&address, &seen);
                    }
                    Err(reason) => {
                        warn!(account = %address, reason, "a notification cannot be read: subscribing anew");
                        self.session.handle(now, Input::Accused { address });
                    }
                }
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Connect => {
                    let endpoint = self.endpoint.clone();
                    self.connecting = Some(async move { pubsub::connect(&endpoint).await }.boxed());
                }
                Action::Disconnect { overdue } => {
                    if let Some(timer) = overdue {
                        self.now.last_error = Some(overdue_reason(timer).to_owned());
                    }
                    self.disconnect();
                }
                Action::Subscribe(subject) => {
                    if let Some(wire) = &mut self.wire {
                        wire.subscribe(subject);
                    }
                }
                Action::Unsubscribe(subject) => {
                    if let Some(wire) = &mut self.wire {
                        wire.unsubscribe(subject);
                    }
                }
                Action::Fetch(fetch) => self.fetch(fetch),
                Action::Cover { address, watch, generation } => {
                    let covered = self.shared.lock().cover(&address, watch, generation);
                    if !covered {
                        self.session.handle(self.book.clock.now(), Input::NotCovered { address });
                    }
                }
                Action::Uncover { address } => self.shared.lock().uncover(&address),
                Action::UncoverAll => self.shared.lock().uncover_all(),
                Action::Prove(evidence) => self.shared.lock().prove(evidence),
            }
        }
        // The baselines of one turn share a call.
        if !self.baselines.is_empty() {
            let addresses = std::mem::take(&mut self.baselines);
            self.hand_in(addresses.into_iter().map(|address| (address, None)), 0);
        }
    }

    fn disconnect(&mut self) {
        self.connecting = None;
        self.now.canary = None;
        if let Some(wire) = self.wire.take() {
            self.book.stats.losses.add(1);
            let (client, endpoint) = (wire.into_client(), self.endpoint.clone());
            self.answers.push(async move { Event::Closed(pubsub::close(client, &endpoint).await) }.boxed());
        }
    }

    fn fetch(&mut self, fetch: Fetch) {
        match fetch {
            Fetch::Baseline(address) => self.baselines.push(address),
            // Its answers speak through the ledger.
            Fetch::Audit(addresses) => self.hand_in(addresses.into_iter().map(|address| (address, None)), 0),
            Fetch::Recheck { generation, accounts, min_slot } => {
                let mut asks = Vec::with_capacity(accounts.len());
                for (address, attempt) in accounts {
                    let (reply, answer) = oneshot::channel();
                    asks.push((address, Some(reply)));
                    let rechecked = async move {
                        let slot = answer.await.ok().and_then(Result::ok);
                        Event::Rechecked { generation, address, attempt, slot }
                    };
                    self.answers.push(rechecked.boxed());
                }
                self.hand_in(asks.into_iter(), min_slot);
            }
        }
    }

    /// Hands the asks in together; where the queue is full, each is answered by the loss of its sender.
    fn hand_in(&self, asks: impl Iterator<Item = (Pubkey, Option<Reply>)>, min_slot: Slot) {
        let not_before = self.book.clock.now();
        let patience = not_before.plus(self.patience);
        let asks = asks
            .map(|(address, reply)| Ask { address, min_slot, not_before, urgent: false, reply, patience })
            .collect();
        if let Err(untaken) = self.fallback.ask(asks) {
            debug!(?untaken, "RPC reads were not taken");
        }
    }

    /// Logs a change of phase, and publishes where the link stands.
    fn report(&mut self, now: Tick) {
        let phase = self.session.phase();
        if phase != self.now.phase {
            let from = self.now.phase.name();
            let spent_ms = now.since(self.now.since).as_millis();
            let url = Redacted(&self.endpoint.ws);
            let error = self.now.last_error.as_deref().unwrap_or_default();
            match phase {
                LinkPhase::Waiting => warn!(%url, from, spent_ms, error, "link lost, connecting anew soon"),
                LinkPhase::Lagging => warn!(%url, from, spent_ms, "link lags: the node proves nothing"),
                // Each try of a node that is down would be a line.
                LinkPhase::Connecting => debug!(%url, from, spent_ms, "link connecting"),
                _ => info!(%url, from, spent_ms, "link {}", phase.name()),
            }
            self.now.phase = phase;
            self.now.since = now;
        }
        (self.now.acknowledged, self.now.live) = self.session.counts();
        if self.now != **self.status.load() {
            self.status.store(Arc::new(self.now.clone()));
        }
    }
}
