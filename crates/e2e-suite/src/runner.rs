//! Runs scenarios, prints how they went, and lets none be skipped.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    logs,
    outcome::{Failure, Outcome},
    world::World,
};

/// No scenario takes longer; each wait inside has a shorter deadline of its own.
const LIMIT: Duration = Duration::from_secs(300);

type Play = for<'a> fn(&'a World<'a>) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// One thing that a mirror promises, played on a cluster.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// How.
    pub(crate) play: Play,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scenario").field(&self.name).finish()
    }
}

/// Plays one scenario, prints how it went, and returns how long it took.
///
/// # Errors
/// What the scenario says, or a log line that shows the secret.
pub fn run(scenario: &Scenario, cluster: &dyn Cluster) -> Outcome<Duration> {
    logs::listen();
    let began = Instant::now();
    let outcome = play(scenario, cluster);
    let took = began.elapsed();
    let (name, on) = (scenario.name, cluster.name());
    match outcome {
        Ok(()) => println!("scenario {name} on {on}: ok ({} ms)", took.as_millis()),
        Err(error) => {
            println!("scenario {name} on {on}: FAILED ({} ms): {error}", took.as_millis());
            println!("the latest warnings in this process: {:#?}", logs::warnings());
            return Err(error);
        }
    }
    Ok(took)
}

fn play(scenario: &Scenario, cluster: &dyn Cluster) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let world = World::new(cluster)?;
        let played = tokio::time::timeout(LIMIT, (scenario.play)(&world)).await;
        played.unwrap_or_else(|_| Err(Failure::from(format!("not over after {LIMIT:?}"))))
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome?;
    match logs::leaks().as_slice() {
        [] => Ok(()),
        leaks => Err(format!("log lines with the secret: {leaks:#?}").into()),
    }
}

/// Plays a list, one scenario after the other, and prints the count.
///
/// # Errors
/// A scenario failed, or not all were played.
pub fn run_all(scenarios: &[Scenario], cluster: &dyn Cluster) -> Outcome<usize> {
    let mut failed = Vec::new();
    let mut passed = 0;
    for scenario in scenarios {
        match run(scenario, cluster) {
            Ok(_) => passed += 1,
            Err(_) => failed.push(scenario.name),
        }
    }
    println!("{passed} of {} scenarios passed on {}", scenarios.len(), cluster.name());
    if passed == scenarios.len() && passed > 0 {
        return Ok(passed);
    }
    Err(format!("{} of {} scenarios failed on {}: {failed:?}", failed.len(), scenarios.len(), cluster.name())
        .into())
}
