//! What every layer is built on.

pub(crate) mod backoff;
pub(crate) mod failure;
pub(crate) mod time;
