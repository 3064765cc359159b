//! One account's record, and the rules by which observations change it.
//!
//! 1. A record's slot never goes back: an observation older than the record is superseded.
//! 2. A record's `as_of` never goes back, even if the link that proved it is lost.
//! 3. A proof belongs to a slot: a state of a later slot is at least as fresh as the proof of an
//!    earlier one, so proofs only move forward. An answer older than `as_of` proves nothing, unless
//!    a link covers the account and the answer repeats its state.
//! 4. On one connection the later arrival wins at the same slot. Between sources, different content
//!    at the same slot is a dispute, and so is a change at a slot that a link had already passed
//!    without a notification. A disputed record is not served until RPC settles it at a later slot.
//! 5. An invalidated record is not served until an RPC answer sent after the invalidation confirms
//!    it, at the slot known then or later. No canary and no notification ends an invalidation.

use std::time::Duration;

use crate::core::{
    account::{
        evidence::Evidence,
        observation::{Observation, ObservedVia},
        record::{Covers, Held, Invalidation, Record},
        ttl::ChangeRate,
    },
    base::{
        ids::{EndpointId, Generation, MAX_ENDPOINTS, Slot},
        time::Tick,
    },
    chain::{
        state::{AccountState, Expected, Identity},
        token::Presence,
    },
};

/// What an observation did to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApplyOutcome {
    /// The state changed, or was seen for the first time.
    Changed,
    /// The same state was observed again, at a later slot or with a later proof.
    Renewed,
    /// Older than the record: no effect.
    Superseded,
    /// Contradicts the record at its slot: an RPC answer of a later slot must settle it.
    Disputed,
    /// A first report of absence, which a second one at a later slot must confirm.
    Deferred,
}

/// Settings that are the same for all accounts of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether a first RPC report of absence must be confirmed by a second one: true at finalized.
    pub absence_twice: bool,
    /// A link proves nothing about an account that was not itself observed for this long.
    pub verify_every: Duration,
}

/// One account's state, owned by the mirror's single writer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ledger {
    identity: Identity,
    record: Option<Record>,
    rules: Rules,
    absence_reported: Option<Slot>,
    /// For each covering link, the slot of a change that another source has shown: the link's own
    /// notification of it should be under way.
    awaiting: [Option<Slot>; MAX_ENDPOINTS],
    /// An invalidation that came before anything was observed.
    invalidated: Option<Invalidation>,
    /// How many of the account's tokens are held.
    held: Held,
    /// Revisions of the records that earlier chain resets removed.
    revisions_before: u64,
    epoch: u32,
}

impl Ledger {
    pub fn new(expected: Expected, rules: Rules, epoch: u32) -> Self {
        Self {
            identity: Identity::new(expected),
            record: None,
            rules,
            absence_reported: None,
            awaiting: [None; MAX_ENDPOINTS],
            invalidated: None,
            held: Held::default(),
            revisions_before: 0,
            epoch,
        }
    }

    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    pub fn expected(&self) -> Expected {
        self.identity.expected
    }

    /// Adds expectations when an account is watched again; `None`, without any change, if they
    /// contradict the existing ones.
    pub fn expect(&mut self, expected: Expected) -> Option<()> {
        self.identity.expected = self.identity.expected.merge(expected)?;
        Some(())
    }

    /// Applies one observation; `evidence` is what the links prove at present.
    pub fn apply(&mut self, seen: &Observation, evidence: &Evidence) -> ApplyOutcome {
        let state = self.identity.classify(&seen.presence);
        let Some(record) = self.record else {
            if self.defer_absence(seen) {
                return ApplyOutcome::Deferred;
            }
            self.adopt(seen, state, None);
            return ApplyOutcome::Changed;
        };
        let known = record.as_of(evidence);
        let same = state == record.state;
        self.hear(&record, seen, same);
        if seen.slot < record.slot {
            return ApplyOutcome::Superseded;
        }
        if same {
            self.absence_reported = None;
            // A covered state has not changed between its own slot and the link's. So an answer
            // from between the two shows that its node held exactly this state when it was asked.
            let known = if record.covers.speak(evidence) { seen.slot } else { known };
            self.adopt(seen, state, Some((record, known)));
            return ApplyOutcome::Renewed;
        }
        let from_link = seen.source.generation().is_some();
        let later_arrival = seen.slot == record.slot && from_link && seen.source == record.source;
        if seen.slot <= known && !later_arrival {
            self.dispute(evidence);
            return ApplyOutcome::Disputed;
        }
        if self.defer_absence(seen) {
            // The links sent no notification of what may be a close, so they no longer cover the
            // account.
            self.uncover_all(evidence);
            return ApplyOutcome::Deferred;
        }
        self.await_others(&record, seen, evidence);
        self.adopt(seen, state, Some((record, known)));
        ApplyOutcome::Changed
    }

    /// Records when the state changed, for the rate of changes.
    pub fn changed(&mut self, now: Tick) {
        if let Some(record) = &mut self.record {
            record.change_rate.change(now);
        }
    }

    /// Records that a covering link has sent a notification: of the awaited change, or of another
    /// one.
    fn hear(&mut self, record: &Record, seen: &Observation, same: bool) {
        let Some(teller) = seen.source.generation() else { return };
        for (awaited, cover) in self.awaiting.iter_mut().zip(record.covers.places()) {
            // A superseded notification counts too: an answer's slot is its bank's, a
            // notification's slot is that of the first bank checked after the write, so the
            // notification may have the earlier slot.
            if cover == Some(teller) && awaited.is_some() {
                // The subscription is alive, but its notification of the newest change may still
                // have to come.
                *awaited = if same || seen.slot >= record.slot { None } else { Some(record.slot) };
            }
        }
    }

    /// Expects a notification of this change from every other link that covers the account.
    fn await_others(&mut self, record: &Record, seen: &Observation, evidence: &Evidence) {
        for (awaited, cover) in self.awaiting.iter_mut().zip(record.covers.places()) {
            if let Some(generation) = cover
                && evidence.of(generation).is_some()
                && seen.source != ObservedVia::Subscription(generation)
            {
                // Keeps the first change since the link's last notification, so that a silent link
                // is noticed even if the account changes all the time.
                awaited.get_or_insert(seen.slot);
            }
        }
    }

    /// Puts the account under a connection's canaries. The caller has subscribed it, passed its
    /// barrier and rechecked it. Has no effect while there is no record, while the record is
    /// disputed, or while its absence has been reported only once of twice.
    pub fn cover(&mut self, endpoint: EndpointId, generation: Generation) -> bool {
        let place = usize::from(endpoint.0);
        match &mut self.record {
            Some(record) if !record.disputed && self.absence_reported.is_none() && place < MAX_ENDPOINTS => {
                record.covers.replace(place, Some(generation));
                self.awaiting[place] = None;
                true
            }
            _ => false,
        }
    }

    /// Ends the cover by an endpoint's link, whichever connection of it covers the account, and
    /// keeps what that connection had proved. Returns whether the record changed.
    pub fn uncover(&mut self, endpoint: EndpointId, evidence: &Evidence) -> bool {
        let place = usize::from(endpoint.0);
        if place >= MAX_ENDPOINTS {
            return false;
        }
        self.awaiting[place] = None;
        let kept = self.keep(evidence);
        let covered = self.record.as_mut().and_then(|record| record.covers.replace(place, None)).is_some();
        kept || covered
    }

    /// Writes what the covering links prove into the record itself, in the same place; returns
    /// whether that changed it.
    fn keep(&mut self, evidence: &Evidence) -> bool {
        let Some(record) = &mut self.record else { return false };
        let proved = record.proved(evidence, self.rules.verify_every);
        let before = (record.as_of, record.proof);
        (record.as_of, record.proof) = proved;
        proved != before
    }

    /// Call before publishing a link's proof taken at `next`, if that is after the moment that the
    /// last call returned. If the proof does not cover this account, because the account itself was
    /// not observed for too long, saves the current proof in the record, so that `as_of` cannot go
    /// back. Returns whether the record changed, and the last moment whose proof covers a covered
    /// account; a later observation can only move that forward.
    pub fn outlive(&mut self, next: Tick, evidence: &Evidence) -> (bool, Option<Tick>) {
        let Some(record) = self.record.filter(|record| !record.covers.is_empty()) else {
            return (false, None);
        };
        let over = record.verified.plus(self.rules.verify_every);
        (next > over && self.keep(evidence), Some(over))
    }

    pub fn uncover_all(&mut self, evidence: &Evidence) -> bool {
        let mut uncovered = false;
        for place in 0..MAX_ENDPOINTS as u8 {
            uncovered |= self.uncover(EndpointId(place), evidence);
        }
        uncovered
    }

    /// Whether a notification should be under way for a change that another source has shown.
    pub fn is_awaiting(&self) -> bool {
        self.awaiting.iter().any(Option::is_some)
    }

    /// The endpoints whose links have passed a change without a notification although another
    /// source has shown it: either that subscription is dead, or the other source lied.
    pub fn missed(&self, evidence: &Evidence) -> impl Iterator<Item = EndpointId> {
        let covers = self.record.map(|record| record.covers).unwrap_or_default().places();
        let places = covers.into_iter().zip(self.awaiting).zip(0u8..);
        let passed = places.filter_map(|((cover, awaited), place)| {
            let link = evidence.of(cover?)?;
            (awaited? <= link.slot).then_some(EndpointId(place))
        });
        passed.collect::<Vec<_>>().into_iter()
    }

    /// Applies a caller's invalidation, however the record was proved; see the module's invariant
    /// 5.
    pub fn invalidate(&mut self, at: Tick, min_slot: Slot, evidence: &Evidence) {
        let known = self.record.map_or(0, |record| record.as_of(evidence));
        let before = self.invalidated.take().or(self.record.and_then(|record| record.invalidated));
        let min_slot = min_slot.max(known).max(before.map_or(0, |before| before.min_slot));
        let invalidation = Some(Invalidation { at, min_slot });
        match &mut self.record {
            Some(record) => record.invalidated = invalidation,
            None => self.invalidated = invalidation,
        }
    }

    /// Writes how many of the account's tokens are held into its record; returns whether that
    /// changed it.
    pub fn set_held(&mut self, held: Held) -> bool {
        self.held = held;
        self.record.as_mut().is_some_and(|record| std::mem::replace(&mut record.held, held) != held)
    }

    /// The state that `presence` means for this account's watcher.
    pub fn classify(&self, presence: &Presence) -> AccountState {
        self.identity.classify(presence)
    }

    /// Call when the chain began anew: drops the record, because its slots cannot be compared
    /// with the new ones.
    pub fn begin(&mut self, epoch: u32) {
        let revisions_before = self.record.map_or(self.revisions_before, |record| record.revision);
        *self = Self {
            revisions_before,
            held: self.held,
            ..Self::new(self.identity.expected, self.rules, epoch)
        };
    }

    /// The lowest slot at which an RPC answer is useful. The covering links' slots do not count: an
    /// answer from between the record and a link still shows whether they are right.
    pub fn wanted_slot(&self) -> Slot {
        let doubted = self.invalidated.or(self.record.and_then(|record| record.invalidated));
        let known = self.record.map_or(0, |record| record.as_of.saturating_add(u64::from(record.disputed)));
        known.max(doubted.map_or(0, |doubted| doubted.min_slot)).max(self.held.floor)
    }

    /// Marks the record as disputed, because two sources contradict each other: no source is
    /// trusted until RPC settles it.
    pub fn dispute(&mut self, evidence: &Evidence) {
        self.uncover_all(evidence);
        if let Some(record) = &mut self.record {
            record.disputed = true;
        }
    }

    fn defer_absence(&mut self, seen: &Observation) -> bool {
        let from_rpc = seen.source.generation().is_none();
        if !self.rules.absence_twice || seen.presence != Presence::Absent || !from_rpc {
            self.absence_reported = None;
            return false;
        }
        match self.absence_reported {
            Some(first) if seen.slot > first => false,
            first => {
                self.absence_reported = first.or(Some(seen.slot));
                true
            }
        }
    }

    /// Writes an observation that is not older than the record; `before` is the record and its
    /// `as_of`.
    fn adopt(&mut self, seen: &Observation, state: AccountState, before: Option<(Record, Slot)>) {
        self.identity.learn(&seen.presence);
        let doubted = self.invalidated.take().or(before.and_then(|(before, _)| before.invalidated));
        let from_rpc = seen.source.generation().is_none();
        let invalidated = doubted
            .filter(|doubted| !(from_rpc && seen.proof >= doubted.at && seen.slot >= doubted.min_slot));
        let Some((before, known)) = before else {
            self.record = Some(Record {
                state,
                slot: seen.slot,
                source: seen.source,
                as_of: seen.slot,
                proof: seen.proof,
                verified: seen.proof,
                covers: Covers::default(),
                disputed: false,
                invalidated,
                held: self.held,
                change_rate: ChangeRate::default(),
                revision: self.revisions_before + 1,
                epoch: self.epoch,
            });
            return;
        };
        let changed = state != before.state;
        // An answer of a slot before `as_of` shows only that the account was observed.
        let proof = if seen.slot >= known { before.proof.max(seen.proof) } else { before.proof };
        self.record = Some(Record {
            state,
            slot: seen.slot,
            source: seen.source,
            as_of: before.as_of.max(seen.slot),
            proof,
            verified: before.verified.max(seen.proof),
            covers: before.covers,
            disputed: before.disputed && !(from_rpc && seen.slot > known),
            invalidated,
            held: self.held,
            change_rate: before.change_rate,
            revision: before.revision + u64::from(changed),
            epoch: self.epoch,
        });
    }
}

#[cfg(test)]
mod tests {
    use solana_pubkey::Pubkey;

    use super::*;
    use crate::core::{
        account::evidence::LinkEvidence,
        base::ids::LinkId,
        chain::token::{TokenProgram, tests::account_bytes},
    };

    const LINK: Generation = Generation { link: LinkId(0), life: 3 };
    const NODE: EndpointId = EndpointId(0);

    fn tokens(amount: u64) -> Presence {
        let (mint, owner) = (Pubkey::new_from_array([1; 32]), Pubkey::new_from_array([2; 32]));
        Presence::decode(&TokenProgram::Token.id(), 1, &account_bytes(mint, owner, amount))
    }

    fn at(tick: u64) -> Tick {
        Tick::from_nanos(tick)
    }

    fn told(slot: Slot, presence: Presence) -> Observation {
        Observation { presence, slot, source: ObservedVia::Subscription(LINK), proof: Tick::NEVER }
    }

    fn asked(slot: Slot, presence: Presence, sent: u64) -> Observation {
        Observation { presence, slot, source: ObservedVia::Rpc(NODE), proof: at(sent) }
    }

    fn proved_by(generation: Generation, slot: Slot, tick: u64) -> Evidence {
        let link = LinkEvidence { generation, ticking: true, slot, proof: at(tick), arrived: at(tick) };
        let mut evidence = Evidence::new(2);
        evidence.links[usize::from(generation.link.0)] = link;
        evidence
    }

    fn proved(slot: Slot, tick: u64) -> Evidence {
        proved_by(LINK, slot, tick)
    }

    fn none() -> Evidence {
        Evidence::default()
    }

    fn missed(ledger: &Ledger, evidence: &Evidence) -> bool {
        ledger.missed(evidence).next().is_some()
    }

    const VERIFY_EVERY: Duration = Duration::from_nanos(500);

    fn ledger() -> Ledger {
        Ledger::new(Expected::default(), Rules { absence_twice: false, verify_every: VERIFY_EVERY }, 0)
    }

    /// A ledger that holds `amount` at slot 10, covered by [`LINK`].
    fn covered(amount: u64) -> Ledger {
        let mut ledger = ledger();
        ledger.apply(&asked(10, tokens(amount), 5), &none());
        assert!(ledger.cover(NODE, LINK));
        ledger
    }

    fn held(ledger: &Ledger) -> Option<u64> {
        ledger.record().and_then(|record| record.state.token_amount())
    }

    #[test]
    fn higher_slot_wins_whatever_the_source_and_lower_is_superseded() {
        let mut ledger = ledger();
        assert_eq!(ledger.apply(&told(10, tokens(1)), &none()), ApplyOutcome::Changed);
        assert_eq!(ledger.apply(&asked(9, tokens(9), 50), &none()), ApplyOutcome::Superseded);
        assert_eq!(held(&ledger), Some(1));
        assert_eq!(ledger.record().map(|r| r.proof), Some(Tick::NEVER), "an older answer proves nothing");
        assert_eq!(ledger.apply(&asked(11, tokens(2), 60), &none()), ApplyOutcome::Changed);
        assert_eq!(ledger.apply(&told(10, tokens(3)), &none()), ApplyOutcome::Superseded);
        assert_eq!(held(&ledger), Some(2));
        assert_eq!(ledger.record().map(|r| (r.slot, r.revision)), Some((11, 2)));
    }

    #[test]
    fn the_second_write_in_a_slot_arrives_later_on_the_same_connection_and_wins() {
        let mut ledger = ledger();
        ledger.apply(&told(10, tokens(1)), &none());
        assert_eq!(ledger.apply(&told(10, tokens(2)), &none()), ApplyOutcome::Changed);
        assert_eq!(held(&ledger), Some(2));
    }

    #[test]
    fn other_content_at_the_same_slot_from_another_source_is_settled_at_a_later_one() {
        let mut ledger = covered(1);
        assert_eq!(ledger.apply(&told(10, tokens(2)), &none()), ApplyOutcome::Disputed);
        let record = *ledger.record().expect("a record");
        assert!(record.disputed && record.covers.is_empty());
        assert_eq!(held(&ledger), Some(1));
        assert_eq!(ledger.wanted_slot(), 11);
        assert!(!ledger.cover(NODE, LINK), "no canary speaks for a disputed record");
        assert_eq!(ledger.apply(&asked(10, tokens(1), 70), &none()), ApplyOutcome::Renewed);
        assert!(ledger.record().is_some_and(|record| record.disputed), "the same slot settles nothing");
        assert_eq!(ledger.apply(&asked(11, tokens(2), 80), &none()), ApplyOutcome::Changed);
        assert!(ledger.record().is_some_and(|record| !record.disputed));
    }

    #[test]
    fn a_change_behind_the_canary_is_disputed_and_one_ahead_is_awaited() {
        let link = proved(20, 100);
        let mut ledger = covered(1);
        assert_eq!(ledger.wanted_slot(), 10, "also an answer behind the canary tells whether it is right");
        assert_eq!(ledger.apply(&asked(15, tokens(2), 90), &link), ApplyOutcome::Disputed);
        assert_eq!(held(&ledger), Some(1), "nobody is told before it is settled");
        assert_eq!(ledger.wanted_slot(), 21, "what settles it must be past the canary");

        let mut ledger = covered(1);
        assert_eq!(ledger.apply(&asked(21, tokens(2), 90), &link), ApplyOutcome::Changed);
        assert!(!missed(&ledger, &link), "the notification may be on its way");
        assert!(!missed(&ledger, &proved(20, 110)));
        assert!(missed(&ledger, &proved(21, 120)), "the canary passed, and nothing came");
        ledger.apply(&told(21, tokens(2)), &link);
        assert!(!missed(&ledger, &proved(21, 120)));
    }

    #[test]
    fn a_late_notification_of_an_earlier_change_does_not_excuse_the_missing_one() {
        let link = proved(20, 100);
        let mut ledger = covered(1);
        ledger.apply(&asked(25, tokens(3), 90), &link);
        assert_eq!(ledger.apply(&told(22, tokens(2)), &link), ApplyOutcome::Superseded);
        assert!(missed(&ledger, &proved(25, 120)));
    }

    #[test]
    fn a_notification_that_rpc_was_ahead_of_is_not_missing() {
        let link = proved(20, 100);
        let mut ledger = covered(1);
        ledger.apply(&asked(25, tokens(3), 90), &link);
        assert_eq!(
            ledger.apply(&told(22, tokens(3)), &link),
            ApplyOutcome::Superseded,
            "written at 22, read at 25"
        );
        assert!(!missed(&ledger, &proved(25, 120)));
    }

    #[test]
    fn nothing_becomes_fresher_by_losing_a_link() {
        let mut ledger = covered(1);
        // Verified at 5, by a link that went on for longer than it may without.
        ledger.uncover(NODE, &proved(900, 5 + 501));
        assert_eq!(ledger.record().map(|record| (record.as_of, record.proof)), Some((10, at(5))));
    }

    #[test]
    fn an_answer_overtaken_by_the_canary_still_proves_an_unchanged_state() {
        let mut ledger = covered(1);
        assert_eq!(ledger.apply(&asked(15, tokens(1), 90), &proved(20, 80)), ApplyOutcome::Renewed);
        assert_eq!(ledger.record().map(|record| (record.proof, record.as_of)), Some((at(90), 15)));
    }

    #[test]
    fn a_late_notification_of_the_very_change_excuses_it() {
        let link = proved(20, 100);
        let mut ledger = covered(1);
        // Written at slot 23, seen by RPC in the bank of 25 before the link comes to 23.
        ledger.apply(&asked(25, tokens(2), 90), &link);
        assert_eq!(ledger.apply(&told(23, tokens(2)), &proved(22, 110)), ApplyOutcome::Superseded);
        assert!(!missed(&ledger, &proved(25, 120)));
    }

    #[test]
    fn what_the_link_proved_outlives_it() {
        let mut ledger = covered(1);
        let link = proved(20, 100);
        assert_eq!(ledger.record().map(|record| record.as_of(&link)), Some(20));
        assert!(ledger.uncover(NODE, &link));
        let record = *ledger.record().expect("a record");
        assert_eq!((record.as_of, record.proof, record.covers), (20, at(100), Covers::default()));
        assert_eq!(ledger.wanted_slot(), 20);
        // A node behind that slot repeats the state: heard of, but no younger.
        assert_eq!(ledger.apply(&asked(15, tokens(1), 200), &none()), ApplyOutcome::Renewed);
        let record = *ledger.record().expect("a record");
        assert_eq!((record.as_of, record.proof, record.verified), (20, at(100), at(200)));
        ledger.apply(&asked(20, tokens(1), 300), &none());
        assert_eq!(ledger.record().map(|record| record.proof), Some(at(300)));
        // A node that shows a change where the link had seen none.
        assert_eq!(ledger.apply(&asked(20, tokens(2), 400), &none()), ApplyOutcome::Disputed);
    }

    #[test]
    fn another_connections_canary_speaks_for_nobody_here() {
        let mut ledger = covered(1);
        let other = proved_by(Generation { life: 4, ..LINK }, 99, 999);
        assert_eq!(ledger.record().map(|record| record.as_of(&other)), Some(10));
        ledger.uncover(NODE, &other);
        assert_eq!(ledger.record().map(|record| (record.as_of, record.proof)), Some((10, at(5))));
    }

    #[test]
    fn closed_is_a_state_with_a_slot_and_a_stale_write_does_not_resurrect_it() {
        let mut ledger = covered(5);
        ledger.apply(&told(12, Presence::Absent), &none());
        assert_eq!(ledger.record().map(|record| record.state), Some(AccountState::Closed));
        assert_eq!(ledger.apply(&told(11, tokens(5)), &none()), ApplyOutcome::Superseded);
        assert_eq!(ledger.apply(&told(13, tokens(6)), &none()), ApplyOutcome::Changed);
        assert_eq!(held(&ledger), Some(6));
    }

    #[test]
    fn absence_at_finalized_takes_two_answers_of_different_slots() {
        let rules = Rules { absence_twice: true, verify_every: VERIFY_EVERY };
        let mut ledger = Ledger::new(Expected::default(), rules, 0);
        assert_eq!(ledger.apply(&asked(10, Presence::Absent, 1), &none()), ApplyOutcome::Deferred);
        assert_eq!(ledger.apply(&asked(10, Presence::Absent, 2), &none()), ApplyOutcome::Deferred);
        assert!(ledger.record().is_none());
        assert_eq!(ledger.apply(&asked(11, Presence::Absent, 3), &none()), ApplyOutcome::Changed);

        ledger.apply(&asked(12, tokens(5), 4), &none());
        assert!(ledger.cover(NODE, LINK));
        assert_eq!(ledger.apply(&asked(13, Presence::Absent, 5), &none()), ApplyOutcome::Deferred);
        assert_eq!(held(&ledger), Some(5));
        assert_eq!(
            ledger.record().map(|record| record.covers.is_empty()),
            Some(true),
            "the link said nothing of it"
        );
        assert!(!ledger.cover(NODE, LINK), "no canary speaks for what may be closed");
        assert_eq!(ledger.apply(&asked(14, tokens(5), 6), &none()), ApplyOutcome::Renewed);
        assert_eq!(
            ledger.apply(&asked(15, Presence::Absent, 7), &none()),
            ApplyOutcome::Deferred,
            "counted anew"
        );
        assert_eq!(ledger.apply(&asked(16, Presence::Absent, 8), &none()), ApplyOutcome::Changed);
    }

    #[test]
    fn closed_and_created_anew_while_nobody_looked_is_the_newest_state_and_judged_anew() {
        let (mint, owner) = (Pubkey::new_from_array([1; 32]), Pubkey::new_from_array([2; 32]));
        let stranger = Pubkey::new_from_array([9; 32]);
        let created = |mint, owner, amount| {
            Presence::decode(&TokenProgram::Token.id(), 1, &account_bytes(mint, owner, amount))
        };
        for (now, name) in [
            (created(mint, owner, 3), "initialized"),
            (created(mint, stranger, 3), "owner_changed"),
            (created(stranger, owner, 3), "wrong_mint"),
        ] {
            let mut ledger = covered(5);
            ledger.uncover(NODE, &proved(20, 100));
            assert_eq!(ledger.apply(&asked(30, now, 200), &none()), ApplyOutcome::Changed);
            assert_eq!(ledger.record().map(|record| record.state.name()), Some(name));
            // What came before it, told late by another node: neither the close nor the account
            // that was.
            assert_eq!(ledger.apply(&told(25, Presence::Absent), &none()), ApplyOutcome::Superseded);
            assert_eq!(ledger.apply(&asked(29, tokens(5), 300), &none()), ApplyOutcome::Superseded);
            assert_eq!(ledger.record().map(|record| record.state.name()), Some(name));
        }
    }

    #[test]
    fn a_doubt_is_ended_only_by_an_answer_sent_since_of_its_slot_or_later() {
        let mut ledger = covered(1);
        ledger.invalidate(at(50), 15, &proved(12, 40));
        let doubted = |ledger: &Ledger| ledger.record().is_some_and(|record| record.invalidated.is_some());
        assert_eq!(ledger.wanted_slot(), 15);
        for seen in [
            asked(16, tokens(1), 49),
            asked(14, tokens(1), 60),
            told(17, tokens(2)),
            Observation { proof: Tick::NEVER, ..asked(18, tokens(2), 60) },
        ] {
            ledger.apply(&seen, &proved(12, 40));
            assert!(doubted(&ledger), "{seen:?}");
        }
        // Doubted again meanwhile: from then on, and not below what was asked for before.
        ledger.invalidate(at(80), 0, &none());
        ledger.apply(&asked(20, tokens(2), 79), &none());
        assert!(doubted(&ledger));
        ledger.apply(&asked(21, tokens(2), 80), &none());
        assert!(!doubted(&ledger));

        let mut unseen = self::ledger();
        unseen.invalidate(at(50), 15, &none());
        unseen.apply(&told(20, tokens(1)), &none());
        assert!(doubted(&unseen), "also where nothing was known yet");
    }

    #[test]
    fn a_lagging_answer_of_a_later_slot_is_taken_without_making_anything_younger() {
        let mut ledger = ledger();
        ledger.apply(&asked(10, tokens(1), 50), &none());
        let lagging = Observation { proof: Tick::NEVER, ..asked(11, tokens(2), 90) };
        assert_eq!(ledger.apply(&lagging, &none()), ApplyOutcome::Changed);
        assert_eq!(ledger.record().map(|record| record.proof), Some(at(50)));
    }

    #[test]
    fn the_silence_of_one_link_is_heard_also_while_the_account_goes_on_changing() {
        let other = Generation { link: LinkId(1), life: 1 };
        let link = proved(10, 100);
        let mut ledger = covered(1);
        assert!(ledger.cover(EndpointId(1), other));
        for slot in 21..30 {
            let seen = Observation { source: ObservedVia::Subscription(other), ..told(slot, tokens(slot)) };
            assert_eq!(ledger.apply(&seen, &link), ApplyOutcome::Changed);
        }
        assert!(!missed(&ledger, &proved(20, 110)));
        assert!(missed(&ledger, &proved(21, 120)), "its canary passed the first change, and it told none");
        // One that is merely slower is not dead: it tells the changes one by one.
        for slot in 21..29 {
            assert_eq!(ledger.apply(&told(slot, tokens(slot)), &link), ApplyOutcome::Superseded);
            assert!(!missed(&ledger, &proved(slot, 130)), "{slot}");
        }
    }
}
