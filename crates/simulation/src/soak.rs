//! One world for hours, and what its engine holds all the while.

use crate::{agenda::SECOND, checker::Violation, report::Report, run::World};

/// What there was at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// Bytes that a copy of the engine allocates: everything in it, and no spare room.
    pub bytes: usize,
    /// What is a task in the shipped mirror or its caller: connections open, RPC calls under way,
    /// callers that wait.
    pub tasks: usize,
}

/// Plays the world of one seed with troubles for so many virtual seconds, and then on until
/// everything is live and true. Weighs it each virtual second, by what `heap` says is allocated in
/// this process. Prints everything that happens from the virtual second `tell_from` on.
///
/// # Errors
/// The first promise broken.
pub fn soak(
    seed: u64,
    seconds: u64,
    tell_from: u64,
    heap: impl Fn() -> usize,
) -> Result<(Report, Vec<Weight>), Violation> {
    let mut world = World::lasting(seed, seconds.saturating_mul(SECOND));
    world.trace_from = tell_from.saturating_mul(SECOND);
    let mut weights = Vec::new();
    let mut weighed = 0;
    world.run_seen(&mut |world| {
        let second = world.now / SECOND;
        if second > weighed && second <= seconds {
            weighed = second;
            let before = heap();
            let copy = world.skin.engine.clone();
            let bytes = heap() - before;
            drop(copy);
            let tasks = world.skin.wires().count() + world.flights.len() + world.pending.len();
            weights.push(Weight { bytes, tasks });
        }
    })?;
    world.tally();
    Ok((world.report, weights))
}
