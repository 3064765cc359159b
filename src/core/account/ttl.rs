//! How long a record may be served without a live link, depending on how often the account changes.

use std::time::Duration;

use crate::core::base::time::Tick;

/// The range of a dynamic TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TtlBounds {
    pub least: Duration,
    pub most: Duration,
}

/// How often an account changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChangeRate {
    /// When it last changed; [`Tick::NEVER`] if it has not changed since the watch began.
    changed: Tick,
    /// The usual interval between changes: a running average in which each new interval counts a
    /// quarter.
    every: Option<Duration>,
}

impl ChangeRate {
    /// Records that the account changed at `now`.
    pub fn change(&mut self, now: Tick) {
        if self.changed != Tick::NEVER {
            let interval = now.since(self.changed);
            self.every =
                Some(self.every.map_or(interval, |every| every - every / 4 + interval.min(LONGEST) / 4));
        }
        self.changed = now;
    }

    /// The usual interval between changes, or the time since the last change if that is longer, so
    /// that an account that was busy once does not count as busy forever. `None` before the second
    /// change.
    pub fn interval(&self, now: Tick) -> Option<Duration> {
        self.every.map(|every| every.max(now.since(self.changed)))
    }

    /// Half the usual interval, within the bounds. If changes come at random, a state of that age
    /// is still true three times out of five. The longest TTL while the interval is unknown.
    pub fn ttl(&self, now: Tick, bounds: &TtlBounds) -> Duration {
        self.interval(now).map_or(bounds.most, |every| (every / 2).clamp(bounds.least, bounds.most))
    }
}

/// Longer intervals count as this one: a longer pause says nothing more, and the sum of many cannot
/// overflow.
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: TtlBounds = TtlBounds { least: Duration::from_secs(2), most: Duration::from_secs(30) };

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * 1_000_000_000)
    }

    /// Changes at these seconds.
    fn changing(seconds: &[u64]) -> ChangeRate {
        let mut rate = ChangeRate::default();
        seconds.iter().for_each(|second| rate.change(at(*second)));
        rate
    }

    fn ttl(change_rate: &ChangeRate, now: u64) -> u64 {
        change_rate.ttl(at(now), &BOUNDS).as_secs()
    }

    #[test]
    fn an_account_that_changes_often_is_trusted_for_half_its_usual_interval() {
        assert_eq!(ttl(&changing(&[]), 100), 30);
        assert_eq!(ttl(&changing(&[100]), 100), 30, "one change is no rate");
        assert_eq!(ttl(&changing(&[100, 120]), 120), 10);
        assert_eq!(ttl(&changing(&[100, 120, 140, 160]), 160), 10);
        assert_eq!(ttl(&changing(&[100, 101, 102]), 102), 2, "never below the least");
        assert_eq!(ttl(&changing(&[100, 500]), 500), 30, "never above the most");
    }

    #[test]
    fn a_new_interval_counts_a_quarter() {
        // 20, then 20 * 3/4 + 40 / 4.
        assert_eq!(changing(&[100, 120, 160]).interval(at(160)), Some(Duration::from_secs(25)));
        let mut rate = changing(&[100, 120]);
        (0..40).for_each(|n| rate.change(at(124 + 4 * n)));
        assert_eq!(ttl(&rate, 280), 2, "the new rate wins in the end");
    }

    #[test]
    fn a_pause_gives_the_trust_back() {
        let rate = changing(&[100, 104, 108]);
        assert_eq!((ttl(&rate, 108), ttl(&rate, 112), ttl(&rate, 148), ttl(&rate, 500)), (2, 2, 20, 30));
        assert_eq!(rate.interval(at(118)), Some(Duration::from_secs(10)));
    }

    #[test]
    fn no_pause_is_too_long_for_the_sum() {
        let mut rate = changing(&[1, 2]);
        for _ in 0..100 {
            rate.changed = Tick::from_nanos(1);
            rate.change(Tick::from_nanos(u64::MAX));
        }
        assert!(rate.interval(Tick::from_nanos(u64::MAX)).is_some_and(|every| every <= LONGEST));
    }
}
