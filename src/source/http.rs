//! The RPC transport of mirrors that are not given a client: extra headers, a limit on the size of answers,
//! and no hidden waiting when the node limits the rate.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{StatusCode, header};
use serde_json::Value;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::{
    client_error::{Error, ErrorKind, Result},
    request::{RpcError, RpcRequest, RpcResponseErrorData},
};

use crate::{endpoint::Endpoint, error::ConfigError};

/// 100 accounts of 10 KiB each in base64, and room to spare: token accounts have some hundred bytes.
const MAX_ANSWER: usize = 4 << 20;

/// What the transport puts into the error of a call whose rate the node limits.
const RATE_LIMITED: &str = "rate limited";

pub(crate) struct HttpSender {
    client: reqwest::Client,
    url: url::Url,
}

impl HttpSender {
    pub(crate) fn new(endpoint: &Endpoint, timeout: Duration) -> std::result::Result<Self, ConfigError> {
        let client = reqwest::Client::builder()
            .default_headers(endpoint.headers.clone())
            .timeout(timeout)
            .tcp_nodelay(true)
            // A redirect would carry the headers, and the key in them, to another host.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| ConfigError::Range {
                name: "rpc_url",
                value: endpoint.to_string(),
                range: "reachable by HTTP with TLS as this host has it",
            })?;
        Ok(Self { client, url: endpoint.rpc.clone() })
    }
}

#[async_trait]
impl RpcSender for HttpSender {
    async fn send(&self, request: RpcRequest, params: Value) -> Result<Value> {
        let body = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": request.to_string(), "params": params,
        });
        let mut response = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string())
            .send()
            .await
            .map_err(transport)?;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let wait = response.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok());
            return Err(ErrorKind::Custom(format!("{RATE_LIMITED} {}", wait.unwrap_or_default())).into());
        }
        // Some nodes send JSON-RPC errors with an HTTP error status: the body says more, if it is one.
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(malformed(format!("more than {MAX_ANSWER} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        match serde_json::from_slice::<Value>(&answer) {
            Ok(Value::Object(mut answer)) => result(&mut answer),
            _ if !status.is_success() => Err(ErrorKind::Custom(format!("status {}", status.as_u16())).into()),
            _ => Err(malformed("not a JSON object".to_owned())),
        }
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        self.url.to_string()
    }
}

fn result(answer: &mut serde_json::Map<String, Value>) -> Result<Value> {
    if let Some(error) = answer.get("error").filter(|error| error.is_object()) {
        return Err(RpcError::RpcResponseError {
            code: error["code"].as_i64().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            data: RpcResponseErrorData::Empty,
        }
        .into());
    }
    answer.remove("result").ok_or_else(|| malformed("no result".to_owned()))
}

fn transport(error: reqwest::Error) -> Error {
    ErrorKind::Reqwest(error.without_url()).into()
}

fn malformed(reason: String) -> Error {
    RpcError::RpcRequestError(reason).into()
}

/// What a [`HttpSender`] means by an error that only it makes: a status, or a limited rate.
pub(crate) fn refusal(custom: &str) -> Option<Refusal> {
    if let Some(wait) = custom.strip_prefix(RATE_LIMITED) {
        let wait = wait.trim().parse().ok().map(Duration::from_secs);
        return Some(Refusal::RateLimited(wait));
    }
    custom.strip_prefix("status ")?.parse().ok().map(Refusal::Status)
}

/// See [`refusal`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    RateLimited(Option<Duration>),
    Status(u16),
}
