//! The published records: one writer, wait-free readers.
//!
//! The writer publishes a record first and the links' evidence second; a reader loads the evidence
//! first and the record second. Both carry the connections' generations, so a reader never joins a
//! proof with a record that the proof does not cover. (In the opposite order, readers took
//! superseded records for proved.)

pub(crate) mod updates;
mod writer;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use solana_pubkey::Pubkey;
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    core::{
        account::{
            evidence::Evidence,
            freshness::{Policy, StaleReason, look},
            overlay::Shown,
            reading::Reading,
            record::Record,
            sellable::MintSays,
        },
        base::time::Tick,
        chain::mint::MintInfo,
    },
    observability::counters::{AccountCounters, Distribution, Stats},
};
pub(crate) use writer::{OutcomeReceiver, SharedWriter, Writer, open};

/// One account, as readers see it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) address: Pubkey,
    record: ArcSwapOption<Record>,
    overlay: ArcSwapOption<Shown>,
    mint: MintEntry,
    /// 0 while the account is watched, otherwise the reason why it is not.
    ended: AtomicU8,
    /// Notified at each publication.
    pub(crate) changed: Notify,
    pub(crate) counters: AccountCounters,
}

/// The size of an `Arc`'s two counters.
const ARC: usize = 2 * size_of::<usize>();

const UNWATCHED: u8 = 1;
const STOPPED: u8 = 2;

impl Entry {
    pub(crate) fn new(address: Pubkey) -> Self {
        Self {
            address,
            record: ArcSwapOption::empty(),
            overlay: ArcSwapOption::empty(),
            mint: MintEntry::default(),
            ended: AtomicU8::new(0),
            changed: Notify::new(),
            counters: AccountCounters::default(),
        }
    }

    fn end(&self, why: u8) {
        self.ended.store(why, Ordering::Release);
        self.changed.notify_waiters();
    }

    fn ended(&self) -> Option<StaleReason> {
        match self.ended.load(Ordering::Acquire) {
            0 => None,
            UNWATCHED => Some(StaleReason::Unwatched),
            _ => Some(StaleReason::Stopped),
        }
    }
}

/// What the mint of an account's tokens says about selling them. It is stored with the account, so
/// that a reader needs no lookup.
#[derive(Debug, Default)]
struct MintEntry {
    /// One more than the mint's bits; 0 if the mint has not been read.
    says: AtomicU64,
    /// When the mint was known to say so.
    read: AtomicU64,
}

impl MintEntry {
    /// Writes `says` first and `read` second, so that a reader never joins a recent time with what
    /// the mint said before.
    fn store(&self, mint: Option<&MintInfo>) {
        let says = mint.map_or(0, |mint| u64::from(MintSays::of(mint).to_bits()) + 1);
        let read = mint.map_or(Tick::NEVER, MintInfo::surely_so);
        self.says.store(says, Ordering::Release);
        self.read.store(read.as_nanos(), Ordering::Release);
    }

    fn load(&self, valid_from: Tick, now: Tick, policy: &Policy) -> Option<MintSays> {
        let read = Tick::from_nanos(self.read.load(Ordering::Acquire));
        let says = u32::try_from(self.says.load(Ordering::Acquire).checked_sub(1)?).ok()?;
        Some(MintSays::from_bits(says).trusted(read, valid_from, now, policy))
    }
}

/// The readers' side.
#[derive(Debug)]
pub(crate) struct Store {
    accounts: ArcSwap<HashMap<Pubkey, Arc<Entry>>>,
    evidence: ArcSwap<Evidence>,
    /// Notified at each canary, and when a mint is read.
    pub(crate) proved: Notify,
    mints: ArcSwap<HashMap<Pubkey, MintInfo>>,
    pub(crate) clock: Clock,
    policy: Policy,
    pub(crate) stats: Stats,
    /// Memory that the engine holds for each account, in bytes.
    bytes_each: usize,
}

impl Store {
    pub(crate) fn entry(&self, address: &Pubkey) -> Option<Arc<Entry>> {
        self.accounts.load().get(address).cloned()
    }

    pub(crate) fn entries(&self) -> Arc<HashMap<Pubkey, Arc<Entry>>> {
        self.accounts.load_full()
    }

    pub(crate) fn mint(&self, mint: &Pubkey) -> Option<MintInfo> {
        self.mints.load().get(mint).copied()
    }

    pub(crate) async fn mint_ready(&self, mint: &Pubkey) -> MintInfo {
        loop {
            let mut proved = pin!(self.proved.notified());
            proved.as_mut().enable();
            match self.mint(mint) {
                Some(mint) => return mint,
                None => proved.await,
            }
        }
    }

    /// Loads the evidence first, the record second and the time last; see the module for why.
    pub(crate) fn read(&self, entry: &Entry) -> Reading {
        let (evidence, record) = look(|| self.evidence.load(), || entry.record.load().as_deref().copied());
        let overlay = entry.overlay.load().as_deref().copied();
        let taken = self.clock.now();
        let mut reading = Reading::join(entry.address, &evidence, record, overlay, taken, &self.policy);
        reading.ended = entry.ended();
        reading.mint = entry.mint.load(evidence.valid_from, taken, &self.policy);
        reading
    }

    /// Memory held for an account, in bytes: by the engine, in the maps of the readers and of the
    /// writer, and in what is published.
    pub(crate) fn bytes_of(&self, entry: &Entry) -> usize {
        let in_maps = 2 * size_of::<(Pubkey, Arc<Entry>)>();
        let record = entry.record.load().as_ref().map_or(0, |_| ARC + size_of::<Record>());
        let overlay = entry.overlay.load().as_ref().map_or(0, |_| ARC + size_of::<Shown>());
        self.bytes_each + in_maps + ARC + size_of::<Entry>() + record + overlay
    }

    /// Memory held for all accounts, their mints and the counters, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let accounts: usize = self.accounts.load().values().map(|entry| self.bytes_of(entry)).sum();
        // The readers and the writer hold one copy each.
        let mints = 2 * self.mints.load().len() * size_of::<(Pubkey, MintInfo)>();
        accounts + mints + 2 * Distribution::BYTES
    }

    /// The shortest dynamic TTL of any account at present.
    pub(crate) fn shortest_ttl(&self) -> Option<Duration> {
        let (bounds, now) = (self.policy.ttl?, self.clock.now());
        let of = |entry: &Arc<Entry>| {
            entry.record.load().as_ref().map(|record| record.change_rate.ttl(now, &bounds))
        };
        self.accounts.load().values().filter_map(of).min()
    }

    /// Hits and misses of all accounts, including those no longer watched.
    pub(crate) fn served(&self) -> (u64, u64) {
        let entries = self.accounts.load();
        entries.values().fold((self.stats.hits.get(), self.stats.misses.get()), |(hits, misses), entry| {
            (hits + entry.counters.hits.get(), misses + entry.counters.misses.get())
        })
    }
}
