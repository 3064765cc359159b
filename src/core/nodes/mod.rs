//! Which nodes are believed.

pub(crate) mod genesis;
pub(crate) mod slot_guard;
