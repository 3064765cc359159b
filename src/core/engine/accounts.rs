//! All watched accounts: their ledgers, what the links prove of them, and what has to be told of it.

mod holds;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use crate::core::{
    account::{
        evidence::{Evidence, LinkEvidence},
        freshness::{Policy, standing},
        ledger::{ApplyOutcome, Ledger, Record, Rules},
        observation::{EndpointId, Generation, Observation, ObservedVia, Slot},
        overlay::{Confirmed, Dropped, Overlay, OverlayChange, Shown},
    },
    base::time::Tick,
    chain::{state::Expected, token::Presence},
    link::websocket::WatchId,
    rpc::refresh::Refresher,
    trade::{holds::Holds, signatures::TradeOutcome},
};

/// Accounts that cannot be watched. None of the accounts of the call is watched anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The mirror's limit of accounts is reached.
    #[error("{limit} accounts are watched, the limit; unwatch some, or raise max_accounts")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The account is watched already, with other expectations.
    #[error("account {address} is watched with another mint, owner or program; unwatch it first")]
    Contradiction {
        /// The account.
        address: Pubkey,
    },
    /// The mirror has shut down.
    #[error("the mirror has shut down")]
    Stopped,
}

/// Something that was decided, for those who count, log and listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineEvent {
    /// An account's state changed, or was seen for the first time.
    Changed { address: Pubkey, record: Record },
    /// Older than what was known.
    Superseded,
    /// Sources contradict each other over an account; who spoke last, and against whom.
    Disputed { address: Pubkey, by: ObservedVia, against: ObservedVia },
    /// An endpoint's subscription passed in silence a change that another source showed.
    Missed { address: Pubkey, endpoint: EndpointId },
    /// The processed view of an account changed.
    Overlaid { address: Pubkey, shown: Shown },
    /// What the processed view showed of an account did not come to be.
    Reverted { address: Pubkey },
    /// An endpoint's slots are ahead of what time allows: nothing that it says is taken for a while.
    Quarantined { endpoint: EndpointId, slot: Slot },
    /// An endpoint is on another chain than the mirror.
    Foreign { endpoint: EndpointId },
    /// Every endpoint is on a new chain, or set back: slots have a new order, and every record begins anew.
    Reset { epoch: u32 },
    /// A position that held nothing is no longer watched.
    Swept { address: Pubkey },
    /// A sell in flight ended, as the mirror found out by itself.
    SellEnded { address: Pubkey, amount: u64, signature: Signature, outcome: TradeOutcome },
    /// An endpoint is used from now on, or no more.
    Enabled { endpoint: EndpointId, enabled: bool },
}

/// Who is suspected of having missed a change of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suspects {
    /// The subscription at one endpoint.
    One(EndpointId),
    /// All of them: it is not known who is right.
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watched {
    ledger: Ledger,
    overlay: Overlay,
    watch: WatchId,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accounts {
    rules: Rules,
    paced: bool,
    max_accounts: usize,
    watched: BTreeMap<Pubkey, Watched>,
    evidence: Evidence,
    last_watch: WatchId,
    /// Those of whom a notification should be under way.
    awaiting: BTreeSet<Pubkey>,
    /// Those that have an overlay.
    overlaid: BTreeSet<Pubkey>,
    /// Those whose record or overlay changed since it was last asked.
    touched: BTreeSet<Pubkey>,
    /// Those whose state changed since it was last asked.
    changed: BTreeSet<Pubkey>,
    accused: BTreeSet<(Pubkey, Suspects)>,
    mints_wanted: BTreeSet<Pubkey>,
    events: VecDeque<EngineEvent>,
    holds: Holds,
    /// Those whose sell a link has passed and told nothing of, with its slot.
    untold: BTreeMap<Pubkey, Slot>,
    /// No account is out of its verification before this moment.
    verified_until: Tick,
}

impl Accounts {
    /// What is held for each account, in bytes.
    pub const BYTES_EACH: usize = size_of::<(Pubkey, Watched)>();

    /// With `paced`, it is noted how often each account changes.
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

    // What others look at.

    pub fn record(&self, address: &Pubkey) -> Option<&Record> {
        self.watched.get(address)?.ledger.record()
    }

    /// What the processed view shows past what is confirmed.
    pub fn overlay(&self, address: &Pubkey) -> Option<&Shown> {
        self.watched.get(address)?.overlay.shown()
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The accounts that RPC should read now, of those that no live link proves.
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

    /// The slot from which an RPC answer about the account is worth having.
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

    /// What is expected of a watched account, or was learnt from the first sight of it.
    pub fn expected(&self, address: &Pubkey) -> Option<Expected> {
        self.watched.get(address).map(|watched| watched.ledger.expected())
    }

    /// The subscriptions that cannot be trusted, since the last call.
    pub fn take_accused(&mut self) -> BTreeSet<(Pubkey, Suspects)> {
        std::mem::take(&mut self.accused)
    }

    /// The mints seen or named since the last call.
    pub fn take_mints(&mut self) -> BTreeSet<Pubkey> {
        std::mem::take(&mut self.mints_wanted)
    }

    /// The mints of the accounts watched: those expected, and those seen.
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

    /// Watches all of them, or none; those that were not watched before, with their watch.
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
                // Merged above without a contradiction.
                let _ = watched.ledger.expect(expected);
            }
        }
        let mut watches = Vec::with_capacity(fresh.len());
        for (address, expected) in fresh {
            self.last_watch.0 += 1;
            let mut ledger = Ledger::new(expected, self.rules, self.evidence.epoch);
            // What is in flight outlives a watch.
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

    /// A caller doubts what is known of the account; `false` if it is not watched.
    pub fn invalidate(&mut self, address: &Pubkey, at: Tick, min_slot: Slot) -> bool {
        let Some(watched) = self.watched.get_mut(address) else { return false };
        watched.ledger.invalidate(at, min_slot, &self.evidence);
        self.touched.insert(*address);
        true
    }

    // Observations.

    /// Takes in an observation of a watched account; one of any other address is nobody's business.
    pub fn apply(&mut self, now: Tick, address: &Pubkey, seen: &Observation) -> Option<ApplyOutcome> {
        let watched = self.watched.get_mut(address)?;
        let before = watched.ledger.record().copied();
        let verdict = watched.ledger.apply(seen, &self.evidence);
        // The first sight is no change.
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

    /// Takes in what the processed view of a connection shows of an account.
    pub fn apply_processed(
        &mut self,
        address: &Pubkey,
        generation: Generation,
        slot: Slot,
        presence: &Presence,
    ) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        let state = watched.ledger.classify(presence);
        let confirmed = confirmed(&watched.ledger, &self.evidence);
        let reverted = match watched.overlay.see(generation, slot, state, &confirmed) {
            OverlayChange::Changed | OverlayChange::Renewed => false,
            OverlayChange::Reverted => true,
            OverlayChange::Dropped(Dropped { reverted }) => reverted,
            OverlayChange::Superseded => return,
        };
        if reverted {
            self.events.push_back(EngineEvent::Reverted { address: *address });
        }
        if let Some(shown) = watched.overlay.shown() {
            self.events.push_back(EngineEvent::Overlaid { address: *address, shown: *shown });
            self.overlaid.insert(*address);
        } else {
            self.overlaid.remove(address);
        }
        self.touched.insert(*address);
    }

    /// A connection at processed ended: what it showed is as good as nothing.
    pub fn drop_overlays(&mut self, generation: Generation) {
        for address in self.overlaid.clone() {
            let Some(watched) = self.watched.get_mut(&address) else { continue };
            if watched.overlay.ended(generation).is_some() {
                self.overlaid.remove(&address);
                self.touched.insert(address);
            }
        }
    }

    /// Drops the overlay of an account once the confirmed state has come to its slot.
    fn settle_overlay(&mut self, address: &Pubkey) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        let confirmed = confirmed(&watched.ledger, &self.evidence);
        let Some(Dropped { reverted }) = watched.overlay.confirmed(&confirmed) else { return };
        self.overlaid.remove(address);
        self.touched.insert(*address);
        if reverted {
            self.events.push_back(EngineEvent::Reverted { address: *address });
        }
    }

    // What the links prove.

    /// Puts an account under a link's canaries; `false` where its record is disputed or missing.
    pub fn cover(
        &mut self,
        address: &Pubkey,
        watch: WatchId,
        endpoint: EndpointId,
        generation: Generation,
    ) -> bool {
        // Unwatched, or watched anew: the link is about to hear of it.
        let Some(watched) = self.watched.get_mut(address).filter(|watched| watched.watch == watch) else {
            return true;
        };
        let covered = watched.ledger.cover(endpoint, generation);
        self.verified_until = Tick::NEVER;
        self.touched.insert(*address);
        covered
    }

    pub fn uncover(&mut self, address: &Pubkey, endpoint: EndpointId) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        if watched.ledger.uncover(endpoint, &self.evidence) {
            self.touched.insert(*address);
        }
        if !watched.ledger.is_awaiting() {
            self.awaiting.remove(address);
        }
    }

    /// Takes all accounts from under a connection.
    pub fn uncover_all(&mut self, endpoint: EndpointId, generation: Generation) {
        let covered = |watched: &Watched| {
            watched.ledger.record().is_some_and(|record| record.covers.iter().any(|one| one == generation))
        };
        let addresses: Vec<Pubkey> = self
            .watched
            .iter()
            .filter(|(_, watched)| covered(watched))
            .map(|(address, _)| *address)
            .collect();
        for address in addresses {
            self.uncover(&address, endpoint);
        }
    }

    /// Takes in a link's proof; every record that it speaks for is up to date.
    pub fn prove(&mut self, proof: LinkEvidence) {
        let link = usize::from(proof.generation.link.0);
        let mut evidence = self.evidence.clone();
        let Some(place) = evidence.links.get_mut(link) else { return };
        *place = proof;
        for address in self.awaiting.clone() {
            self.find_missed(&address, &evidence);
        }
        self.keep_what_ends(proof.proof);
        self.evidence = evidence;
        self.settle_all_holds(proof.arrived);
        for address in self.overlaid.clone() {
            self.settle_overlay(&address);
        }
    }

    /// A proof of the moment `next` follows: it says nothing of accounts that were not heard of for too long.
    fn keep_what_ends(&mut self, next: Tick) {
        if next <= self.verified_until {
            return;
        }
        let mut until = Tick::from_nanos(u64::MAX);
        for (address, watched) in &mut self.watched {
            let (changed, over) = watched.ledger.outlive(next, &self.evidence);
            if changed {
                self.touched.insert(*address);
            }
            until = until.min(over.unwrap_or(until));
        }
        self.verified_until = until;
    }

    /// Finds the links that `evidence` shows to have passed in silence what another source had shown.
    fn find_missed(&mut self, address: &Pubkey, evidence: &Evidence) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        let missed: Vec<EndpointId> = watched.ledger.missed(evidence).collect();
        let source = watched.ledger.record().map(|record| record.source);
        for endpoint in missed {
            self.events.push_back(EngineEvent::Missed { address: *address, endpoint });
            match source {
                // Two nodes say different things of one slot, and neither is above the other.
                Some(source @ ObservedVia::Subscription(_)) => {
                    let against = ObservedVia::Rpc(endpoint);
                    self.events.push_back(EngineEvent::Disputed { address: *address, by: source, against });
                    watched.ledger.dispute(&self.evidence);
                    self.accused.insert((*address, Suspects::All));
                }
                _ => {
                    // The RPC of one node against the notifications of another: whichever is wrong, both are named.
                    if let Some(by @ ObservedVia::Rpc(other)) = source
                        && other != endpoint
                    {
                        let against = ObservedVia::Rpc(endpoint);
                        self.events.push_back(EngineEvent::Disputed { address: *address, by, against });
                    }
                    watched.ledger.uncover(endpoint, &self.evidence);
                    self.accused.insert((*address, Suspects::One(endpoint)));
                }
            }
            self.touched.insert(*address);
        }
        if !watched.ledger.is_awaiting() {
            self.awaiting.remove(address);
        }
    }

    /// Every proof from before `now` is void.
    pub fn void_proofs(&mut self, now: Tick) {
        self.evidence.valid_from = now;
    }

    /// The chain began anew: every record begins anew.
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

/// What the confirmed record of an account says, with what the links prove of it.
fn confirmed(ledger: &Ledger, evidence: &Evidence) -> Confirmed {
    let record = ledger.record();
    Confirmed {
        as_of: record.map_or(0, |record| record.as_of(evidence)),
        state: record.map(|record| record.state),
    }
}
