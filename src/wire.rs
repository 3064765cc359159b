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

/// One connection and its subscriptions.
pub(crate) struct Wire {
    client: Arc<PubsubClient>,
    commitment: CommitmentLevel,
    streams: Streams,
}

impl Wire {
    pub(crate) fn new(client: PubsubClient, commitment: CommitmentLevel) -> Self {
        Self { client: Arc::new(client), commitment, streams: Streams::default() }
    }

    pub(crate) fn subscribe(&mut self, subject: Subject) {
        let (stop, stopped) = oneshot::channel();
        let stream = pubsub::subscription(self.client.clone(), subject, self.commitment, stopped);
        self.streams.add(subject, stream, stop);
    }

    /// Ends a subscription; what it still delivers is dropped with it.
    pub(crate) fn unsubscribe(&mut self, subject: Subject) {
        self.streams.stop(subject);
    }

    /// The next turn. Cancel safe: what a turn takes it also returns.
    pub(crate) async fn turn(&mut self) -> Turn {
        self.streams.turn().await
    }

    /// Gives the client back when nothing polls its subscriptions any more.
    pub(crate) fn into_client(self) -> Arc<PubsubClient> {
        self.client
    }
}

#[derive(Default)]
struct Streams {
    canary: Option<Subscription>,
    others: Vec<Subscription>,
    /// A subscription ended unasked; told once all that came before is.
    ended: bool,
}

impl Streams {
    fn add(
        &mut self,
        subject: Subject,
        stream: impl Stream<Item = Event> + Send + 'static,
        stop: oneshot::Sender<()>,
    ) {
        let subscription = Subscription { subject, stream: Box::pin(stream), stop: Some(stop), over: false };
        match subject {
            Subject::Canary => self.canary = Some(subscription),
            _ => self.others.push(subscription),
        }
    }

    fn stop(&mut self, subject: Subject) {
        let stopping = self.others.iter_mut().find(|subscription| subscription.subject == subject);
        if let Some(stop) = stopping.and_then(|subscription| subscription.stop.take()) {
            // Deaf only if it has just ended by itself.
            let _ = stop.send(());
        }
    }

    async fn turn(&mut self) -> Turn {
        tokio::task::unconstrained(poll_fn(|cx| self.poll_turn(cx))).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut canaries = Vec::new();
        let mut events = Vec::new();
        if let Some(canary) = &mut self.canary {
            self.ended |= canary.drain(cx, &mut canaries);
        }
        for subscription in &mut self.others {
            self.ended |= subscription.drain(cx, &mut events);
        }
        if canaries.len() + events.len() > MAX_TURN {
            return Poll::Ready(Turn::Flooded);
        }
        self.others.retain(|subscription| !subscription.over);
        // Answers last: what they start must not take a canary from before them for one from behind.
        let (mut told, mut answers): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|(_, event)| matches!(event, Event::Notified(_)));
        told.append(&mut canaries);
        told.append(&mut answers);
        if !told.is_empty() {
            Poll::Ready(Turn::Events(told))
        } else if self.ended {
            Poll::Ready(Turn::Ended)
        } else {
            Poll::Pending
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

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use solana_account_decoder_client_types::{UiAccount, UiAccountData, UiAccountEncoding};
    use solana_pubkey::Pubkey;
    use solana_rpc_client_api::response::{Response, RpcResponseContext};
    use tokio::sync::mpsc::{self, Sender};

    use super::*;

    fn account(byte: u8) -> Subject {
        Subject::Account { address: Pubkey::new_from_array([byte; 32]), attempt: 0, own_parameters: false }
    }

    fn notified(slot: u64) -> Event {
        Event::Notified(Response {
            context: RpcResponseContext::new(slot),
            value: UiAccount {
                lamports: 1,
                data: UiAccountData::Binary(String::new(), UiAccountEncoding::Base64),
                owner: String::new(),
                executable: false,
                rent_epoch: 0,
                space: None,
            },
        })
    }

    /// A subscription as the client has it: a tokio channel, which counts against the cooperative budget.
    fn subscribe(streams: &mut Streams, subject: Subject) -> (Sender<Event>, oneshot::Receiver<()>) {
        let (events, mut receiver) = mpsc::channel(4_096);
        let (stop, stopped) = oneshot::channel();
        streams.add(subject, futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed(), stop);
        (events, stopped)
    }

    fn slots(turn: Turn) -> Vec<(Subject, u64)> {
        let Turn::Events(events) = turn else { panic!("no events: {turn:?}") };
        events
            .into_iter()
            .map(|(subject, event)| match event {
                Event::Notified(response) => (subject, response.context.slot),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn a_canary_comes_after_all_that_was_sent_before_it_however_much_that_is() {
        let mut streams = Streams::default();
        let (canary, _stop) = subscribe(&mut streams, Subject::Canary);
        let (first, _stop) = subscribe(&mut streams, account(1));
        let (second, _stop) = subscribe(&mut streams, account(2));
        // Past tokio's budget of 128 a plain poll takes a channel for empty that is not.
        for slot in 0..1_000 {
            first.try_send(notified(slot)).expect("room");
            second.try_send(notified(slot)).expect("room");
        }
        canary.try_send(notified(1_000)).expect("room");
        let turn = slots(streams.turn().await);
        assert_eq!(turn.len(), 2_001);
        assert_eq!(turn.last(), Some(&(Subject::Canary, 1_000)));
        for subject in [account(1), account(2)] {
            let own: Vec<u64> = turn.iter().filter(|(s, _)| *s == subject).map(|(_, slot)| *slot).collect();
            assert!(own.iter().copied().eq(0..1_000), "in the order of arrival");
        }
        assert!(streams.turn().now_or_never().is_none(), "nothing is left, and nothing is made up");
    }

    #[tokio::test]
    async fn an_answer_comes_after_the_canaries_that_came_with_it() {
        let mut streams = Streams::default();
        let (canary, _stop) = subscribe(&mut streams, Subject::Canary);
        let (barrier, _stop) = subscribe(&mut streams, Subject::Barrier { length: 99 });
        barrier.try_send(Event::Refused { reason: "no".to_owned() }).expect("room");
        canary.try_send(notified(1)).expect("room");
        canary.try_send(notified(2)).expect("room");
        let Turn::Events(events) = streams.turn().await else { panic!("events") };
        assert!(
            matches!(events.last(), Some((Subject::Barrier { .. }, Event::Refused { .. }))),
            "{events:?}"
        );
        assert_eq!(events.len(), 3);
    }

    #[tokio::test]
    async fn a_stream_that_ends_unasked_is_the_connections_end() {
        let mut streams = Streams::default();
        let (_canary, _stop) = subscribe(&mut streams, Subject::Canary);
        let (stopped, told) = subscribe(&mut streams, account(1));
        let (living, _stop) = subscribe(&mut streams, account(2));
        streams.stop(account(1));
        assert_eq!(told.await, Ok(()));
        drop(stopped);
        living.try_send(notified(1)).expect("room");
        assert_eq!(slots(streams.turn().await), [(account(2), 1)], "an end that was asked for is none");
        living.try_send(notified(2)).expect("room");
        drop(living);
        assert_eq!(slots(streams.turn().await), [(account(2), 2)], "what came before the end is told");
        assert!(matches!(streams.turn().await, Turn::Ended));
    }

    #[tokio::test]
    async fn a_flood_is_told_instead_of_swallowed() {
        let mut streams = Streams::default();
        let (stop, _stopped) = oneshot::channel();
        streams.add(account(1), futures::stream::repeat_with(|| notified(1)), stop);
        assert!(matches!(streams.turn().await, Turn::Flooded));
    }
}
