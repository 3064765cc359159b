//! How fresh a record is: a pure function of the record, the links' evidence, and the time.

use std::{fmt, time::Duration};

use solana_pubkey::Pubkey;

use crate::core::{
    account::{evidence::Evidence, record::Record, ttl::TtlBounds},
    base::{ids::Slot, time::Tick},
};

/// The ages that decide whether a proof is good enough to serve a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// A link without a canary for this long proves nothing.
    pub canary_deadline: Duration,
    /// A link proves nothing about an account that was not itself observed for this long.
    pub verify_every: Duration,
    /// The range of the TTL, if it is dynamic.
    pub ttl: Option<TtlBounds>,
}

/// How well a state is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Freshness {
    /// Proved by a live link.
    Live,
    /// No live link proves it, but its proof is younger than the age asked for, and than the
    /// account's dynamic TTL.
    Aging,
    /// Its proof is too old, or it has none.
    Stale,
}

impl Freshness {
    /// `live`, `aging` or `stale`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Aging => "aging",
            Self::Stale => "stale",
        }
    }
}

/// Why memory holds no fresh answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StaleReason {
    /// Nothing has been observed of the account yet.
    Unseen,
    /// The newest proof is older than the age asked for or, without a live link, older than the
    /// account's dynamic TTL (`MirrorBuilder::dynamic_ttl`).
    Expired,
    /// The state is known only as of an earlier slot than the one asked for.
    BelowFloor,
    /// Two sources contradict each other; the mirror waits for an RPC answer of a later slot.
    Disputed,
    /// A caller invalidated the state; the mirror waits for an RPC answer to a request sent after
    /// that.
    Invalidated,
    /// The account is no longer watched.
    Unwatched,
    /// The mirror has shut down.
    Stopped,
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unseen => "nothing has been heard of the account yet",
            Self::Expired => "the newest proof is older than the age asked for",
            Self::BelowFloor => "what is known is older than the slot asked for",
            Self::Disputed => "two sources contradict each other",
            Self::Invalidated => "it was invalidated, and RPC has not confirmed it since",
            Self::Unwatched => "the account is no longer watched",
            Self::Stopped => "the mirror has shut down",
        })
    }
}

/// Memory holds no answer that is fresh enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("account {address} has no fresh state in memory: {why}{}", age.map(|age| format!(" ({age:.1?} old)")).unwrap_or_default())]
#[non_exhaustive]
pub struct StaleError {
    /// The account.
    pub address: Pubkey,
    /// Why the state is not fresh.
    pub why: StaleReason,
    /// How old the newest proof is, if there is one.
    pub age: Option<Duration>,
}

/// A record's evidence combined with its links' evidence at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The newest slot as of which the state is known.
    pub as_of: Slot,
    /// The latest moment at which the state is known to have been true; [`Tick::NEVER`] if there is
    /// none.
    pub proof: Tick,
    /// Whether a live link proves the state.
    pub live: bool,
    /// How old the proof may be without a live link, even if the caller accepts more.
    pub ttl: Option<Duration>,
}

/// Evaluates a record. The reader passes its own clock's time, so a starved runtime cannot make a
/// record look younger.
pub fn standing(record: &Record, evidence: &Evidence, now: Tick, policy: &Policy) -> Standing {
    let (as_of, proof) = record.proved(evidence, policy.verify_every);
    let ttl = policy.ttl.map(|bounds| record.change_rate.ttl(now, &bounds));
    let mut standing = Standing { as_of, proof, live: false, ttl };
    for link in record.covers.iter().filter_map(|generation| evidence.of(generation)) {
        if link.proof.since(record.verified) <= policy.verify_every {
            let ticks = link.ticking && now.since(link.arrived) <= policy.canary_deadline;
            standing.live |= ticks && link.proof >= evidence.valid_from && link.proof != Tick::NEVER;
        }
    }
    if record.disputed || record.invalidated.is_some() || standing.proof < evidence.valid_from {
        standing.proof = Tick::NEVER;
    }
    standing.live &= standing.proof != Tick::NEVER;
    standing
}

/// Loads published data in the only order that never combines a proof with a record that it does
/// not cover: evidence first, record second. The writer publishes in the opposite order.
pub fn look<E, R>(evidence: impl FnOnce() -> E, record: impl FnOnce() -> R) -> (E, R) {
    let evidence = evidence();
    let record = record();
    (evidence, record)
}

impl Standing {
    /// The age of the proof, if there is one.
    pub fn age(&self, now: Tick) -> Option<Duration> {
        (self.proof != Tick::NEVER).then(|| now.since(self.proof))
    }

    /// How fresh the state is for a caller that accepts proofs up to `max_age` old.
    pub fn freshness(&self, now: Tick, max_age: Duration) -> Freshness {
        match self.age(now) {
            Some(age) if age <= max_age => {
                if self.live {
                    Freshness::Live
                } else if self.ttl.is_none_or(|ttl| age <= ttl) {
                    Freshness::Aging
                } else {
                    Freshness::Stale
                }
            }
            _ => Freshness::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        account::{
            evidence::LinkEvidence,
            ledger::{Ledger, Rules},
            observation::{Observation, ObservedVia},
        },
        base::ids::{EndpointId, Generation, LinkId},
        chain::{state::Expected, token::Presence},
    };

    const SECOND: Duration = Duration::from_secs(1);
    const TTL: Duration = Duration::from_secs(30);
    const POLICY: Policy =
        Policy { canary_deadline: Duration::from_secs(5), verify_every: Duration::from_secs(300), ttl: None };

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * 1_000_000_000)
    }

    const LINK: Generation = Generation { link: LinkId(0), life: 1 };

    /// A record seen by RPC at `proof`, and covered by a link.
    fn record(proof: u64) -> Record {
        let rules = Rules { absence_twice: false, verify_every: POLICY.verify_every };
        let mut ledger = Ledger::new(Expected::default(), rules, 0);
        let source = ObservedVia::Rpc(EndpointId(0));
        let seen = Observation { presence: Presence::Absent, slot: 10, source, proof: at(proof) };
        ledger.apply(&seen, &Evidence::default());
        ledger.cover(EndpointId(0), LINK);
        *ledger.record().expect("seen")
    }

    fn link(arrived: u64) -> Evidence {
        let (proof, arrived) = (at(arrived), at(arrived));
        let link = LinkEvidence { generation: LINK, ticking: true, slot: 500, proof, arrived };
        Evidence { links: vec![link], ..Evidence::default() }
    }

    fn with(mut evidence: Evidence, change: impl FnOnce(&mut LinkEvidence)) -> Evidence {
        change(&mut evidence.links[0]);
        evidence
    }

    fn judge(record: &Record, link: &Evidence, now: u64) -> Freshness {
        standing(record, link, at(now), &POLICY).freshness(at(now), TTL)
    }

    #[test]
    fn a_ticking_link_keeps_an_unchanged_account_live_past_its_ttl() {
        assert_eq!(judge(&record(100), &link(199), 200), Freshness::Live);
        assert_eq!(standing(&record(100), &link(199), at(200), &POLICY).as_of, 500);
    }

    #[test]
    fn without_its_link_an_account_ages_from_the_last_proof() {
        let uncovered = Record { covers: Default::default(), ..record(100) };
        assert_eq!(judge(&uncovered, &link(130), 130), Freshness::Aging);
        assert_eq!(judge(&uncovered, &link(131), 131), Freshness::Stale);
        assert_eq!(standing(&uncovered, &link(131), at(131), &POLICY).as_of, 10);
        let other = with(link(131), |link| link.generation.life = 2);
        assert_eq!(judge(&record(100), &other, 131), Freshness::Stale);
    }

    #[test]
    fn a_late_canary_ends_live_by_the_readers_own_clock() {
        assert_eq!(judge(&record(100), &link(150), 155), Freshness::Live);
        assert_eq!(judge(&record(100), &link(150), 156), Freshness::Aging);
        assert_eq!(judge(&record(100), &link(150), 181), Freshness::Stale);
        let down = with(link(150), |link| link.ticking = false);
        assert_eq!(judge(&record(100), &down, 151), Freshness::Aging);
    }

    #[test]
    fn a_link_does_not_speak_for_an_account_not_verified_within_its_bound() {
        assert_eq!(judge(&record(100), &link(400), 400), Freshness::Live);
        assert_eq!(judge(&record(100), &link(401), 401), Freshness::Stale);
    }

    #[test]
    fn a_dispute_and_a_clock_jump_void_every_proof() {
        let disputed = Record { disputed: true, ..record(100) };
        assert_eq!(judge(&disputed, &link(100), 100), Freshness::Stale);
        let jumped = Evidence { valid_from: at(101), ..link(100) };
        assert_eq!(judge(&record(100), &jumped, 101), Freshness::Stale);
        assert_eq!(standing(&record(100), &jumped, at(101), &POLICY).age(at(101)), None);
    }

    #[test]
    fn the_age_asked_for_is_the_bound_also_while_live() {
        let standing = standing(&record(100), &link(148), at(150), &POLICY);
        assert_eq!(standing.freshness(at(150), 2 * SECOND), Freshness::Live);
        assert_eq!(standing.freshness(at(150), SECOND), Freshness::Stale);
    }

    #[test]
    fn a_dynamic_ttl_bounds_the_age_only_without_a_live_link() {
        let bounds = TtlBounds { least: SECOND, most: 20 * SECOND };
        let policy = Policy { ttl: Some(bounds), ..POLICY };
        let mut busy = record(100);
        busy.change_rate.change(at(90));
        busy.change_rate.change(at(100));
        let judge = |record: &Record, link: &Evidence, now: u64| {
            standing(record, link, at(now), &policy).freshness(at(now), TTL)
        };
        let down = Evidence::default();
        assert_eq!(judge(&busy, &down, 105), Freshness::Aging);
        assert_eq!(judge(&busy, &link(100), 106), Freshness::Stale, "it changes every ten seconds");
        assert_eq!(judge(&record(100), &down, 120), Freshness::Aging);
        assert_eq!(judge(&record(100), &down, 121), Freshness::Stale, "the bound is for the quiet, too");
        assert_eq!(judge(&busy, &link(120), 124), Freshness::Live);
        let live = standing(&busy, &link(120), at(124), &policy);
        assert_eq!(live.freshness(at(124), 3 * SECOND), Freshness::Stale, "the age asked for still is one");
    }
}
