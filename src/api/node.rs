//! A node, as the bot's author describes it.

use std::{fmt, sync::Arc};

use solana_rpc_client::nonblocking::rpc_client::RpcClient;

use crate::{core::link::websocket::NodeProfile, error::ConfigError, sources::endpoint::Endpoint};

/// A node that a mirror may use: its URLs, what its requests carry, and what kind it is.
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
    /// A node by its RPC URL, from which the WebSocket URL follows unless given.
    pub fn new(rpc_url: impl Into<String>) -> Self {
        let (ws_url, headers, rpc_client) = (None, Vec::new(), None);
        Self { rpc_url: rpc_url.into(), ws_url, headers, rpc_client, profile: NodeProfile::default() }
    }

    /// The node's WebSocket URL. Left out, it is derived from the RPC URL as Solana's CLI does it: an
    /// explicit port is followed by the next one; without one, the same authority.
    pub fn ws_url(mut self, url: impl Into<String>) -> Self {
        self.ws_url = Some(url.into());
        self
    }

    /// An extra HTTP header for the WebSocket handshake, and for RPC unless [`rpc_client`](Self::rpc_client)
    /// is given: hosted nodes may want their key there.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The bot's own RPC client, instead of one made from the RPC URL. It keeps its own bounds: retries,
    /// timeouts (each call is cut at [`rpc_timeout`](crate::MirrorBuilder::rpc_timeout) all the same) and answer sizes.
    pub fn rpc_client(mut self, client: Arc<RpcClient>) -> Self {
        self.rpc_client = Some(client);
        self
    }

    /// What kind of node it is; by default it is found out.
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
        f.debug_struct("Node").field("profile", &self.profile).finish_non_exhaustive()
    }
}
