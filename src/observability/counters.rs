//! Counters, and the summaries made of them. A count costs one relaxed add.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use histogram::{AtomicHistogram, Config};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn at_least(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }
}

/// How many of something there were, and how long or how late they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Half of the values are at most this. It is at most 1/32 above the true quantile.
    pub p50: u64,
    /// 99 of 100 values are at most this. It is at most 1/32 above the true quantile.
    pub p99: u64,
    /// The greatest value.
    pub max: u64,
}

/// Counts durations and the like in buckets 1/32 wide, up to 2^36. Takes 8 KiB.
pub(crate) struct Distribution {
    buckets: AtomicHistogram,
    max: Counter,
}

const BUCKETS: Config = match Config::new(5, 36) {
    Ok(config) => config,
    Err(_) => panic!("a grouping below its range"),
};

impl Distribution {
    pub(crate) const BYTES: usize = BUCKETS.total_buckets() * size_of::<AtomicU64>();

    pub(crate) fn record(&self, value: u64) {
        let value = value.min((1 << 36) - 1);
        // The value is in range now.
        let _ = self.buckets.increment(value);
        self.max.at_least(value);
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let (buckets, max) = (self.buckets.load(), self.max.get());
        // Both quantiles are in range.
        let at = |quantile| buckets.quantile_bucket(quantile).ok().flatten();
        let value = |quantile| at(quantile).map_or(0, |bucket| bucket.end().min(max));
        let count = buckets.as_slice().iter().sum();
        Quantiles { count, p50: value(0.5), p99: value(0.99), max }
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self { buckets: AtomicHistogram::with_config(&BUCKETS), max: Counter::default() }
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.quantiles().fmt(f)
    }
}

/// The same for one account, without the buckets.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    count: Counter,
    sum: Counter,
    max: Counter,
}

impl Extent {
    pub(crate) fn record(&self, value: u64) {
        self.count.add(1);
        self.sum.add(value);
        self.max.at_least(value);
    }

    /// How many values there were, their mean, and the greatest.
    pub(crate) fn get(&self) -> (u64, u64, u64) {
        let count = self.count.get();
        (count, self.sum.get().checked_div(count).unwrap_or(0), self.max.get())
    }
}

/// What the mirror counts about itself; [`Health`](crate::Health) shows it.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connects: Counter,
    pub(crate) losses: Counter,
    pub(crate) notifications: Counter,
    pub(crate) superseded: Counter,
    pub(crate) disputes: Counter,
    pub(crate) missed: Counter,
    pub(crate) refused: Counter,
    pub(crate) fallbacks: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) quarantines: Counter,
    pub(crate) resets: Counter,
    pub(crate) adopted: Counter,
    pub(crate) swept: Counter,
    pub(crate) rpc_calls: Counter,
    pub(crate) rpc_failures: Counter,
    /// Hits and misses of accounts no longer watched.
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    /// In microseconds.
    pub(crate) waits: Distribution,
    /// In milliseconds.
    pub(crate) notification_lag: Distribution,
}

/// The counters of one account; [`TokenStats`](crate::TokenStats) shows them.
#[derive(Debug, Default)]
pub(crate) struct AccountCounters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) fallbacks: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) rpc_reads: Counter,
    /// In microseconds.
    pub(crate) waits: Extent,
    /// In milliseconds.
    pub(crate) notification_lag: Extent,
    pub(crate) notifications: Counter,
}

impl AccountCounters {
    pub(crate) fn waited(&self, stats: &Stats, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.waits.record(time);
        stats.waits.record(time);
    }

    /// Records a notification's lag. A Clock ahead of wall time counts as no lag.
    pub(crate) fn lagged(&self, stats: &Stats, lag_ms: i64) {
        let lag = u64::try_from(lag_ms).unwrap_or(0);
        self.notification_lag.record(lag);
        stats.notification_lag.record(lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_values_themselves_to_a_thirty_second() {
        let distribution = Distribution::default();
        assert_eq!(distribution.quantiles(), Quantiles::default());
        // 1 to 1 000, in an order that is not theirs.
        for n in 0..1_000u64 {
            distribution.record((n * 397) % 1_000 + 1);
        }
        let Quantiles { count, p50, p99, max } = distribution.quantiles();
        assert_eq!((count, max), (1_000, 1_000));
        assert!((500..=516).contains(&p50) && (990..=1_000).contains(&p99), "{p50} and {p99}");
        distribution.record(u64::MAX);
        let Quantiles { count, max, .. } = distribution.quantiles();
        assert_eq!((count, max), (1_001, (1 << 36) - 1), "19 hours in microseconds");
        assert_eq!(Distribution::BYTES, 8 * 1_024);
    }

    #[test]
    fn an_account_has_the_mean_and_the_most() {
        let counters = AccountCounters::default();
        let stats = Stats::default();
        assert_eq!(counters.waits.get(), (0, 0, 0));
        for ms in [1, 2, 9] {
            counters.waited(&stats, Duration::from_millis(ms));
        }
        assert_eq!(counters.waits.get(), (3, 4_000, 9_000));
        assert_eq!(stats.waits.quantiles().count, 3);
        for lag_ms in [-3_000, 500, 700] {
            counters.lagged(&stats, lag_ms);
        }
        assert_eq!(counters.notification_lag.get(), (3, 400, 700));
        assert_eq!(stats.notification_lag.quantiles().max, 700);
    }
}
