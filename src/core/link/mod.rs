//! Connections: which account is on which, and the state machine of each.

pub(crate) mod placement;
pub(crate) mod websocket;
