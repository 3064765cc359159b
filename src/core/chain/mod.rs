//! What the chain holds at an address, decoded.

pub mod mint;
pub mod state;
pub mod token;
