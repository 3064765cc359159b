//! All watched accounts: their ledgers, what the links prove of them, and what has to be reported.

mod holds;
mod overlays;
mod proofs;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use solana_pubkey::Pubkey;

use crate::core::{
    account::{
        evidence::Evidence,
        freshness::{Policy, standing},
        ledger::{ApplyOutcome, Ledger, Rules},
        observation::Observation,
        overlay::{Overlay, Shown},
        record::Record,
    },
    base::{
        ids::{Slot, WatchId},
        time::Tick,
    },
    chain::state::Expected,
    engine::events::{EngineEvent, Suspects, WatchError},
    rpc::refresh::Refresher,
    trade::holds::Holds,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watched {
    ledger: Ledger,
    overlay: Overlay,
    watch: WatchId,
}

/// All watched accounts. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accounts {
    rules: Rules,
    paced: bool,
    max_accounts: usize,
    watched: BTreeMap<Pubkey, Watched>,
    evidence: Evidence,
    last_watch: WatchId,
    /// Accounts of which a notification should be under way.
    awaiting: BTreeSet<Pubkey>,
    /// Accounts that have an overlay.
    overlaid: BTreeSet<Pubkey>,
    /// Accounts whose record or overlay changed since the last
    /// [`take_touched`](Self::take_touched).
    touched: BTreeSet<Pubkey>,
    /// Accounts whose state changed since the last [`take_changed`](Self::take_changed).
    changed: BTreeSet<Pubkey>,
    accused: BTreeSet<(Pubkey, Suspects)>,
    mints_wanted: BTreeSet<Pubkey>,
    events: VecDeque<EngineEvent>,
    holds: Holds,
    /// Accounts whose sell a link should have reported by now and did not, with the slot of the
    /// sell.
    untold: BTreeMap<Pubkey, Slot>,
    /// No proof of this moment or before is too late for a covered account.
    verified_until: Tick,
}

impl Accounts {
    /// Memory held for each account, in bytes.
    pub const BYTES_EACH: usize = size_of::<(Pubkey, Watched)>();

    /// With `paced`, records how often each account changes.
    pub fn new(rules: Rules, max_accounts: usize, links: usize, paced: bool) -> Self {
        Self {
            rules,
            paced,
            max_accounts,
            watched: BTreeMap::new(),
            evidence: Evidence::new(links),
            last_watch: WatchId::default(),
            awaiting: BTreeSet::new(),
            overlaid: BTreeSet::new(),
            touched: BTreeSet::new(),
            changed: BTreeSet::new(),
            accused: BTreeSet::new(),
            mints_wanted: BTreeSet::new(),
            events: VecDeque::new(),
            holds: Holds::default(),
            untold: BTreeMap::new(),
            verified_until: Tick::NEVER,
        }
    }

    // What other modules read.

    pub fn record(&self, address: &Pubkey) -> Option<&Record> {
        self.watched.get(address)?.ledger.record()
    }

    /// What the processed view shows beyond the confirmed state.
    pub fn overlay(&self, address: &Pubkey) -> Option<&Shown> {
        self.watched.get(address)?.overlay.shown()
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The accounts to read by RPC now, out of those that no live link proves.
    pub fn to_refresh(&self, refresh: &mut Refresher, now: Tick, policy: &Policy) -> Vec<Pubkey> {
        let live = |record: &Record| standing(record, &self.evidence, now, policy).live;
        refresh.due(now, &self.watched, |watched| !watched.ledger.record().is_some_and(live))
    }

    pub fn watches(&self) -> impl Iterator<Item = (Pubkey, WatchId)> + '_ {
        self.watched.iter().map(|(address, watched)| (*address, watched.watch))
    }

    pub fn watch_of(&self, address: &Pubkey) -> Option<WatchId> {
        self.watched.get(address).map(|watched| watched.watch)
    }

    /// The slot from which on an RPC answer about the account is useful.
    pub fn wanted_slot(&self, address: &Pubkey) -> Slot {
        self.watched.get(address).map_or(0, |watched| watched.ledger.wanted_slot())
    }

    /// The accounts whose record or overlay changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<Pubkey> {
        std::mem::take(&mut self.touched)
    }

    /// The accounts whose state changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Pubkey> {
        std::mem::take(&mut self.changed)
    }

    /// What the caller expects of a watched account, or what its first observation showed.
    pub fn expected(&self, address: &Pubkey) -> Option<Expected> {
        self.watched.get(address).map(|watched| watched.ledger.expected())
    }

    /// The subscriptions that turned out to be unreliable since the last call.
    pub fn take_accused(&mut self) -> BTreeSet<(Pubkey, Suspects)> {
        std::mem::take(&mut self.accused)
    }

    /// The mints seen or named since the last call.
    pub fn take_mints(&mut self) -> BTreeSet<Pubkey> {
        std::mem::take(&mut self.mints_wanted)
    }

    /// The mints of the watched accounts, both expected and seen.
    pub fn mints(&self) -> BTreeSet<Pubkey> {
        let ledgers = self.watched.values().map(|watched| &watched.ledger);
        let seen =
            |ledger: &Ledger| ledger.record().and_then(|record| record.state.token()).map(|token| token.mint);
        ledgers.flat_map(|ledger| [ledger.expected().mint, seen(ledger)]).flatten().collect()
    }

    pub fn next_event(&mut self) -> Option<EngineEvent> {
        self.events.pop_front()
    }

    pub fn emit(&mut self, event: EngineEvent) {
        self.events.push_back(event);
    }

    // The wanted set.

    /// Watches all of the accounts, or none. Returns those that were not watched before, with their
    /// watch.
    pub fn watch(&mut self, targets: &[(Pubkey, Expected)]) -> Result<Vec<(Pubkey, WatchId)>, WatchError> {
        let mut fresh: BTreeMap<Pubkey, Expected> = BTreeMap::new();
        let mut known: BTreeMap<Pubkey, Expected> = BTreeMap::new();
        for (address, expected) in targets {
            let before = match self.watched.get(address) {
                Some(watched) => known.entry(*address).or_insert(watched.ledger.expected()),
                None => fresh.entry(*address).or_default(),
            };
            *before = before.merge(*expected).ok_or(WatchError::Contradiction { address: *address })?;
        }
        if self.watched.len() + fresh.len() > self.max_accounts {
            return Err(WatchError::TooMany { limit: self.max_accounts });
        }
        for (address, expected) in known {
            if let Some(watched) = self.watched.get_mut(&address) {
                // Cannot fail: it was merged above without a contradiction.
                let _ = watched.ledger.expect(expected);
            }
        }
        let mut watches = Vec::with_capacity(fresh.len());
        for (address, expected) in fresh {
            self.last_watch.0 += 1;
            let mut ledger = Ledger::new(expected, self.rules, self.evidence.epoch);
            // Sells in flight outlive a watch.
            ledger.set_held(self.holds.held(&address));
            self.watched
                .insert(address, Watched { ledger, overlay: Overlay::default(), watch: self.last_watch });
            watches.push((address, self.last_watch));
            self.mints_wanted.extend(expected.mint);
        }
        Ok(watches)
    }

    pub fn unwatch(&mut self, now: Tick, address: &Pubkey, max_lag: Duration) -> bool {
        self.awaiting.remove(address);
        self.overlaid.remove(address);
        self.touched.remove(address);
        self.changed.remove(address);
        let known = self.watched.remove(address).is_some();
        self.holds.forget(now, max_lag, |address| self.watched.contains_key(address));
        known
    }

    /// A caller doubts what is known of the account. Returns `false` if it is not watched.
    pub fn invalidate(&mut self, address: &Pubkey, at: Tick, min_slot: Slot) -> bool {
        let Some(watched) = self.watched.get_mut(address) else { return false };
        watched.ledger.invalidate(at, min_slot, &self.evidence);
        self.touched.insert(*address);
        true
    }

    // Observations.

    /// Takes in an observation of a watched account. Ignores any other address.
    pub fn apply(&mut self, now: Tick, address: &Pubkey, seen: &Observation) -> Option<ApplyOutcome> {
        let watched = self.watched.get_mut(address)?;
        let before = watched.ledger.record().copied();
        let verdict = watched.ledger.apply(seen, &self.evidence);
        // The first observation is not a change.
        if self.paced && before.is_some() && verdict == ApplyOutcome::Changed {
            watched.ledger.changed(now);
        }
        let was_covered = before.is_some_and(|before| !before.covers.is_empty());
        match verdict {
            ApplyOutcome::Superseded => self.events.push_back(EngineEvent::Superseded),
            ApplyOutcome::Disputed => {
                let against = before.map_or(seen.source, |before| before.source);
                self.events.push_back(EngineEvent::Disputed { address: *address, by: seen.source, against });
                self.accused.insert((*address, Suspects::All));
            }
            ApplyOutcome::Deferred if was_covered => {
                self.accused.insert((*address, Suspects::All));
            }
            ApplyOutcome::Changed | ApplyOutcome::Renewed | ApplyOutcome::Deferred => {}
        }
        if watched.ledger.is_awaiting() {
            self.awaiting.insert(*address);
        } else {
            self.awaiting.remove(address);
        }
        let record = watched.ledger.record().copied();
        if record != before {
            self.touched.insert(*address);
        }
        if let Some(record) = record
            && before.is_none_or(|before| before.revision != record.revision)
        {
            self.events.push_back(EngineEvent::Changed { address: *address, record });
            self.changed.insert(*address);
            self.mints_wanted.extend(record.state.token().map(|token| token.mint));
        }
        if self.holds.waiting().contains(address) {
            self.settle_holds(address);
        }
        self.settle_overlay(address);
        Some(verdict)
    }

    /// Makes every proof from before `now` void.
    pub fn void_proofs(&mut self, now: Tick) {
        self.evidence.valid_from = now;
    }

    /// Starts over after the chain began anew: every record begins anew.
    pub fn reset(&mut self, now: Tick, epoch: u32) {
        self.evidence.epoch = epoch;
        self.void_proofs(now);
        self.holds.begin();
        for (address, watched) in &mut self.watched {
            watched.ledger.set_held(self.holds.held(address));
            watched.ledger.begin(epoch);
            watched.overlay = Overlay::default();
            self.touched.insert(*address);
        }
        self.awaiting.clear();
        self.overlaid.clear();
        self.events.push_back(EngineEvent::Reset { epoch });
    }
}
