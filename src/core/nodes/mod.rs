//! Which nodes are believed.

pub mod genesis;
pub mod slot_guard;
