//! Reads accounts by RPC: `getMultipleAccounts` with `minContextSlot`, with the Clock in every
//! answer.

pub(crate) mod http;
pub(crate) mod statuses;
pub(crate) mod wallet;

use std::{sync::Arc, time::Duration};

use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding};
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_pubkey::Pubkey;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client::rpc_client::RpcClientConfig;
use solana_rpc_client_api::{
    client_error::{Error, ErrorKind},
    config::RpcAccountInfoConfig,
    request::RpcError,
    response::Response,
};

use super::{CLOCK, RawAccount, lag_ms};
use crate::{
    clock::{Clock, wall_ms},
    core::base::{ids::Slot, time::Tick},
    error::{ConfigError, RpcFailure},
    sources::{
        endpoint::{Endpoint, Redacted},
        rpc::http::{HttpSender, Refusal, refusal},
    },
};

/// The JSON-RPC code of a node that has not reached `minContextSlot`.
const MIN_CONTEXT_SLOT_NOT_REACHED: i64 = -32016;

/// One node's RPC.
pub(crate) struct RpcSource {
    pub(super) client: Arc<RpcClient>,
    pub(super) commitment: CommitmentLevel,
    pub(super) timeout: Duration,
    pub(super) endpoint: Endpoint,
    clock: Clock,
}

/// The answer for all requested keys, from one bank.
#[derive(Debug)]
pub(crate) struct BankAnswer {
    pub(crate) slot: Slot,
    /// When the request was sent. The state in the answer is not older than that.
    pub(crate) sent: Tick,
    /// Wall time minus the chain's Clock, in milliseconds.
    pub(crate) lag_ms: i64,
    /// In the order of the keys; each with its own error, if it could not be decoded.
    pub(crate) accounts: Vec<Result<Option<RawAccount>, RpcFailure>>,
}

impl RpcSource {
    /// The RPC of an endpoint; `client` is the bot's own client, if it gave one.
    pub(crate) fn new(
        endpoint: &Endpoint,
        client: Option<Arc<RpcClient>>,
        commitment: CommitmentLevel,
        timeout: Duration,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        let client = match client {
            Some(client) => client,
            None => {
                let sender = HttpSender::new(endpoint, timeout)?;
                Arc::new(RpcClient::new_sender(sender, RpcClientConfig::default()))
            }
        };
        Ok(Self { client, commitment, timeout, endpoint: endpoint.clone(), clock })
    }

    /// The node's RPC URL, for log lines.
    pub(crate) fn url(&self) -> String {
        Redacted(&self.endpoint.rpc).to_string()
    }

    /// The genesis hash of the node's chain; `None` if the node does not answer within a second or
    /// so.
    pub(crate) async fn genesis(&self) -> Option<[u8; 32]> {
        /// A connect waits this long for the hash, then goes on without it.
        const PATIENCE: Duration = Duration::from_secs(1);
        let hash = tokio::time::timeout(PATIENCE.min(self.timeout), self.client.get_genesis_hash()).await;
        Some(hash.ok()?.ok()?.to_bytes())
    }

    /// Reads up to 99 accounts from one bank, at `min_slot` or later.
    pub(crate) async fn read(&self, addresses: &[Pubkey], min_slot: Slot) -> Result<BankAnswer, RpcFailure> {
        let keys: Vec<Pubkey> = addresses.iter().copied().chain([CLOCK]).collect();
        let config = RpcAccountInfoConfig {
            encoding: Some(UiAccountEncoding::Base64),
            commitment: Some(CommitmentConfig { commitment: self.commitment }),
            min_context_slot: (min_slot > 0).then_some(min_slot),
            data_slice: None,
        };
        let sent = self.clock.now();
        let call = self.client.get_multiple_ui_accounts_with_config(&keys, config);
        let answer = tokio::time::timeout(self.timeout, call)
            .await
            .map_err(|_| RpcFailure::Timeout { after: self.timeout })?
            .map_err(|error| failure(&error, min_slot, self.timeout, &self.endpoint))?;
        decode(&answer, &keys, min_slot, sent, wall_ms())
    }
}

/// What the node's answer says about each of `keys`, the last of which is the Clock.
pub(crate) fn decode(
    answer: &Response<Vec<Option<UiAccount>>>,
    keys: &[Pubkey],
    min_slot: Slot,
    sent: Tick,
    arrived_ms: i64,
) -> Result<BankAnswer, RpcFailure> {
    if answer.context.slot < min_slot {
        return Err(RpcFailure::Behind { min_slot });
    }
    if answer.value.len() != keys.len() {
        let reason = format!("{} accounts for {} keys", answer.value.len(), keys.len());
        return Err(RpcFailure::Malformed { reason });
    }
    let mut accounts = Vec::with_capacity(keys.len());
    for (key, account) in keys.iter().zip(&answer.value) {
        let account = account.as_ref().map(RawAccount::decode).transpose();
        accounts.push(account.map_err(|reason| RpcFailure::Malformed { reason: format!("{key}: {reason}") }));
    }
    let clock = accounts.pop().and_then(Result::ok).flatten();
    let time = clock.and_then(|clock| clock.unix_timestamp());
    let time = time.ok_or_else(|| RpcFailure::Malformed { reason: "no Clock sysvar".to_owned() })?;
    Ok(BankAnswer { slot: answer.context.slot, sent, lag_ms: lag_ms(arrived_ms, time), accounts })
}

/// Why a call failed, without the endpoint's secrets.
pub(crate) fn failure(error: &Error, min_slot: Slot, timeout: Duration, endpoint: &Endpoint) -> RpcFailure {
    match error.kind() {
        ErrorKind::RpcError(RpcError::RpcResponseError { code, message, .. }) => {
            // Some providers send another code with the same text.
            let behind = message.to_ascii_lowercase().contains("minimum context slot");
            if *code == MIN_CONTEXT_SLOT_NOT_REACHED || behind {
                RpcFailure::Behind { min_slot }
            } else {
                RpcFailure::Server { code: *code, message: endpoint.scrub(message) }
            }
        }
        ErrorKind::RpcError(other) => RpcFailure::Malformed { reason: endpoint.scrub(&other.to_string()) },
        ErrorKind::SerdeJson(source) => RpcFailure::Malformed { reason: endpoint.scrub(&source.to_string()) },
        ErrorKind::Reqwest(source) => match source.status() {
            Some(status) if status.as_u16() == 429 => RpcFailure::RateLimited { retry_after: None },
            Some(status) => RpcFailure::Status { status: status.as_u16() },
            None if source.is_timeout() => RpcFailure::Timeout { after: timeout },
            None if source.is_decode() => {
                RpcFailure::Malformed { reason: "an answer that is not JSON".to_owned() }
            }
            None => RpcFailure::Unreachable { reason: transport_reason(source) },
        },
        ErrorKind::Custom(custom) => match refusal(custom) {
            Some(Refusal::RateLimited(retry_after)) => RpcFailure::RateLimited { retry_after },
            Some(Refusal::Status(status)) => RpcFailure::Status { status },
            Some(Refusal::TooLarge(reason)) => RpcFailure::Malformed { reason },
            None => RpcFailure::Unreachable { reason: endpoint.scrub(custom) },
        },
        ErrorKind::Io(source) => RpcFailure::Unreachable { reason: source.kind().to_string() },
        _ => RpcFailure::Unreachable { reason: "the client failed".to_owned() },
    }
}

/// The reason for a transport error: the I/O error at its root, never the URL.
fn transport_reason(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind().to_string();
        }
        cause = error.source();
    }
    if error.is_connect() { "cannot connect" } else { "the connection broke" }.to_owned()
}
