//! The end-to-end suite of `balance-mirror`, played on a real validator: the same scenarios as on
//! the local cluster.
//!
//! One validator serves all, so this is a harness of its own (libtest's output, arguments and exit
//! code), with a trial for each scenario. It fails if fewer passed than the suite has, unless the
//! arguments chose some.

mod real;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use e2e_suite::Scenario;
use libtest_mimic::{Arguments, Conclusion, Trial};
use real::{NAME, Real};

/// They mostly wait for slots, but measure time too.
const SIDE_BY_SIDE: usize = 2;

fn trial(scenario: Scenario, cluster: &Arc<OnceLock<Real>>) -> Trial {
    let cluster = Arc::clone(cluster);
    Trial::test(scenario.name, move || {
        e2e_suite::run(&scenario, cluster.get_or_init(Real::start))?;
        Ok(())
    })
}

/// Whether every scenario passed, or every one of those that the arguments chose.
fn complete(arguments: &Arguments, conclusion: &Conclusion, listed: usize) -> bool {
    if arguments.list {
        return true;
    }
    let passed = usize::try_from(conclusion.num_passed).unwrap_or_default();
    println!(
        "{passed} of {listed} scenarios passed on {NAME}: {} failed, {} not chosen",
        conclusion.num_failed, conclusion.num_filtered_out
    );
    let chosen = arguments.filter.is_some() || !arguments.skip.is_empty();
    conclusion.num_failed == 0 && (chosen || (passed == listed && listed > 0))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(SIDE_BY_SIDE));
    let cluster = Arc::new(OnceLock::new());
    let trials: Vec<_> =
        e2e_suite::everywhere().into_iter().map(|scenario| trial(scenario, &cluster)).collect();
    let listed = trials.len();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let complete = complete(&arguments, &conclusion, listed);
    // Stops the node before the process ends.
    drop(cluster);
    if complete { conclusion.exit_code() } else { ExitCode::FAILURE }
}
