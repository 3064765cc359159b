//! A reader that never stops looking at what can be sold, and knows how much that may be at most.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use balance_mirror::Position;

use crate::outcome::{Outcome, check};

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(100);
/// Enough to understand what went wrong.
const ENOUGH: usize = 5;
/// So often it looks at least.
const LOOKS: u64 = 10;

#[derive(Debug, Default)]
struct Limits {
    stop: AtomicBool,
    /// What is neither held nor sold. Whoever holds lowers it afterwards, whoever frees raises it
    /// before.
    most: AtomicU64,
    /// The slot at which the newest sell landed that the mirror was told of.
    sold_at: AtomicU64,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) total: u64,
    /// How many of them had a balance to sell on.
    pub(super) fresh: u64,
    violations: Vec<String>,
}

/// See the module. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Ceiling {
    limits: Arc<Limits>,
    thread: Option<JoinHandle<Looks>>,
}

impl Ceiling {
    /// Watches a position of which so much can be sold.
    pub(super) fn over(position: &Position, most: u64) -> Outcome<Self> {
        let limits = Arc::new(Limits { most: AtomicU64::new(most), ..Limits::default() });
        let (position, own) = (position.clone(), Arc::clone(&limits));
        let thread = thread::Builder::new().name("ceiling".to_owned()).spawn(move || {
            let mut looks = Looks::default();
            // A few looks at least, however busy the machine is.
            while !own.stop.load(SeqCst) || looks.total < LOOKS {
                looks.look(&position, &own);
                thread::sleep(PAUSE);
            }
            looks
        })?;
        Ok(Self { limits, thread: Some(thread) })
    }

    /// So much has been held, or is gone.
    pub(super) fn lower(&self, by: u64) {
        self.limits.most.fetch_sub(by, SeqCst);
    }

    /// So much may be free from now on.
    pub(super) fn raise(&self, by: u64) {
        self.limits.most.fetch_add(by, SeqCst);
    }

    /// The mirror was told of a sell that landed at that slot.
    pub(super) fn sold_at(&self, slot: u64) {
        self.limits.sold_at.fetch_max(slot, SeqCst);
    }

    /// Ends it, and fails if more could ever be sold than there was, or a balance from before a
    /// sell was served.
    pub(super) fn finish(mut self) -> Outcome<Looks> {
        self.limits.stop.store(true, SeqCst);
        let looks = self.thread.take().ok_or("no thread")?.join().map_err(|_| "it panicked")?;
        check!(looks.violations.is_empty(), "of {} looks: {:#?}", looks.total, looks.violations);
        Ok(looks)
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        self.limits.stop.store(true, SeqCst);
    }
}

impl Looks {
    fn look(&mut self, position: &Position, limits: &Limits) {
        // First: what is held after this look began makes what it sees no wrong.
        let (most, sold_at) = (limits.most.load(SeqCst), limits.sold_at.load(SeqCst));
        let reading = position.reader().read();
        self.total += 1;
        if let Some(available) = reading.available().filter(|available| *available > most) {
            self.violation(format!("{available} available, at most {most} should be: {reading:?}"));
        }
        if let Ok(balance) = position.fresh() {
            self.fresh += 1;
            if balance.as_of() < Some(sold_at) {
                self.violation(format!("served from before the sell at {sold_at}: {balance:?}"));
            }
        }
    }

    fn violation(&mut self, what: String) {
        if self.violations.len() < ENOUGH {
            self.violations.push(what);
        }
    }
}
