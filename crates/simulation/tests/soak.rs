//! An hour of virtual time with troubles, while callers come and go, and an engine that holds no
//! more at its end.
//!
//! `SOAK_HOURS` plays longer, `WORLD_SEED` one world and not a dozen, `WORLD_TELL` tells everything
//! from a second on.

use std::{alloc::System, env};

use cap::Cap;
use simulation::{Weight, soak};

/// Counts; there is no limit.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const HOUR: u64 = 3_600;
/// What comes first fills what is bounded.
const WARM_UP: usize = 300;
/// By how much the medians of two thirds may differ: troubles fall as they fall.
const BYTES: usize = 4_096;
const TASKS: usize = 4;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Least, median and most.
fn spread(of: &[Weight], what: fn(&Weight) -> usize) -> [usize; 3] {
    let mut all: Vec<_> = of.iter().map(what).collect();
    all.sort_unstable();
    [all[0], all[all.len() / 2], all[all.len() - 1]]
}

#[test]
fn hours_leave_the_engine_as_light_as_it_was() {
    let seconds = number("SOAK_HOURS").unwrap_or(1) * HOUR;
    let seeds = number("WORLD_SEED").map_or(1..=12, |seed| seed..=seed);
    let tell_from = number("WORLD_TELL").unwrap_or(u64::MAX);
    println!("| seed | third | bytes, least | median | most | tasks, least | median | most |");
    println!("|--:|---|--:|--:|--:|--:|--:|--:|");
    let mut heavier = Vec::new();
    for seed in seeds {
        let (report, weights) = match soak(seed, seconds, tell_from, || HEAP.allocated()) {
            Ok(played) => played,
            Err(violation) => panic!("seed {seed}: {violation}"),
        };
        assert!(report.seconds >= seconds && report.connects > 1, "little happened: {report}");
        let weights = &weights[WARM_UP..];
        let medians: Vec<_> = ["first", "second", "last"]
            .into_iter()
            .zip(weights.chunks(weights.len().div_ceil(3)))
            .map(|(name, third)| {
                let (bytes, tasks) = (spread(third, |at| at.bytes), spread(third, |at| at.tasks));
                let [b, t] = [bytes, tasks].map(|of| of.map(|number| number.to_string()).join(" | "));
                println!("| {seed} | {name} | {b} | {t} |");
                (bytes[1], tasks[1])
            })
            .collect();
        let (first, last) = (medians[0], medians[2]);
        if last.0 > first.0 + BYTES || last.1 > first.1 + TASKS {
            heavier.push((seed, first, last));
        }
    }
    assert!(heavier.is_empty(), "seed, bytes and tasks at first and at last: {heavier:?}");
}
