//! Several nodes of the local cluster, each with faults of its own.

use std::time::Duration;

use balance_mirror::NodeMode;
use localnet::Localnet;

use super::{
    market::{Market, USUAL},
    nodes::{is_live, node},
};
use crate::{
    checker::Checker,
    logs,
    outcome::{Outcome, check, equal},
    proxy::Cut,
    world::{Door, World},
};

pub(crate) async fn a_node_that_stops_ticking_is_replaced_by_the_next(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let second = net.add_node()?;
    let door = Door::open(&second.rpc_url(), &second.ws_url())?;
    let market = Market::open(world, 3).await?;
    let (mirror, readers) = market.follow(world, world.builder().node(door.node())).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    net.faults().silence(true);
    world.until("the second node live", || is_live(&mirror, 1)).await?;
    market.trade(world).await?;
    market.hold(world, &readers, 101).await?;
    check!(!is_live(&mirror, 0), "{:?}", mirror.health());
    net.faults().clear();
    world.until("both live", || (0..2).all(|place| node(&mirror, place).live == 3)).await?;
    market.trade(world).await?;
    market.hold(world, &readers, 102).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn in_a_race_a_late_node_is_outrun(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let second = net.add_node()?;
    let door = Door::open(&second.rpc_url(), &second.ws_url())?;
    let market = Market::open(world, 3).await?;
    let builder =
        world.steady_builder().node(door.node()).mode(NodeMode::Race).audit_every(Duration::from_millis(300));
    let (mirror, readers) = market.follow(world, builder).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    let mut amount = 100;
    for (place, late) in [(1, second.faults()), (0, net.faults())] {
        world.until("both live", || (0..2).all(|place| node(&mirror, place).live == 3)).await?;
        late.lag(300);
        for _ in 0..8 {
            // Not through RPC, where the late one would confirm it as late.
            let mints: Vec<_> =
                market.accounts.iter().map(|account| market.token.mint_to(account, 1)).collect();
            let slot = net.send(&mints, &[]).map_err(|error| error.to_string())?.slot;
            amount += 1;
            market.hold(world, &readers, amount).await?;
            // The late one tells of it seconds after it happened.
            let told = node(&mirror, place);
            check!(told.slot < Some(slot), "the late one is at slot {slot}, too: {told:?}");
        }
        late.clear();
    }
    world.agree(&readers).await?;
    let health = mirror.health();
    equal!((health.disputes, health.missed, health.quarantines), (0, 0, 0), "a late node contradicts nobody");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_node_on_another_chain_is_refused(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 2).await?;
    let stranger = Localnet::builder().slot_time(Duration::from_millis(20)).seed(4_242).start()?;
    let door = Door::open(&stranger.rpc_url(), &stranger.ws_url())?;
    // The first chain that is heard of is the mirror's.
    door.rpc.refuse(true);
    door.ws.refuse(true);
    let builder = world.builder().node(door.node()).mode(NodeMode::Race);
    let (mirror, readers) = market.follow(world, builder).await?;
    door.rpc.refuse(false);
    door.ws.refuse(false);
    world.until("the stranger paused", || node(&mirror, 1).paused).await?;
    let port = door.ws.port().to_string();
    check!(logs::warned(&[&port, "another chain"]), "an error that names it: {:#?}", logs::warnings());
    let checker = Checker::start(world, &readers, USUAL)?;
    for round in 1..=3 {
        market.trade(world).await?;
        market.hold(world, &readers, 100 + round).await?;
    }
    let health = mirror.health();
    equal!((health.resets, health.nodes[1].live), (0, 0), "nothing of it counts");
    // Nor where it is the only one left.
    world.ws_side.refuse(true);
    world.ws_side.cut(Cut::Reset);
    world.rpc_side.refuse(true);
    world.rpc_side.cut(Cut::Reset);
    world.until("end of live", || !readers[0].read().is_live()).await?;
    for _ in 0..3 {
        let answer = mirror.balance(&market.accounts[0], Duration::ZERO).await;
        check!(answer.is_err(), "the stranger's word: {answer:?}");
    }
    equal!(
        readers[0].read().last_known().and_then(|state| state.token_amount()),
        Some(103),
        "the last known"
    );
    checker.finish(world)?;
    Ok(())
}
