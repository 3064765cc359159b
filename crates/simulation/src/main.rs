//! Plays worlds: `simulation SEED`, `simulation FIRST..LAST`, `simulation --events N` from seed 1
//! on, or `simulation --tell SEED FROM`, which prints everything that happens in a world from that
//! virtual second on.
//!
//! Ends with 1 at the first seed that breaks a promise, and names the promise on its last line.

use std::{env, process::ExitCode, time::Instant};

use simulation::{Report, play_telling};

/// Seeds to play, and how many events are enough.
struct Order {
    seeds: std::ops::RangeInclusive<u64>,
    events: u64,
    tell_from: u64,
}

fn order() -> Option<Order> {
    let mut args = env::args().skip(1);
    let first = args.next()?;
    if first == "--events" {
        let events = args.next()?.parse().ok()?;
        return Some(Order { seeds: 1..=u64::MAX, events, tell_from: u64::MAX });
    }
    if first == "--tell" {
        let seed = args.next()?.parse().ok()?;
        let tell_from = args.next()?.parse().ok()?;
        return Some(Order { seeds: seed..=seed, events: u64::MAX, tell_from });
    }
    let (from, to) = first.split_once("..").unwrap_or((&first, &first));
    Some(Order { seeds: from.parse().ok()?..=to.parse().ok()?, events: u64::MAX, tell_from: u64::MAX })
}

fn main() -> ExitCode {
    let Some(order) = order() else {
        eprintln!("usage: simulation SEED | FIRST..LAST | --events N | --tell SEED FROM");
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let mut total = Report::none();
    let mut worlds = 0u64;
    for seed in order.seeds {
        let (report, violation) = play_telling(seed, order.tell_from);
        total.add(&report);
        worlds += 1;
        if let Some(violation) = violation {
            println!("seed {seed}: {violation}");
            println!("VIOLATED {:?} seed {seed}", violation.check);
            return ExitCode::FAILURE;
        }
        if total.events() >= order.events {
            break;
        }
    }
    println!("{total}");
    let seconds = begun.elapsed().as_secs_f64();
    println!("{worlds} worlds, {} events, {:.0} a second", total.events(), total.events() as f64 / seconds);
    ExitCode::SUCCESS
}
