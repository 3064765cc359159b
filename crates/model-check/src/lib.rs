//! Small worlds, explored whole.
//!
//! The mirror's pure core is that of `balance-mirror` itself, reached by its hidden feature
//! `internals`: what is explored here is what ships, or a mutant of it
//! (`crates/simulation/mutants`). Around it stand a chain of a few slots, one or two nodes, their
//! connections with one queue each, RPC calls under way, and callers. Stateright explores every
//! interleaving of what a [`Plan`] allows, breadth first, so that what breaks a promise is told in
//! the fewest steps. The [checks](Check) judge every step against the chain's own history; of the
//! mirror they know what a reader sees, both at once and torn between two states. Those that are
//! live at first begin where everything is, by a run without faults.
//!
//! # What keeps a world small
//!
//! * The budget of its plan. Lives, flights, revisions and random numbers only count what the
//!   budget bounds, and are left in the state: that splits states which could be one, and never
//!   joins two that differ.
//! * Time goes on by slots of 400 ms, and by 3 ms where a call gathers. A deadline fires with the
//!   first step past it.
//! * Deadlines are short (a canary's is three slots), so that they are met within a few slots.
//! * What a plan leaves no choice about happens at once: a request is taken, a subscription takes
//!   effect.
//! * A node's Clock has milliseconds here: what its whole seconds do is the simulated world's
//!   affair.
//!
//! # Liveness
//!
//! Of the states (one of [`Plan::fair_every`], chosen by their hash) each is played on without
//! faults, everything delivered: within 40 slots every account is live and true. What is broken on
//! that way counts as well.

mod action;
mod acts;
mod chain;
mod check;
mod driver;
mod fair;
mod flights;
mod judge;
mod plan;
mod wire;
mod world;

pub use action::Action;
pub use chain::Value;
pub use check::{Found, explore};
pub use judge::Check;
pub use plan::{Budget, Plan, plans};
pub use world::World;
