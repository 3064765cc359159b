//! What the threads of a cluster share, and the clock that drives it.

use std::{
    fmt,
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Condvar, Mutex};
use solana_commitment_config::CommitmentLevel;
use tokio::sync::watch;

use crate::{
    chain::{Chain, Tick},
    conditions::Conditions,
    hub::Hub,
    notifier::Item,
    stats::Counters,
};

/// The state of a cluster. Locks are short; `chain` and `hub` are never held together.
pub(crate) struct Cluster {
    pub(crate) chain: Mutex<Chain>,
    pub(crate) hub: Mutex<Hub>,
    pub(crate) faults: Conditions,
    pub(crate) counters: Counters,
    pub(crate) slots: watch::Sender<u64>,
    pub(crate) ring: usize,
    notifier: mpsc::Sender<Item>,
    metronome: Mutex<Metronome>,
    metronome_changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metronome {
    Runs,
    Paused,
    Stopped,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    pub(crate) fn new(chain: Chain, ring: usize, paused: bool, notifier: mpsc::Sender<Item>) -> Arc<Self> {
        let metronome = match paused {
            true => Metronome::Paused,
            false => Metronome::Runs,
        };
        Arc::new(Self {
            slots: watch::Sender::new(chain.slot(CommitmentLevel::Processed)),
            chain: Mutex::new(chain),
            hub: Mutex::new(Hub::new(notifier.clone())),
            faults: Conditions::default(),
            counters: Counters::default(),
            ring,
            notifier,
            metronome: Mutex::new(metronome),
            metronome_changed: Condvar::new(),
        })
    }

    /// Freezes the open bank and opens the next; returns the new tip.
    pub(crate) fn tick(&self) -> u64 {
        let mut chain = self.chain.lock();
        let tick = chain.tick(unix_now());
        self.announce(&chain, &tick);
        tick.frozen
    }

    pub(crate) fn revert(&self, blocks: u64) -> Vec<u64> {
        let mut chain = self.chain.lock();
        let abandoned = chain.revert(blocks, unix_now());
        let tick = chain.tick(unix_now());
        self.announce(&chain, &tick);
        abandoned
    }

    /// Queues what a tick brought, under the chain's lock, so that the queue keeps the chain's order.
    fn announce(&self, chain: &Chain, tick: &Tick) {
        self.queue(Item::Opened {
            slot: tick.opened,
            parent: tick.frozen,
            root: chain.slot(CommitmentLevel::Finalized),
        });
        let check = |commitment, slot| self.queue(Item::Check { commitment, slot });
        check(CommitmentLevel::Processed, tick.frozen);
        for slot in &tick.confirmed {
            check(CommitmentLevel::Confirmed, *slot);
        }
        if let Some(slot) = tick.finalized {
            check(CommitmentLevel::Finalized, slot);
        }
        self.slots.send_replace(tick.frozen);
    }

    /// Waits until the notifier has taken everything that is queued now.
    pub(crate) fn settle(&self) {
        let (settled, waits) = mpsc::sync_channel(1);
        self.queue(Item::Settle(settled));
        // It fails only when the notifier is gone.
        let _ = waits.recv();
    }

    fn queue(&self, item: Item) {
        // The notifier is gone only when the cluster stops.
        let _ = self.notifier.send(item);
    }

    /// Ticks every `slot_time` until the cluster stops. A late tick does not make the following ones hurry.
    pub(crate) fn keep_time(&self, slot_time: Duration) {
        let mut metronome = self.metronome.lock();
        let mut next = Instant::now() + slot_time;
        loop {
            match *metronome {
                Metronome::Stopped => return,
                Metronome::Paused => {
                    self.metronome_changed.wait(&mut metronome);
                    next = Instant::now() + slot_time;
                }
                Metronome::Runs if Instant::now() < next => {
                    self.metronome_changed.wait_until(&mut metronome, next);
                }
                // Under the lock: whoever pauses knows that no tick is under way.
                Metronome::Runs => {
                    self.tick();
                    next = (next + slot_time).max(Instant::now());
                }
            }
        }
    }

    pub(crate) fn pause(&self) {
        self.turn(Metronome::Paused);
    }

    pub(crate) fn resume(&self) {
        self.turn(Metronome::Runs);
    }

    pub(crate) fn stop(&self) {
        self.turn(Metronome::Stopped);
        self.queue(Item::Stop);
    }

    fn turn(&self, to: Metronome) {
        let mut metronome = self.metronome.lock();
        if *metronome != Metronome::Stopped {
            *metronome = to;
        }
        self.metronome_changed.notify_all();
    }
}

/// Wall time in whole seconds.
pub(crate) fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs() as i64)
}
