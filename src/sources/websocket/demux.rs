//! Polls the subscriptions of one connection, and restores the order in which the server sent their
//! events.
//!
//! The client gives each subscription its own channel. Events that the server sent before a canary
//! are in their channels by the time the canary is in its own. So a turn takes the canaries first,
//! then drains every other stream until it is pending, and delivers the canaries last. Pending must
//! be true: tokio's cooperative budget can fake it, so the whole turn is polled under
//! [`unconstrained`](tokio::task::unconstrained).

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
    core::link::websocket::{Subject, order_turn},
    sources::websocket::client::{self, SubscriptionEvent},
};

/// The most events taken in one turn. A server that sends faster than this can be drained is
/// disconnected.
const MAX_TURN: usize = 65_536;

/// What a turn yields.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Events, in an order in which they can be applied.
    Events(Vec<(Subject, SubscriptionEvent)>),
    /// A subscription ended that was not stopped, so the connection has ended.
    Ended,
    /// Only the canary ended, just as a barrier was acknowledged: the server gave both the same id,
    /// and the client keeps only the later subscription of an id.
    CanaryReplaced,
    /// The server sent more than can be drained in a turn.
    Flooded,
}

struct Subscription {
    subject: Subject,
    stream: Pin<Box<dyn Stream<Item = SubscriptionEvent> + Send>>,
    /// `None` once the subscription was stopped.
    stop: Option<oneshot::Sender<()>>,
    /// The stream has ended, or will yield nothing more.
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
        let stream = client::subscription(self.client.clone(), subject, self.commitment, stopped);
        self.streams.add(subject, stream, stop);
    }

    /// Ends a subscription. Events that it still delivers are dropped.
    pub(crate) fn unsubscribe(&mut self, subject: Subject) {
        self.streams.stop(subject);
    }

    /// The next turn. Cancel safe: a turn returns every event that it takes.
    pub(crate) async fn turn(&mut self) -> Turn {
        self.streams.turn().await
    }

    /// Returns the client, once its subscriptions are no longer polled.
    pub(crate) fn into_client(self) -> Arc<PubsubClient> {
        self.client
    }
}

#[derive(Default)]
struct Streams {
    canary: Option<Subscription>,
    others: Vec<Subscription>,
    /// A subscription ended without being stopped. Reported once all earlier events are.
    ended: bool,
    /// The same for the canary, with what it may mean.
    canary_end: Option<CanaryEnd>,
    /// A barrier was acknowledged in the last turn.
    barrier_taken: bool,
}

#[derive(Clone, Copy)]
enum CanaryEnd {
    /// The connection has ended.
    Lost,
    /// A barrier may have replaced the canary, unless other streams turn out to have ended with it.
    Suspected,
    /// No other stream ended: a barrier has replaced the canary.
    Replaced,
}

impl Streams {
    fn add(
        &mut self,
        subject: Subject,
        stream: impl Stream<Item = SubscriptionEvent> + Send + 'static,
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
            // The send fails only if the subscription has just ended by itself.
            let _ = stop.send(());
        }
    }

    async fn turn(&mut self) -> Turn {
        tokio::task::unconstrained(poll_fn(|cx| self.poll_turn(cx))).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut events = Vec::new();
        let mut canary_ended = false;
        if let Some(canary) = &mut self.canary {
            canary_ended = canary.drain(cx, &mut events);
        }
        for subscription in &mut self.others {
            self.ended |= subscription.drain(cx, &mut events);
        }
        if events.len() > MAX_TURN {
            return Poll::Ready(Turn::Flooded);
        }
        self.others.retain(|subscription| !subscription.over);
        let barrier_taken = events
            .iter()
            .any(|event| matches!(event, (Subject::Barrier { .. }, SubscriptionEvent::Acknowledged)));
        if canary_ended {
            let by_barrier = barrier_taken || self.barrier_taken;
            self.canary_end = Some(if by_barrier { CanaryEnd::Suspected } else { CanaryEnd::Lost });
        }
        if !events.is_empty() {
            self.barrier_taken = barrier_taken;
            order_turn(&mut events, SubscriptionEvent::is_answer);
            Poll::Ready(Turn::Events(events))
        } else if self.ended {
            Poll::Ready(Turn::Ended)
        } else {
            self.poll_canary_end(cx)
        }
    }
}

impl Streams {
    /// If a barrier may have replaced the canary, looks a second time: when the connection is lost,
    /// all streams end, but not all at once.
    fn poll_canary_end(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        match self.canary_end {
            None => Poll::Pending,
            Some(CanaryEnd::Lost) => Poll::Ready(Turn::Ended),
            Some(CanaryEnd::Replaced) => Poll::Ready(Turn::CanaryReplaced),
            Some(CanaryEnd::Suspected) => {
                self.canary_end = Some(CanaryEnd::Replaced);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Subscription {
    /// Takes all available events; returns `true` if the stream ended without being stopped.
    fn drain(&mut self, cx: &mut Context<'_>, events: &mut Vec<(Subject, SubscriptionEvent)>) -> bool {
        while !self.over && events.len() <= MAX_TURN {
            match self.stream.as_mut().poll_next(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(event)) => {
                    self.over = matches!(event, SubscriptionEvent::Refused { .. });
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

    fn notified(slot: u64) -> SubscriptionEvent {
        SubscriptionEvent::Notified(Response {
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

    /// A subscription as the client has it: a tokio channel, which counts against the cooperative
    /// budget.
    fn subscribe(
        streams: &mut Streams,
        subject: Subject,
    ) -> (Sender<SubscriptionEvent>, oneshot::Receiver<()>) {
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
                SubscriptionEvent::Notified(response) => (subject, response.context.slot),
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
        barrier.try_send(SubscriptionEvent::Refused { reason: "no".to_owned() }).expect("room");
        canary.try_send(notified(1)).expect("room");
        canary.try_send(notified(2)).expect("room");
        let Turn::Events(events) = streams.turn().await else { panic!("events") };
        assert!(
            matches!(events.last(), Some((Subject::Barrier { .. }, SubscriptionEvent::Refused { .. }))),
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
    async fn a_canary_that_ends_alone_beside_a_new_barrier_was_replaced_by_it() {
        let barrier = Subject::Barrier { length: 99 };
        // Whether the canary's end shows in the turn of the barrier's answer, in the next one, or
        // after that.
        for (turns, replaced) in [(0, true), (1, true), (2, false)] {
            let mut streams = Streams::default();
            let (canary, _stop) = subscribe(&mut streams, Subject::Canary);
            let (other, _stop) = subscribe(&mut streams, account(1));
            let (taken, _stop) = subscribe(&mut streams, barrier);
            let mut canary = Some(canary);
            taken.try_send(SubscriptionEvent::Acknowledged).expect("room");
            for turn in 0..=turns {
                if turn == turns {
                    canary.take();
                }
                other.try_send(notified(turn)).expect("room");
                let Turn::Events(_) = streams.turn().await else { panic!("what came before it is told") };
            }
            let end = streams.turn().await;
            assert_eq!(matches!(end, Turn::CanaryReplaced), replaced, "{turns}: {end:?}");
            assert_eq!(matches!(end, Turn::Ended), !replaced, "{turns}: {end:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_lost_beside_a_new_barrier_is_lost_whichever_stream_shows_it_first() {
        let mut streams = Streams::default();
        let (canary, _stop) = subscribe(&mut streams, Subject::Canary);
        let (other, _stop) = subscribe(&mut streams, account(1));
        let (taken, _stop) = subscribe(&mut streams, Subject::Barrier { length: 99 });
        taken.try_send(SubscriptionEvent::Acknowledged).expect("room");
        drop(canary);
        assert!(matches!(streams.turn().await, Turn::Events(_)));
        assert!(streams.turn().now_or_never().is_none(), "a second look is due");
        drop(other);
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
