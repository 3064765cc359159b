//! `solana-pubsub-client`, one subscription as one stream.
//!
//! The client drops a whole connection when a pending subscribe is cancelled, ends the first stream when the
//! same parameters are subscribed twice, and loses the order between subscriptions. So a subscription's
//! stream is only ever dropped with its client, except after its own end; the session never asks for the
//! same parameters twice; and whoever polls the streams restores the order (`crate::sources::websocket::demux`).

use std::{sync::Arc, time::Duration};

use async_stream::stream;
use futures::{FutureExt, Stream, StreamExt, pin_mut, select_biased};
use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding};
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_pubsub_client::nonblocking::pubsub_client::{PubsubClient, PubsubClientError};
use solana_rpc_client_api::{
    config::{RpcAccountInfoConfig, UiDataSliceConfig},
    response::Response,
};
use tokio::sync::oneshot;
use tungstenite::client::IntoClientRequest;

use crate::{
    core::link::websocket::Subject,
    sources::{CLOCK, RENT, endpoint::Endpoint},
};

/// Longer than any account: a slice of that length changes the parameters, and would change no data on a
/// node that did apply it.
const WHOLE: u64 = 1 << 24;

/// How long the answer to an unsubscribe is waited for.
const UNSUBSCRIBE_PATIENCE: Duration = Duration::from_secs(5);

/// What happens on a subscription.
#[derive(Debug)]
pub(crate) enum SubscriptionEvent {
    Acknowledged,
    Refused {
        reason: String,
    },
    Notified(Response<UiAccount>),
    /// The server has confirmed the unsubscribe.
    Unsubscribed,
}

impl SubscriptionEvent {
    /// Whether it answers a request.
    pub(crate) fn is_answer(&self) -> bool {
        !matches!(self, Self::Notified(_))
    }
}

/// Opens a connection; the error's text holds no secret.
pub(crate) async fn connect(endpoint: &Endpoint) -> Result<PubsubClient, String> {
    install_tls_provider();
    let request = endpoint.ws.as_str().into_client_request();
    let mut request = request.map_err(|error| endpoint.scrub(&error.to_string()))?;
    for (name, value) in &endpoint.headers {
        request.headers_mut().append(name, value.clone());
    }
    PubsubClient::new(request).await.map_err(|error| describe(&error, endpoint))
}

/// What the client says of an error, without its own vague words before the cause, and without secrets.
fn describe(error: &PubsubClientError, endpoint: &Endpoint) -> String {
    match error {
        PubsubClientError::ConnectionError(source) | PubsubClientError::WsError(source) => {
            endpoint.scrub(&source.to_string())
        }
        other => endpoint.scrub(&other.to_string()),
    }
}

/// The client leaves the choice of a TLS provider open and panics on `wss://` without one. A process that
/// has chosen keeps its choice.
fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Lost only to somebody who installs one at the same moment: then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// One subscription from its request to its end. It ends after a refusal, after `stop` (which unsubscribes),
/// and when the connection is gone.
pub(crate) fn subscription(
    client: Arc<PubsubClient>,
    subject: Subject,
    commitment: CommitmentLevel,
    stop: oneshot::Receiver<()>,
) -> impl Stream<Item = SubscriptionEvent> + Send {
    let (address, slice) = match subject {
        Subject::Canary => (CLOCK, None),
        Subject::Account { address, own_parameters: false, .. } => (address, None),
        Subject::Account { address, attempt, .. } => (address, Some(WHOLE + u64::from(attempt))),
        Subject::Barrier { length } => (CLOCK, Some(length)),
        Subject::Keepalive { .. } => (RENT, None),
    };
    let config = RpcAccountInfoConfig {
        encoding: Some(UiAccountEncoding::Base64),
        commitment: Some(CommitmentConfig { commitment }),
        data_slice: slice.map(|length| UiDataSliceConfig { offset: 0, length: length as usize }),
        min_context_slot: None,
    };
    stream! {
        let (notifications, unsubscribe) = match client.account_subscribe(&address, Some(config)).await {
            Ok(subscribed) => subscribed,
            Err(PubsubClientError::SubscribeFailed { reason, .. }) => {
                yield SubscriptionEvent::Refused { reason };
                return;
            }
            // The connection is gone: the stream just ends.
            Err(_) => return,
        };
        yield SubscriptionEvent::Acknowledged;
        let mut notifications = notifications.fuse();
        let stop = stop.fuse();
        pin_mut!(stop);
        loop {
            let next = select_biased! {
                notification = notifications.next() => notification,
                _ = stop => {
                    // A server that never answers keeps nothing here; to give the wait up harms nothing.
                    if tokio::time::timeout(UNSUBSCRIBE_PATIENCE, unsubscribe()).await.is_ok() {
                        yield SubscriptionEvent::Unsubscribed;
                    }
                    return;
                }
            };
            match next {
                Some(notification) => yield SubscriptionEvent::Notified(notification),
                None => return,
            }
        }
    }
}

/// Closes a connection that nobody polls any more, and says why it had ended, if the client knows.
pub(crate) async fn close(client: Arc<PubsubClient>, endpoint: &Endpoint) -> Option<String> {
    /// A client whose socket takes nothing any more never comes back.
    const PATIENCE: Duration = Duration::from_secs(1);
    let client = Arc::into_inner(client)?;
    // In a task of its own: the client panics when its own task was cancelled.
    let goodbye = tokio::spawn(client.shutdown());
    match tokio::time::timeout(PATIENCE, goodbye).await {
        Ok(Ok(Err(error))) => Some(describe(&error, endpoint)),
        _ => None,
    }
}
