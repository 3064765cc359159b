//! The decisions, without the world: no task, no socket and no clock in here.
//!
//! Time comes in as a [`base::time::Tick`], what happened comes in as a value, what should be done goes out as
//! a value. So every race is a unit test. The folders are layers, lowest first: a module imports its own layer or a
//! lower one.

pub(crate) mod base;

pub(crate) mod chain;

pub(crate) mod account;

pub(crate) mod trade;

pub(crate) mod rpc;

pub(crate) mod nodes;

pub(crate) mod link;

pub(crate) mod engine;
