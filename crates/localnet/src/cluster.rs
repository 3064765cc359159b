//! What the threads of a cluster share, and the clock that drives it.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Condvar, Mutex};
use solana_commitment_config::CommitmentLevel;
use tokio::sync::watch;

use crate::{
    chain::{Chain, Tick},
    face::Face,
    net::Accounts,
    notifier::Item,
};

/// The chain and the nodes that show it. `faces` may be locked under `chain`, not the other way
/// round.
pub(crate) struct Cluster {
    pub(crate) chain: Mutex<Chain>,
    pub(crate) slots: watch::Sender<u64>,
    /// How many notifications may wait for one connection of a node.
    pub(crate) ring: usize,
    faces: Mutex<Vec<Weak<Face>>>,
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
    pub(crate) fn new(chain: Chain, ring: usize, paused: bool) -> Arc<Self> {
        let metronome = match paused {
            true => Metronome::Paused,
            false => Metronome::Runs,
        };
        Arc::new(Self {
            slots: watch::Sender::new(chain.slot(CommitmentLevel::Processed)),
            chain: Mutex::new(chain),
            ring,
            faces: Mutex::default(),
            metronome: Mutex::new(metronome),
            metronome_changed: Condvar::new(),
        })
    }

    /// Lets a node hear of what happens from now on.
    pub(crate) fn join(&self, face: &Arc<Face>) {
        let mut faces = self.faces.lock();
        faces.retain(|face| face.strong_count() > 0);
        faces.push(Arc::downgrade(face));
    }

    fn faces(&self) -> Vec<Arc<Face>> {
        self.faces.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Freezes the open bank and opens the next; returns the new tip.
    pub(crate) fn tick(&self) -> u64 {
        let mut chain = self.chain.lock();
        let tick = chain.tick(unix_now());
        self.announce(&chain, &tick, false);
        tick.frozen
    }

    pub(crate) fn revert(&self, blocks: u64) -> Vec<u64> {
        let mut chain = self.chain.lock();
        let abandoned = chain.revert(blocks, unix_now());
        let tick = chain.tick(unix_now());
        self.announce(&chain, &tick, true);
        abandoned
    }

    pub(crate) fn begin_anew(&self, accounts: Accounts) {
        let mut chain = self.chain.lock();
        chain.begin_anew(accounts, unix_now());
        self.restart(&chain);
    }

    pub(crate) fn roll_back(&self, slots: u64) -> u64 {
        let mut chain = self.chain.lock();
        let tip = chain.roll_back(slots, unix_now());
        self.restart(&chain);
        tip
    }

    fn restart(&self, chain: &Chain) {
        for face in self.faces() {
            face.queue(Item::Restart);
        }
        self.slots.send_replace(chain.slot(CommitmentLevel::Processed));
    }

    /// Queues what a tick brought, under the chain's lock, so that the queues keep the chain's
    /// order.
    fn announce(&self, chain: &Chain, tick: &Tick, forked: bool) {
        let root = chain.slot(CommitmentLevel::Finalized);
        for face in self.faces() {
            face.queue(Item::Opened { slot: tick.opened, parent: tick.frozen, root });
            let check = |commitment, slot, forked| face.queue(Item::Check { commitment, slot, forked });
            check(CommitmentLevel::Processed, tick.frozen, forked);
            for slot in &tick.confirmed {
                check(CommitmentLevel::Confirmed, *slot, false);
            }
            if let Some(slot) = tick.finalized {
                check(CommitmentLevel::Finalized, slot, false);
            }
        }
        self.slots.send_replace(tick.frozen);
    }

    /// Waits until every node's notifier has taken everything that is queued now.
    pub(crate) fn settle(&self) {
        for face in self.faces() {
            face.settle();
        }
    }

    /// Ticks every `slot_time` until the cluster stops. A late tick does not make the following
    /// ones hurry.
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
        for face in self.faces() {
            face.stop();
        }
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
