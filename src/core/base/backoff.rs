//! Computes the wait before the next try. It doubles with each failure, carries jitter, and resets
//! only when the caller has proof of health.

use std::time::Duration;

/// Returns the next random number of a stream and advances the stream's state (splitmix64). Good
/// enough to spread reconnects and pick slice lengths; not for secrets.
pub fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Waits of `first`, twice that, and so on up to `cap`. Each wait is drawn at random from the upper
/// half of its span.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, failures: 0 }
    }

    /// Counts one more failure and returns the wait before the next try.
    pub fn next(&mut self, random: &mut u64) -> Duration {
        let span = self.first.saturating_mul(1 << self.failures.min(20)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        // The top 53 bits, as a fraction of one.
        let fraction = (next_random(random) >> 11) as f64 / (1u64 << 53) as f64;
        span.mul_f64(0.5 + fraction / 2.0)
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_within_its_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
        let mut random = 1;
        for span in [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000] {
            let wait = backoff.next(&mut random);
            let span = Duration::from_millis(span);
            assert!(wait >= span / 2 && wait <= span, "{wait:?} of {span:?}");
        }
        backoff.reset();
        assert!(backoff.next(&mut random) <= Duration::from_millis(250));
    }

    #[test]
    fn two_mirrors_do_not_wait_alike() {
        let waits = |seed| {
            let mut random = seed;
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
            (0..8).map(|_| backoff.next(&mut random)).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
        assert_eq!(waits(1), waits(1));
    }
}
