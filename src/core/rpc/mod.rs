//! What to read by RPC, when, and from which node.

pub mod audit;
pub mod mints;
pub mod refresh;
pub mod scheduler;
