//! A small seeded generator, so that a run's faults can be repeated from its seed.

use std::time::Duration;

use localnet::Rng;

/// The local cluster's generator, with what a schedule of faults draws from it.
#[derive(Clone, Debug)]
pub(crate) struct Random(Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A place in something so long.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// A fraction of one.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}

/// What is drawn for one fault. Each kind takes of it what it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    /// How long it lasts, from as short to as long as its kind may.
    length: f64,
    /// How bad it is, from as little to as bad as its kind may.
    size: f64,
    /// Which account it meets.
    victim: usize,
    /// Which of two ways.
    pub(crate) coin: bool,
}

impl Draw {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            length: random.fraction(),
            size: random.fraction(),
            victim: random.index(usize::MAX),
            coin: random.below(2) == 0,
        }
    }

    /// A time between `from` and `to` times `unit`.
    pub(crate) fn length(&self, unit: Duration, from: f64, to: f64) -> Duration {
        unit.mul_f64(from + (to - from) * self.length)
    }

    /// A time as bad as drawn, between `from` and `to` times `unit`.
    pub(crate) fn size_of(&self, unit: Duration, from: f64, to: f64) -> Duration {
        unit.mul_f64(from + (to - from) * self.size)
    }

    /// A number between `from` and `to`, both included.
    pub(crate) fn size(&self, from: u64, to: u64) -> u64 {
        from + ((to - from + 1) as f64 * self.size) as u64
    }

    pub(crate) fn victim<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.victim % all.len()]
    }
}
