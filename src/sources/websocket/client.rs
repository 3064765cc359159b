//! Wraps `solana-pubsub-client`: each subscription is one stream.
//!
//! The client drops the whole connection when a pending subscribe is cancelled. It ends the first
//! stream when the same parameters are subscribed twice. It loses the order between subscriptions.
//! So a subscription's stream is dropped only together with its client, or after it has ended; the
//! session never asks for the same parameters twice; and the code that polls the streams restores
//! the order (`crate::sources::websocket::demux`).

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

/// The least slice length of accounts that need parameters of their own. It is longer than any
/// account, so a slice of this length changes the parameters but no data, even on a node that
/// applies it.
const WHOLE: u64 = 1 << 24;

/// How long to wait for the answer to an unsubscribe.
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
    /// Whether the event answers a request.
    pub(crate) fn is_answer(&self) -> bool {
        !matches!(self, Self::Notified(_))
    }
}

/// Opens a connection. The error's text contains no secrets.
pub(crate) async fn connect(endpoint: &Endpoint) -> Result<PubsubClient, String> {
    install_tls_provider();
    let request = endpoint.ws.as_str().into_client_request();
    let mut request = request.map_err(|error| endpoint.scrub(&error.to_string()))?;
    for (name, value) in &endpoint.headers {
        request.headers_mut().append(name, value.clone());
    }
    PubsubClient::new(request).await.map_err(|error| describe(&error, endpoint))
}

/// Describes a client's error without secrets, and without the client's vague text before the
/// cause.
fn describe(error: &PubsubClientError, endpoint: &Endpoint) -> String {
    match error {
        PubsubClientError::ConnectionError(source) | PubsubClientError::WsError(source) => {
            endpoint.scrub(&source.to_string())
        }
        other => endpoint.scrub(&other.to_string()),
    }
}

/// Installs a TLS provider unless the process already has one. The client does not choose one, and
/// panics on `wss://` without one.
fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // This fails only if another thread installs one at the same moment; then there is one too.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// One subscription from its request to its end. The stream ends after a refusal, after `stop`
/// (which unsubscribes), and when the connection is gone.
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
                    // If the server never answers, stop waiting; that does no harm and keeps
                    // nothing alive.
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

/// Closes a connection that is no longer polled. Returns why it ended, if the client knows.
pub(crate) async fn close(client: Arc<PubsubClient>, endpoint: &Endpoint) -> Option<String> {
    /// The client never returns if its socket accepts no more data.
    const PATIENCE: Duration = Duration::from_secs(1);
    let client = Arc::into_inner(client)?;
    // Run it in a task of its own: the client panics if its own task was cancelled.
    let goodbye = tokio::spawn(client.shutdown());
    match tokio::time::timeout(PATIENCE, goodbye).await {
        Ok(Ok(Err(error))) => Some(describe(&error, endpoint)),
        _ => None,
    }
}
