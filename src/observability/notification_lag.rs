//! Measures how late notifications arrive, by the chain's own Clock.
//!
//! A notification has a slot but no time. The time of a slot is in the Clock of its bank, which the
//! same connection notifies after it: the canary. So a notification's lag is the wall time of its
//! arrival minus the Clock of the first later canary that is of its slot or a later one. The Clock
//! has whole seconds and differs from wall time by several. So the number is good for comparing
//! nodes and hours, but is no stopwatch, and the mirror bases no decision on it.

use std::sync::Arc;

use crate::{core::base::ids::Slot, observability::counters::Stats, store::Entry};

/// How many notifications are kept until their slot's Clock arrives. The lag of any beyond that is
/// not counted.
const ROOM: usize = 1_024;

/// One connection's notifications for which the time of their slot is not known yet.
#[derive(Debug, Default)]
pub(crate) struct NotificationLags(Vec<(Arc<Entry>, Slot, i64)>);

impl NotificationLags {
    /// A notification of an account arrived at this wall time.
    pub(crate) fn notified(&mut self, entry: Arc<Entry>, slot: Slot, wall_ms: i64) {
        if self.0.len() < ROOM {
            self.0.push((entry, slot, wall_ms));
        }
    }

    /// A canary arrived at this wall time, `lag_ms` after its Clock.
    pub(crate) fn canary(&mut self, slot: Slot, wall_ms: i64, lag_ms: i64, stats: &Stats) {
        let time = wall_ms.saturating_sub(lag_ms);
        self.0.retain(|(entry, notified, arrived)| {
            let known = *notified <= slot;
            if known {
                entry.counters.lagged(stats, arrived.saturating_sub(time));
            }
            !known
        });
    }
}

#[cfg(test)]
mod tests {
    use solana_pubkey::Pubkey;

    use super::*;

    #[test]
    fn a_notification_is_as_late_as_its_arrival_is_behind_the_clock_of_its_slot() {
        let (stats, mut lags) = (Stats::default(), NotificationLags::default());
        let entry = |byte| Arc::new(Entry::new(Pubkey::new_from_array([byte; 32])));
        let (one, other) = (entry(1), entry(2));
        let lag = |entry: &Entry| entry.counters.notification_lag.get();
        lags.notified(one.clone(), 10, 100_700);
        lags.notified(other.clone(), 11, 101_200);
        // The Clock of slot 10 says 100.000 s, that of slot 11 says 101.000 s.
        lags.canary(10, 100_900, 900, &stats);
        assert_eq!((lag(&one), lag(&other)), ((1, 700, 700), (0, 0, 0)));
        lags.canary(11, 101_900, 900, &stats);
        assert_eq!((lag(&one), lag(&other)), ((1, 700, 700), (1, 200, 200)), "once each");
        (0..2 * ROOM).for_each(|_| lags.notified(one.clone(), 12, 0));
        assert_eq!(lags.0.len(), ROOM);
    }
}
