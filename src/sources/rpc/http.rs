//! The RPC transport of mirrors that are given no client: it adds the extra headers, limits the
//! size of answers, and does not silently wait when the node limits the rate.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{StatusCode, header};
use serde_json::Value;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::{
    client_error::{Error, ErrorKind, Result},
    request::{RpcError, RpcRequest, RpcResponseErrorData},
};

use crate::{
    error::ConfigError,
    sources::endpoint::{Endpoint, Redacted},
};

/// The most bytes in an answer: 100 accounts of 10 KiB each in base64, with room to spare. Token
/// accounts have some hundred bytes.
const MAX_ANSWER: usize = 4 << 20;

/// The most JSON values in an answer; 100 accounts have some 1 200.
const MAX_VALUES: usize = 16_384;

/// The same for a wallet's token accounts. Cut to the fields needed, each has 19 values, so some 3
/// 400 accounts fit.
const MAX_VALUES_OF_A_WALLET: usize = 65_536;

/// A node without an index by owner scans all accounts of a program, so it gets this many times the
/// usual timeout.
const TIMES_FOR_A_WALLET: u32 = 4;

/// The transport begins the error of a call with this if the node limits the rate.
const RATE_LIMITED: &str = "rate limited";

/// The transport begins the error of an answer above its limits with this.
const TOO_LARGE: &str = "too large: ";

/// How many JSON values an answer to this request may have.
fn max_values(request: RpcRequest) -> usize {
    match request {
        RpcRequest::GetTokenAccountsByOwner => MAX_VALUES_OF_A_WALLET,
        _ => MAX_VALUES,
    }
}

/// How long this request may take, where others may take `timeout`.
pub(crate) fn patience(request: RpcRequest, timeout: Duration) -> Duration {
    match request {
        RpcRequest::GetTokenAccountsByOwner => timeout * TIMES_FOR_A_WALLET,
        _ => timeout,
    }
}

pub(crate) struct HttpSender {
    client: reqwest::Client,
    url: url::Url,
    timeout: Duration,
}

impl HttpSender {
    pub(crate) fn new(endpoint: &Endpoint, timeout: Duration) -> std::result::Result<Self, ConfigError> {
        let client = reqwest::Client::builder()
            .default_headers(endpoint.headers.clone())
            .tcp_nodelay(true)
            // A redirect would send the headers, and the key in them, to another host.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ConfigError::Tls {
                url: Redacted(&endpoint.rpc).to_string(),
                reason: endpoint.scrub(&error.to_string()),
            })?;
        Ok(Self { client, url: endpoint.rpc.clone(), timeout })
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
            .timeout(patience(request, self.timeout))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string())
            .send()
            .await
            .map_err(transport)?;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let wait = response.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok());
            return Err(ErrorKind::Custom(format!("{RATE_LIMITED} {}", wait.unwrap_or_default())).into());
        }
        // Some nodes send JSON-RPC errors with an HTTP error status. The body, if it is such an
        // error, says more than the status.
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(too_large(&format!("more than {MAX_ANSWER} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        answer_within(max_values(request), status, &answer)
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        self.url.to_string()
    }
}

/// Decodes a body received with an HTTP status: the call's result, or why there is none.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn answer(status: StatusCode, body: &[u8]) -> Result<Value> {
    answer_within(MAX_VALUES, status, body)
}

fn answer_within(most: usize, status: StatusCode, body: &[u8]) -> Result<Value> {
    // Once parsed, a two-byte value takes up to a hundred times as much memory.
    let many = values(body) > most;
    let parsed = if many { None } else { serde_json::from_slice::<Value>(body).ok() };
    match parsed {
        Some(Value::Object(mut answer)) => result(&mut answer),
        _ if !status.is_success() => Err(ErrorKind::Custom(format!("status {}", status.as_u16())).into()),
        _ if many => Err(too_large(&format!("more than the {most} values that it may have at most"))),
        _ => Err(malformed("not a JSON object".to_owned())),
    }
}

/// An upper bound on how many values a JSON text has. It is higher than the true number if strings
/// contain punctuation, which base64 does not.
fn values(text: &[u8]) -> usize {
    1 + text.iter().filter(|byte| matches!(byte, b'[' | b'{' | b',' | b':')).count()
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

fn too_large(what: &str) -> Error {
    ErrorKind::Custom(format!("{TOO_LARGE}{what}")).into()
}

/// Decodes an error text that only [`HttpSender`] makes: a status, a limited rate, or an answer
/// above its limits.
pub(crate) fn refusal(custom: &str) -> Option<Refusal> {
    if let Some(what) = custom.strip_prefix(TOO_LARGE) {
        return Some(Refusal::TooLarge(what.to_owned()));
    }
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
    TooLarge(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_judged_with_its_status() {
        let said = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            answer(status, body.as_bytes()).map_err(|error| error.to_string())
        };
        assert_eq!(said(200, r#"{"result":[1]}"#), Ok(serde_json::json!([1])));
        assert!(said(200, r#"{"results":[1]}"#).is_err_and(|error| error.contains("no result")));
        assert!(said(200, "[]").is_err_and(|error| error.contains("not a JSON object")));
        assert!(said(503, "<html>").is_err_and(|error| error.contains("status 503")));
        let error = said(500, r#"{"error":{"code":-32005,"message":"unhealthy"}}"#);
        assert!(error.is_err_and(|error| error.contains("-32005") && error.contains("unhealthy")));
    }

    #[test]
    fn a_body_of_more_values_than_any_answer_has_is_not_parsed() {
        let body = |count: usize| format!(r#"{{"result":[{}0]}}"#, "0,".repeat(count));
        let said = |count| answer(StatusCode::OK, body(count).as_bytes());
        assert!(said(MAX_VALUES / 2).is_ok());
        assert!(said(MAX_VALUES).is_err_and(|error| error.to_string().contains("at most")));
        let of_a_wallet = max_values(RpcRequest::GetTokenAccountsByOwner);
        assert!(answer_within(of_a_wallet, StatusCode::OK, body(MAX_VALUES).as_bytes()).is_ok());
    }
}
