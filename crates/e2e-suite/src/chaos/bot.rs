//! The bot: a mirror in a runtime of its own, and everybody who reads from it all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use balance_mirror::{
    Floor, LinkPhase, Mirror, MirrorBuilder, NodeConfig, NodeMode, Pubkey, ReadQuery, Reader, Slot,
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
};

use super::{WAYS, judge::Judge, random::Random, truth::Truth};
use crate::{
    outcome::{Outcome, check},
    world::World,
};

/// The threads of the bot's runtime.
const WORKERS: usize = 2;
/// The ages of a read that must ask RPC, of one in a hurry, and of the usual ones.
const AGES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(1_200), Duration::from_secs(4), Duration::from_secs(30)];
/// One of so many reads must ask RPC. More of them would hide what the link alone does.
const RARELY: u64 = 16;
/// Between two rounds of who reads memory.
const PAUSE: Duration = Duration::from_millis(2);
/// A read that takes longer than this never ends.
const FOR_EVER: Duration = Duration::from_secs(30);

/// What a bot's mirror is given: the node that the faults strike, and perhaps another.
pub(super) enum Nodes {
    One,
    Two(NodeMode, localnet::Node),
}

impl Nodes {
    /// As the lane's number has it, where the cluster can have a second node.
    pub(super) fn of(lane: usize, world: &World<'_>) -> Outcome<Self> {
        let mode = match (lane % WAYS, world.local()) {
            (1, Ok(net)) => (NodeMode::Failover, net),
            (2, Ok(net)) => (NodeMode::Race, net),
            _ => return Ok(Self::One),
        };
        Ok(Self::Two(mode.0, mode.1.add_node()?))
    }
}

/// The mirror's own bounds, which recovery is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Half-open links, and servers that do not notify, are found out after so long.
    pub(super) canary: Duration,
    /// A single subscription that is dead is found out after so long.
    pub(super) verify: Duration,
}

impl Bounds {
    pub(super) fn of(world: &World<'_>) -> Self {
        Self {
            canary: Duration::from_secs(1).max(world.slots(5)),
            verify: Duration::from_secs(3).max(world.slots(12)),
        }
    }

    /// How long a mirror may take from the end of a fault until it is whole: a link that is found
    /// dead, waits, connects in vain, connects, has a subscribe unanswered, connects once more, and
    /// its barrier and recheck; or a dead subscription that is found. And as much again, for a
    /// machine that is busy.
    pub(super) fn recovery(&self) -> Duration {
        let (connect, subscribe, backoff) =
            (Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(1));
        (self.verify + 4 * self.canary + 2 * connect + subscribe + 3 * backoff) * 2
    }

    /// The one place where the mirror is set up.
    fn builder(&self, world: &World<'_>, nodes: &Nodes) -> MirrorBuilder {
        let builder = match nodes {
            Nodes::One => world.builder(),
            Nodes::Two(mode, other) => {
                let other = NodeConfig::new(other.rpc_url()).ws_url(other.ws_url());
                world.builder().node(other).mode(*mode)
            }
        };
        builder
            .canary_deadline(self.canary)
            .verify_every(self.verify)
            .audit_every(self.verify / 4)
            .read_deadline(Duration::from_secs(2))
    }
}

/// See the module. Dropping it ends the readers and the mirror.
pub(super) struct Bot {
    pub(super) mirror: Mirror,
    pub(super) readers: Vec<Reader>,
    pub(super) bounds: Bounds,
    judge: Arc<Judge>,
    truth: Arc<Truth>,
    runtime: Option<Runtime>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Bot {
    /// Starts a mirror, watches, and waits until all is live.
    pub(super) async fn start(
        world: &World<'_>,
        nodes: &Nodes,
        targets: Vec<balance_mirror::WatchTarget>,
        truth: &Arc<Truth>,
    ) -> Outcome<Self> {
        let bounds = Bounds::of(world);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        let mirror = {
            let _inside = runtime.enter();
            bounds.builder(world, nodes).start()?
        };
        let readers = mirror.watch_all(targets)?;
        let judge = Arc::new(Judge::new(readers.iter().map(Reader::address), world.slots(1)));
        let bot = Self {
            mirror,
            readers,
            bounds,
            judge,
            truth: Arc::clone(truth),
            runtime: Some(runtime),
            stop: Arc::default(),
            watcher: None,
        };
        for reader in &bot.readers {
            world.live(reader).await?;
        }
        Ok(bot)
    }

    /// Whether the node that the faults strike is back: it proves every account, whoever else does.
    pub(super) fn is_back(&self) -> bool {
        let health = self.mirror.health();
        let back =
            |node: &balance_mirror::NodeHealth| node.phase == LinkPhase::Live && node.live == health.watched;
        health.nodes.first().is_some_and(back)
    }

    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    pub(super) fn truth(&self) -> &Truth {
        &self.truth
    }

    fn runtime(&self) -> Outcome<&Handle> {
        Ok(self.runtime.as_ref().ok_or("no runtime")?.handle())
    }

    /// Reads from now on: a thread that looks into memory, and a task for each account, which asks
    /// the mirror.
    pub(super) fn read(
        &mut self,
        pause: Duration,
        slots: Option<watch::Receiver<Slot>>,
        random: &mut Random,
    ) -> Outcome {
        let (readers, judge, truth) =
            (self.readers.clone(), Arc::clone(&self.judge), Arc::clone(&self.truth));
        let stop = Arc::clone(&self.stop);
        let watcher = thread::Builder::new().name("chaos-reader".to_owned()).spawn(move || {
            for age in AGES[1..].iter().cycle() {
                if stop.load(Relaxed) {
                    return;
                }
                if let Some(slots) = &slots {
                    let era = truth.era();
                    // The confirmed slot is one below the tip.
                    truth.note_tip(era, slots.borrow().saturating_sub(1));
                }
                for reader in &readers {
                    let before = judge.begin(&reader.address());
                    judge.looked(&before, &truth, *age, reader.fresh(*age));
                    let before = judge.begin(&reader.address());
                    judge.told(&before, &truth, &reader.read());
                }
                thread::sleep(PAUSE);
            }
        })?;
        self.watcher = Some(watcher);
        for reader in &self.readers {
            let (mirror, judge, truth) =
                (self.mirror.clone(), Arc::clone(&self.judge), Arc::clone(&self.truth));
            let (address, stop, mut random) =
                (reader.address(), Arc::clone(&self.stop), Random::new(random.next()));
            self.runtime()?.spawn(async move {
                while !stop.load(Relaxed) {
                    let age = match random.below(RARELY) {
                        0 => AGES[0],
                        _ => AGES[1 + random.index(AGES.len() - 1)],
                    };
                    ask(&mirror, &judge, &truth, address, age, None).await;
                    tokio::time::sleep(pause.mul_f64(0.5 + random.fraction())).await;
                }
            });
        }
        Ok(())
    }

    /// Reads the bot's own write.
    pub(super) fn read_own(&self, address: Pubkey, slot: Slot) {
        let (mirror, judge, truth) = (self.mirror.clone(), Arc::clone(&self.judge), Arc::clone(&self.truth));
        let watched = self.readers.iter().any(|reader| reader.address() == address);
        if let (true, Ok(runtime)) = (watched, self.runtime()) {
            runtime.spawn(async move {
                ask(&mirror, &judge, &truth, address, AGES[3], Some(slot)).await;
            });
        }
    }

    /// Holds up every thread of the runtime at once. Returns when they go on.
    pub(super) async fn starve(&self, time: Duration) -> Outcome {
        let all = Arc::new(std::sync::Barrier::new(WORKERS));
        let starving = (0..WORKERS).map(|_| {
            let all = Arc::clone(&all);
            Ok(self.runtime()?.spawn(async move {
                all.wait();
                thread::sleep(time);
            }))
        });
        for starved in starving.collect::<Outcome<Vec<_>>>()? {
            starved.await?;
        }
        Ok(())
    }

    /// Ends the readers; fails if one had already ended.
    pub(super) fn stop(&mut self) -> Outcome {
        self.stop.store(true, Relaxed);
        if let Some(watcher) = self.watcher.take() {
            check!(watcher.join().is_ok(), "the reader panicked");
        }
        Ok(())
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(runtime) = self.runtime.take() {
            // Within another runtime, nobody may wait for it.
            runtime.shutdown_background();
        }
    }
}

async fn ask(
    mirror: &Mirror,
    judge: &Judge,
    truth: &Truth,
    address: Pubkey,
    max_age: Duration,
    floor: Option<Slot>,
) {
    let query = ReadQuery::max_age(max_age);
    let query = floor.map_or(query, |slot| query.as_of(Floor::confirmed(slot)));
    let before = judge.begin(&address);
    match tokio::time::timeout(FOR_EVER, mirror.balance(&address, query)).await {
        Ok(outcome) => judge.answered(&before, truth, max_age, floor, outcome),
        Err(_) => judge.violation(format!("a read of {address} takes longer than {FOR_EVER:?}")),
    }
}
