//! What is read by RPC, when, and from which node.

pub(crate) mod audit;
pub(crate) mod mints;
pub(crate) mod refresh;
pub(crate) mod scheduler;
