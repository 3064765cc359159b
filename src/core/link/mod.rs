//! Connections: which account is on which, and the state machine of each.

pub mod feed;
pub mod placement;
pub mod websocket;
