//! A reader that never stops reading, and compares what it is told with the contract and with the
//! chain.
//!
//! For each account: the slot never goes back; what is served fresh is never as of an earlier slot
//! than what was served fresh before, and never older than asked. Where the cluster can tell the
//! truth, also: what was served fresh was so on the chain at every slot for which it was claimed,
//! and the slot claimed was one that the node still held when the proof says.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use balance_mirror::{AccountState, Pubkey, Reader, Reading};
use localnet::{Account, CommitmentConfig, Localnet};
use tokio::sync::watch;

use crate::{
    outcome::{Outcome, check},
    world::{World, amount},
};

/// Between two rounds: so small that each slot is seen many times.
const PAUSE: Duration = Duration::from_micros(200);
/// By how much a proof may be too young: by what even the quickest canary took to come, which the
/// mirror has no way to know, on a machine that is busy. What this finds all the same: proofs
/// counted from when they came, on links that hold back for as long as a canary may, or that fall
/// further and further behind.
const USUAL_DELAY: Duration = Duration::from_secs(1);
/// Enough to understand what went wrong.
const ENOUGH: usize = 10;

/// What was served fresh, over the slots for which it was.
#[derive(Clone, Copy, Debug)]
struct Claim {
    state: AccountState,
    from: u64,
    to: u64,
}

#[derive(Debug, Default)]
struct Seen {
    slot: Option<u64>,
    as_of: Option<u64>,
    claims: Vec<Claim>,
}

/// What a checker saw.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) readings: u64,
    pub(crate) fresh: u64,
    pub(crate) live: u64,
    too_young: Duration,
    violations: Vec<String>,
    seen: HashMap<Pubkey, Seen>,
    /// When the node came to which confirmed slot.
    tips: Vec<(Instant, u64)>,
}

/// A checker at work. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Checker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Report>>,
}

impl Checker {
    /// Reads all of these all the time, under an age.
    pub(crate) fn start(world: &World<'_>, readers: &[Reader], max_age: Duration) -> Outcome<Self> {
        Self::start_with(world, readers, max_age, Duration::ZERO)
    }

    /// As [`start`](Self::start), where proofs may be that much too young.
    pub(crate) fn start_with(
        world: &World<'_>,
        readers: &[Reader],
        max_age: Duration,
        too_young: Duration,
    ) -> Outcome<Self> {
        let tip = world.local().ok().map(Localnet::slots);
        let (stop, readers) = (Arc::new(AtomicBool::new(false)), readers.to_vec());
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("checker".to_owned()).spawn(move || {
            let mut report = Report { too_young, ..Report::default() };
            while !stopped.load(Relaxed) {
                report.round(&readers, max_age, tip.as_ref());
                thread::sleep(PAUSE);
            }
            report
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it, and fails if it saw a violation, or nothing at all.
    pub(crate) fn finish(self, world: &World<'_>) -> Outcome<Report> {
        self.end(world.local().ok())
    }

    /// As [`finish`](Self::finish), without the truth: where the server itself lies.
    pub(crate) fn finish_among_lies(self) -> Outcome<Report> {
        self.end(None)
    }

    fn end(mut self, net: Option<&Localnet>) -> Outcome<Report> {
        self.stop.store(true, Relaxed);
        let thread = self.thread.take().ok_or("no checker")?;
        let mut report = thread.join().map_err(|_| "the checker panicked")?;
        if let Some(net) = net {
            let addresses: Vec<_> = report.seen.keys().copied().collect();
            let history = addresses.iter().map(|address| (*address, held_on(net, address))).collect();
            report.compare(&history, net.slot(CommitmentConfig::confirmed()));
        }
        report.clean()?;
        check!(report.fresh > 0, "nothing fresh was ever read, of {} readings", report.readings);
        Ok(report)
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

impl Report {
    fn round(&mut self, readers: &[Reader], max_age: Duration, tip: Option<&watch::Receiver<u64>>) {
        if let Some(tip) = tip {
            // The confirmed slot is one below.
            let tip = tip.borrow().saturating_sub(1);
            if self.tips.last().is_none_or(|(_, last)| *last < tip) {
                self.tips.push((Instant::now(), tip));
            }
        }
        for reader in readers {
            let asked = Instant::now();
            let reading = reader.read();
            self.take(&reading, asked, max_age);
        }
    }

    fn violation(&mut self, what: String) {
        if self.violations.len() < ENOUGH {
            self.violations.push(what);
        }
    }

    fn take(&mut self, reading: &Reading, asked: Instant, max_age: Duration) {
        self.readings += 1;
        self.live += u64::from(reading.is_live());
        let seen = self.seen.entry(reading.address()).or_default();
        let (slot_before, as_of_before) = (seen.slot, seen.as_of);
        seen.slot = reading.slot();
        if reading.slot() < slot_before {
            self.violation(format!("the slot went back from {slot_before:?}: {reading:?}"));
        }
        let Ok(state) = reading.fresh(max_age) else { return };
        self.fresh += 1;
        let (Some(slot), Some(as_of), Some(age)) = (reading.slot(), reading.as_of(), reading.age()) else {
            return self.violation(format!("fresh without evidence: {reading:?}"));
        };
        let seen = self.seen.entry(reading.address()).or_default();
        seen.as_of = seen.as_of.max(Some(as_of));
        match seen.claims.last_mut() {
            // Only what joins on: what was between two looks may have been something else.
            Some(claim) if claim.state == *state && (claim.from..=claim.to).contains(&slot) => {
                claim.to = claim.to.max(as_of);
            }
            _ => seen.claims.push(Claim { state: *state, from: slot, to: as_of }),
        }
        if Some(as_of) < as_of_before {
            self.violation(format!("fresh as of an earlier slot than {as_of_before:?}: {reading:?}"));
        }
        if as_of < slot || age > max_age {
            self.violation(format!("served as fresh under {max_age:?}: {reading:?}"));
        }
        let surely = asked.checked_sub(age + self.too_young + USUAL_DELAY);
        let held = surely.and_then(|moment| self.tip_at(moment));
        if let Some(held) = held.filter(|held| as_of < *held) {
            self.violation(format!(
                "as of {as_of}, when the node held {held} {USUAL_DELAY:?} before the proof: {reading:?}"
            ));
        }
    }

    /// The slot that the node surely held at a moment, where that was watched.
    fn tip_at(&self, moment: Instant) -> Option<u64> {
        let after = self.tips.partition_point(|(since, _)| *since <= moment);
        Some(self.tips[after.checked_sub(1)?].1)
    }

    /// Fails if what was served fresh was not so on the chain at every slot for which it was
    /// claimed. Returns how many claims there were.
    pub(crate) fn agree(&mut self, history: &History, confirmed: u64) -> Outcome<usize> {
        self.compare(history, confirmed);
        self.clean()?;
        Ok(self.seen.values().map(|seen| seen.claims.len()).sum())
    }

    fn clean(&self) -> Outcome {
        check!(self.violations.is_empty(), "violations: {:#?}", self.violations);
        Ok(())
    }

    fn compare(&mut self, history: &History, confirmed: u64) {
        let seen = std::mem::take(&mut self.seen);
        for (address, seen) in &seen {
            let history = history.get(address).map(Vec::as_slice).unwrap_or_default();
            for claim in &seen.claims {
                if claim.to > confirmed {
                    self.violation(format!("{address}: as of {}, of {confirmed} confirmed", claim.to));
                }
                if let Some(truth) = contradiction(history, claim) {
                    self.violation(format!("{address}: {claim:?}, where the chain held {truth:?}"));
                }
            }
        }
        self.seen = seen;
    }
}

/// What an account held from which slot on, nothing before the first; `None` if that is no number
/// of tokens.
pub(crate) type History = HashMap<Pubkey, Vec<(u64, Option<u64>)>>;

fn held_on(net: &Localnet, address: &Pubkey) -> Vec<(u64, Option<u64>)> {
    let held = |account: Option<Account>| account.map_or(Some(0), |account| amount(&account.data));
    net.history(address).into_iter().map(|(slot, account)| (slot, held(account))).collect()
}

/// What the chain held at one of the claim's slots, if it was anything else.
fn contradiction(history: &[(u64, Option<u64>)], claim: &Claim) -> Option<(u64, Option<u64>)> {
    let first = history.partition_point(|(slot, _)| *slot <= claim.from);
    let before = first.checked_sub(1).map_or((0, Some(0)), |last| history[last]);
    let during = history[first..].iter().copied().take_while(|(slot, _)| *slot <= claim.to);
    std::iter::once(before).chain(during).find(|(_, held)| *held != claim.state.token_amount())
}
