//! What a connection proves about all its accounts at once, and when it was true.
//!
//! Each connection carries a subscription on the Clock sysvar, the canary. A canary of slot C
//! proves that the node has sent every account notification of the slots before C. The notifier may
//! have skipped the slots between the previous canary, of slot P, and C, and then their writes come
//! together with C's own. So once C is drained, the link knows every account as of P, and P was
//! what the node held when P's canary arrived. The pair (P's slot, P's arrival) is the link's
//! proof.
//!
//! At finalized that holds only after a delay. The node looks each subscription's bank up anew,
//! about one slot before that bank is pruned, and skips the check if the bank is gone. So while the
//! node's notifier lags, a change may arrive after the canaries of later slots (seen on a real
//! validator under strain); it comes with the next check that finds its bank. There, P is a canary
//! from [`FINALIZED_SETTLES`] slots before C.

use std::time::Duration;

use crate::core::base::{
    ids::{Generation, Slot},
    time::Tick,
};

/// How long the smallest delay is remembered: at least this long, at most twice as long.
const LAG_WINDOW: Duration = Duration::from_secs(300);

/// At finalized, the number of consecutive slots that a notifier is assumed never to skip: one for
/// each slot that a bank lives as confirmed before it is finalized.
pub const FINALIZED_SETTLES: Slot = 32;

/// A canary that is later than usual by more than this proves nothing. A bank outlives its check by
/// some 32 slots, about 12 s; a notifier that is further behind than that skips checks at confirmed
/// too.
pub const MAX_EXCESS: Duration = Duration::from_secs(8);

/// A link's published proof. Readers load the proof first and the account's record second; the
/// writer publishes the record first. So a reader never combines a proof with a record that the
/// proof does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkEvidence {
    pub generation: Generation,
    /// Whether canaries arrive; a link that is down or lags proves nothing new.
    pub ticking: bool,
    /// The slot as of which the link's accounts are known.
    pub slot: Slot,
    /// When the node held that slot.
    pub proof: Tick,
    /// When the newest canary arrived. The canary deadline counts from here.
    pub arrived: Tick,
}

/// The published proofs of all links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// Indexed by link id.
    pub links: Vec<LinkEvidence>,
    /// Proofs from before this moment are void, because the host's clock jumped or the chain
    /// began anew.
    pub valid_from: Tick,
    /// How often the chain began anew.
    pub epoch: u32,
}

impl Evidence {
    pub fn new(links: usize) -> Self {
        Self { links: vec![LinkEvidence::default(); links], valid_from: Tick::NEVER, epoch: 0 }
    }

    /// The proof of this connection, if it is the latest connection of its link.
    pub fn of(&self, generation: Generation) -> Option<&LinkEvidence> {
        let link = self.links.get(usize::from(generation.link.0))?;
        (link.generation == generation).then_some(link)
    }
}

/// Measures how far a node's chain clock lags behind wall time, and by how much more than usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LagGauge {
    window: Option<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Window {
    since: Tick,
    smallest: i64,
    smallest_before: i64,
}

impl LagGauge {
    /// By how much a canary's lag exceeds the smallest lag of late. The lag is wall time at arrival
    /// minus the chain's Clock, in milliseconds. The canary was true that long before `arrived`.
    ///
    /// So a backlog that is read at full rate after a stall counts from when it was sent. The
    /// chain's Clock has whole seconds, so this may subtract up to a second too much: a proof may
    /// look too old, never too young.
    pub fn excess(&mut self, arrived: Tick, lag_ms: i64) -> Duration {
        let excess = lag_ms.saturating_sub(self.note(arrived, lag_ms));
        Duration::from_millis(excess.unsigned_abs())
    }

    /// Records a lag and returns the smallest of late. Lags may also come from another source with
    /// the same chain's Clock: RPC answers show what is usual if the link itself was slow from the
    /// start.
    pub fn note(&mut self, arrived: Tick, lag_ms: i64) -> i64 {
        let window =
            self.window.get_or_insert(Window { since: arrived, smallest: lag_ms, smallest_before: i64::MAX });
        if arrived.since(window.since) >= LAG_WINDOW {
            window.smallest_before = window.smallest;
            window.smallest = lag_ms;
            window.since = arrived;
        }
        window.smallest = window.smallest.min(lag_ms);
        window.smallest.min(window.smallest_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_constant_lag_takes_nothing_off() {
        let mut gauge = LagGauge::default();
        for n in 0..10 {
            assert_eq!(gauge.excess(at(10_000 + n * 400), 3_000), Duration::ZERO);
        }
    }

    #[test]
    fn a_backlog_read_at_full_rate_counts_from_when_it_was_sent() {
        let mut gauge = LagGauge::default();
        gauge.note(at(100_000), 500);
        // Ten seconds of silence, then all that was under way within a millisecond.
        for late in [10_000, 9_600, 400, 0] {
            let excess = gauge.excess(at(110_000), 500 + late as i64);
            assert_eq!(excess, Duration::from_millis(late));
        }
    }

    #[test]
    fn a_link_slow_from_its_first_moment_is_found_out_by_an_rpc_answer() {
        let mut gauge = LagGauge::default();
        gauge.note(at(9_000), 700);
        assert_eq!(gauge.excess(at(10_000), 5_700), Duration::from_secs(5));
    }

    #[test]
    fn the_smallest_lag_is_forgotten_after_a_while() {
        let mut gauge = LagGauge::default();
        gauge.note(at(1), -5_000);
        let mut now = at(1);
        for _ in 0..3 {
            now = now.plus(LAG_WINDOW);
            gauge.note(now, 1_000);
        }
        assert_eq!(gauge.excess(now, 1_000), Duration::ZERO);
    }
}
