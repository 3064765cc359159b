//! The worlds given to the checker, and what it found.

use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use stateright::{Checker, Model, Property};

use crate::{action::Action, judge::Check, plan::Plan, world::World};

#[derive(Debug)]
struct Small(Plan);

/// A promise that no reachable state breaks.
macro_rules! kept {
    ($check:ident) => {
        Property::always(Check::$check.name(), |_: &Small, world: &World| world.broken != Some(Check::$check))
    };
}

impl Model for Small {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.0, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        catch_unwind(AssertUnwindSafe(|| world.after(&self.0, action))).unwrap_or_else(|_| {
            let mut broken = world.clone();
            broken.broken = Some(Check::Panic);
            Some(broken)
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            kept!(Phantom),
            kept!(AsOf),
            kept!(Age),
            kept!(Order),
            kept!(Floor),
            kept!(Doubt),
            kept!(Life),
            kept!(Overlay),
            kept!(Calm),
            kept!(Panic),
            Property::always(Check::Liveness.name(), Small::comes_live),
        ]
    }
}

impl Small {
    /// Whether a state, where it is one of the sample, comes live and true once its faults end.
    fn comes_live(&self, world: &World) -> bool {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let is_sample = world.broken.is_none() && hasher.finish().is_multiple_of(self.0.fair_every);
        !is_sample || world.clone().play_fair(&self.0).is_none()
    }
}

/// What the exploration of a world came to.
#[derive(Debug)]
pub struct Found {
    /// The world's name.
    pub plan: &'static str,
    /// States that differ.
    pub unique: usize,
    /// States come to, those come to before included.
    pub generated: usize,
    /// Steps to the furthest.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The first promise broken, and the steps to where it was.
    pub broken: Option<(Check, Vec<String>)>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, unique, generated, depth, took, .. } = self;
        write!(f, "{plan:9} {unique:>8} unique of {generated:>8} states, {depth:>3} deep, {took:>7.1?}")?;
        let Some((check, steps)) = &self.broken else { return Ok(()) };
        write!(f, "\n  {} is broken after {} steps:", check.name(), steps.len())?;
        steps.iter().enumerate().try_for_each(|(number, step)| write!(f, "\n  {:>3} {step}", number + 1))
    }
}

/// Explores a world whole, or until a promise is broken.
pub fn explore(plan: &Plan, threads: usize, most: Option<usize>) -> Found {
    let begun = Instant::now();
    let model = Small(plan.clone());
    let checker = model.checker().threads(threads).finish_when(stateright::HasDiscoveries::Any);
    let checker = most.into_iter().fold(checker, |checker, most| checker.target_state_count(most));
    let checker = checker.spawn_bfs().join();
    let first = checker.discoveries().into_iter().min_by_key(|(_, path)| path.clone().into_actions().len());
    let broken = first.map(|(name, path)| {
        let mut last = path.last_state().clone();
        let check = last.broken.or_else(|| last.play_fair(plan));
        let check = check.or_else(|| Check::ALL.into_iter().find(|check| check.name() == name));
        let steps = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
        (check.unwrap_or(Check::Liveness), steps)
    });
    Found {
        plan: plan.name,
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        took: begun.elapsed(),
        broken,
    }
}
