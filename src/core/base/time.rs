//! Time as the core sees it.

use std::time::Duration;

/// A moment on the mirror's clock: nanoseconds since an origin that only that clock knows.
///
/// Ticks can be compared only if they come from the same clock: `crate::clock::Clock`, or a counter
/// in a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// Earlier than every moment. Evidence with this time proves nothing.
    pub const NEVER: Tick = Tick(0);
    /// Later than every moment. For facts that can never change.
    pub const FOREVER: Tick = Tick(u64::MAX);

    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this tick; zero if `earlier` is in fact later.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let tick = Tick::from_nanos(5);
        assert_eq!(tick.minus(Duration::from_secs(1)), Tick::NEVER);
        assert_eq!(tick.since(Tick::from_nanos(9)), Duration::ZERO);
        assert_eq!(tick.plus(Duration::MAX), Tick::from_nanos(u64::MAX));
        assert_eq!(tick.plus(Duration::from_nanos(4)).since(tick), Duration::from_nanos(4));
    }
}
