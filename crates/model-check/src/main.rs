//! Explores small worlds: `model-check [--full] [NAME...]`.
//!
//! Ends with 1 at the first world that breaks a promise, and names the promise on its last line.
//! `MODEL_THREADS=1` explores in one order, so that of two promises that break at the same depth
//! always the same is named. `MODEL_MOST` ends early.

use std::{env, process::ExitCode};

use model_check::{explore, plans};

fn main() -> ExitCode {
    let (flags, names): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let full = flags.iter().any(|flag| flag == "--full");
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let number = |name: &str| env::var(name).ok().and_then(|number| number.parse().ok());
    let threads = number("MODEL_THREADS")
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut unique = 0;
    for plan in plans(full).into_iter().filter(|plan| wanted(plan.name)) {
        let found = explore(&plan, threads, number("MODEL_MOST"));
        println!("{found}");
        unique += found.unique;
        if let Some((check, _)) = found.broken {
            println!("VIOLATED {} in {}", check.name(), plan.name);
            return ExitCode::FAILURE;
        }
    }
    println!("{unique} unique states");
    ExitCode::SUCCESS
}
