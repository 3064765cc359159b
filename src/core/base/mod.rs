//! What every layer is built on.

pub mod backoff;
pub mod failure;
pub mod ids;
pub mod time;
