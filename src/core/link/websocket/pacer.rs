//! How fast subscribes are sent: first a burst, then at a steady rate.

use std::time::Duration;

use crate::core::base::time::Tick;

/// A token bucket, stored as the moment at which it would be full again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SubscribePacer {
    every: Duration,
    /// How far in the future that moment may lie while one more subscribe may be sent.
    tolerance: Duration,
    full_at: Tick,
    /// How long subscribes wait for more to join them after the burst: a tenth of a second, so that
    /// they and their baselines go out in batches.
    company: Duration,
    not_before: Tick,
}

impl SubscribePacer {
    pub(super) fn new(burst: usize, per_second: u32) -> Self {
        let every = Duration::from_secs(1) / per_second.max(1);
        let burst = u32::try_from(burst).unwrap_or(u32::MAX).max(1);
        let batch = (per_second / 10).clamp(1, burst);
        Self {
            every,
            tolerance: every.saturating_mul(burst - 1),
            full_at: Tick::NEVER,
            company: every.saturating_mul(batch - 1),
            not_before: Tick::NEVER,
        }
    }

    /// When the next subscribe may be sent.
    pub(super) fn next(&self) -> Tick {
        self.full_at.minus(self.tolerance).max(self.not_before)
    }

    /// Called when nothing more may be sent now and accounts still wait: delays the next subscribe
    /// so that they go out in a batch.
    pub(super) fn rest(&mut self) {
        self.not_before = self.full_at.minus(self.tolerance).plus(self.company);
    }

    /// Counts a subscribe that is sent, whether or not it waited for the pacer.
    pub(super) fn sent(&mut self, now: Tick) {
        self.full_at = self.full_at.max(now).plus(self.every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many go out from `from_ms` to `to_ms`, each as soon as it may.
    fn sent(pacer: &mut SubscribePacer, from_ms: u64, to_ms: u64) -> u32 {
        let mut sent = 0;
        for now in (from_ms..to_ms).map(|ms| Tick::from_nanos(ms * 1_000_000)) {
            while pacer.next() <= now {
                pacer.sent(now);
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn a_burst_then_the_rate_and_a_burst_again_after_a_rest() {
        let mut pacer = SubscribePacer::new(64, 200);
        assert_eq!(sent(&mut pacer, 1_000, 1_001), 64);
        assert_eq!(sent(&mut pacer, 1_001, 2_001), 200);
        assert_eq!(sent(&mut pacer, 9_000, 9_001), 64, "no more than a burst however long the rest");
    }

    #[test]
    fn those_left_behind_by_the_burst_go_in_batches() {
        let mut pacer = SubscribePacer::new(64, 200);
        let start = Tick::from_nanos(1_000_000_000);
        let mut batches = Vec::new();
        for now in (0..1_000).map(|ms| start.plus(Duration::from_millis(ms))) {
            let mut batch = 0;
            while pacer.next() <= now {
                pacer.sent(now);
                batch += 1;
            }
            pacer.rest();
            batches.extend((batch > 0).then_some(batch));
        }
        assert_eq!(batches, [64, 20, 20, 20, 20, 20, 20, 20, 20, 20]);
    }

    #[test]
    fn what_goes_out_of_turn_is_made_up_for() {
        let mut pacer = SubscribePacer::new(4, 100);
        let now = Tick::from_nanos(1_000_000_000);
        for _ in 0..6 {
            pacer.sent(now);
        }
        assert_eq!(pacer.next().since(now), Duration::from_millis(30));
    }
}
