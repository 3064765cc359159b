//! A node: what it holds of the chain and since when, and its notifier.
//!
//! The notifier is one queue. A check of a bank tells every subscription whose account's last write
//! is another than the one it told last; a subscription learns what to compare with when its own
//! turn in the queue comes, maybe long after it was acknowledged. Checks of some banks are skipped,
//! and what they would have told comes with the next. Within one bank the order is arbitrary.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    agenda::Nanos,
    chain::{Chain, Held},
    rng::Rng,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Clock,
    /// Something that never changes.
    Rent,
    Account(usize),
}

/// The parameters of a subscription: equal ones share one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) thing: Thing,
    pub(crate) slice: Option<u64>,
    /// Of the processed bank; else at the world's commitment.
    pub(crate) processed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Clock(i64),
    Account(Held),
    /// Something that cannot be read.
    Garbled,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Notice {
    pub(crate) id: u64,
    pub(crate) slot: u64,
    pub(crate) told: Told,
}

impl Notice {
    /// The same, unreadable.
    pub(crate) fn garbled(self) -> Self {
        Self { told: Told::Garbled, ..self }
    }
}

#[derive(Debug)]
struct Entry {
    id: u64,
    /// The write it told last; `None` until its turn in the queue.
    told: Option<u64>,
    checked: u64,
    /// Connections, and whether that subscriber has died in silence.
    subscribers: Vec<(usize, bool)>,
}

/// A bank as a node sees it: one of the chain, or one of a fork that is abandoned later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Bank(usize),
    Abandoned(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    Baseline(Key),
    Check { view: View, processed: bool },
}

/// What a node says that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Its context slots are that far ahead.
    Ahead(u64),
    /// It is on another chain.
    OtherChain,
}

#[derive(Debug)]
pub(crate) struct Node {
    /// The newest bank it holds at the world's commitment.
    pub(crate) holds: Option<usize>,
    /// Since when it held which bank.
    pub(crate) log: Vec<(Nanos, usize)>,
    pub(crate) processed: Option<View>,
    /// How long after the cluster it has a bank.
    pub(crate) lag: Nanos,
    pub(crate) extra_lag: Nanos,
    pub(crate) stalled_until: Nanos,
    /// No two banks in the other order.
    pub(crate) last_hold: [Nanos; 2],
    queue: VecDeque<Job>,
    /// Whether the notifier is at work.
    pub(crate) busy: bool,
    /// How long each job takes.
    pub(crate) pace: Nanos,
    /// Some subscriptions' checks are skipped where others' are not.
    pub(crate) strained: bool,
    /// Takes subscriptions and never notifies.
    pub(crate) mute: bool,
    pub(crate) lie: Option<Lie>,
    /// A feed whose subscriptions do not differ by their slices.
    pub(crate) ignores_slices: bool,
    entries: BTreeMap<Key, Entry>,
    last_id: u64,
}

/// Finalized checks may be skipped for so many slots, and the node still tells within what it
/// settles by.
const STRAIN: u64 = 24;

impl Node {
    pub(crate) fn new(lag: Nanos, ignores_slices: bool) -> Self {
        Self {
            holds: None,
            log: Vec::new(),
            processed: None,
            lag,
            extra_lag: 0,
            stalled_until: 0,
            last_hold: [0; 2],
            queue: VecDeque::new(),
            busy: false,
            pace: 0,
            strained: false,
            mute: false,
            lie: None,
            ignores_slices,
            entries: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// The oldest bank that it held at `from` or later, up to `to`, and that was near enough then.
    pub(crate) fn oldest_since(
        &self,
        from: Nanos,
        to: Nanos,
        near: impl Fn(Nanos, usize) -> bool,
    ) -> Option<usize> {
        let later = self.log.partition_point(|(since, _)| *since <= from);
        let then = later.checked_sub(1).map(|place| (from, self.log[place].1));
        let later = self.log[later..].iter().copied().take_while(|(since, _)| *since <= to);
        then.into_iter().chain(later).find(|(at, bank)| near(*at, *bank)).map(|(_, bank)| bank)
    }

    /// Since when it holds that bank or a later one.
    pub(crate) fn holds_since(&self, bank: usize) -> Option<Nanos> {
        let place = self.log.partition_point(|(_, held)| *held < bank);
        self.log.get(place).map(|(since, _)| *since)
    }

    pub(crate) fn hold(&mut self, now: Nanos, bank: usize) {
        if self.holds.is_none_or(|held| held < bank) {
            self.holds = Some(bank);
            self.log.push((now, bank));
        }
    }

    pub(crate) fn enqueue(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    pub(crate) fn next_job(&mut self) -> Option<Job> {
        self.queue.pop_front()
    }

    pub(crate) fn has_jobs(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Joins the subscription with these parameters, or queues a new one; its id.
    pub(crate) fn subscribe(&mut self, mut key: Key, conn: usize) -> u64 {
        if self.ignores_slices {
            key.slice = None;
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            match entry.subscribers.iter_mut().find(|(subscriber, _)| *subscriber == conn) {
                // A dead one is revived with its connection's new subscription.
                Some(subscriber) => subscriber.1 = false,
                None => entry.subscribers.push((conn, false)),
            }
            return entry.id;
        }
        self.last_id += 1;
        let id = self.last_id;
        self.entries.insert(key, Entry { id, told: None, checked: 0, subscribers: vec![(conn, false)] });
        self.enqueue(Job::Baseline(key));
        id
    }

    pub(crate) fn unsubscribe(&mut self, id: u64, conn: usize) {
        self.entries.retain(|_, entry| {
            if entry.id == id {
                entry.subscribers.retain(|(subscriber, _)| *subscriber != conn);
            }
            !entry.subscribers.is_empty()
        });
    }

    pub(crate) fn drop_connection(&mut self, conn: usize) {
        self.entries.retain(|_, entry| {
            entry.subscribers.retain(|(subscriber, _)| *subscriber != conn);
            !entry.subscribers.is_empty()
        });
    }

    /// The subscription of one account on one connection dies, and nobody is told.
    pub(crate) fn silence(&mut self, account: usize, conn: usize) -> bool {
        let mut died = false;
        for (key, entry) in &mut self.entries {
            if key.thing == Thing::Account(account) && !key.processed {
                for subscriber in entry.subscribers.iter_mut().filter(|(subscriber, _)| *subscriber == conn) {
                    subscriber.1 = true;
                    died = true;
                }
            }
        }
        died
    }

    /// Whether such a dead subscription is still there.
    pub(crate) fn is_silenced(&self, account: usize, conn: usize) -> bool {
        self.entries.iter().any(|(key, entry)| {
            key.thing == Thing::Account(account) && entry.subscribers.contains(&(conn, true))
        })
    }

    pub(crate) fn baseline(&mut self, key: Key, chain: &Chain) {
        let view = if key.processed { self.processed } else { self.holds.map(View::Bank) };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.told.is_none()) else { return };
        // A node without any bank has nothing to compare with: everything is a change.
        let Some(view) = view else {
            entry.told = Some(0);
            return;
        };
        let (slot, written, _) = sight(chain, view, key.thing);
        entry.told = Some(written);
        entry.checked = slot;
    }

    /// Tells what changed, to whom, in an order of its own.
    pub(crate) fn check(
        &mut self,
        view: View,
        processed: bool,
        chain: &Chain,
        rng: &mut Rng,
        out: &mut Vec<(usize, Notice)>,
    ) {
        let first = out.len();
        for (key, entry) in &mut self.entries {
            let Some(told) = entry.told.filter(|_| key.processed == processed) else { continue };
            let (slot, written, seen) = sight(chain, view, key.thing);
            if self.strained && slot < entry.checked + STRAIN && rng.chance(500) {
                continue;
            }
            entry.checked = slot;
            if written == told {
                continue;
            }
            entry.told = Some(written);
            let slot = match self.lie {
                Some(Lie::Ahead(by)) => slot.saturating_add(by),
                _ => slot,
            };
            let seen = match (self.lie, seen) {
                (Some(Lie::OtherChain), Told::Account(_)) => Told::Account(Held::Nothing),
                _ => seen,
            };
            for (conn, _) in entry.subscribers.iter().filter(|(_, dead)| !dead) {
                out.push((*conn, Notice { id: entry.id, slot, told: seen }));
            }
        }
        rng.shuffle(&mut out[first..]);
    }
}

/// The slot of a bank, when the thing was last written as of it, and what it holds there.
pub(crate) fn sight(chain: &Chain, view: View, thing: Thing) -> (u64, u64, Told) {
    let (slot, base) = match view {
        View::Bank(bank) => (chain.banks[bank].slot, Some(bank)),
        View::Abandoned(fork) => (chain.abandoned[fork].slot, chain.abandoned[fork].after.checked_sub(1)),
    };
    let base_slot = base.map_or(0, |bank| chain.banks[bank].slot);
    match thing {
        Thing::Rent => (slot, 1, Told::Garbled),
        Thing::Clock => (slot, slot, Told::Clock(base.map_or(0, |bank| chain.banks[bank].clock))),
        Thing::Account(account) => {
            if let View::Abandoned(fork) = view
                && let Some((_, held)) =
                    chain.abandoned[fork].wrote.iter().find(|(wrote, _)| *wrote == account)
            {
                return (slot, if *held == Held::Nothing { 0 } else { slot }, Told::Account(*held));
            }
            let (written, held) = chain.at(account, base_slot);
            (slot, written, Told::Account(held))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agenda::SECOND;

    const CLOCK: Key = Key { thing: Thing::Clock, slice: None, processed: false };

    /// A chain of some banks, and a node that holds none of them yet.
    fn begun() -> (Chain, Node, Rng) {
        let mut rng = Rng::new(3);
        let mut chain = Chain::new(1, &mut rng);
        chain.burst_until = u64::MAX;
        for second in 0..40 {
            chain.produce(second * SECOND, &mut rng);
        }
        (chain, Node::new(0, false), rng)
    }

    fn account(slice: Option<u64>) -> Key {
        Key { thing: Thing::Account(0), slice, processed: false }
    }

    fn work(node: &mut Node, chain: &Chain, rng: &mut Rng) -> Vec<(usize, Notice)> {
        let mut out = Vec::new();
        while let Some(job) = node.next_job() {
            match job {
                Job::Baseline(key) => node.baseline(key, chain),
                Job::Check { view, processed } => node.check(view, processed, chain, rng, &mut out),
            }
        }
        out
    }

    #[test]
    fn a_change_between_the_acknowledgement_and_its_turn_is_never_told() {
        let (chain, mut node, mut rng) = begun();
        node.hold(0, 0);
        node.subscribe(account(None), 7);
        node.hold(1, 1);
        node.enqueue(Job::Check { view: View::Bank(1), processed: false });
        assert!(work(&mut node, &chain, &mut rng).is_empty());
        node.hold(2, 2);
        node.enqueue(Job::Check { view: View::Bank(2), processed: false });
        let told = work(&mut node, &chain, &mut rng);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0, told[0].1.slot), (7, chain.banks[2].slot));
    }

    #[test]
    fn a_skipped_check_comes_with_the_next_and_a_dead_subscriber_is_told_nothing() {
        let (chain, mut node, mut rng) = begun();
        node.hold(0, 0);
        node.subscribe(CLOCK, 1);
        node.subscribe(account(None), 1);
        node.subscribe(account(None), 2);
        work(&mut node, &chain, &mut rng);
        assert!(node.silence(0, 2));
        node.enqueue(Job::Check { view: View::Bank(5), processed: false });
        let told = work(&mut node, &chain, &mut rng);
        let (slot, written, seen) = sight(&chain, View::Bank(5), Thing::Account(0));
        assert!(written > chain.banks[0].slot);
        assert_eq!(told.len(), 2, "the Clock, and the one that lives");
        assert!(told.iter().all(|(conn, notice)| *conn == 1 && notice.slot == slot));
        assert!(told.iter().any(|(_, notice)| notice.told == seen));
    }

    #[test]
    fn equal_parameters_share_an_id_and_slices_differ_unless_the_feed_ignores_them() {
        let (_, mut node, _) = begun();
        let first = node.subscribe(account(None), 1);
        assert_eq!(node.subscribe(account(None), 2), first);
        assert_ne!(node.subscribe(account(Some(9)), 1), first);
        node.unsubscribe(first, 1);
        assert_eq!(node.subscribe(account(None), 3), first, "the other connection's holds it");
        let mut feed = Node::new(0, true);
        assert_eq!(feed.subscribe(account(None), 1), feed.subscribe(account(Some(9)), 1));
    }
}
