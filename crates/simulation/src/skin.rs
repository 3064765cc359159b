//! The mirror's skin in this world: it holds the engine, and publishes what readers see as the real
//! one does.
//!
//! After each step the changed records are published first and the links' evidence second; a reader
//! loads through `look`, and between its two loads any number of those publications may have
//! happened.

use std::{
    cell::Cell as Shared,
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use balance_mirror::core::{
    account::{
        evidence::Evidence,
        freshness::{Policy, StaleReason, look},
        overlay::Shown,
        reading::Reading,
        record::Record,
    },
    base::{ids::LinkId, time::Tick},
    engine::Engine,
    internals,
};
use solana_pubkey::Pubkey;

use crate::{agenda::Nanos, key, rng::Rng};

/// Publications remembered, for readers that are slow between their two loads.
const REMEMBERED: usize = 48;

type Version = u64;

/// Everything that one value was, by the version in which it was published.
#[derive(Debug)]
struct Published<T>(VecDeque<(Version, T)>);

impl<T: Clone> Published<T> {
    fn new(version: Version, value: T) -> Self {
        Self(VecDeque::from([(version, value)]))
    }

    fn publish(&mut self, version: Version, value: T) {
        self.0.push_back((version, value));
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    fn at(&self, version: Version) -> &T {
        let later = self.0.partition_point(|(since, _)| *since <= version);
        &self.0[later.saturating_sub(1)].1
    }

    fn oldest(&self) -> Version {
        self.0[0].0
    }
}

/// A watched account as readers see it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The checker's name for this watch.
    pub(crate) watch: usize,
    pub(crate) since: Nanos,
    shown: Published<(Option<Record>, Option<Shown>)>,
    ended: Option<StaleReason>,
    /// What the last read of it loaded: later reads begin behind.
    loaded: Version,
}

pub(crate) struct Skin {
    pub(crate) engine: Engine,
    policy: Policy,
    pub(crate) watched: BTreeMap<usize, Place>,
    evidence: Published<Evidence>,
    versions: VecDeque<(Version, Nanos)>,
    version: Version,
    /// A hash over every record, overlay and proof published, and when: equal where the mirror does
    /// the same.
    pub(crate) digest: u64,
    /// By link: the connection that is open, and the number of the connect that is under way.
    pub(crate) open: Vec<Option<usize>>,
    pub(crate) connecting: Vec<Option<u64>>,
    pub(crate) lives: u64,
    /// When each link's driver, and last the engine itself, is woken next.
    pub(crate) wakes: Vec<Nanos>,
}

impl std::fmt::Debug for Skin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Skin").field("version", &self.version).finish_non_exhaustive()
    }
}

pub(crate) fn tick(now: Nanos) -> Tick {
    Tick::from_nanos(now)
}

pub(crate) fn nanos(tick: Tick) -> Nanos {
    tick.since(Tick::from_nanos(0)).as_nanos() as Nanos
}

pub(crate) fn address(account: usize) -> Pubkey {
    key(account as u8 + 1)
}

pub(crate) fn account_of(address: &Pubkey) -> usize {
    usize::from(address.to_bytes()[0]) - 1
}

/// What one read loaded.
pub(crate) struct Look {
    pub(crate) reading: Reading,
    pub(crate) watch: usize,
    pub(crate) begun: Nanos,
}

impl Skin {
    pub(crate) fn new(engine: Engine, policy: Policy) -> Self {
        let links = engine.links().count();
        Self {
            evidence: Published::new(0, engine.evidence().clone()),
            engine,
            policy,
            watched: BTreeMap::new(),
            versions: VecDeque::from([(0, 0)]),
            version: 0,
            digest: 0,
            open: vec![None; links],
            connecting: vec![None; links],
            lives: 0,
            wakes: vec![Nanos::MAX; links + 1],
        }
    }

    pub(crate) fn wires(&self) -> impl Iterator<Item = usize> + '_ {
        self.open.iter().flatten().copied()
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.open.len()).map(|link| LinkId(link as u16))
    }

    /// A watch begins: nothing is known.
    pub(crate) fn follow(&mut self, account: usize, watch: usize, now: Nanos) {
        let place = Place {
            watch,
            since: now,
            shown: Published::new(self.version, (None, None)),
            ended: None,
            loaded: self.version,
        };
        self.watched.insert(account, place);
    }

    /// A watch ends; whoever still reads it goes stale.
    pub(crate) fn leave(&mut self, account: usize) -> Option<Place> {
        let mut place = self.watched.remove(&account)?;
        place.ended = Some(StaleReason::Unwatched);
        Some(place)
    }

    fn next_version(&mut self, now: Nanos) -> Version {
        self.version += 1;
        self.versions.push_back((self.version, now));
        if self.versions.len() > REMEMBERED {
            self.versions.pop_front();
        }
        self.version
    }

    /// Publishes what a step changed; whether anything did.
    pub(crate) fn publish(&mut self, now: Nanos) -> bool {
        let before = self.version;
        for changed in self.engine.take_touched() {
            let shown = (self.engine.record(&changed).copied(), self.engine.overlay(&changed).copied());
            self.digest_of(now, (changed, &shown));
            let version = self.next_version(now);
            if let Some(place) = self.watched.get_mut(&account_of(&changed)) {
                place.shown.publish(version, shown);
            }
        }
        if self.engine.evidence() != self.evidence.at(self.version) {
            let evidence = self.engine.evidence().clone();
            self.digest_of(now, &evidence);
            let version = self.next_version(now);
            self.evidence.publish(version, evidence);
        }
        self.version > before
    }

    fn digest_of(&mut self, now: Nanos, published: impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.digest, now, published).hash(&mut hasher);
        self.digest = hasher.finish();
    }

    /// Reads a watched account. The first of the two loads happened some publications ago, the
    /// second happens now.
    pub(crate) fn read(&mut self, account: usize, now: Nanos, rng: &mut Rng) -> Option<Look> {
        let version = self.version;
        let place = self.watched.get(&account)?;
        // No reader goes back behind what it has loaded before, nor behind what is still
        // remembered.
        let floor =
            place.loaded.max(place.shown.oldest()).max(self.evidence.oldest()).max(self.versions[0].0);
        let back = match rng.below(4) {
            0 | 1 => 0,
            2 => rng.below(3),
            _ => rng.below(30),
        };
        let first = version.saturating_sub(back).max(floor).min(version);
        // That version stood until the next one was published.
        let begun = self.versions.iter().find(|(later, _)| *later > first).map_or(now, |(_, at)| *at);
        let loads = Shared::new(0);
        let load = || if loads.replace(loads.get() + 1) == 0 { first } else { version };
        let (evidence, shown) = look(|| self.evidence.at(load()), || *place.shown.at(load()));
        let reading =
            internals::reading(address(account), evidence, shown, tick(now), &self.policy, place.ended);
        let look = Look { reading, watch: place.watch, begun };
        if let Some(place) = self.watched.get_mut(&account) {
            place.loaded = version;
        }
        Some(look)
    }
}
