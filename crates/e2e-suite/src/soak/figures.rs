//! What the samples come to.
//!
//! A mirror that warms up grows as well as one that leaks, but otherwise. Its queues keep the room
//! of their largest burst so far, and double it: one step up at a time, and the next one takes a
//! larger burst. So the last stretch of the samples is judged, as long as it takes to see a leak,
//! and where it is not flat, it is judged again some rounds later: a step leaves the stretch, a
//! leak never does. Samples are counted by rounds of work, whatever time these take.

use std::{fmt, time::Duration};

use crate::outcome::{Outcome, check};

/// The samples of the shortest stretch. A quiet moment is within 30 KiB of the next, mostly: kept
/// are the ends of some closed RPC connections, 9 KiB each. Over so many that blurs the slope by
/// some 15 KiB.
pub(super) const ENOUGH: usize = 24;
/// By how much the heap may rise over the stretch. A leak of 4 KiB a round, which takes about a
/// second, comes to 96 KiB; the slopes of warm mirrors were 25 KiB at most.
const RISE: i64 = 30 * 1024;
/// By how many tasks the last third may exceed the first: each of two mirrors looks after the RPC
/// connections of each of two nodes in a task of its own, from its first call of that node on.
const CALLED: i64 = 4;
/// After so many rounds more, figures are judged that did not please. Each time might be luck: of a
/// leak of 4 KiB a round in the noise of a busy machine, one time in some hundreds.
const AGAIN: usize = 12;
/// So many rounds after the first judgement, what still grows will always. A step up takes a
/// stretch to leave it: that is time for two.
const PATIENCE: usize = 2 * ENOUGH;
/// No more samples are taken, a day of them.
const MOST: usize = 100_000;
/// As many numbers are compared pair by pair.
const COMPARED: usize = 500;

/// What is held at a moment like every other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    /// Bytes.
    pub(super) heap: usize,
    /// Alive, of all mirrors.
    pub(super) tasks: usize,
}

/// The samples after the warm-up, one a round.
pub(super) struct Figures {
    samples: Vec<Sample>,
    /// How many there were at the first judgement.
    judged: Option<usize>,
}

impl Figures {
    pub(super) fn new() -> Self {
        // Room that is made later would be counted.
        Self { samples: Vec::with_capacity(MOST), judged: None }
    }

    /// Takes one more sample. Judges as soon as it is `long_enough`, and tells what it comes to in
    /// the end: nothing grows, or it has never stopped.
    pub(super) fn add(&mut self, sample: Sample, long_enough: bool) -> Option<Outcome> {
        self.samples.push(sample);
        let samples = self.samples.len();
        if samples < ENOUGH || !(long_enough || samples >= MOST) {
            return None;
        }
        let more = samples - *self.judged.get_or_insert(samples);
        if !more.is_multiple_of(AGAIN) {
            return None;
        }
        let verdict = self.judge();
        (verdict.is_ok() || more >= PATIENCE || samples >= MOST).then_some(verdict)
    }

    /// What is judged: the last half, if that is long enough.
    fn stretch(&self) -> &[Sample] {
        let judged = ENOUGH.max(self.samples.len() / 2);
        &self.samples[self.samples.len().saturating_sub(judged)..]
    }

    fn heaps(&self) -> Vec<i64> {
        self.stretch().iter().map(|sample| i64::try_from(sample.heap).unwrap_or(i64::MAX)).collect()
    }

    fn tasks(&self) -> Vec<i64> {
        self.stretch().iter().map(|sample| i64::try_from(sample.tasks).unwrap_or(i64::MAX)).collect()
    }

    /// Fails unless the last stretch is flat: neither a slope nor a step.
    fn judge(&self) -> Outcome {
        let (heaps, tasks) = (self.heaps(), self.tasks());
        let (rise, [first, _, last]) = (rise(&heaps), thirds(&heaps).map(median));
        check!(rise <= RISE, "the heap rises by {rise} bytes in {} rounds\n{self}", heaps.len());
        check!(last - first <= RISE, "the heap grew from {first} to {last} bytes\n{self}");
        let [first, _, last] = thirds(&tasks).map(median);
        check!(last - first <= CALLED, "the tasks grew from {first} to {last}\n{self}");
        Ok(())
    }
}

/// By how much the numbers rise from the first to the last, as most pairs of them have it (Theil
/// and Sen's slope): what stands out does not count, and all of them do.
fn rise(numbers: &[i64]) -> i64 {
    let few = numbers.chunks(numbers.len().div_ceil(COMPARED).max(1)).map(median);
    let points: Vec<(i64, i64)> = (0..).zip(few).collect();
    let span = points.last().map_or(0, |(place, _)| *place);
    let mut rises = Vec::new();
    for (number, (place, before)) in points.iter().enumerate() {
        let later = points.iter().skip(number + 1);
        rises.extend(later.map(|(later, after)| (after - before) * span / (later - place)));
    }
    median(&rises)
}

fn thirds(numbers: &[i64]) -> [&[i64]; 3] {
    let third = numbers.len() / 3;
    let (first, rest) = numbers.split_at(third);
    let (middle, last) = rest.split_at(rest.len() - third);
    [first, middle, last]
}

fn median(numbers: &[i64]) -> i64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (heaps, tasks) = (self.heaps(), self.tasks());
        writeln!(
            f,
            "The last {} of {} samples, whose slope comes to {} bytes:",
            heaps.len(),
            self.samples.len(),
            rise(&heaps)
        )?;
        writeln!(f, "| | heap, least | median | most | tasks, least | median | most |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|")?;
        let names = ["first third", "second", "last"].into_iter();
        for ((name, heaps), tasks) in names.zip(thirds(&heaps)).zip(thirds(&tasks)) {
            let [least, middle, most] = spread(heaps).map(|bytes| bytes / 1024);
            let [fewest, usual, many] = spread(tasks);
            writeln!(
                f,
                "| {name} | {least} KiB | {middle} KiB | {most} KiB | {fewest} | {usual} | {many} |"
            )?;
        }
        Ok(())
    }
}

/// Least, median and most.
fn spread(numbers: &[i64]) -> [i64; 3] {
    let [least, most] =
        [numbers.iter().min(), numbers.iter().max()].map(|end| end.copied().unwrap_or_default());
    [least, median(numbers), most]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::random::Random;

    const KIB: i64 = 1024;
    /// Seeds of noise. Each verdict holds for every one.
    const SEEDS: u64 = 200;

    /// What a soak says that takes as many rounds as it needs, but at least `least`.
    fn verdict(
        least: usize,
        heap: impl FnMut(usize) -> i64,
        mut tasks: impl FnMut(usize) -> usize,
    ) -> Outcome {
        let mut figures = Figures::new();
        (0..)
            .zip((0..).map(heap))
            .find_map(|(place, heap)| {
                let heap = usize::try_from(heap).expect("a heap");
                figures.add(Sample { at: Duration::ZERO, heap, tasks: tasks(place) }, place + 1 >= least)
            })
            .expect("a verdict")
    }

    fn is_flat(least: usize, heap: impl FnMut(usize) -> i64) -> bool {
        verdict(least, heap, |_| 19).is_ok()
    }

    /// 100 KiB from the least to the most, somewhat more than what is between the quiet moments of
    /// a warm mirror.
    fn noise(seed: u64) -> impl FnMut() -> i64 {
        let mut random = Random::new(seed);
        move || random.below(100) as i64 * KIB
    }

    /// 5 MiB, and the noise of a seed, and what `more` says.
    fn noisy(seed: u64, more: impl Fn(usize) -> i64) -> impl FnMut(usize) -> i64 {
        let mut noise = noise(seed);
        move |place| 5_000 * KIB + noise() + more(place)
    }

    #[test]
    fn what_only_swings_is_flat() {
        (0..SEEDS).for_each(|seed| assert!(is_flat(0, noisy(seed, |_| 0)), "{seed}"));
        // A moment that stands out.
        assert!(is_flat(0, noisy(0, |place| if place == 20 { 3_000 * KIB } else { 0 })));
        assert!(is_flat(0, |place| (6_000 - place as i64) * KIB), "less is no harm");
    }

    #[test]
    fn a_leak_is_found_however_it_swings() {
        let missed = |least, leak: fn(i64) -> i64| {
            let leaks = |seed| is_flat(least, noisy(seed, |place| leak(place as i64) * KIB));
            (0..SEEDS).filter(|seed| leaks(*seed)).count() as u64
        };
        // Nothing less than a longer soak makes sure of all.
        assert!(missed(0, |round| 4 * round) <= SEEDS / 100);
        assert!(missed(0, |round| round / 10 * 40) <= SEEDS / 100, "in one round of ten, but then more");
        assert_eq!(missed(60, |round| 4 * round), 0);
        assert_eq!(missed(300, |round| round), 0, "the longer, the less is enough");
        // Into room that doubles, in a soak of five minutes.
        let doubled = |place: usize| i64::try_from((place.max(1) * 4).next_power_of_two()).unwrap() * KIB;
        assert!(!is_flat(300, noisy(0, doubled)));
        assert!(verdict(0, noisy(0, |_| 0), |place| 19 + place / 3).is_err(), "tasks");
    }

    #[test]
    fn a_mirror_that_warms_up_is_flat_in_the_end() {
        for seed in 0..SEEDS {
            // One queue after the other doubles its room.
            let steps = |place: usize| {
                [2, 9, 13, 20].map(|step| if place < step { 0 } else { 100 * KIB }).iter().sum()
            };
            assert!(is_flat(0, noisy(seed, steps)), "{seed}");
            assert!(is_flat(0, noisy(seed, |place| 300 * KIB - 300 * KIB / (1 + place as i64))), "{seed}");
        }
        // Recorded without the faults that warm up: the first flood comes in round 39.
        assert!(is_flat(COLD.len(), |place| COLD[place] * KIB));
        // And with them.
        assert!(WARM.iter().all(|warm| is_flat(0, |place| warm[place] * KIB)));
    }

    /// KiB in each round.
    #[rustfmt::skip]
    const COLD: [i64; 70] = [
        5172, 5197, 5213, 5185, 5214, 5204, 5167, 5225, 5211, 5216, 5271, 5258, 5215, 5255, 5233, 5243, 5233, 5282,
        5271, 5252, 5277, 5234, 5224, 5255, 5224, 5317, 5280, 5294, 5347, 5294, 5275, 5294, 5313, 5330, 5311, 5336,
        5297, 5340, 5750, 5713, 5708, 5727, 5745, 5743, 5722, 5698, 5751, 5741, 5727, 5741, 5750, 5717, 5707, 5751,
        5699, 5751, 5746, 5710, 5747, 5713, 5751, 5751, 5708, 5785, 5728, 5713, 5708, 5688, 5708, 5679,
    ];
    #[rustfmt::skip]
    const WARM: [[i64; 24]; 3] = [
        [
            6944, 6942, 6953, 7004, 7011, 6979, 7031, 7024, 6981, 7011, 6949, 6997,
            6978, 6950, 6979, 7180, 6949, 7002, 6978, 7023, 7016, 6992, 6997, 6992,
        ],
        [
            5354, 5379, 5394, 5360, 5346, 5328, 5375, 5384, 5354, 5337, 5344, 5392,
            5388, 5354, 5373, 5369, 5364, 5312, 5369, 5398, 5431, 5346, 5412, 5380,
        ],
        [
            5655, 5706, 5654, 5697, 5678, 5707, 5707, 5699, 5666, 5709, 5667, 5704,
            5638, 5676, 5650, 5718, 5647, 5629, 5728, 5700, 5746, 5648, 5694, 5681,
        ],
    ];
}
