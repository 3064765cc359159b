//! The WebSocket: one connection and its subscriptions.

pub(crate) mod client;
pub(crate) mod demux;
