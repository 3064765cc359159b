//! The end-to-end suite of `balance-mirror`: what it promises, played against a cluster over real
//! sockets.
//!
//! It runs twice: on the local cluster, and on a real validator. [`everywhere()`] is for both;
//! [`local_only()`] needs faults that only the local cluster has. Faults of the network come from a
//! [proxy] of the suite's own.

pub mod chaos;
mod checker;
mod cluster;
mod logs;
mod order;
mod outcome;
pub mod proxy;
mod runner;
mod scenarios;
pub mod soak;
mod token;
mod world;

pub use crate::{
    cluster::{Cluster, Local},
    outcome::{Failure, Outcome},
    runner::{Scenario, run, run_all},
    scenarios::{everywhere, local_only},
    world::World,
};
