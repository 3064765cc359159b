//! Which nodes are used, and which are trusted.

pub mod failover;
pub mod genesis;
pub mod slot_guard;
