//! The tasks that drive the engine.

pub(crate) mod link_driver;
pub(crate) mod rpc_driver;
pub(crate) mod start;
pub(crate) mod wallet_search;
