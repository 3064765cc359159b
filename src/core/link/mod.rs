//! Connections: which connection carries which account, and the state machine of each connection.

pub mod feed;
pub mod placement;
pub mod websocket;
