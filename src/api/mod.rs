//! What a bot sees.

pub(crate) mod builder;
pub(crate) mod mirror;
pub(crate) mod node;
pub(crate) mod reader;
pub(crate) mod target;
pub(crate) mod trade;
