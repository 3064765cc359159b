//! Chaos on the local cluster: see `e2e_suite::chaos`. `CHAOS_ROUNDS=20 cargo test --test chaos`
//! plays each kind of fault 20 times, `CHAOS_SEED` another order and other sizes.

use std::time::Duration;

use e2e_suite::{Cluster, Local, chaos};

/// Quick, and slow enough for two cores that run all lanes at once.
const SLOT: Duration = Duration::from_millis(40);
/// They mostly wait.
const LANES: u64 = 9;

#[test]
fn every_kind_of_fault_again_and_again() {
    let plan = chaos::Plan::from_env().expect("numbers");
    let clusters: Vec<_> = (0..LANES).map(|lane| Local::start(plan.seed.wrapping_add(lane), SLOT)).collect();
    let lanes: Vec<&dyn Cluster> = clusters.iter().map(|cluster| cluster as &dyn Cluster).collect();
    if let Err(error) = chaos::run(&lanes, plan) {
        panic!("{error}");
    }
}
