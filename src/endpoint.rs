//! Where the node is: its URLs, the headers it wants, and how both are printed without their secrets.

use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::error::ConfigError;

/// A node's RPC and WebSocket URLs, with the extra headers both are asked with.
///
/// Hosted nodes carry their key in the path, the query, the user part or a header: `Display` and `Debug`
/// show scheme, host and port alone.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) rpc: Url,
    pub(crate) ws: Url,
    pub(crate) headers: HeaderMap,
    /// Where the bot's own RPC client goes, if it gave one.
    pub(crate) own_client: Option<Url>,
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
        for (name, value) in headers {
            let invalid = || ConfigError::Header { name: name.clone() };
            let name_ok = HeaderName::try_from(name).map_err(|_| invalid())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| invalid())?;
            value.set_sensitive(true);
            map.append(name_ok, value);
        }
        Ok(Self { rpc, ws, headers: map, own_client: None })
    }

    /// A text of a client or a server, without what is secret about this endpoint.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut scrubbed = text.to_owned();
        for url in [&self.rpc, &self.ws].into_iter().chain(&self.own_client) {
            let parts = url.path_segments().into_iter().flatten().map(str::to_owned);
            let query = url.query_pairs().map(|(_, value)| value.into_owned());
            let user = [url.username().to_owned(), url.password().unwrap_or_default().to_owned()];
            // A header may hold more than the key: `Bearer KEY`.
            let headers = self.headers.values().filter_map(|value| value.to_str().ok());
            let headers = headers.flat_map(str::split_whitespace).map(str::to_owned);
            for secret in parts.chain(query).chain(user).chain(headers).chain(url.query().map(str::to_owned))
            {
                // Shorter ones are no keys, and would tear words apart.
                if secret.len() >= 6 {
                    scrubbed = scrubbed.replace(&secret, "…");
                }
            }
        }
        scrubbed
    }
}

fn parse(text: &str, what: &'static str, schemes: &'static [&'static str]) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|source| ConfigError::Url { what, source })?;
    if !schemes.contains(&url.scheme()) {
        return Err(ConfigError::Scheme { what, scheme: url.scheme().to_owned(), schemes });
    }
    Ok(url)
}

/// As Solana's CLI derives it: an explicit port is followed by the next one; without one, the same authority.
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

/// A URL without what may be secret: its user part, path and query.
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
        let header = ("bad name".to_owned(), "x".to_owned());
        let error = Endpoint::new("http://host", None, &[header]).expect_err("not a header");
        assert!(error.to_string().contains("bad name"));
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
        let bad = Endpoint::new("https://host", None, &[("x".to_owned(), format!("{secret}\n"))]);
        assert!(!format!("{bad:?}").contains(secret));
        let bad = Endpoint::new(&format!("https://{secret}@:1:2"), None, &[]);
        assert!(!format!("{bad:?}").contains(secret), "{bad:?}");
    }
}
