//! The published records: one writer, wait-free readers.
//!
//! The writer publishes a record first and the links' evidence second; a reader loads the evidence first
//! and the record second. Both carry the connections' generations, so a proof is never joined with a record
//! that it does not cover. (The other way round, superseded records were taken for proved.)

mod publisher;
mod trading;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use solana_pubkey::Pubkey;
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    core::{
        evidence::Evidence,
        freshness::{Policy, StaleReason, look},
        ledger::Record,
        mint::Mint,
        overlay::Shown,
        reading::Reading,
    },
    stats::{Counter, Stats},
};
pub(crate) use publisher::{Publisher, Shared, open};

/// One account, as readers see it.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) address: Pubkey,
    record: ArcSwapOption<Record>,
    overlay: ArcSwapOption<Shown>,
    /// 0 while watched; else why it is not.
    ended: AtomicU8,
    /// Woken at each publication.
    pub(crate) changed: Notify,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
}

const UNWATCHED: u8 = 1;
const STOPPED: u8 = 2;

impl Cell {
    fn new(address: Pubkey) -> Self {
        Self {
            address,
            record: ArcSwapOption::empty(),
            overlay: ArcSwapOption::empty(),
            ended: AtomicU8::new(0),
            changed: Notify::new(),
            hits: Counter::default(),
            misses: Counter::default(),
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

/// The readers' side.
#[derive(Debug)]
pub(crate) struct Book {
    accounts: ArcSwap<HashMap<Pubkey, Arc<Cell>>>,
    evidence: ArcSwap<Evidence>,
    /// Woken at each canary, and when a mint is read.
    pub(crate) proved: Notify,
    mints: ArcSwap<HashMap<Pubkey, Mint>>,
    pub(crate) clock: Clock,
    policy: Policy,
    pub(crate) stats: Stats,
}

impl Book {
    pub(crate) fn cell(&self, address: &Pubkey) -> Option<Arc<Cell>> {
        self.accounts.load().get(address).cloned()
    }

    pub(crate) fn cells(&self) -> Arc<HashMap<Pubkey, Arc<Cell>>> {
        self.accounts.load_full()
    }

    pub(crate) fn mint(&self, mint: &Pubkey) -> Option<Mint> {
        self.mints.load().get(mint).copied()
    }

    pub(crate) async fn mint_ready(&self, mint: &Pubkey) -> Mint {
        loop {
            let mut proved = pin!(self.proved.notified());
            proved.as_mut().enable();
            match self.mint(mint) {
                Some(mint) => return mint,
                None => proved.await,
            }
        }
    }

    /// Evidence first, record second, time last: see the module.
    pub(crate) fn read(&self, cell: &Cell) -> Reading {
        let (evidence, record) = look(|| self.evidence.load(), || cell.record.load().as_deref().copied());
        let overlay = cell.overlay.load().as_deref().copied();
        let taken = self.clock.now();
        let mut reading = Reading::join(cell.address, &evidence, record, overlay, taken, &self.policy);
        reading.ended = cell.ended();
        reading
    }

    /// Hits and misses, of accounts watched now and before.
    pub(crate) fn served(&self) -> (u64, u64) {
        let cells = self.accounts.load();
        cells.values().fold((self.stats.hits.get(), self.stats.misses.get()), |(hits, misses), cell| {
            (hits + cell.hits.get(), misses + cell.misses.get())
        })
    }
}
