//! Which nodes are believed.

pub mod failover;
pub mod genesis;
pub mod slot_guard;
