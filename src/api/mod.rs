//! The public API that a bot uses.

pub(crate) mod adopt;
pub(crate) mod builder;
pub(crate) mod mirror;
pub(crate) mod node;
mod read;
pub(crate) mod reader;
mod settings;
pub(crate) mod target;
pub(crate) mod trade;
