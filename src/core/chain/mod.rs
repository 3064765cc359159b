//! What the chain holds at an address, decoded.

pub(crate) mod mint;
pub(crate) mod state;
pub(crate) mod token;
