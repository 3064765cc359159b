//! The decisions, without the world: no task, no socket and no clock in here.
//!
//! Time comes in as a [`base::time::Tick`], what happened comes in as a value, what should be done goes out as
//! a value. So every race is a unit test. The folders are layers, lowest first: a module imports its own layer or a
//! lower one.
//!
//! What is `pub` here is reachable from outside only with the hidden feature `internals`, which the project's own test
//! crates switch on: they drive what ships.

#![cfg_attr(
    not(feature = "internals"),
    expect(
        unreachable_pub,
        reason = "reached by the project's own test crates, with the feature `internals`"
    )
)]
#![cfg_attr(
    feature = "internals",
    allow(missing_docs, missing_debug_implementations, reason = "no part of the interface")
)]

pub mod base;

pub mod chain;

pub mod account;

pub mod trade;

pub mod rpc;

pub mod nodes;

pub mod link;

pub mod engine;

#[cfg(feature = "internals")]
pub mod internals;
