//! When a buy is settled, and which buy gets the tokens if several buys of one account are open at
//! once.
//!
//! 1. Tokens settle a buy when the account holds the buy's minimum over its baseline, as shown by a
//!    notification or by a fresh answer. Less does not settle it: anyone can send dust.
//! 2. A landed buy is settled as soon as the account itself was observed at that slot or later,
//!    however little arrived. A link's canary past that slot is not enough: the buy wrote to the
//!    account, so a link without a notification of it has lost the subscription.
//! 3. A buy counts as expired only if the account is known as of the bank that proves it, and
//!    nothing arrived.
//!
//! Arriving tokens do not say which buy they belong to. A single open buy gets everything past its
//! baseline. If there are several:
//!
//! 4. A buy whose signature is known is not settled by an amount; its landing decides.
//! 5. Otherwise tokens go to the buys in the order in which they were expected: a later buy needs
//!    its own minimum in addition to those of the earlier ones that are open, and of all that
//!    settled since its baseline was taken.
//! 6. A baseline taken when an earlier buy's tokens had already arrived contains them.
//!
//! A buy whose minimum has not been set yet counts as zero, so a caller with several open buys of
//! one mint should pass their signatures.

use std::{collections::BTreeMap, time::Duration};

use solana_pubkey::Pubkey;

use crate::core::{
    account::{observation::StateOrigin, reading::Reading},
    base::ids::{ClaimId, Slot},
    chain::state::AccountState,
    trade::signatures::TradeOutcome,
};

/// What an account held before a buy was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BuyBaseline {
    /// The raw amount; 0 where there is no account.
    pub amount: u64,
    /// The slot as of which the account held that.
    pub as_of: Slot,
    /// The epoch of that slot.
    pub(crate) epoch: u32,
}

impl BuyBaseline {
    pub(crate) fn of(reading: &Reading) -> Self {
        Self {
            amount: reading.last_known().map_or(0, owned),
            as_of: reading.as_of().unwrap_or_default(),
            epoch: reading.epoch(),
        }
    }

    /// How much more than the baseline the account holds.
    pub(crate) fn received(&self, reading: &Reading) -> u64 {
        reading.last_known().map_or(0, owned).saturating_sub(self.amount)
    }
}

/// The tokens in this state that belong to the wallet.
fn owned(state: &AccountState) -> u64 {
    match state {
        AccountState::Initialized(token) | AccountState::Frozen(token) => token.amount,
        _ => 0,
    }
}

/// The outcome of a buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuyVerdict {
    /// The minimum has arrived, as a notification or an answer shows.
    Arrived { by: StateOrigin },
    /// It landed, and the account was observed at that slot or later.
    Landed,
    /// It failed on chain.
    Failed { slot: Slot },
    /// It can no longer land, and nothing arrived.
    Expired,
    /// The chain began anew: the baseline can no longer be compared.
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Expectation {
    baseline: BuyBaseline,
    /// The least amount expected over the baseline; 0 until it is set.
    minimum: u64,
    /// Whether its signature is known.
    signed: bool,
    open: bool,
    /// Minima of other buys that settled since, out of tokens that are not in this one's baseline.
    spoken_for: u64,
    /// Whether another buy was open at the same time.
    contested: bool,
}

impl Expectation {
    /// Whether `baseline` already contains this buy's tokens. (Invariant 6)
    fn is_in(&self, baseline: &BuyBaseline) -> bool {
        baseline.amount >= self.baseline.amount.saturating_add(self.minimum)
    }
}

/// The expected buys, by account. A buy that has ended is kept until it can no longer be asked
/// about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Buys(BTreeMap<Pubkey, BTreeMap<ClaimId, Expectation>>);

impl Buys {
    /// Adds an open buy into an account with that baseline.
    pub fn expect(&mut self, address: Pubkey, buy: ClaimId, baseline: BuyBaseline) {
        let buys = self.0.entry(address).or_default();
        let mut contested = false;
        for other in buys.values_mut().filter(|other| other.open) {
            (other.contested, contested) = (true, true);
        }
        let expectation =
            Expectation { baseline, minimum: 0, signed: false, open: true, spoken_for: 0, contested };
        buys.insert(buy, expectation);
    }

    /// A caller starts to wait for a buy: sets its minimum, and whether its signature is known.
    pub fn set_terms(&mut self, address: &Pubkey, buy: ClaimId, minimum: u64, signed: bool) {
        let buys = self.0.get_mut(address);
        if let Some(expectation) = buys.and_then(|buys| buys.get_mut(&buy)) {
            (expectation.minimum, expectation.signed) = (minimum, signed);
        }
    }

    /// The outcome of a buy, if its account's state and its signature's outcome decide it.
    /// `max_age` is how old an RPC answer may be.
    pub fn judge(
        &self,
        address: &Pubkey,
        buy: ClaimId,
        reading: &Reading,
        outcome: Option<TradeOutcome>,
        max_age: Duration,
    ) -> Option<BuyVerdict> {
        let mine = self.0.get(address)?.get(&buy)?;
        if reading.epoch() != mine.baseline.epoch {
            return Some(BuyVerdict::Reset);
        }
        if let Some(TradeOutcome::Failed { slot }) = outcome {
            return Some(BuyVerdict::Failed { slot });
        }
        let record = reading.record.filter(|record| !record.disputed && record.invalidated.is_none())?;
        let by = StateOrigin::from(record.source);
        let shown = by == StateOrigin::Subscription || reading.fresh(max_age).is_ok();
        if shown && self.is_settled_by(address, buy, owned(&record.state)) {
            return Some(BuyVerdict::Arrived { by });
        }
        match outcome? {
            TradeOutcome::Landed { slot } if record.slot >= slot => Some(BuyVerdict::Landed),
            TradeOutcome::Expired { slot } if reading.as_of() >= Some(slot) => {
                (mine.baseline.received(reading) == 0).then_some(BuyVerdict::Expired)
            }
            _ => None,
        }
    }

    /// Whether the amount `held` in the account settles the buy.
    fn is_settled_by(&self, address: &Pubkey, buy: ClaimId, held: u64) -> bool {
        let Some(buys) = self.0.get(address) else { return false };
        let Some(mine) = buys.get(&buy) else { return false };
        if mine.signed && mine.contested {
            return false;
        }
        let earlier = buys.range(..buy).map(|(_, other)| other);
        let theirs = earlier.filter(|other| other.open && !other.is_in(&mine.baseline));
        let needed = [mine.minimum, mine.spoken_for].into_iter().chain(theirs.map(|other| other.minimum));
        held >= needed.fold(mine.baseline.amount, u64::saturating_add)
    }

    /// Ends a buy. `came`: its tokens have arrived; otherwise none ever will.
    pub fn end(&mut self, address: &Pubkey, buy: ClaimId, came: bool) {
        let Some(buys) = self.0.get_mut(address) else { return };
        let Some(mine) = buys.get_mut(&buy).filter(|mine| mine.open) else { return };
        mine.open = false;
        let mine = *mine;
        for other in buys.values_mut().filter(|other| came && other.open && !mine.is_in(&other.baseline)) {
            other.spoken_for = other.spoken_for.saturating_add(mine.minimum);
        }
    }

    /// Drops a buy that can no longer be asked about.
    pub fn drop(&mut self, address: &Pubkey, buy: ClaimId) {
        if let Some(buys) = self.0.get_mut(address) {
            buys.remove(&buy);
            if buys.is_empty() {
                self.0.remove(address);
            }
        }
    }

    /// The account is no longer watched.
    pub fn forget(&mut self, address: &Pubkey) {
        self.0.remove(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        account::{
            evidence::Evidence,
            freshness::Policy,
            ledger::{Ledger, Rules},
            observation::{Observation, ObservedVia},
        },
        base::{
            ids::{EndpointId, Generation},
            time::Tick,
        },
        chain::{
            state::Expected,
            token::{Presence, TokenProgram, tests::account_bytes},
        },
        trade::positions::Positions,
    };

    const AGE: Duration = Duration::from_secs(30);
    const RULES: Rules = Rules { absence_twice: false, verify_every: Duration::from_secs(300) };
    const POLICY: Policy =
        Policy { canary_deadline: Duration::from_secs(5), verify_every: RULES.verify_every, ttl: None };

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * 1_000_000_000)
    }

    /// An account of `owner`'s at slot 50, told by RPC, proved at 100 s and read at 110 s.
    fn seen(presence: Presence, source: ObservedVia, read: u64) -> Reading {
        let expected = Expected { owner: Some(key(2)), ..Expected::default() };
        let mut ledger = Ledger::new(expected, RULES, 0);
        let proof = if source.generation().is_some() { Tick::NEVER } else { at(100) };
        let seen = Observation { presence, slot: 50, source, proof };
        ledger.apply(&seen, &Evidence::default());
        Reading::join(key(9), &Evidence::default(), ledger.record().copied(), None, at(read), &POLICY)
    }

    fn tokens(owner: u8, amount: u64, frozen: bool) -> Presence {
        let mut data = account_bytes(key(1), key(owner), amount);
        data[108] = if frozen { 2 } else { 1 };
        Presence::decode(&TokenProgram::Token.id(), 1, &data)
    }

    fn answered(amount: u64) -> Reading {
        seen(tokens(2, amount, false), ObservedVia::Rpc(EndpointId(0)), 110)
    }

    fn notified(amount: u64) -> Reading {
        seen(tokens(2, amount, false), ObservedVia::Subscription(Generation::default()), 999)
    }

    fn baseline(amount: u64) -> BuyBaseline {
        BuyBaseline { amount, as_of: 40, epoch: 0 }
    }

    /// Names of claims, in their order.
    fn claims() -> impl FnMut() -> ClaimId {
        let mut positions = Positions::new(AGE);
        move || positions.claim(&key(9))
    }

    /// One buy of at least 100 into an account that held 1 000.
    fn one(signed: bool) -> (Buys, ClaimId) {
        let (mut buys, buy) = (Buys::default(), claims()());
        buys.expect(key(9), buy, baseline(1_000));
        buys.set_terms(&key(9), buy, 100, signed);
        (buys, buy)
    }

    fn judge(buys: &Buys, buy: ClaimId, reading: &Reading) -> Option<BuyVerdict> {
        buys.judge(&key(9), buy, reading, None, AGE)
    }

    #[test]
    fn dust_below_the_minimum_is_no_buy() {
        let (buys, buy) = one(false);
        for dust in [0, 900, 1_000, 1_001, 1_099] {
            assert_eq!(judge(&buys, buy, &notified(dust)), None, "{dust}");
            assert_eq!(judge(&buys, buy, &answered(dust)), None, "{dust}");
        }
        let arrived = |by| Some(BuyVerdict::Arrived { by });
        assert_eq!(judge(&buys, buy, &notified(1_100)), arrived(StateOrigin::Subscription));
        assert_eq!(judge(&buys, buy, &answered(1_100)), arrived(StateOrigin::Rpc));
        let outcome = Some(TradeOutcome::Expired { slot: 50 });
        assert_eq!(buys.judge(&key(9), buy, &notified(1_001), outcome, AGE), None, "something did arrive");
    }

    #[test]
    fn tokens_of_another_owner_are_not_ours_and_frozen_ones_are() {
        let (buys, buy) = one(false);
        let rpc = ObservedVia::Rpc(EndpointId(0));
        assert_eq!(judge(&buys, buy, &seen(tokens(3, 5_000, false), rpc, 110)), None);
        let frozen = seen(tokens(2, 5_000, true), rpc, 110);
        assert_eq!(judge(&buys, buy, &frozen), Some(BuyVerdict::Arrived { by: StateOrigin::Rpc }));
    }

    #[test]
    fn an_answer_settles_while_it_is_fresh_and_nothing_does_that_is_in_doubt() {
        let (buys, buy) = one(false);
        let old = seen(tokens(2, 5_000, false), ObservedVia::Rpc(EndpointId(0)), 131);
        assert_eq!(judge(&buys, buy, &old), None, "31 s old");
        for doubt in [true, false] {
            let mut reading = notified(5_000);
            let record = reading.record.as_mut().expect("seen");
            if doubt {
                record.disputed = true;
            } else {
                let invalidated = crate::core::account::record::Invalidation { at: at(1), min_slot: 0 };
                record.invalidated = Some(invalidated);
            }
            assert_eq!(judge(&buys, buy, &reading), None);
            let landed = Some(TradeOutcome::Landed { slot: 45 });
            assert_eq!(buys.judge(&key(9), buy, &reading, landed, AGE), None);
        }
    }

    #[test]
    fn a_landing_settles_once_the_account_was_seen_at_its_slot_however_little_arrived() {
        let (buys, buy) = one(true);
        let landed = |slot| Some(TradeOutcome::Landed { slot });
        let judge = |amount, outcome| buys.judge(&key(9), buy, &answered(amount), outcome, AGE);
        assert_eq!(judge(1_001, landed(51)), None, "as of 50");
        assert_eq!(judge(1_001, landed(50)), Some(BuyVerdict::Landed));
        assert_eq!(judge(1_000, landed(49)), Some(BuyVerdict::Landed));
        assert_eq!(
            judge(1_200, landed(51)),
            Some(BuyVerdict::Arrived { by: StateOrigin::Rpc }),
            "seen before that"
        );
        let mut passed = answered(1_000);
        passed.standing.as_mut().expect("seen").as_of = 60;
        assert_eq!(buys.judge(&key(9), buy, &passed, landed(51), AGE), None, "a link passed it in silence");
    }

    #[test]
    fn a_failure_is_final_and_an_expiry_needs_the_account_as_of_its_proof() {
        let (buys, buy) = one(true);
        let judge = |amount, outcome| buys.judge(&key(9), buy, &answered(amount), Some(outcome), AGE);
        assert_eq!(judge(1_000, TradeOutcome::Failed { slot: 60 }), Some(BuyVerdict::Failed { slot: 60 }));
        assert_eq!(judge(1_000, TradeOutcome::Expired { slot: 51 }), None, "the last bank may hold it");
        assert_eq!(judge(1_000, TradeOutcome::Expired { slot: 50 }), Some(BuyVerdict::Expired));
    }

    #[test]
    fn after_a_reset_of_the_chain_a_baseline_means_nothing() {
        let (buys, buy) = one(true);
        let reset = Reading { epoch: 1, ..notified(5_000) };
        assert_eq!(judge(&buys, buy, &reset), Some(BuyVerdict::Reset));
    }

    #[test]
    fn of_two_without_signatures_the_later_needs_what_the_earlier_expects_as_well() {
        let mut claim = claims();
        let (first, second) = (claim(), claim());
        let mut buys = Buys::default();
        buys.expect(key(9), first, baseline(0));
        buys.expect(key(9), second, baseline(0));
        buys.set_terms(&key(9), second, 70, false);
        buys.set_terms(&key(9), first, 100, false);
        let came = |buys: &Buys, buy, held| judge(buys, buy, &notified(held)).is_some();
        assert!(!came(&buys, second, 100) && !came(&buys, second, 169) && came(&buys, second, 170));
        assert!(came(&buys, first, 100));
        // The first has its tokens: they are not the second's.
        buys.end(&key(9), first, true);
        buys.end(&key(9), first, true);
        assert!(!came(&buys, second, 169) && came(&buys, second, 170));
        assert!(came(&buys, first, 100), "asked again, the same");
    }

    #[test]
    fn a_buy_that_comes_to_nothing_leaves_its_tokens_to_the_next() {
        let mut claim = claims();
        let (first, second) = (claim(), claim());
        let mut buys = Buys::default();
        buys.expect(key(9), first, baseline(0));
        buys.expect(key(9), second, baseline(0));
        buys.set_terms(&key(9), first, 100, false);
        buys.set_terms(&key(9), second, 70, false);
        assert_eq!(judge(&buys, second, &notified(70)), None);
        buys.end(&key(9), first, false);
        assert!(judge(&buys, second, &notified(70)).is_some());
    }

    #[test]
    fn a_baseline_taken_after_the_first_ones_tokens_came_counts_them_once() {
        let mut claim = claims();
        let (first, second) = (claim(), claim());
        let mut buys = Buys::default();
        buys.expect(key(9), first, baseline(0));
        buys.set_terms(&key(9), first, 100, false);
        // Arrived, and nobody has looked yet.
        buys.expect(key(9), second, baseline(100));
        buys.set_terms(&key(9), second, 70, false);
        assert_eq!(judge(&buys, second, &notified(169)), None);
        assert!(judge(&buys, second, &notified(170)).is_some());
        buys.end(&key(9), first, true);
        assert!(judge(&buys, second, &notified(170)).is_some());
    }

    #[test]
    fn of_several_one_with_a_signature_is_settled_by_its_landing_alone() {
        let mut claim = claims();
        let (first, second) = (claim(), claim());
        let mut buys = Buys::default();
        buys.expect(key(9), first, baseline(0));
        buys.set_terms(&key(9), first, 100, true);
        assert!(judge(&buys, first, &notified(100)).is_some(), "alone, an amount settles it");
        buys.expect(key(9), second, baseline(0));
        buys.set_terms(&key(9), second, 100, true);
        for buy in [first, second] {
            assert_eq!(judge(&buys, buy, &notified(900)), None);
            let landed = Some(TradeOutcome::Landed { slot: 50 });
            assert_eq!(buys.judge(&key(9), buy, &notified(900), landed, AGE), Some(BuyVerdict::Landed));
        }
        buys.end(&key(9), first, true);
        assert_eq!(judge(&buys, second, &notified(900)), None, "also once the other is settled");
        buys.drop(&key(9), first);
        buys.drop(&key(9), second);
        assert_eq!(buys, Buys::default(), "nothing is left of them");
    }
}
