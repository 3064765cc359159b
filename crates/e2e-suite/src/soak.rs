//! A soak: mirrors at work for long, while one fault follows the other, and nothing that they hold
//! grows.
//!
//! Two mirrors, one in failover and one in a race with the processed view, each in a runtime of its
//! own, on two nodes of the local cluster. The cluster is in a process of its own and the callers
//! in a runtime of their own, so that the heap is that of the mirrors and the tasks are theirs. In
//! each round a fault of one node begins while callers read and watch; then it ends, the callers
//! pause, every connection is made anew, and when the mirrors are as they were at the start, a
//! sample is taken: at equal moments, equal things are held. What room is kept free for the next
//! burst is not equal at first; how growth is told from that is in `figures`.

mod cluster;
mod figures;
mod work;

use std::{
    io::Write,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use balance_mirror::{LinkPhase, Mirror, NodeConfig, NodeMode, Reader, WatchTarget};
use localnet::Fault;
use tokio::{runtime::Runtime, sync::RwLock};

pub use self::cluster::serve;
use self::{
    cluster::{Address, Remote},
    figures::{Figures, Sample},
    work::Work,
};
use crate::{
    chaos::random::Random,
    outcome::{Outcome, check},
};

/// Where nothing else is asked for.
const SEED: u64 = 20_261_122;
/// Long soaks play also what takes a mirror ten seconds or more to get over.
const LONG: Duration = Duration::from_secs(120);
/// A mirror that is not as it was at the start after so long never is.
const FOR_EVER: Duration = Duration::from_secs(240);
/// What fills the queues most: bursts of notifications, and callers and calls that pile up where
/// RPC does not answer. Each is played on each node, as hard as it can be, before anything is
/// judged.
const WARM_UP: [Fault; 3] = [Fault::FloodOfAccount, Fault::FloodOfUnknownIds, Fault::RpcStall];
/// As hard as a fault can be.
const HARDEST: u64 = 10;
/// How long a mirror whose links live leaves RPC alone: many times the two answers of the cluster's
/// process between which nobody may have connected, for a sample to be taken.
const QUIET: Duration = Duration::from_secs(2);
/// How often the mirrors are looked at while they are to become as they were.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long, and what the faults are drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long the rounds go on, at least.
    pub time: Duration,
    /// What the faults are drawn from.
    pub seed: u64,
}

impl Plan {
    /// As `SOAK_SECONDS` and `SOAK_SEED` say; the fewest rounds, and always the same seed, without
    /// them.
    ///
    /// # Errors
    /// One of them is not a number.
    pub fn from_env() -> Outcome<Self> {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse().map_err(|error| format!("{name}={text}: {error}")),
            Err(_) => Ok(default),
        };
        Ok(Self { time: Duration::from_secs(number("SOAK_SECONDS", 0)?), seed: number("SOAK_SEED", SEED)? })
    }
}

/// A mirror, and what runs in it.
struct Side {
    name: &'static str,
    runtime: Runtime,
    mirror: Mirror,
    readers: Vec<Reader>,
    /// Which nodes are in use when all is well.
    in_use: &'static [bool],
    /// Connections open when all is well.
    links: u64,
}

impl Side {
    fn start(name: &'static str, mode: NodeMode, address: &Address) -> Outcome<Self> {
        let race = mode == NodeMode::Race;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let [(rpc, ws), (other_rpc, other_ws)] = &address.nodes[..] else {
            return Err("not two nodes".into());
        };
        let builder = Mirror::builder(rpc)
            .ws_url(ws)
            .node(NodeConfig::new(other_rpc).ws_url(other_ws))
            .mode(mode)
            .max_connections(1)
            .processed(race)
            .canary_deadline(Duration::from_millis(1_500))
            .verify_every(QUIET * 4)
            .audit_every(QUIET)
            .connect_timeout(Duration::from_secs(1))
            .rpc_timeout(Duration::from_millis(500))
            .read_deadline(Duration::from_secs(1))
            .failback_after(Duration::from_millis(500))
            .refresh_every(Duration::from_millis(500))
            .reconnect_cap(Duration::from_millis(300))
            .health_interval(Duration::from_millis(250));
        let mirror = {
            let _inside = runtime.enter();
            builder.start()?
        };
        let readers = mirror.watch_all(address.accounts.iter().copied().map(WatchTarget::account))?;
        let in_use = if race { &[true, true] } else { &[true, false] };
        // The processed view has a connection of its own.
        let links = if race { 4 } else { 1 };
        Ok(Self { name, runtime, mirror, readers, in_use, links })
    }

    /// Every account is live, on the nodes that are to be in use, and on no other, and every
    /// connection is open.
    fn is_whole(&self) -> bool {
        let health = self.mirror.health();
        let whole = |(node, in_use): (&balance_mirror::NodeHealth, &bool)| {
            let live =
                node.phase == LinkPhase::Live && node.live == self.readers.len() && node.connections == 1;
            node.enabled == *in_use && (live || !in_use)
        };
        health.watched == self.readers.len()
            && health.connects == health.losses + self.links
            && health.nodes.iter().zip(self.in_use).all(whole)
            && self.readers.iter().all(|reader| reader.read().is_live())
    }

    fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }
}

/// Plays a soak and prints its figures. `cluster` starts this process again so that it calls
/// [`serve`]; `heap` tells the bytes that this process has allocated and not freed.
///
/// # Errors
/// Something grew, or a mirror did not become whole again: with the seed.
pub fn run(plan: Plan, cluster: Command, heap: fn() -> usize) -> Outcome {
    let Plan { time, seed } = plan;
    let outcome = play(plan, cluster, heap);
    outcome.map_err(|error| format!("SOAK_SEED={seed} SOAK_SECONDS={}: {error}", time.as_secs()).into())
}

fn play(plan: Plan, cluster: Command, heap: fn() -> usize) -> Outcome {
    let mut remote = Remote::start(cluster)?;
    let mut random = Random::new(plan.seed);
    let sides = [
        Side::start("failover", NodeMode::Failover, &remote.address)?,
        Side::start("race", NodeMode::Race, &remote.address)?,
    ];
    let callers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let alone = Arc::new(RwLock::new(()));
    let works: Vec<_> = sides
        .iter()
        .map(|side| Work::begin(callers.handle(), &side.mirror, &side.readers, &alone, &mut random))
        .collect();
    let peak = Peak::watch(heap)?;
    let mut deck = Deck::new(plan.time, remote.address.nodes.len());
    let (began, mut figures) = (Instant::now(), Figures::new());
    let (mut rounds, mut slowest) = (0, (Duration::ZERO, None));
    let verdict = loop {
        let Turn { place, fault, node, strength, warm_up } = deck.draw(&mut random);
        rounds += 1;
        remote.begin(node, place, random.index(1_000), strength)?;
        thread::sleep(Duration::from_millis(100 + random.below(500)));
        remote.clear()?;
        let over = Instant::now();
        let quiet = callers.block_on(alone.write());
        works.iter().for_each(|work| work.end_passing());
        let after = format!("{fault:?} of node {node}");
        until(&sides, &after, || Ok(sides.iter().all(Side::is_whole)))?;
        slowest = slowest.max((over.elapsed(), Some(place)));
        let (heap, tasks) =
            renew(&sides, &mut remote, &after, || (heap(), sides.iter().map(Side::tasks).sum()))?;
        let sample = Sample { at: began.elapsed(), heap, tasks };
        drop(quiet);
        if std::env::var_os("SOAK_LOG").is_some() {
            say(&format!("{after}, whole {:.0?} after: {sample:?}", over.elapsed()))?;
        }
        if warm_up {
            continue;
        }
        let long_enough = sample.at >= plan.time;
        if let Some(verdict) = figures.add(sample, long_enough) {
            break verdict;
        }
    };
    let peak = peak.stop()?;
    callers.shutdown_background();
    let (slowest, place) = slowest;
    say(&format!(
        "soak of {:.0?}, seed {}: {rounds} faults, whole again {slowest:.1?} after {:?} at the latest; at most {} KiB of heap at \
         any moment\n{figures}",
        began.elapsed(),
        plan.seed,
        place.map(|place| Fault::all()[place]),
        peak / 1024
    ))?;
    for (side, work) in sides.iter().zip(&works) {
        let health = side.mirror.health();
        say(&format!(
            "{}: {} accounts watched for a while, {} reads, {} connects, {} RPC calls of which {} failed, {} notifications, \
             {} quarantines",
            side.name,
            work.watched.load(Relaxed),
            work.reads.load(Relaxed),
            health.connects,
            health.rpc_calls,
            health.rpc_failures,
            health.notifications,
            health.quarantines
        ))?;
    }
    verdict
}

/// Looks until it is so.
fn until(sides: &[Side], after: &str, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome {
    let began = Instant::now();
    while !is_so()? {
        let state = |side: &Side| (side.name, side.mirror.health());
        check!(
            began.elapsed() < FOR_EVER,
            "{after}: not as before after {FOR_EVER:?}: {:#?}",
            sides.iter().map(state).collect::<Vec<_>>()
        );
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Makes every connection anew, keeps none for RPC, and weighs what is then. A session remembers
/// what was ever subscribed on its connection, up to its bound, and a connection for RPC has
/// buffers, so that only new ones, or none, are equal.
fn renew<T>(sides: &[Side], remote: &mut Remote, after: &str, weigh: impl Fn() -> T) -> Outcome<T> {
    let lost = |side: &Side| side.mirror.health().losses;
    let all_lost: Vec<_> = sides.iter().map(|side| lost(side) + side.links).collect();
    remote.renew()?;
    let mut weight = None;
    until(sides, after, || {
        let (before, now) = (remote.hang_up()?, weigh());
        let mut each = sides.iter().zip(&all_lost);
        let new = each.all(|(side, all_lost)| lost(side) >= *all_lost && side.is_whole());
        weight = Some(now);
        // No connection for RPC was open, nor opened meanwhile.
        Ok(new && before.open == 0 && before == remote.hang_up()?)
    })?;
    weight.ok_or_else(|| "nothing was weighed".into())
}

/// A fault, and the node that has it.
struct Turn {
    place: usize,
    fault: Fault,
    node: usize,
    strength: u64,
    warm_up: bool,
}

/// What warms up, then every kind of fault once, then again in another order.
struct Deck {
    kinds: Vec<(usize, Fault)>,
    left: Vec<(usize, Fault)>,
    warm_up: Vec<Turn>,
    nodes: usize,
}

impl Deck {
    fn new(time: Duration, nodes: usize) -> Self {
        // The buffers of a huge frame stay as long as its connection: that is chaos' to play.
        let huge = |fault| matches!(fault, Fault::HugeNotification | Fault::HugeText);
        let played = |(_, fault): &(usize, Fault)| !huge(*fault) && (time >= LONG || !is_slow(*fault));
        let all = || Fault::all().into_iter().enumerate();
        let turn = |(place, fault), node| Turn { place, fault, node, strength: HARDEST, warm_up: true };
        let warm_up = all()
            .filter(|(_, fault)| WARM_UP.contains(fault))
            .flat_map(|kind| (0..nodes).map(move |node| turn(kind, node)))
            .collect();
        Self { kinds: all().filter(played).collect(), left: Vec::new(), warm_up, nodes }
    }

    fn draw(&mut self, random: &mut Random) -> Turn {
        if let Some(turn) = self.warm_up.pop() {
            return turn;
        }
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
            random.shuffle(&mut self.left);
        }
        let (place, fault) = self.left.pop().unwrap_or((0, Fault::Lag));
        let (node, strength) = (random.index(self.nodes), 1 + random.below(HARDEST));
        Turn { place, fault, node, strength, warm_up: false }
    }
}

/// What costs a mirror so long as a subscribe without an answer may take, or a quarantine.
fn is_slow(fault: Fault) -> bool {
    fault.lies() || matches!(fault, Fault::IgnoreSubscriptions | Fault::IgnoreAccount | Fault::Forged(_))
}

/// The most that the heap came to, also between the samples.
struct Peak {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Peak {
    fn watch(heap: fn() -> usize) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("soak-peak".to_owned()).spawn(move || {
            let mut peak = 0;
            while !stopped.load(Relaxed) {
                peak = peak.max(heap());
                thread::sleep(Duration::from_millis(1));
            }
            peak
        })?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Outcome<usize> {
        self.stop.store(true, Relaxed);
        Ok(self.thread.join().map_err(|_| "who watched the peak panicked")?)
    }
}

fn say(what: &str) -> Outcome {
    writeln!(std::io::stdout(), "{what}")?;
    Ok(())
}
