//! Nodes that say what is not so, beside nodes that do not.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use balance_mirror::{LinkPhase, Mirror, MirrorUpdate, NodeMode, Reader, Reading};
use localnet::{CommitmentConfig, Faults, Side};

use super::{
    market::{Market, USUAL},
    nodes::node,
};
use crate::{
    checker::Checker,
    logs,
    outcome::{Outcome, check, equal},
    world::{Door, World},
};

/// A liar that is not believed, beside an honest node, as the mirror's node of this place.
async fn slots_far_ahead(world: &World<'_>, side: Side, liars_place: usize) -> Outcome {
    let net = world.local()?;
    let second = net.add_node()?;
    let door = Door::open(&second.rpc_url(), &second.ws_url())?;
    let market = Market::open(world, 3).await?;
    let builder =
        world.builder().node(door.node()).mode(NodeMode::Race).audit_every(Duration::from_millis(200));
    let (mirror, readers) = market.follow(world, builder).await?;
    let liar: &Faults = if liars_place == 0 { net.faults() } else { second.faults() };
    let checker = Checker::start(world, &readers, USUAL)?;
    for (round, by) in (1..).zip([u64::MAX, 1_000_000]) {
        world.until("both live", || (0..2).all(|place| node(&mirror, place).live == 3)).await?;
        let before = mirror.health().quarantines;
        liar.slots_ahead(side, by, None);
        market.trade(world).await?;
        world.until("a quarantine", || mirror.health().quarantines > before).await?;
        market.hold(world, &readers, 100 + round).await?;
        for reader in &readers {
            let (reading, tip) = (reader.read(), net.slot(CommitmentConfig::processed()));
            check!(reading.as_of() <= Some(tip), "poisoned, at {tip}: {reading:?}");
        }
        liar.clear();
    }
    let port = if liars_place == 0 { world.ws_side.port() } else { door.ws.port() }.to_string();
    check!(
        logs::warned(&[&port, "ahead of what time allows"]),
        "no warning names it: {:#?}",
        logs::warnings()
    );
    world.until("the liar live again", || node(&mirror, liars_place).live == 3).await?;
    world.agree(&readers).await?;
    equal!(mirror.health().resets, 0, "resets");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn notified_slots_far_ahead_are_not_believed(world: &World<'_>) -> Outcome {
    slots_far_ahead(world, Side::Notifications, 1).await
}

pub(crate) async fn answered_slots_far_ahead_are_not_believed(world: &World<'_>) -> Outcome {
    slots_far_ahead(world, Side::Rpc, 0).await
}

pub(crate) async fn a_first_node_with_slots_far_ahead_poisons_nothing(world: &World<'_>) -> Outcome {
    slots_far_ahead(world, Side::Both, 0).await
}

pub(crate) async fn alone_with_a_liar_that_stops_the_mirror_recovers(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let market = Market::open(world, 2).await?;
    net.faults().slots_ahead(Side::Both, u64::MAX, None);
    let (mirror, readers) = market.watch(world.builder())?;
    world.until("a quarantine", || mirror.health().quarantines > 0).await?;
    check!(readers.iter().all(|reader| reader.read().as_of().is_none()), "{:?}", readers[0].read());
    check!(mirror.balance(&market.accounts[0], USUAL).await.is_err(), "no word of it is served");
    net.faults().clear();
    market.hold(world, &readers, 100).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    let before = mirror.health().quarantines;
    net.faults().slots_ahead(Side::Notifications, 1_000_000, None);
    world.until("a quarantine", || mirror.health().quarantines > before).await?;
    world.until("end of live", || !readers[0].read().is_live()).await?;
    market.trade(world).await?;
    net.faults().clear();
    market.hold(world, &readers, 101).await?;
    world.agree(&readers).await?;
    equal!(mirror.health().resets, 0, "resets");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_lie_that_came_first_is_overcome(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let market = Market::open(world, 2).await?;
    net.faults().slots_ahead(Side::Both, 1_000_000, None);
    let (mirror, readers) = market.watch(world.builder())?;
    // Nothing contradicts it yet.
    let poisoned = |reading: &Reading| reading.slot() >= Some(1_000_000);
    readers[0].wait_for(poisoned, world.soon()).await?;
    let mut updates = mirror.updates();
    net.faults().clear();
    market.trade(world).await?;
    let reset = async {
        while let Some(update) = updates.next().await {
            if let MirrorUpdate::Reset { epoch } = update {
                return epoch;
            }
        }
        0
    };
    // It takes 10 s of contradiction.
    equal!(world.within_time(Duration::from_secs(20), "reset", reset).await?, 1, "epoch");
    market.hold(world, &readers, 101).await?;
    equal!(readers[0].read().epoch(), 1, "epoch of the reading");
    world.agree(&readers).await?;
    equal!(mirror.health().resets, 1, "resets");
    Ok(())
}

/// Reads all the time, and notes two amounts that were served for one slot.
struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Vec<String>)>,
}

impl Witness {
    fn start(reader: &Reader) -> Self {
        let (stop, reader) = (Arc::new(AtomicBool::new(false)), reader.clone());
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut told, mut contradictions, mut served) = (BTreeMap::new(), Vec::new(), 0);
            while !stopped.load(Relaxed) {
                let reading = reader.read();
                if let (Ok(state), Some(slot)) = (reading.fresh(USUAL), reading.slot()) {
                    served += 1;
                    let before = *told.entry(slot).or_insert(state.token_amount());
                    if before != state.token_amount() {
                        contradictions
                            .push(format!("of slot {slot}: {before:?} and {:?}", state.token_amount()));
                    }
                }
                thread::sleep(Duration::from_micros(200));
            }
            (served, contradictions)
        });
        Self { stop, thread }
    }

    fn finish(self) -> Outcome {
        self.stop.store(true, Relaxed);
        let (served, contradictions) = self.thread.join().map_err(|_| "the witness panicked")?;
        check!(contradictions.is_empty(), "two truths: {contradictions:#?}");
        check!(served > 0, "nothing was served");
        Ok(())
    }
}

/// The first of two nodes lies about one account's amount, at right slots.
async fn a_wrong_amount(world: &World<'_>, mode: NodeMode, side: Side) -> Outcome {
    let net = world.local()?;
    let second = net.add_node()?;
    let door = Door::open(&second.rpc_url(), &second.ws_url())?;
    let market = Market::open(world, 2).await?;
    let builder = world.builder().node(door.node()).mode(mode).audit_every(Duration::from_millis(200));
    let (mirror, readers) = market.follow(world, builder).await?;
    if mode == NodeMode::Race {
        world.until("both live", || (0..2).all(|place| node(&mirror, place).live == 2)).await?;
    }
    let witness = Witness::start(&readers[0]);
    let checker = Checker::start(world, &readers[1..], USUAL)?;
    net.faults().lie(&market.accounts[0], 999_999, side);
    let mut traded = 0;
    let found = |mirror: &Mirror| mirror.health().disputes > 0;
    while !found(&mirror) && traded < 20 {
        market.trade(world).await?;
        traded += 1;
        world.pass(Duration::from_millis(100)).await;
    }
    check!(found(&mirror), "nobody contradicted it: {:#?}", mirror.health());
    let (first, other) = (world.ws_side.port().to_string(), door.ws.port().to_string());
    let words = [first.as_str(), other.as_str(), "contradict"];
    check!(logs::warned(&words), "no warning holds {words:?}: {:#?}", logs::warnings());
    net.faults().stop_lying();
    market.trade(world).await?;
    market.hold(world, &readers, 101 + traded).await?;
    world.agree(&readers).await?;
    witness.finish()?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn in_a_race_a_wrong_amount_is_reported(world: &World<'_>) -> Outcome {
    a_wrong_amount(world, NodeMode::Race, Side::Both).await
}

pub(crate) async fn a_wrong_amount_is_found_by_asking_another_node(world: &World<'_>) -> Outcome {
    a_wrong_amount(world, NodeMode::Failover, Side::Both).await
}

pub(crate) async fn a_link_that_is_quarantined_is_not_live_in_health(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let market = Market::open(world, 2).await?;
    let (mirror, readers) = market.follow(world, world.builder()).await?;
    net.faults().slots_ahead(Side::Notifications, u64::MAX, None);
    world.until("a quarantine", || mirror.health().quarantines > 0).await?;
    world.until("end of live", || mirror.health().phase != LinkPhase::Live).await?;
    check!(!readers[0].read().is_live(), "{:?}", readers[0].read());
    // As long as it lasts: a tick of the clock is not a proof.
    world.pass(world.canary_deadline()).await;
    check!(!readers[0].read().is_live(), "{:?}", readers[0].read());
    equal!(mirror.health().live, 0, "live accounts");
    net.faults().clear();
    market.hold(world, &readers, 100).await?;
    Ok(())
}
