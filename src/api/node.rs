//! A node's configuration, as the bot's author gives it.

use std::{fmt, sync::Arc};

use solana_rpc_client::nonblocking::rpc_client::RpcClient;

use crate::{core::link::websocket::NodeProfile, error::ConfigError, sources::endpoint::Endpoint};

/// A node that a mirror may use: its URLs, the headers of its requests, and what kind of node it
/// is.
#[derive(Clone)]
#[must_use]
pub struct NodeConfig {
    rpc_url: String,
    ws_url: Option<String>,
    headers: Vec<(String, String)>,
    pub(crate) rpc_client: Option<Arc<RpcClient>>,
    pub(crate) profile: NodeProfile,
}

impl NodeConfig {
    /// A node at this RPC URL. The WebSocket URL is derived from it unless you give one.
    pub fn new(rpc_url: impl Into<String>) -> Self {
        let (ws_url, headers, rpc_client) = (None, Vec::new(), None);
        Self { rpc_url: rpc_url.into(), ws_url, headers, rpc_client, profile: NodeProfile::default() }
    }

    /// The node's WebSocket URL. If you leave it out, it is derived from the RPC URL as Solana's
    /// CLI does it: host and path stay; an explicit port is increased by one.
    pub fn ws_url(mut self, url: impl Into<String>) -> Self {
        self.ws_url = Some(url.into());
        self
    }

    /// Adds an HTTP header to the WebSocket handshake, and to RPC requests unless you give an
    /// [`rpc_client`](Self::rpc_client). Some hosted nodes want their key there.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Uses the bot's own RPC client instead of one made from the RPC URL. That client keeps its
    /// own retries, timeouts and limits of answer sizes; each call is still cut off at
    /// [`rpc_timeout`](crate::MirrorBuilder::rpc_timeout).
    pub fn rpc_client(mut self, client: Arc<RpcClient>) -> Self {
        self.rpc_client = Some(client);
        self
    }

    /// What kind of node it is. By default the mirror finds out.
    pub fn profile(mut self, profile: NodeProfile) -> Self {
        self.profile = profile;
        self
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let endpoint = Endpoint::new(&self.rpc_url, self.ws_url.as_deref(), &self.headers)?;
        if let Some(client) = &self.rpc_client {
            endpoint.knows_also(&client.url());
        }
        Ok(endpoint)
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs and headers may hold keys.
        f.debug_struct("NodeConfig").field("profile", &self.profile).finish_non_exhaustive()
    }
}
