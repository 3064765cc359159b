//! Small worlds, explored whole.
//!
//! The mirror's pure core is compiled in from its own files, so that what is explored here is what ships, and so that a
//! mutant of it (`mutants/`) is built in seconds.

#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "the library's own files, of which a part is used here, and which are linted where they stand"
)]
#[path = "../../../src/core/mod.rs"]
mod core;

mod chain;
mod check;
mod judge;
mod plan;
mod wire;
mod world;

pub use chain::Value;
pub use check::{Found, explore};
pub use judge::Check;
pub use plan::{Budget, Plan, plans};
pub use world::{Action, World};
