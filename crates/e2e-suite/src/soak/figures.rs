//! What the samples come to.

use std::{fmt, time::Duration};

use crate::outcome::{Outcome, check};

/// By how much the median heap of the last third may exceed that of the first. The least would be a moment with fewer
/// connections kept for RPC than the others.
const MARGIN: usize = 64 * 1024;
/// By how much the tasks of two moments may differ: connections for RPC, which are kept for the next call, and time out.
const KEPT: usize = 8;
/// Fewer samples in each third than this say nothing.
const ENOUGH: usize = 4;

/// What is held at a moment like every other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    /// Bytes.
    pub(super) heap: usize,
    /// Alive, of all mirrors.
    pub(super) tasks: usize,
}

/// The samples after the warm-up.
pub(super) struct Figures(pub(super) Vec<Sample>);

impl Figures {
    fn thirds(&self) -> [&[Sample]; 3] {
        let third = self.0.len() / 3;
        let (first, rest) = self.0.split_at(third);
        let (middle, last) = rest.split_at(rest.len() - third);
        [first, middle, last]
    }

    /// Fails unless the end is as the beginning.
    pub(super) fn judge(&self) -> Outcome {
        let [first, _, last] = self.thirds();
        check!(first.len() >= ENOUGH, "{} samples are too few", self.0.len());
        let (before, after) = (median(first, HEAP), median(last, HEAP));
        check!(after <= before + MARGIN, "the heap grew from {before} to {after} bytes\n{self}");
        let (before, after) = (least(&self.0, TASKS), most(&self.0, TASKS));
        check!(after <= before + KEPT, "there were {before} to {after} tasks\n{self}");
        Ok(())
    }
}

type Number = fn(&Sample) -> usize;
const HEAP: Number = |sample| sample.heap;
const TASKS: Number = |sample| sample.tasks;

fn least(samples: &[Sample], of: Number) -> usize {
    samples.iter().map(of).min().unwrap_or_default()
}

fn most(samples: &[Sample], of: Number) -> usize {
    samples.iter().map(of).max().unwrap_or_default()
}

fn median(samples: &[Sample], of: Number) -> usize {
    let mut numbers: Vec<_> = samples.iter().map(of).collect();
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | samples | heap, least | median | most | tasks, least | median | most |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for (name, samples) in ["first third", "second", "last"].into_iter().zip(self.thirds()) {
            let heap = |number: fn(&[Sample], Number) -> usize| number(samples, HEAP).div_ceil(1024);
            let tasks = |number: fn(&[Sample], Number) -> usize| number(samples, TASKS);
            writeln!(
                f,
                "| {name} | {} | {} KiB | {} KiB | {} KiB | {} | {} | {} |",
                samples.len(),
                heap(least),
                heap(median),
                heap(most),
                tasks(least),
                tasks(median),
                tasks(most),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(heap: impl Fn(usize) -> usize, tasks: impl Fn(usize) -> usize) -> Figures {
        let at = Duration::from_secs(1);
        Figures((0..30).map(|place| Sample { at, heap: heap(place), tasks: tasks(place) }).collect())
    }

    #[test]
    fn what_grows_fails_and_what_only_swings_does_not() {
        let swinging = |place: usize| 1_000_000 + place % 5 * 100_000;
        assert!(figures(swinging, |place| 10 + place % 3).judge().is_ok());
        assert!(figures(|place| swinging(place) + place * 4_000, |_| 10).judge().is_err());
        assert!(figures(swinging, |place| 10 + place / 2).judge().is_err());
        assert!(Figures(Vec::new()).judge().is_err());
    }
}
