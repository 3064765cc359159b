//! Whose tokens they are, where several buys of one account are open at once.
//!
//! An amount that arrives bears no name. One buy alone takes all that comes past its baseline. Of several:
//!
//! 1. One whose signature is known is not settled by an amount; the signature decides.
//! 2. Else tokens go to the buys in the order in which they were expected: a later one needs its own minimum beyond
//!    those of the earlier ones that are open, and of all that settled since its baseline was taken.
//! 3. A baseline that was taken when an earlier buy's tokens were there already contains them.
//!
//! A buy whose minimum nobody has told yet counts for nothing: who has several buys of one mint under way gives their
//! signatures.

use std::collections::BTreeMap;

use solana_pubkey::Pubkey;

use super::positions::ClaimId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Expectation {
    /// What the account held before.
    baseline: u64,
    /// What is expected over the baseline at least; 0 until it is told.
    minimum: u64,
    open: bool,
    /// Minima of the others that settled since, from tokens that are past this one's baseline.
    spoken_for: u64,
    /// Another one was open at the same time.
    contested: bool,
}

impl Expectation {
    /// Whether a baseline taken then contains this buy's tokens. (Invariant 3)
    fn is_in(&self, baseline: u64) -> bool {
        baseline >= self.baseline.saturating_add(self.minimum)
    }
}

/// The buys expected, by account. One that has ended is remembered until nobody can ask for it any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Buys(BTreeMap<Pubkey, BTreeMap<ClaimId, Expectation>>);

impl Buys {
    /// A buy is expected into an account that holds so much.
    pub(crate) fn expect(&mut self, address: Pubkey, buy: ClaimId, baseline: u64) {
        let buys = self.0.entry(address).or_default();
        let mut contested = false;
        for other in buys.values_mut().filter(|other| other.open) {
            (other.contested, contested) = (true, true);
        }
        let expectation = Expectation { baseline, minimum: 0, open: true, spoken_for: 0, contested };
        buys.insert(buy, expectation);
    }

    /// Somebody waits for a buy, and says what for.
    pub(crate) fn tell_minimum(&mut self, address: &Pubkey, buy: ClaimId, minimum: u64) {
        if let Some(expectation) = self.get_mut(address, buy) {
            expectation.minimum = minimum;
        }
    }

    /// Whether a buy is settled by its account holding so much.
    pub(crate) fn is_settled_by(&self, address: &Pubkey, buy: ClaimId, held: u64, signed: bool) -> bool {
        let Some(buys) = self.0.get(address) else { return false };
        let Some(mine) = buys.get(&buy) else { return false };
        if signed && mine.contested {
            return false;
        }
        let earlier = buys.range(..buy).map(|(_, other)| other);
        let theirs = earlier.filter(|other| other.open && !other.is_in(mine.baseline));
        let needed = [mine.minimum, mine.spoken_for].into_iter().chain(theirs.map(|other| other.minimum));
        held >= needed.fold(mine.baseline, u64::saturating_add)
    }

    /// A buy is over: its tokens have come, or none will. Whether it was open.
    pub(crate) fn end(&mut self, address: &Pubkey, buy: ClaimId, came: bool) -> bool {
        let Some(buys) = self.0.get_mut(address) else { return false };
        let Some(mine) = buys.get_mut(&buy).filter(|mine| mine.open) else { return false };
        mine.open = false;
        let mine = *mine;
        for (_, other) in buys.iter_mut().filter(|(id, other)| **id != buy && came && other.open) {
            if !mine.is_in(other.baseline) {
                other.spoken_for = other.spoken_for.saturating_add(mine.minimum);
            }
        }
        true
    }

    /// Nobody can ask for a buy any more.
    pub(crate) fn drop(&mut self, address: &Pubkey, buy: ClaimId) {
        if let Some(buys) = self.0.get_mut(address) {
            buys.remove(&buy);
            if buys.is_empty() {
                self.0.remove(address);
            }
        }
    }

    /// The account is no longer watched.
    pub(crate) fn forget(&mut self, address: &Pubkey) {
        self.0.remove(address);
    }

    fn get_mut(&mut self, address: &Pubkey, buy: ClaimId) -> Option<&mut Expectation> {
        self.0.get_mut(address)?.get_mut(&buy)
    }
}
