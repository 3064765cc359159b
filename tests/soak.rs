//! The soak: see `e2e_suite::soak`. `SOAK_SECONDS=300 cargo test --test soak` for longer,
//! `SOAK_SEED` for other faults.

use std::{alloc::System, process::Command};

use cap::Cap;
use e2e_suite::soak;

/// Counts; there is no limit.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

#[test]
fn nothing_grows() {
    let plan = soak::Plan::from_env().expect("numbers");
    let mut cluster = Command::new(std::env::current_exe().expect("this test"));
    cluster.args(["--exact", "the_other_process", "--ignored", "--nocapture"]);
    if let Err(error) = soak::run(plan, cluster, || HEAP.allocated()) {
        panic!("{error}");
    }
}

#[test]
#[ignore = "the cluster of the soak, which starts it for itself"]
fn the_other_process() {
    soak::serve().expect("a cluster");
}
