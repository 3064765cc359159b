//! What bots do with a mirror all day: watch and unwatch, read in every form, and go away before
//! the answer.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use balance_mirror::{Floor, Mirror, Pubkey, ReadQuery, Reader, TokenProgram, WatchTarget};
use tokio::{runtime::Handle, sync::RwLock, time::timeout};

use crate::chaos::random::Random;

/// Accounts watched for a while, beside those watched all the time.
const PASSING: usize = 64;
/// How many of them come at once.
const BATCH: usize = 4;
/// Callers that read at the same time.
const CALLERS: usize = 8;

/// Work on a mirror, in the runtime of its callers.
#[derive(Debug)]
pub(super) struct Work {
    mirror: Mirror,
    readers: Vec<Reader>,
    /// Each step of the work holds a share of it: whoever holds it whole is alone with the mirror.
    alone: Arc<RwLock<()>>,
    passing: Mutex<VecDeque<Pubkey>>,
    pub(super) watched: AtomicU64,
    pub(super) reads: AtomicU64,
}

impl Work {
    pub(super) fn begin(
        callers: &Handle,
        mirror: &Mirror,
        readers: &[Reader],
        alone: &Arc<RwLock<()>>,
        random: &mut Random,
    ) -> Arc<Self> {
        let work = Arc::new(Self {
            mirror: mirror.clone(),
            readers: readers.to_vec(),
            alone: Arc::clone(alone),
            passing: Mutex::default(),
            watched: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        });
        for _ in 0..CALLERS {
            let (work, mut random) = (Arc::clone(&work), Random::new(random.next()));
            callers.spawn(async move {
                loop {
                    let share = work.alone.read().await;
                    work.read(&mut random).await;
                    drop(share);
                    tokio::time::sleep(Duration::from_millis(random.below(20))).await;
                }
            });
        }
        let (passing, mut random) = (Arc::clone(&work), Random::new(random.next()));
        callers.spawn(async move {
            loop {
                let share = passing.alone.read().await;
                passing.pass(&mut random);
                drop(share);
                tokio::time::sleep(Duration::from_millis(20 + random.below(20))).await;
            }
        });
        work
    }

    /// One reading of some form, seldom waited for to its end.
    async fn read(&self, random: &mut Random) {
        self.reads.fetch_add(1, Relaxed);
        let reader = &self.readers[random.index(self.readers.len())];
        let address = reader.address();
        let patience = Duration::from_millis(1 + random.below(60));
        let tip = reader.read().as_of().unwrap_or_default();
        // Refusals and callers that go away are the work; what is served is chaos' to judge.
        match random.below(9) {
            0 => drop(reader.fresh(Duration::from_secs(1))),
            1 => drop(timeout(patience, self.mirror.balance(&address, Duration::ZERO)).await),
            2 => drop(timeout(patience, self.mirror.balance(&address, Duration::from_secs(30))).await),
            3 => {
                let floor = Floor::confirmed(tip + random.below(3));
                let query = ReadQuery::max_age(Duration::from_secs(30)).as_of(floor);
                drop(timeout(patience, self.mirror.balance(&address, query)).await);
            }
            4 => {
                // Nobody gets this.
                let query =
                    ReadQuery::max_age(Duration::from_secs(30)).as_of(Floor::confirmed(tip + 1_000_000));
                drop(timeout(patience, self.mirror.balance(&address, query)).await);
            }
            5 => drop(reader.wait_for(|_| false, patience).await),
            6 => {
                let mut updates = self.mirror.updates();
                drop(timeout(patience, updates.next()).await);
            }
            7 => {
                self.mirror.invalidate(&address, None);
                drop(timeout(patience, self.mirror.balance(&address, Duration::from_secs(30))).await);
            }
            _ => drop(self.mirror.mint_ready(&somebody(random), patience).await),
        }
    }

    /// Accounts never seen before, of mints never seen before, are watched; the oldest of them no
    /// longer.
    fn pass(&self, random: &mut Random) {
        let target =
            |random: &mut Random| WatchTarget::ata(&somebody(random), &somebody(random), TokenProgram::Token);
        let targets: Vec<_> = (0..BATCH).map(|_| target(random)).collect();
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        passing.extend(targets.iter().map(WatchTarget::address));
        if self.mirror.watch_all(targets).is_ok() {
            self.watched.fetch_add(BATCH as u64, Relaxed);
        }
        while passing.len() > PASSING {
            passing.pop_front().map(|address| self.mirror.unwatch(&address));
        }
    }

    /// Nobody watches any more what was watched for a while.
    pub(super) fn end_passing(&self) {
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        for address in passing.drain(..) {
            self.mirror.unwatch(&address);
        }
        passing.shrink_to_fit();
    }
}

fn somebody(random: &mut Random) -> Pubkey {
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()));
    Pubkey::new_from_array(bytes)
}
