//! The chain as it truly was: banks in slots, and what every account held in each of them.
//!
//! Slots are skipped, alone and four in a row; blocks on forks that are abandoned take slots too,
//! and what they wrote was never confirmed. The chain's Clock has whole seconds and strays from
//! wall time.

use crate::{
    agenda::{MS, Nanos, SECOND},
    rng::Rng,
};

/// What stands at an address, in the world's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Nothing,
    Tokens(Tokens),
    /// An account of some other program.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) amount: u64,
    pub(crate) mint: u8,
    pub(crate) owner: u8,
    pub(crate) frozen: bool,
}

/// The mint and the wallet that accounts begin with.
pub(crate) const MINT: u8 = 201;
pub(crate) const OWNER: u8 = 202;
const STRANGER: u8 = 203;
const OTHER_MINT: u8 = 204;

/// Wall time at the world's beginning, in milliseconds since the epoch.
pub(crate) const WALL_MS: i64 = 1_760_000_000_000;

/// The first slot. Past what any margin for slots ahead could be counted from 0.
const FIRST_SLOT: u64 = 300_000_000;

/// Milliseconds between wall time and the chain's Clock move within this range, either way.
const STRAY_MS: i64 = 400;
/// How far the Clock's stray can differ between two moments.
pub(crate) const STRAY: Nanos = 2 * STRAY_MS as Nanos * MS;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bank {
    pub(crate) slot: u64,
    /// When the cluster as a whole had it processed, confirmed, finalized.
    pub(crate) since: [Nanos; 3],
    /// The Clock sysvar's time in it.
    pub(crate) clock: i64,
}

/// A block on a fork that is abandoned: processed for a while, then gone.
#[derive(Clone, Debug)]
pub(crate) struct Abandoned {
    pub(crate) slot: u64,
    /// How many banks of the chain there were when it was made.
    pub(crate) after: usize,
    pub(crate) wrote: Vec<(usize, Held)>,
}

#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) banks: Vec<Bank>,
    pub(crate) abandoned: Vec<Abandoned>,
    /// Per account: from which slot on it held what.
    accounts: Vec<Vec<(u64, Held)>>,
    next_slot: u64,
    skip: u8,
    stray_ms: i64,
    last_amount: u64,
    /// Writes per thousand banks, per account.
    traffic: Vec<u64>,
    /// Everybody writes in every bank until then.
    pub(crate) burst_until: Nanos,
}

impl Chain {
    pub(crate) fn new(accounts: usize, rng: &mut Rng) -> Self {
        let mut chain = Self {
            banks: Vec::new(),
            abandoned: Vec::new(),
            accounts: Vec::new(),
            next_slot: FIRST_SLOT,
            skip: 0,
            stray_ms: 0,
            last_amount: 1_000,
            traffic: Vec::new(),
            burst_until: 0,
        };
        for _ in 0..accounts {
            let first = if rng.chance(600) { chain.tokens(rng) } else { Held::Nothing };
            chain.accounts.push(vec![(FIRST_SLOT - 1, first)]);
            chain.traffic.push([0, 2, 20, 100, 300, 700][rng.index(6)]);
        }
        chain
    }

    /// The next slot's leader has its turn: the new bank's place, unless the slot is skipped or on
    /// a dead fork.
    pub(crate) fn produce(&mut self, now: Nanos, rng: &mut Rng) -> Option<usize> {
        let slot = self.next_slot;
        self.next_slot += 1;
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if rng.chance(60) {
            self.skip = if rng.chance(100) { 3 } else { 0 };
            return None;
        }
        let written = self.writes(now, rng);
        if rng.chance(40) {
            let after = self.banks.len();
            self.abandoned.push(Abandoned { slot, after, wrote: written });
            return None;
        }
        for (account, held) in written {
            if self.held_now(account) != held {
                self.accounts[account].push((slot, held));
            } else if held != Held::Nothing {
                // Written again with the same content: notified like a change.
                self.accounts[account].push((slot, held));
            }
        }
        self.stray_ms = (self.stray_ms + rng.between(0, 60) as i64 - 30).clamp(-STRAY_MS, STRAY_MS);
        let wall_ms = WALL_MS + (now / MS) as i64;
        let before = self.banks.last();
        let clock = ((wall_ms + self.stray_ms) / 1_000).max(before.map_or(0, |bank| bank.clock));
        let no_earlier = |level: usize, at: Nanos| before.map_or(at, |bank| bank.since[level].max(at));
        let confirmed = no_earlier(1, now + rng.between(250, 900) * MS);
        // Roots advance by several slots at a time.
        let lump = 1_100 * MS;
        let finalized = no_earlier(2, (now + 12_400 * MS).div_ceil(lump) * lump);
        self.banks.push(Bank { slot, since: [now, confirmed, finalized], clock });
        Some(self.banks.len() - 1)
    }

    /// From one slot to the next.
    pub(crate) fn pace(rng: &mut Rng) -> Nanos {
        rng.between(360, 440) * MS
    }

    fn writes(&mut self, now: Nanos, rng: &mut Rng) -> Vec<(usize, Held)> {
        let mut written = Vec::new();
        for account in 0..self.accounts.len() {
            if now < self.burst_until || rng.chance(self.traffic[account]) {
                let held = self.change(self.held_now(account), rng);
                written.push((account, held));
            }
        }
        written
    }

    fn change(&mut self, before: Held, rng: &mut Rng) -> Held {
        let Held::Tokens(tokens) = before else {
            return if rng.chance(50) { Held::Foreign } else { self.tokens(rng) };
        };
        match rng.below(100) {
            0..10 => Held::Nothing,
            10..16 => Held::Tokens(Tokens { frozen: !tokens.frozen, ..tokens }),
            16..20 => {
                let owner = if tokens.owner == OWNER { STRANGER } else { OWNER };
                Held::Tokens(Tokens { owner, ..tokens })
            }
            // Closed and made again as something else within one slot.
            20..22 => Held::Foreign,
            22..24 => Held::Tokens(Tokens { mint: OTHER_MINT, ..tokens }),
            24..30 => before,
            _ => Held::Tokens(Tokens { amount: self.amount(rng), ..tokens }),
        }
    }

    fn tokens(&mut self, rng: &mut Rng) -> Held {
        Held::Tokens(Tokens { amount: self.amount(rng), mint: MINT, owner: OWNER, frozen: false })
    }

    /// Mostly an amount never held before, so that one state is not taken for another; at times one
    /// of a few, so that a state comes again.
    fn amount(&mut self, rng: &mut Rng) -> u64 {
        if rng.chance(250) {
            return rng.below(3);
        }
        self.last_amount += 1;
        self.last_amount
    }

    fn held_now(&self, account: usize) -> Held {
        self.accounts[account].last().map_or(Held::Nothing, |(_, held)| *held)
    }

    /// What the account held as of that slot, and the slot of that write; what is closed has no
    /// write.
    pub(crate) fn at(&self, account: usize, slot: u64) -> (u64, Held) {
        let history = &self.accounts[account];
        match history[..history.partition_point(|(since, _)| *since <= slot)].last() {
            Some((since, held)) if *held != Held::Nothing => (*since, *held),
            _ => (0, Held::Nothing),
        }
    }

    /// Whether the account held something like that at `from` or later.
    pub(crate) fn was_since(&self, account: usize, from: u64, like: impl Fn(Held) -> bool) -> bool {
        for (since, held) in self.accounts[account].iter().rev() {
            if like(*held) {
                return true;
            }
            if *since <= from {
                return false;
            }
        }
        false
    }

    /// The newest slot that anybody can have seen.
    pub(crate) fn newest_slot(&self) -> u64 {
        self.next_slot - 1
    }
}

pub(crate) fn wall_ms(now: Nanos) -> i64 {
    WALL_MS + (now / MS) as i64
}

/// How long after which a bank's Clock of so many seconds counts as lagging by that much.
pub(crate) fn lag_ms(now: Nanos, clock: i64) -> i64 {
    wall_ms(now) - clock * 1_000
}

/// A second, which is what the Clock's own grain hides.
pub(crate) const GRAIN: Nanos = SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_clocks_only_go_forward_and_some_slots_are_skipped() {
        let mut rng = Rng::new(7);
        let mut chain = Chain::new(3, &mut rng);
        let mut now = 0;
        let mut missing = 0;
        for _ in 0..2_000 {
            now += Chain::pace(&mut rng);
            missing += usize::from(chain.produce(now, &mut rng).is_none());
        }
        assert!((100..400).contains(&missing), "{missing} of 2000 slots without a bank");
        assert!(!chain.abandoned.is_empty());
        for pair in chain.banks.windows(2) {
            assert!(pair[0].slot < pair[1].slot && pair[0].clock <= pair[1].clock);
            assert!((0..3).all(|level| pair[0].since[level] <= pair[1].since[level]));
        }
        let written = chain.accounts.iter().map(Vec::len).max();
        assert!(written > Some(10), "somebody is written to: {written:?}");
        let (slot, held) = chain.at(0, u64::MAX);
        assert!(chain.was_since(0, slot, |other| other == held));
    }
}
