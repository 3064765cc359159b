//! Basic types that every other layer uses.

pub mod backoff;
pub mod failure;
pub mod ids;
pub mod time;
