//! The bot's own RPC client. The mirror and the watcher both read through it.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use balance_mirror::CommitmentLevel;
use solana_client::{
    client_error::{ClientError, ClientErrorKind},
    nonblocking::rpc_client::RpcClient,
    rpc_request::RpcError,
};
use solana_commitment_config::CommitmentConfig;
use url::Url;

/// How long one HTTP request may take; the mirror cuts off its own requests earlier.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one of the watcher's own calls may take, including the client's retries of refused
/// calls.
const CALL: Duration = Duration::from_secs(15);
/// JSON-RPC's codes for an invalid request: invalid request, unknown method, invalid parameters.
const WRONG_REQUEST: std::ops::RangeInclusive<i64> = -32602..=-32600;

/// Makes a client of this node.
pub(crate) fn client(url: &str, commitment: CommitmentLevel) -> Arc<RpcClient> {
    let commitment = CommitmentConfig { commitment };
    Arc::new(RpcClient::new_with_timeout_and_commitment(url.to_owned(), TIMEOUT, commitment))
}

/// A URL that is safe to show: a key can be in its user part, path or query.
pub(crate) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
        }
        Err(_) => "an unreadable URL".to_owned(),
    }
}

/// A call that failed, described without the URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CallFailed {
    /// Whether the same call may succeed if retried a little later.
    pub(crate) transient: bool,
    reason: String,
}

impl fmt::Display for CallFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for CallFailed {}

/// Makes one of the watcher's own calls with a time limit: the client retries refused calls for
/// minutes.
pub(crate) async fn call<T>(request: impl Future<Output = Result<T, ClientError>>) -> Result<T, CallFailed> {
    match tokio::time::timeout(CALL, request).await {
        Ok(answer) => answer.map_err(|error| explain(&error)),
        Err(_) => Err(CallFailed { transient: true, reason: format!("no answer within {CALL:?}") }),
    }
}

/// The client's own texts contain the URL with its key, and a node's text may repeat it in any
/// form. So this uses neither text, only codes and kinds.
fn explain(error: &ClientError) -> CallFailed {
    let (transient, reason) = match error.kind() {
        ClientErrorKind::RpcError(RpcError::RpcResponseError { code, .. }) => {
            (!WRONG_REQUEST.contains(code), format!("the node answers with error {code}{}", meaning(*code)))
        }
        ClientErrorKind::Reqwest(error) => match error.status().map(|status| status.as_u16()) {
            Some(status @ (401 | 403 | 404)) => {
                (false, format!("the node answers HTTP {status}: is the URL right, and the key in it?"))
            }
            Some(status) => (status == 429 || status >= 500, format!("the node answers HTTP {status}")),
            None if error.is_timeout() => (true, "the node does not answer in time".to_owned()),
            None if error.is_builder() => (false, "the RPC URL is none that HTTP can use".to_owned()),
            None if error.is_decode() => (false, "the node does not answer in JSON".to_owned()),
            None => (true, format!("the node cannot be reached{}", root(error))),
        },
        ClientErrorKind::Io(error) => (true, format!("the node cannot be reached: {}", error.kind())),
        ClientErrorKind::SerdeJson(_) => (false, "the node's answer does not fit the question".to_owned()),
        _ => (true, "the client failed".to_owned()),
    };
    CallFailed { transient, reason }
}

/// Describes a JSON-RPC code in the watcher's own words.
fn meaning(code: i64) -> &'static str {
    match code {
        -32005 => ": it is unhealthy, or behind its cluster",
        -32010 => ": it keeps no index of accounts by owner; give --account or --mint",
        -32016 => ": it has not come to that slot",
        -32600 | -32602 => ": it takes the request for wrong",
        -32601 => ": it does not know the method",
        -32603 => ": an error of its own",
        _ => "",
    }
}

/// The I/O error at the root of a transport error.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return format!(": {}", io.kind());
        }
        cause = error.source();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_key() {
        for url in
            ["https://s3cr3t@host:9/x", "https://host:9/s3cr3t", "https://u:s3cr3t@host:9/?key=s3cr3t#s3cr3t"]
        {
            assert_eq!(shown(url), "https://host:9");
        }
        assert!(!shown("s3cr3t").contains("s3cr3t"));
    }

    #[test]
    fn of_what_a_node_says_only_the_code_is_told() {
        let error = RpcError::RpcResponseError {
            code: -32005,
            message: "Node is unhealthy, S3CR3T".to_owned(),
            data: solana_client::rpc_request::RpcResponseErrorData::Empty,
        };
        let failed = explain(&ClientErrorKind::RpcError(error).into());
        assert!(failed.transient);
        assert_eq!(
            failed.to_string(),
            "the node answers with error -32005: it is unhealthy, or behind its cluster"
        );
    }

    #[tokio::test]
    async fn a_node_that_is_down_is_worth_another_try_and_its_url_stays_hidden() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let client = client(&format!("http://127.0.0.1:{port}/s3cr3t"), CommitmentLevel::Confirmed);
        let failed = call(client.get_slot()).await.expect_err("nobody listens");
        assert!(failed.transient && failed.to_string().contains("refused"), "{failed}");
        assert!(!format!("{failed} {failed:?}").contains("s3cr3t"));
    }
}
