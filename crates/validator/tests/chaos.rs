//! Chaos on a real validator: see `e2e_suite::chaos`. `CHAOS_ROUNDS=20 cargo test --test chaos`
//! plays each kind of fault 20 times, `CHAOS_SEED` another order and other sizes.

mod real;

use e2e_suite::{Cluster, chaos};
use real::Real;

/// Mirrors side by side on the one validator, each with networks of its own to break.
const LANES: usize = 6;

#[test]
fn every_kind_of_fault_again_and_again() {
    let plan = chaos::Plan::from_env().expect("numbers");
    let validator = Real::start();
    let lanes: Vec<&dyn Cluster> = vec![&validator; LANES];
    if let Err(error) = chaos::run(&lanes, plan) {
        panic!("{error}");
    }
}
