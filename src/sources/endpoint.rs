//! A node's URLs and headers, and how to print them without their secrets.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{ParseError, Url};

use crate::{
    error::ConfigError,
    sources::redact::{self, Secrets},
};

/// A node's RPC and WebSocket URLs, with the extra headers sent to both.
///
/// Hosted nodes expect their key in the path, the query, the user part or a header. So `Display`
/// and `Debug` show only scheme, host and port.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) rpc: Url,
    pub(crate) ws: Url,
    pub(crate) headers: HeaderMap,
    /// Everything that may be a key, in every form in which a text may repeat it, in lower case.
    secrets: Arc<[String]>,
    /// The same for the bot's own RPC client; all clones share it.
    of_client: Arc<OnceLock<Arc<[String]>>>,
}

impl Endpoint {
    pub(crate) fn new(
        rpc: &str,
        ws: Option<&str>,
        headers: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let rpc = parse(rpc, "RPC", &["http", "https"])?;
        let ws = match ws {
            Some(ws) => parse(ws, "WebSocket", &["ws", "wss"])?,
            None => derive_ws(&rpc)?,
        };
        let mut map = HeaderMap::new();
        for (number, (name, value)) in (1..).zip(headers) {
            // An invalid name may be a value in the wrong place, so the error gives only its
            // number.
            let name_ok = HeaderName::try_from(name)
                .map_err(|_| ConfigError::Header { name: format!("number {number}") })?;
            let mut value =
                HeaderValue::try_from(value).map_err(|_| ConfigError::Header { name: name.clone() })?;
            value.set_sensitive(true);
            map.append(name_ok, value);
        }
        let mut secrets = Secrets::default();
        secrets.url(&rpc);
        secrets.url(&ws);
        for value in map.values() {
            secrets.header(&String::from_utf8_lossy(value.as_bytes()));
        }
        Ok(Self { rpc, ws, headers: map, secrets: secrets.into(), of_client: Arc::default() })
    }

    /// Adds the secrets in the URL of the bot's own RPC client: a key sent there may come back on
    /// the link as well.
    pub(crate) fn knows_also(&self, url: &str) {
        let mut secrets = Secrets::default();
        match Url::parse(url) {
            Ok(url) => secrets.url(&url),
            Err(_) => secrets.pieces(url),
        }
        // Set once, when the mirror starts.
        let _ = self.of_client.set(secrets.into());
    }

    /// The beginning of a text from a client or a server, without this endpoint's secrets.
    pub(crate) fn scrub(&self, text: &str) -> String {
        redact::scrub(
            text,
            self.secrets.iter().chain(self.of_client.get().into_iter().flat_map(|it| it.iter())),
        )
    }
}

fn parse(text: &str, what: &'static str, schemes: &'static [&'static str]) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|source| ConfigError::Url { what, source })?;
    // In `user:key@host` the user, which may be the key, would be taken for the scheme and shown.
    if url.cannot_be_a_base() {
        return Err(ConfigError::Url { what, source: ParseError::RelativeUrlWithoutBase });
    }
    if !schemes.contains(&url.scheme()) {
        return Err(ConfigError::Scheme { what, scheme: url.scheme().to_owned(), schemes });
    }
    Ok(url)
}

/// Derives the WebSocket URL as Solana's CLI does: host and path stay; an explicit port is
/// increased by one.
fn derive_ws(rpc: &Url) -> Result<Url, ConfigError> {
    let scheme = if rpc.scheme() == "https" { "wss" } else { "ws" };
    let mut ws = rpc.clone();
    let derived = ws.set_scheme(scheme).is_ok()
        && match rpc.port() {
            None => true,
            Some(port) => port.checked_add(1).is_some_and(|port| ws.set_port(Some(port)).is_ok()),
        };
    derived.then_some(ws).ok_or(ConfigError::NoWsUrl)
}

/// Prints a URL without the parts that may be secret: its user part, path and query.
pub(crate) struct Redacted<'a>(pub(crate) &'a Url);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        let hidden = url.path().len() > 1 || url.query().is_some() || !url.username().is_empty();
        f.write_str(if hidden { "/…" } else { "" })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", Redacted(&self.rpc), Redacted(&self.ws))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ws_of(rpc: &str) -> String {
        Endpoint::new(rpc, None, &[]).expect("a URL").ws.to_string()
    }

    #[test]
    fn the_websocket_url_is_derived_as_the_cli_does() {
        assert_eq!(ws_of("http://127.0.0.1:8899"), "ws://127.0.0.1:8900/");
        assert_eq!(ws_of("https://api.mainnet-beta.solana.com"), "wss://api.mainnet-beta.solana.com/");
        assert_eq!(ws_of("https://node.example:8443/key?x=1"), "wss://node.example:8444/key?x=1");
        assert_eq!(ws_of("http://node.example"), "ws://node.example/");
    }

    #[test]
    fn bad_urls_name_the_thing_and_the_remedy() {
        let error = |rpc: &str, ws| Endpoint::new(rpc, ws, &[]).expect_err("not a URL").to_string();
        assert!(error("nonsense", None).contains("RPC URL"));
        assert!(error("ftp://host", None).contains("http or https"));
        assert!(error("http://host", Some("http://host")).contains("ws or wss"));
        assert!(error("http://host:65535", None).contains("ws_url"));
        let error = |name: &str, value: &str| {
            let header = (name.to_owned(), value.to_owned());
            Endpoint::new("http://host", None, &[header]).expect_err("not a header").to_string()
        };
        assert!(error("x-token", "\n").contains("x-token"));
        assert!(error("Bearer s3cr3t", "authorization").contains("number 1"));
    }

    #[test]
    fn the_key_of_the_bots_own_client_is_known_to_every_clone() {
        let endpoint = Endpoint::new("http://host", None, &[]).expect("a URL");
        let of_the_link = endpoint.clone();
        endpoint.knows_also("http://host/s3cr3t");
        assert_eq!(of_the_link.scrub("no s3cr3t"), "no …");
    }

    #[test]
    fn neither_display_nor_debug_nor_an_error_shows_a_secret() {
        let secret = "s3cr3t";
        let headers = [("x-token".to_owned(), secret.to_owned())];
        for url in [
            format!("https://host/{secret}"),
            format!("https://host/?api-key={secret}"),
            format!("https://{secret}@host:9"),
            format!("https://user:{secret}@host"),
        ] {
            let endpoint = Endpoint::new(&url, None, &headers).expect("a URL");
            let shown = format!("{endpoint} {endpoint:?}");
            assert!(shown.contains("host") && !shown.contains(secret), "{shown}");
            let scrubbed = endpoint.scrub(&format!("cannot reach {url} with {secret}"));
            assert!(scrubbed.contains("host") && !scrubbed.contains(secret), "{scrubbed}");
        }
        for header in [("x".to_owned(), format!("{secret}\n")), (format!("Bearer {secret}"), "x".to_owned())]
        {
            let bad = Endpoint::new("https://host", None, &[header]).expect_err("not a header");
            assert!(!format!("{bad:?} {bad}").contains(secret), "{bad:?}");
        }
        for url in [format!("https://{secret}@:1:2"), format!("{secret}:pass@host"), format!("host/{secret}")]
        {
            let bad = Endpoint::new(&url, None, &[]).expect_err("not a URL");
            assert!(!format!("{bad:?} {bad}").contains(secret), "{bad:?}");
        }
    }
}
