//! Trades: tokens held for sells, signatures that are followed, positions and the buys into them.

pub mod buys;
pub mod holds;
pub mod positions;
pub mod signatures;
