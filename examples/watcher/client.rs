//! The bot's own RPC client: the mirror reads through it, and so does the watcher.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use balance_mirror::CommitmentLevel;
use solana_client::{
    client_error::{ClientError, ClientErrorKind},
    nonblocking::rpc_client::RpcClient,
    rpc_request::RpcError,
};
use solana_commitment_config::CommitmentConfig;
use url::Url;

/// How long one HTTP request may take; the mirror cuts its own earlier.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one of the watcher's own calls may take, with the client's retries of refused ones.
const CALL: Duration = Duration::from_secs(15);
/// JSON-RPC's codes for a request that is wrong in itself: invalid request, unknown method, invalid parameters.
const WRONG_REQUEST: std::ops::RangeInclusive<i64> = -32602..=-32600;

/// A client of this node.
pub(crate) fn client(url: &str, commitment: CommitmentLevel) -> Arc<RpcClient> {
    let commitment = CommitmentConfig { commitment };
    Arc::new(RpcClient::new_with_timeout_and_commitment(url.to_owned(), TIMEOUT, commitment))
}

/// A URL as it may be shown: a key can be in its user part, path or query.
pub(crate) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
        }
        Err(_) => "an unreadable URL".to_owned(),
    }
}

/// A call that gave no answer, in words without the URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CallFailed {
    /// Whether the same call may succeed a little later.
    pub(crate) transient: bool,
    reason: String,
}

impl fmt::Display for CallFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for CallFailed {}

/// Makes a call of the watcher's own, bounded in time: the client retries refused calls for minutes.
pub(crate) async fn call<T>(
    rpc: &RpcClient,
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, CallFailed> {
    match tokio::time::timeout(CALL, request).await {
        Ok(answer) => answer.map_err(|error| explain(&error, &rpc.url())),
        Err(_) => Err(CallFailed { transient: true, reason: format!("no answer within {CALL:?}") }),
    }
}

/// The client's own texts hold the URL, key and all.
fn explain(error: &ClientError, url: &str) -> CallFailed {
    let (transient, reason) = match error.kind() {
        ClientErrorKind::RpcError(RpcError::RpcResponseError { code, message, .. }) => {
            (!WRONG_REQUEST.contains(code), format!("the node answers {} ({code})", scrubbed(message, url)))
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

/// A node's words, without those that stand in its URL beyond the host.
fn scrubbed(words: &str, url: &str) -> String {
    let host = shown(url);
    let parts = url.split(|letter: char| !letter.is_alphanumeric() && letter != '-' && letter != '_');
    // Shorter ones are no keys, and would tear words apart.
    let secrets = parts.filter(|part| part.len() >= 6 && !host.contains(part));
    secrets.fold(words.to_owned(), |words, secret| words.replace(secret, "…"))
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
    fn a_key_that_the_node_repeats_is_left_out() {
        for url in ["https://host.example/s3cr3t-key", "https://host.example/?key=s3cr3t-key&x=1"] {
            assert_eq!(scrubbed("s3cr3t-key is no key of host.example", url), "… is no key of host.example");
        }
    }

    #[tokio::test]
    async fn a_node_that_is_down_is_worth_another_try_and_its_url_stays_hidden() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let client = client(&format!("http://127.0.0.1:{port}/s3cr3t"), CommitmentLevel::Confirmed);
        let failed = call(&client, client.get_slot()).await.expect_err("nobody listens");
        assert!(failed.transient && failed.to_string().contains("refused"), "{failed}");
        assert!(!format!("{failed} {failed:?}").contains("s3cr3t"));
    }
}
