//! The mirror's clock. No other module asks the host for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::core::base::time::Tick;

/// How far the monotonic clock and the wall clock may drift apart between two checks. More than
/// this is a jump.
const JUMP: Duration = Duration::from_secs(5);

/// A clock that starts when it is created. On Linux it also counts while the host is suspended
/// (`CLOCK_BOOTTIME`).
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    origin: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: monotonic() }
    }

    pub(crate) fn now(&self) -> Tick {
        // Starts one nanosecond past the origin, so that this clock never returns `Tick::NEVER`.
        Tick::from_nanos(1).plus(monotonic().saturating_sub(self.origin))
    }
}

#[cfg(target_os = "linux")]
fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn monotonic() -> Duration {
    use std::{sync::LazyLock, time::Instant};
    #[expect(clippy::disallowed_methods, reason = "the one clock that all others are read from")]
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    ORIGIN.elapsed()
}

/// Milliseconds of wall time since the Unix epoch.
pub(crate) fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// Detects when wall time and the mirror's clock move apart. Causes: the host was suspended and its
/// clock stopped meanwhile, a virtual machine was paused, or the wall clock was set.
#[derive(Debug)]
pub(crate) struct JumpDetector {
    last: (Tick, i64),
}

impl JumpDetector {
    pub(crate) fn new(now: Tick, wall_ms: i64) -> Self {
        Self { last: (now, wall_ms) }
    }

    pub(crate) fn jumped(&mut self, now: Tick, wall_ms: i64) -> bool {
        let (then, wall_then) = std::mem::replace(&mut self.last, (now, wall_ms));
        let elapsed = i64::try_from(now.since(then).as_millis()).unwrap_or(i64::MAX);
        let drift = wall_ms.saturating_sub(wall_then).saturating_sub(elapsed);
        Duration::from_millis(drift.unsigned_abs()) > JUMP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_forward_from_past_never() {
        let clock = Clock::new();
        let first = clock.now();
        assert!(first > Tick::NEVER);
        while clock.now() == first {}
        assert!(clock.now() > first);
    }

    #[test]
    fn a_jump_is_a_difference_between_the_clocks_not_the_passing_of_time() {
        let at = |seconds: u64| Tick::from_nanos(seconds * 1_000_000_000);
        let mut detector = JumpDetector::new(at(0), 0);
        assert!(!detector.jumped(at(100), 100_000));
        assert!(!detector.jumped(at(101), 105_000));
        assert!(detector.jumped(at(102), 115_000), "wall time ran ahead");
        assert!(!detector.jumped(at(103), 116_000));
        assert!(detector.jumped(at(104), 100_000), "wall time was set back");
    }
}
