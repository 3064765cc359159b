//! What truly came over the links: which connections are there, when their canaries came, and how
//! late.

use std::collections::VecDeque;

use crate::agenda::{Nanos, SECOND};

/// So long the mirror remembers at least what is usual on a link.
const WINDOW: Nanos = 300 * SECOND;
/// The greatest age that callers ask for: so long a proof may be served.
pub(crate) const SERVED: Nanos = 310 * SECOND;

/// The least (or greatest) of what came within a while.
#[derive(Debug, Default)]
struct Sliding(VecDeque<(Nanos, Nanos)>);

impl Sliding {
    fn add(&mut self, now: Nanos, value: Nanos, span: Nanos, yields: impl Fn(Nanos, Nanos) -> bool) {
        while self.0.back().is_some_and(|(_, last)| yields(*last, value)) {
            self.0.pop_back();
        }
        self.0.push_back((now, value));
        while self.0.front().is_some_and(|(at, _)| at + span < now) {
            self.0.pop_front();
        }
    }

    fn extreme(&self) -> Option<Nanos> {
        self.0.front().map(|(_, value)| *value)
    }
}

#[derive(Debug, Default)]
struct Link {
    /// Since when the connection is there.
    up: Option<Nanos>,
    lost: Nanos,
    last_canary: Option<Nanos>,
    least: Sliding,
    /// The greatest of those least, while a proof from then may be served.
    hidden: Sliding,
}

#[derive(Debug, Default)]
pub(crate) struct Links(Vec<Link>);

impl Links {
    pub(crate) fn new(links: usize) -> Self {
        Self((0..links).map(|_| Link::default()).collect())
    }

    pub(crate) fn up(&mut self, link: usize, now: Nanos) {
        self.0[link].up = Some(now);
        self.0[link].last_canary = None;
    }

    pub(crate) fn lost(&mut self, link: usize, now: Nanos) {
        if self.0[link].up.take().is_some() {
            self.0[link].lost = now;
        }
    }

    /// A canary was applied, so long after its node held the bank.
    pub(crate) fn canary(&mut self, link: usize, now: Nanos, delay: Nanos) {
        let link = &mut self.0[link];
        link.last_canary = Some(now);
        link.least.add(now, delay, WINDOW, |last, value| last >= value);
        let least = link.least.extreme().unwrap_or(delay);
        link.hidden.add(now, least, SERVED, |last, value| last <= value);
    }

    /// The mirror forgets what is usual.
    pub(crate) fn forget(&mut self) {
        for link in &mut self.0 {
            link.least = Sliding::default();
        }
    }

    /// Whether a connection that was there at `at` or later had a canary since `from`.
    pub(crate) fn ticked_since(&self, from: Nanos, at: Nanos) -> bool {
        self.0.iter().any(|link| {
            let there = link.up.is_some() || link.lost >= at;
            there && link.last_canary.is_some_and(|ticked| ticked >= from)
        })
    }

    /// What delay was the least on its link, at worst.
    pub(crate) fn hidden_delay(&self) -> Nanos {
        self.0.iter().filter_map(|link| link.hidden.extreme()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_delay_of_late_is_hidden_and_the_worst_of_those_counts() {
        let mut links = Links::new(2);
        links.canary(0, SECOND, 9);
        assert_eq!(links.hidden_delay(), 9, "a link slow from its first moment");
        links.canary(0, 20 * SECOND, 4);
        links.canary(0, 21 * SECOND, 70);
        assert_eq!(links.hidden_delay(), 9, "what was proved then may still be served");
        links.canary(0, SERVED + 2 * SECOND, 5);
        assert_eq!(links.hidden_delay(), 4, "and now it may not");
        links.canary(0, WINDOW + 21 * SECOND, 6);
        assert_eq!(links.hidden_delay(), 5, "what was usual then is forgotten");
    }

    #[test]
    fn a_link_that_is_gone_has_no_canary() {
        let mut links = Links::new(1);
        assert!(!links.ticked_since(0, 0));
        links.up(0, SECOND);
        links.canary(0, 2 * SECOND, 0);
        assert!(links.ticked_since(2 * SECOND, 3 * SECOND));
        assert!(!links.ticked_since(2 * SECOND + 1, 3 * SECOND));
        links.lost(0, 4 * SECOND);
        assert!(links.ticked_since(SECOND, 4 * SECOND), "a read that began while it was there");
        assert!(!links.ticked_since(SECOND, 4 * SECOND + 1));
    }
}
