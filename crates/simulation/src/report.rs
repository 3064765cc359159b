//! What a world came to, in numbers.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use balance_mirror::core::engine::events::EngineEvent;

use crate::{
    agenda::{Nanos, SECOND},
    plan::Trouble,
    run::{Counts, Event},
};

/// What happened in one world.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed it began with.
    pub seed: u64,
    /// What was delivered to the mirror: notifications, answers to subscribes, accounts read by
    /// RPC.
    pub observations: u64,
    /// Readings judged.
    pub judged: u64,
    /// Of those, the ones that were served as fresh.
    pub served: u64,
    /// Of those judged, the ones that were live.
    pub live: u64,
    /// Of those judged, the ones held to the weaker promise, beside a subscription that died in
    /// silence.
    pub excused: u64,
    /// Balances that no source could give in time.
    pub unmet: u64,
    /// RPC calls.
    pub calls: u64,
    /// Connects.
    pub connects: u64,
    /// How often the engine was woken for a deadline.
    pub wakes: u64,
    /// Virtual seconds.
    pub seconds: u64,
    /// How long after the last trouble everything was live and true.
    pub converged_after: Nanos,
    /// The troubles that struck.
    pub troubles: Counts<Trouble>,
    /// What the mirror decided, by name.
    pub decisions: Counts<&'static str>,
    /// Of everything that happened and when: equal for equal worlds.
    pub digest: u64,
    /// Of everything that the mirror published, and when: a change of the core's shape alone leaves
    /// it as it is.
    pub published: u64,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            observations: 0,
            judged: 0,
            served: 0,
            live: 0,
            excused: 0,
            unmet: 0,
            calls: 0,
            connects: 0,
            wakes: 0,
            seconds: 0,
            converged_after: 0,
            troubles: Counts::new(),
            decisions: Counts::new(),
            digest: 0,
            published: 0,
        }
    }

    /// Of no world yet.
    pub fn none() -> Self {
        Self::new(0)
    }

    /// Adds what another world came to; of the times to the truth, the longest.
    pub fn add(&mut self, other: &Self) {
        self.observations += other.observations;
        self.judged += other.judged;
        self.served += other.served;
        self.live += other.live;
        self.excused += other.excused;
        self.unmet += other.unmet;
        self.calls += other.calls;
        self.connects += other.connects;
        self.wakes += other.wakes;
        self.seconds += other.seconds;
        self.converged_after = self.converged_after.max(other.converged_after);
        let mut hasher = DefaultHasher::new();
        (self.published, other.published).hash(&mut hasher);
        self.published = hasher.finish();
        for (trouble, count) in &other.troubles {
            *self.troubles.entry(*trouble).or_insert(0) += count;
        }
        for (decision, count) in &other.decisions {
            *self.decisions.entry(decision).or_insert(0) += count;
        }
    }

    /// What counts: observations delivered and readings judged.
    pub fn events(&self) -> u64 {
        self.observations + self.judged
    }

    pub(crate) fn note(&mut self, now: Nanos, event: &Event) {
        let mut hasher = DefaultHasher::new();
        (self.digest, now, std::mem::discriminant(event), self.observations, self.served).hash(&mut hasher);
        self.digest = hasher.finish();
    }

    pub(crate) fn decided(&mut self, event: &EngineEvent) {
        let name = match event {
            EngineEvent::Changed { .. } => "changed",
            EngineEvent::Superseded => "superseded",
            EngineEvent::Disputed { .. } => "disputed",
            EngineEvent::Missed { .. } => "missed",
            EngineEvent::Overlaid { .. } => "overlaid",
            EngineEvent::Reverted { .. } => "reverted",
            EngineEvent::Quarantined { .. } => "quarantined",
            EngineEvent::Foreign { .. } => "foreign",
            EngineEvent::Reset { .. } => "reset",
            EngineEvent::SellEnded { .. } => "sell_ended",
            EngineEvent::Swept { .. } => "swept",
            EngineEvent::Enabled { .. } => "enabled",
        };
        *self.decisions.entry(name).or_insert(0) += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            observations, judged, served, live, excused, unmet, calls, connects, wakes, seconds, ..
        } = self;
        writeln!(
            f,
            "{observations} observations, {judged} readings judged ({served} fresh, {live} live, {excused} excused)"
        )?;
        writeln!(
            f,
            "{connects} connects, {calls} RPC calls, {wakes} wakes, {unmet} balances not met, {seconds} virtual seconds"
        )?;
        writeln!(f, "live and true at most {} s after the last trouble", self.converged_after / SECOND)?;
        let troubles: Vec<_> =
            self.troubles.iter().map(|(trouble, count)| format!("{trouble:?} {count}")).collect();
        writeln!(f, "troubles: {}", troubles.join(", "))?;
        let decisions: Vec<_> =
            self.decisions.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "decisions: {}", decisions.join(", "))?;
        write!(f, "published: {:016x}", self.published)
    }
}
