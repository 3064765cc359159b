//! The decisions, without I/O: nothing in here runs a task, opens a socket or reads a clock.
//!
//! The caller passes in the time as a [`base::time::Tick`] and what happened as a value, and gets
//! back what to do as a value. So every race can be a unit test. The folders are layers, lowest
//! first: a module imports its own layer or a lower one.
//!
//! What is `pub` here can be reached from outside only with the hidden feature `internals`. The
//! project's own test crates switch it on to drive the code that ships.

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
