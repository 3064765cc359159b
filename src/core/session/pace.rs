//! How fast subscribes are sent: a burst, and from there at a steady rate.

use std::time::Duration;

use crate::core::time::Tick;

/// A token bucket, kept as the moment at which it would be full again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    every: Duration,
    /// How far ahead of now that moment may be for one more to be sent.
    tolerance: Duration,
    full_at: Tick,
}

impl Pace {
    pub(super) fn new(burst: usize, per_second: u32) -> Self {
        let every = Duration::from_secs(1) / per_second.max(1);
        let burst = u32::try_from(burst).unwrap_or(u32::MAX).max(1);
        Self { every, tolerance: every.saturating_mul(burst - 1), full_at: Tick::NEVER }
    }

    /// When the next may be sent.
    pub(super) fn next(&self) -> Tick {
        self.full_at.minus(self.tolerance)
    }

    /// Counts one that is sent, in its turn or not.
    pub(super) fn sent(&mut self, now: Tick) {
        self.full_at = self.full_at.max(now).plus(self.every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many go out from `from_ms` to `to_ms`, each as soon as it may.
    fn sent(pace: &mut Pace, from_ms: u64, to_ms: u64) -> u32 {
        let mut sent = 0;
        for now in (from_ms..to_ms).map(|ms| Tick::from_nanos(ms * 1_000_000)) {
            while pace.next() <= now {
                pace.sent(now);
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn a_burst_then_the_rate_and_a_burst_again_after_a_rest() {
        let mut pace = Pace::new(64, 200);
        assert_eq!(sent(&mut pace, 1_000, 1_001), 64);
        assert_eq!(sent(&mut pace, 1_001, 2_001), 200);
        assert_eq!(sent(&mut pace, 9_000, 9_001), 64, "no more than a burst however long the rest");
    }

    #[test]
    fn what_goes_out_of_turn_is_made_up_for() {
        let mut pace = Pace::new(4, 100);
        let now = Tick::from_nanos(1_000_000_000);
        for _ in 0..6 {
            pace.sent(now);
        }
        assert_eq!(pace.next().since(now), Duration::from_millis(30));
    }
}
