//! Keeps memory fresh while links are down: chooses which accounts to read by RPC while no live
//! link proves them.
//!
//! Each such account is read once per period, in batches spread over the period, so that readers
//! can still be served from memory. A refusal doubles the wait between batches up to a cap; a good
//! answer restores the usual wait. While a link proves every account, this rests and asks for no
//! wake-up.

use std::{collections::BTreeMap, time::Duration};

use solana_pubkey::Pubkey;

use crate::core::{base::time::Tick, rpc::audit::Audit};

/// How to refresh the accounts that no link proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefreshSettings {
    /// How often each account is read, if no node refuses.
    pub every: Duration,
    /// The longest wait between two batches, while nodes refuse.
    pub longest_wait: Duration,
    pub batch: usize,
    pub batches_a_second: u32,
}

impl Default for RefreshSettings {
    fn default() -> Self {
        Self {
            // A tenth of the age that selling allows.
            every: Duration::from_secs(3),
            // All of that age: any older, and memory could not serve the state anyway.
            longest_wait: Duration::from_secs(30),
            batch: crate::core::rpc::scheduler::BATCH,
            // A public node allows some 40 calls of one method in 10 s; callers' reads need the
            // rest.
            batches_a_second: 2,
        }
    }
}

/// Decides when which batch is due.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refresher {
    settings: RefreshSettings,
    round: Audit,
    /// When the last batch was sent, and the wait to the next one without refusals.
    last: Option<(Tick, Duration)>,
    next: Option<Tick>,
    /// How often the wait has been doubled, and (in `doubled`) when last.
    doublings: u32,
    doubled: Tick,
}

impl Refresher {
    pub fn new(settings: RefreshSettings) -> Self {
        let round = Audit::new(settings.every, settings.batch.max(1));
        Self { settings, round, last: None, next: None, doublings: 0, doubled: Tick::NEVER }
    }

    /// Call when some account is no longer proved by a link: makes a batch due, but no sooner after
    /// the last one than usual. Repeated calls change nothing.
    pub fn start(&mut self, now: Tick) {
        if self.next.is_none() {
            self.next = Some(self.after_last().map_or(now, |due| due.max(now)));
        }
    }

    /// The next batch of accounts that no link proves, as `dark` says. Empty if no batch is due
    /// yet, or if no such account is left; the latter ends the wake-ups until the next
    /// [`Refresher::start`].
    pub fn due<T>(
        &mut self,
        now: Tick,
        accounts: &BTreeMap<Pubkey, T>,
        dark: impl Fn(&T) -> bool,
    ) -> Vec<Pubkey> {
        if self.next.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let batch = self.round.next(accounts, &dark);
        if batch.is_empty() {
            self.next = None;
            return batch;
        }
        let count = accounts.values().filter(|account| dark(account)).count();
        let shortest = Duration::from_secs(1) / self.settings.batches_a_second.max(1);
        self.last = Some((now, self.round.interval(count).max(shortest)));
        self.next = self.after_last();
        batch
    }

    /// When the batch after the last one is due.
    fn after_last(&self) -> Option<Tick> {
        let (last, wait) = self.last?;
        let doubled = wait.saturating_mul(1 << self.doublings.min(20)).min(self.settings.longest_wait);
        Some(last.plus(doubled.max(wait)))
    }

    /// A batch was refused, or failed at all endpoints: doubles the wait between batches. Batches
    /// that were under way together and fail together double it only once.
    pub fn refused(&mut self, now: Tick) {
        if self.last.is_some_and(|(last, _)| last > self.doubled) {
            self.doublings = self.doublings.saturating_add(1);
            self.doubled = now;
            self.next = self.next.and(self.after_last());
        }
    }

    /// A batch was answered: restores the usual wait.
    pub fn answered(&mut self) {
        if self.doublings > 0 {
            self.doublings = 0;
            self.doubled = Tick::NEVER;
            self.next = self.next.and(self.after_last());
        }
    }

    /// When the next batch is due, if any.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> Pubkey {
        let [high, low] = number.to_be_bytes();
        let mut bytes = [0; 32];
        (bytes[0], bytes[1]) = (high, low);
        Pubkey::new_from_array(bytes)
    }

    /// So many accounts, all dark.
    fn accounts(count: u16) -> BTreeMap<Pubkey, bool> {
        (0..count).map(|n| (key(n), true)).collect()
    }

    fn at(ms: u64) -> Tick {
        Tick::from_nanos(ms * 1_000_000)
    }

    /// Goes from deadline to deadline up to `end`: the batches, and when they left.
    fn run(
        refresh: &mut Refresher,
        accounts: &BTreeMap<Pubkey, bool>,
        end: Tick,
    ) -> Vec<(Tick, Vec<Pubkey>)> {
        let mut left = Vec::new();
        while let Some(now) = refresh.next_deadline().filter(|due| *due < end) {
            let batch = refresh.due(now, accounts, |dark| *dark);
            if batch.is_empty() {
                break;
            }
            left.push((now, batch));
        }
        left
    }

    #[test]
    fn every_dark_account_comes_round_once_a_period_spread_over_it() {
        let mut refresh = Refresher::new(RefreshSettings::default());
        let mut accounts = accounts(400);
        for n in 100..202 {
            accounts.insert(key(n), false);
        }
        refresh.start(at(1_000));
        let left = run(&mut refresh, &accounts, at(4_000));
        let moments: Vec<_> = left.iter().map(|(now, _)| *now).collect();
        assert_eq!(moments, [1_000, 1_750, 2_500, 3_250].map(at), "298 are four batches");
        let mut seen: Vec<_> = left.into_iter().flat_map(|(_, batch)| batch).collect();
        let times = seen.len();
        seen.sort();
        seen.dedup();
        let dark: Vec<_> = accounts.iter().filter(|(_, dark)| **dark).map(|(address, _)| *address).collect();
        assert_eq!(seen, dark);
        assert!(times < 298 + 99, "no more than the last batch comes round again: {times}");
    }

    #[test]
    fn many_accounts_make_no_more_calls_a_second_than_allowed() {
        let mut refresh = Refresher::new(RefreshSettings::default());
        refresh.start(at(0));
        assert_eq!(run(&mut refresh, &accounts(5_000), at(10_000)).len(), 20);
    }

    #[test]
    fn while_links_prove_everything_it_rests() {
        let mut refresh = Refresher::new(RefreshSettings::default());
        let mut accounts = accounts(3);
        assert_eq!(refresh.next_deadline(), None);
        assert_eq!(refresh.due(at(10), &accounts, |dark| *dark), []);
        refresh.start(at(10));
        assert_eq!(refresh.due(at(10), &accounts, |dark| *dark).len(), 3);
        accounts.values_mut().for_each(|dark| *dark = false);
        assert_eq!(refresh.due(at(3_009), &accounts, |dark| *dark), []);
        assert_eq!(refresh.next_deadline(), Some(at(3_010)));
        assert_eq!(refresh.due(at(3_010), &accounts, |dark| *dark), []);
        assert_eq!(refresh.next_deadline(), None);
        refresh.start(at(9_000));
        assert_eq!(refresh.next_deadline(), Some(at(9_000)), "at once, after a long rest");
    }

    #[test]
    fn a_link_that_flaps_makes_no_more_calls_than_one_that_is_down() {
        let mut refresh = Refresher::new(RefreshSettings::default());
        let (dark, lit) = (accounts(3), BTreeMap::from([(key(0), false)]));
        let mut calls = 0;
        for ms in (0..30_000).step_by(100) {
            refresh.start(at(ms));
            calls += usize::from(!refresh.due(at(ms), &dark, |dark| *dark).is_empty());
            refresh.due(at(ms + 50), &lit, |dark| *dark);
        }
        assert_eq!(calls, 10);
    }

    #[test]
    fn a_refusal_doubles_the_wait_up_to_the_cap_and_an_answer_ends_that() {
        let mut refresh = Refresher::new(RefreshSettings::default());
        let accounts = accounts(3);
        let mut now = at(100);
        refresh.start(now);
        for wait in [6, 12, 24, 30, 30] {
            assert_eq!(refresh.due(now, &accounts, |dark| *dark).len(), 3);
            refresh.refused(now.plus(Duration::from_millis(20)));
            let due = now.plus(Duration::from_secs(wait));
            assert_eq!(refresh.next_deadline(), Some(due), "{wait} s");
            now = due;
        }
        assert_eq!(refresh.due(now, &accounts, |dark| *dark).len(), 3);
        refresh.answered();
        assert_eq!(refresh.next_deadline(), Some(now.plus(Duration::from_secs(3))));
    }

    #[test]
    fn batches_refused_together_double_the_wait_once() {
        let mut refresh = Refresher::new(RefreshSettings::default());
        let accounts = accounts(198);
        refresh.start(at(0));
        refresh.due(at(0), &accounts, |dark| *dark);
        refresh.due(at(1_500), &accounts, |dark| *dark);
        for ms in [1_600, 1_610, 1_620] {
            refresh.refused(at(ms));
        }
        assert_eq!(refresh.next_deadline(), Some(at(1_500 + 3_000)));
        refresh.due(at(4_500), &accounts, |dark| *dark);
        refresh.refused(at(4_600));
        assert_eq!(refresh.next_deadline(), Some(at(4_500 + 6_000)), "a batch sent since counts again");
    }

    #[test]
    fn a_refusal_that_comes_while_it_rests_wakes_nobody_and_is_remembered() {
        let mut refresh = Refresher::new(RefreshSettings::default());
        refresh.start(at(1_000));
        assert_eq!(refresh.due(at(1_000), &accounts(3), |dark| *dark).len(), 3);
        assert_eq!(refresh.due(at(4_000), &accounts(0), |dark| *dark), []);
        refresh.refused(at(4_001));
        assert_eq!(refresh.next_deadline(), None);
        refresh.start(at(4_100));
        assert_eq!(refresh.next_deadline(), Some(at(7_000)), "twice the wait after the last batch");
    }
}
