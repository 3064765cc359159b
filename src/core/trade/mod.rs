//! Trades: tokens held for sells, signatures that are followed, positions and the buys into them.

pub(crate) mod buys;
pub(crate) mod holds;
pub(crate) mod positions;
pub(crate) mod signatures;
