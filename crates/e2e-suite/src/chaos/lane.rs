//! One mirror under load, to which one fault after the other happens.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use balance_mirror::{AccountState, Reader, Reading, Slot};
use futures::future::{try_join, try_join_all};
use localnet::Localnet;

use super::{
    bot::{Bot, Nodes},
    judge::Tally,
    kinds::{Kind, Stage},
    load::Load,
    random::{Draw, Random},
    truth::Truth,
};
use crate::{
    cluster::Cluster,
    outcome::{Failure, Outcome, check},
    world::World,
};

/// Between two looks at what nobody is notified of.
const LOOK: Duration = Duration::from_millis(2);

/// One fault to come.
#[derive(Clone)]
pub(super) struct Fault {
    /// Its place in the run's schedule.
    pub(super) number: usize,
    pub(super) kind: Kind,
    pub(super) draw: Draw,
}

/// What a fault came to.
pub(super) struct Played {
    pub(super) kind: &'static str,
    pub(super) during: Tally,
    /// From the fault's end until every account was live again and told the truth.
    pub(super) recovery: Duration,
}

/// What a lane came to.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) played: Vec<Played>,
    pub(super) tally: Tally,
    pub(super) claims: u64,
    pub(super) youngest: Duration,
    pub(super) transactions: u64,
    pub(super) reconnects: u64,
}

/// Plays the faults on a cluster. Call it outside any runtime.
pub(super) fn play(lane: usize, cluster: &dyn Cluster, faults: &[Fault], random: Random) -> Outcome<Lane> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = World::new(cluster)?;
        let load = Load::open(&world).await?;
        let nodes = Nodes::of(lane, &world)?;
        run(&world, &nodes, &load, faults, random).await
    })
}

async fn run(
    world: &World<'_>,
    nodes: &Nodes,
    load: &Load<'_>,
    faults: &[Fault],
    mut random: Random,
) -> Outcome<Lane> {
    let truth = Arc::new(Truth::default());
    let slots = world.local().ok().map(Localnet::slots);
    let pause = Duration::from_millis(40).max(world.slots(1) / 3);
    truth.note_tip(0, tip(world).await?);
    let mut bot = Bot::start(world, nodes, load.targets(), &truth).await?;
    bot.read(pause, slots.clone(), &mut random)?;
    let mut lane = Lane::default();
    {
        let over = Cell::new(false);
        let trading = try_join_all((0..load.mints()).map(|mint| {
            let (random, bot) = (Random::new(random.next()), &bot);
            load.trade(mint, &truth, random, &over, |address, slot| bot.read_own(address, slot))
        }));
        let watching_tips = async {
            loop {
                let era = truth.era();
                truth.note_tip(era, tip(world).await?);
                world.pass(world.slots(1) / 4).await;
            }
        };
        let playing = async {
            for fault in faults {
                let stage = Stage { world, bot: &bot };
                let played = play_one(&stage, load, &truth, fault, &mut random, &mut lane).await;
                played.map_err(|error| {
                    let (number, name, draw) = (fault.number, fault.kind.name, fault.draw);
                    format!("fault {number}, {name}, {draw:?}: {error}\n{:#?}", bot.mirror.health())
                })?;
            }
            over.set(true);
            Outcome::Ok(())
        };
        tokio::select! {
            played = try_join(playing, trading) => drop(played?),
            ended = watching_tips => {
                let ended: Outcome = ended;
                return Err(format!("the cluster ended: {ended:?}").into());
            }
        }
    }
    // Nobody writes any more: in the end everything is as RPC says.
    bot.stop()?;
    world.agree(&bot.readers).await?;
    truth.note_tip(truth.era(), tip(world).await?);
    bot.judge().settle(&truth);
    verdict(&bot)?;
    lane.tally.add(bot.judge().begin_fault(0, "none"));
    (lane.claims, lane.youngest) = bot.judge().claims();
    lane.transactions = truth.transactions();
    let health = bot.mirror.health();
    let eras = u64::from(truth.era());
    check!(health.resets == eras, "the chain began anew {eras} times: {health:#?}");
    lane.reconnects = health.reconnects;
    let Tally { memory, rpc, .. } = lane.tally;
    check!(memory > 0 && rpc > 0 && lane.claims > 0, "nothing was judged: {:?}", lane.tally);
    bot.mirror.shutdown().await;
    Ok(lane)
}

async fn play_one(
    stage: &Stage<'_>,
    load: &Load<'_>,
    truth: &Truth,
    fault: &Fault,
    random: &mut Random,
    lane: &mut Lane,
) -> Outcome {
    let (world, bot) = (stage.world, stage.bot);
    world.pass(bot.bounds.canary.mul_f64(0.1 + 0.3 * random.fraction())).await;
    lane.tally.add(bot.judge().begin_fault(fault.number, fault.kind.name));
    // Another account is watched in the middle of it.
    let late = &load.late()[random.index(load.mints())];
    let wait = bot.bounds.canary.mul_f64(0.6 * random.fraction());
    let watching = async {
        world.pass(wait).await;
        Ok::<Reader, Failure>(bot.mirror.watch(*late)?)
    };
    let (ended, late) = futures::join!((fault.kind.play)(stage, fault.draw), watching);
    ended?;
    let (over, late) = (Instant::now(), late?);
    let during = bot.judge().tally();
    let mut readers = bot.readers.clone();
    readers.push(late.clone());
    let recovered = recover(stage, truth, &readers, over).await?;
    bot.judge().end_excuses();
    bot.mirror.unwatch(&late.address());
    bot.judge().settle(truth);
    verdict(bot)?;
    let recovery = recovered.saturating_duration_since(over);
    lane.played.push(Played { kind: fault.kind.name, during, recovery });
    Ok(())
}

/// Waits until each account is live, known as of the fault's end or later, and what the chain held
/// at that slot, and the node that was struck is in use again. Returns since when the last account
/// was.
async fn recover(stage: &Stage<'_>, truth: &Truth, readers: &[Reader], over: Instant) -> Outcome<Instant> {
    let (world, bot) = (stage.world, stage.bot);
    let (era, least) = (truth.era(), tip(world).await?);
    let deadline = over + bot.bounds.recovery();
    let mut open: Vec<(&Reader, Option<(Instant, Reading)>)> =
        readers.iter().map(|reader| (reader, None)).collect();
    let mut last = over;
    while !(open.is_empty() && bot.is_back()) {
        let settled = truth.settled(era);
        let mut wrong = None;
        open.retain_mut(|(reader, candidate)| {
            let (since, reading) = match *candidate {
                Some(candidate) => candidate,
                None => {
                    let reading = reader.read();
                    let place = (reading.epoch(), reading.as_of());
                    if !reading.is_live() || place < (era, Some(least)) {
                        return true;
                    }
                    *candidate.insert((Instant::now(), reading))
                }
            };
            let as_of = reading.as_of().unwrap_or_default();
            if as_of > settled {
                return true;
            }
            if is_true(&reading, truth, as_of) {
                last = last.max(since);
                return false;
            }
            if !bot.judge().is_excused(&reader.address()) {
                wrong = Some(format!("live and wrong: {reading:?}"));
            }
            *candidate = None;
            true
        });
        if let Some(wrong) = wrong {
            bot.judge().violation(wrong);
            verdict(bot)?;
        }
        if Instant::now() > deadline {
            let open: Vec<_> = open.iter().map(|(reader, _)| reader.read()).collect();
            return Err(format!("not whole {:?} after its end: {open:#?}", over.elapsed()).into());
        }
        world.pass(LOOK).await;
    }
    Ok(last)
}

fn is_true(reading: &Reading, truth: &Truth, as_of: Slot) -> bool {
    let says = |state: &AccountState| truth.at(reading.epoch(), &reading.address(), as_of).is(state);
    reading.last_known().is_some_and(says)
}

/// The newest confirmed slot.
async fn tip(world: &World<'_>) -> Outcome<Slot> {
    match world.local() {
        Ok(net) => Ok(net.slot(localnet::CommitmentConfig::confirmed())),
        Err(_) => world.slot().await,
    }
}

fn verdict(bot: &Bot) -> Outcome {
    let violations = bot.judge().violations();
    check!(violations.is_empty(), "violations: {violations:#?}");
    Ok(())
}
