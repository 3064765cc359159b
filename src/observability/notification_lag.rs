//! How late notifications come, by the chain's own Clock.
//!
//! A notification has a slot and no time. The time of a slot is in the Clock of its bank, which the same connection
//! notifies behind it: the canary. So a notification's lag is the wall time of its arrival less the Clock of the first
//! canary behind it that is of its slot or later. The Clock has whole seconds and strays from wall time by several, so
//! the number is good for comparing nodes and hours, and not for a stopwatch; it is compared with nothing here.

use std::sync::Arc;

use crate::{core::base::ids::Slot, observability::counters::Stats, store::Entry};

/// Notifications kept until their slot's Clock comes; of more, the lag is not counted.
const ROOM: usize = 1_024;

/// The notifications of one connection whose slot's time is not known yet.
#[derive(Debug, Default)]
pub(crate) struct NotificationLags(Vec<(Arc<Entry>, Slot, i64)>);

impl NotificationLags {
    /// An account was notified, at this wall time.
    pub(crate) fn notified(&mut self, entry: Arc<Entry>, slot: Slot, wall_ms: i64) {
        if self.0.len() < ROOM {
            self.0.push((entry, slot, wall_ms));
        }
    }

    /// A canary came at this wall time, by so much later than its Clock.
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
