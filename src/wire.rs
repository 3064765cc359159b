//! The subscriptions of one connection, polled so that the order in which the server sent is restored.
//!
//! The client hands each subscription a channel of its own. What was pushed before a canary is in its channel
//! when the canary is in its own, though. So: take the canaries, then drain every other stream until it is
//! pending, and deliver the canaries last. Pending must be true: tokio's cooperative budget fakes it, so the
//! whole is polled under [`unconstrained`](tokio::task::unconstrained).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, future::poll_fn};
use solana_commitment_config::CommitmentLevel;
use solana_pubsub_client::nonblocking::pubsub_client::PubsubClient;
use tokio::sync::oneshot;

use crate::{
    core::session::Subject,
    source::pubsub::{self, Event},
};

/// Events taken in one turn, at most: a server that sends faster than this is drained is dropped.
const MAX_TURN: usize = 65_536;

/// What a turn yields.
#[derive(Debug)]
pub(crate) enum Turn {
    /// In an order in which they can be applied.
    Events(Vec<(Subject, Event)>),
    /// A subscription ended that nobody had stopped: so the connection has.
    Ended,
    /// More than can be drained.
    Flooded,
}

struct Subscription {
    subject: Subject,
    stream: Pin<Box<dyn Stream<Item = Event> + Send>>,
    /// `None` once it is told to stop.
    stop: Option<oneshot::Sender<()>>,
    /// Its stream has ended, or will yield nothing more.
    over: bool,
}

/// One connection's subscriptions.
pub(crate) struct Wire {
    client: Arc<PubsubClient>,
    commitment: CommitmentLevel,
    canary: Option<Subscription>,
    others: Vec<Subscription>,
}

impl Wire {
    pub(crate) fn new(client: PubsubClient, commitment: CommitmentLevel) -> Self {
        Self { client: Arc::new(client), commitment, canary: None, others: Vec::new() }
    }

    pub(crate) fn subscribe(&mut self, subject: Subject) {
        let (stop, stopped) = oneshot::channel();
        let stream = pubsub::subscription(self.client.clone(), subject, self.commitment, stopped);
        let subscription = Subscription { subject, stream: Box::pin(stream), stop: Some(stop), over: false };
        match subject {
            Subject::Canary => self.canary = Some(subscription),
            _ => self.others.push(subscription),
        }
    }

    /// Ends a subscription; what it still delivers is dropped with it.
    pub(crate) fn unsubscribe(&mut self, subject: Subject) {
        let stopping = self.others.iter_mut().find(|subscription| subscription.subject == subject);
        if let Some(stop) = stopping.and_then(|subscription| subscription.stop.take()) {
            // Deaf only if it has just ended by itself.
            let _ = stop.send(());
        }
    }

    /// The next turn. Cancel safe: what a turn takes it also returns.
    pub(crate) async fn turn(&mut self) -> Turn {
        tokio::task::unconstrained(poll_fn(|cx| self.poll_turn(cx))).await
    }

    /// Gives the client back when nothing polls its subscriptions any more.
    pub(crate) fn into_client(self) -> Arc<PubsubClient> {
        self.client
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut canaries = Vec::new();
        let mut events = Vec::new();
        let mut ended = false;
        if let Some(canary) = &mut self.canary {
            ended |= canary.drain(cx, &mut canaries);
        }
        for subscription in &mut self.others {
            ended |= subscription.drain(cx, &mut events);
        }
        if canaries.len() + events.len() > MAX_TURN {
            return Poll::Ready(Turn::Flooded);
        }
        self.others.retain(|subscription| !subscription.over);
        events.append(&mut canaries);
        if ended {
            Poll::Ready(Turn::Ended)
        } else if events.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(Turn::Events(events))
        }
    }
}

impl Subscription {
    /// Takes all there is; `true` if the stream ended unasked.
    fn drain(&mut self, cx: &mut Context<'_>, events: &mut Vec<(Subject, Event)>) -> bool {
        while !self.over && events.len() <= MAX_TURN {
            match self.stream.as_mut().poll_next(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(event)) => {
                    self.over = matches!(event, Event::Refused { .. });
                    events.push((self.subject, event));
                }
                Poll::Ready(None) => {
                    self.over = true;
                    return self.stop.is_some();
                }
            }
        }
        false
    }
}
