//! A world in virtual time: a chain, nodes, links, RPC and callers, all from one seed, around the
//! mirror's engine.
//!
//! The mirror's pure core is that of `balance-mirror` itself, reached by its hidden feature
//! `internals`: what is played here is what ships. A mutant of it (`mutants/`) is a patch, with
//! which the whole crate is built anew. A checker that knows the whole true history judges every
//! reading. A seed that fails fails again: nothing here depends on anything else.

mod agenda;
mod callers;
mod chain;
mod checker;
mod cluster;
mod connect;
mod faults;
mod links;
mod node;
mod plan;
mod quiet;
mod report;
mod rng;
mod rpc;
mod run;
mod settings;
mod skin;
mod soak;
mod socket;
mod steps;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};

use solana_pubkey::Pubkey;

pub use checker::{Check, Violation};
pub use plan::Trouble;
pub use report::Report;
pub use soak::{Weight, soak};

/// Plays the world of one seed to its end; what it came to, and the first promise broken, if one
/// was.
pub fn play(seed: u64) -> (Report, Option<Violation>) {
    play_telling(seed, u64::MAX)
}

/// As [`play`], and prints everything that happens from that virtual second on.
pub fn play_telling(seed: u64, from: u64) -> (Report, Option<Violation>) {
    let mut world = run::World::new(seed);
    world.trace_from = from.saturating_mul(agenda::SECOND);
    // A panic is the code's under judgement, or the world's; the seed says which.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match outcome {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let at = world.now as f64 / agenda::SECOND as f64;
            Some(Violation { check: Check::Panic, at, text: text.unwrap_or_default() })
        }
    };
    world.tally();
    (world.report, violation)
}

/// The address, mint or wallet of that number.
fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}
