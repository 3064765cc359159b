//! Providers that serve less than a node of one's own, or otherwise.

use std::time::{Duration, Instant};

use balance_mirror::{
    Floor, LinkPhase, Mirror, MirrorBuilder, NodeHealth, NodeProfile, Pubkey, ReadQuery, Reading, ServedFrom,
    StateOrigin,
};
use localnet::TooMany;

use super::market::{Market, USUAL};
use crate::{
    checker::Checker,
    logs,
    outcome::{Outcome, check, equal},
    proxy::Cut,
    world::World,
};

fn clock() -> Outcome<Pubkey> {
    Ok("SysvarC1ock11111111111111111111111111111111".parse()?)
}

fn node(mirror: &Mirror) -> NodeHealth {
    mirror.health().nodes.swap_remove(0)
}

/// Served by notifications, TTL and RPC, and never live.
async fn made_do_with(world: &World<'_>, builder: MirrorBuilder) -> Outcome {
    let market = Market::open(world, 2).await?;
    // So seldom that what is seen here comes from elsewhere.
    let (mirror, readers) = market.watch(builder.refresh_every(Duration::from_secs(600)))?;
    let unproven = || mirror.health().phase == LinkPhase::Unproven;
    let time = Duration::from_secs(20);
    let made_do = async {
        while !unproven() {
            check!(readers.iter().all(|reader| !reader.read().is_live()), "{:?}", readers[0].read());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Outcome::Ok(())
    };
    world.within_time(time, "phase unproven", made_do).await??;
    let health = node(&mirror);
    equal!((health.canary, health.live), (Some(false), 0), "what Health says");
    let port = world.ws_side.port().to_string();
    check!(logs::warned(&[&port, "without canaries"]), "what the log says: {:#?}", logs::warnings());
    let checker = Checker::start(world, &readers, USUAL)?;
    world.until("acknowledgements", || node(&mirror).acknowledged == 2).await?;
    // What is asked for at the beginning is answered before calls are counted.
    world.until("the mint", || mirror.mint(&market.token.mint).is_some()).await?;
    for reader in &readers {
        reader.wait_for(|reading| reading.slot().is_some(), world.soon()).await?;
    }
    for round in 1..=3u64 {
        let calls = mirror.health().rpc_calls;
        market.trade(world).await?;
        for reader in &readers {
            let told = |reading: &Reading| {
                reading.last_known().and_then(|state| state.token_amount()) == Some(100 + round)
            };
            let reading = reader.wait_for(told, world.soon()).await?;
            equal!(reading.origin(), Some(StateOrigin::Subscription), "who told it");
            check!(!reading.is_live(), "{reading:?}");
        }
        equal!(mirror.health().rpc_calls, calls, "RPC was not asked");
        for reader in &readers {
            let balance = mirror.balance(&reader.address(), Duration::ZERO).await?;
            equal!(
                (balance.state.token_amount(), balance.served_from),
                (Some(100 + round), ServedFrom::Rpc),
                "RPC"
            );
            let balance = mirror.balance(&reader.address(), USUAL).await?;
            equal!(balance.served_from, ServedFrom::Cache, "within its age");
        }
    }
    // It is not given up for being mute.
    let losses = mirror.health().losses;
    world.pass(2 * world.canary_deadline()).await;
    check!(unproven(), "{:?}", mirror.health());
    equal!(mirror.health().losses, losses, "losses");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_fan_out_without_a_clock_is_made_do_with(world: &World<'_>) -> Outcome {
    world.local()?.faults().silence_account(&clock()?);
    made_do_with(world, world.builder().profile(NodeProfile::FanOut)).await
}

pub(crate) async fn a_provider_without_a_clock_is_found_out(world: &World<'_>) -> Outcome {
    world.local()?.faults().silence_account(&clock()?);
    made_do_with(world, world.builder()).await
}

pub(crate) async fn a_provider_that_refuses_the_clock_is_made_do_with(world: &World<'_>) -> Outcome {
    world.local()?.faults().refuse_subscriptions_to(&clock()?, -32602, "sysvars are not served");
    made_do_with(world, world.builder()).await
}

pub(crate) async fn a_node_of_ones_own_must_tick(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    net.faults().silence_account(&clock()?);
    let market = Market::open(world, 2).await?;
    let (mirror, readers) = market.watch(world.builder().profile(NodeProfile::OwnNode))?;
    let given_up = async {
        while mirror.health().losses < 4 {
            check!(mirror.health().phase != LinkPhase::Unproven, "{:?}", mirror.health());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Outcome::Ok(())
    };
    world.within_time(Duration::from_secs(20), "four losses", given_up).await??;
    net.faults().clear();
    market.hold(world, &readers, 100).await?;
    equal!(node(&mirror).canary, Some(true), "what it can do");
    Ok(())
}

pub(crate) async fn a_node_that_refuses_slices_goes_live_all_the_same(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    net.faults().refuse_slices(true);
    let market = Market::open(world, 3).await?;
    let (mirror, readers) = market.follow(world, world.steady_builder()).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    equal!((node(&mirror).slices, mirror.health().losses), (Some(false), 0), "what it can do");
    for _ in 0..5 {
        market.trade(world).await?;
    }
    market.hold(world, &readers, 105).await?;
    world.agree(&readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_node_that_ignores_slices_goes_live_on_the_next_connection(
    world: &World<'_>,
) -> Outcome {
    let net = world.local()?;
    net.faults().ignore_slices(true);
    let market = Market::open(world, 3).await?;
    let (mirror, readers) = market.follow(world, world.steady_builder()).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    equal!((node(&mirror).slices, mirror.health().losses), (Some(false), 1), "what it can do");
    for _ in 0..5 {
        market.trade(world).await?;
    }
    market.hold(world, &readers, 105).await?;
    // Also what is watched later has no barrier, and costs no connection.
    let late = localnet::Signer::pubkey(&localnet::Keypair::new());
    market.token.buy(world, &late, 9).await?;
    let late = mirror.watch(market.token.target(&late))?;
    world.holds(&late, 9).await?;
    world.agree(&readers).await?;
    equal!(mirror.health().losses, 1, "losses");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_connection_closed_for_being_idle_comes_back(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let market = Market::open(world, 3).await?;
    let (mirror, readers) = market.follow(world, world.builder()).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    net.faults().close_idle(Some(Duration::from_millis(1_500)));
    for round in 1..=2u64 {
        world.until("a loss", || mirror.health().losses >= round).await?;
        market.trade(world).await?;
        market.hold(world, &readers, 100 + round).await?;
    }
    net.faults().clear();
    world.agree(&readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_node_that_takes_few_keys_is_asked_in_smaller_calls(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let market = Market::open(world, 60).await?;
    for (round, how) in (1..).zip([TooMany::InvalidParams, TooMany::PayloadTooLarge]) {
        net.faults().limit_keys(Some(20), how);
        let (mirror, readers) = market.watch(world.builder().refresh_every(Duration::from_millis(500)))?;
        market.hold(world, &readers, 99 + round).await?;
        // Without a link all of them are asked for at once.
        world.ws_side.refuse(true);
        world.ws_side.cut(Cut::Reset);
        world.until("loss of the link", || mirror.health().phase != LinkPhase::Live).await?;
        let (calls, began) = (mirror.health().rpc_calls, Instant::now());
        market.trade(world).await?;
        for reader in &readers {
            let told = |reading: &Reading| {
                reading.fresh(USUAL).is_ok_and(|state| state.token_amount() == Some(100 + round))
            };
            reader.wait_for(told, world.soon()).await?;
        }
        let (made, took) = (mirror.health().rpc_calls - calls, began.elapsed());
        check!(mirror.health().rpc_failures > 0, "the limit was never felt");
        // Three calls a round or a few more, and two rounds a second.
        let most = 10 + took.as_millis() / 100;
        check!(u128::from(made) <= most, "{made} calls in {took:?}");
        world.ws_side.refuse(false);
        market.hold(world, &readers, 100 + round).await?;
        mirror.shutdown().await;
    }
    Ok(())
}

pub(crate) async fn a_floor_refused_in_other_words_is_waited_for(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    net.faults().min_context_slot_as_internal_error(true);
    net.faults().hold_rpc(5);
    let market = Market::open(world, 2).await?;
    let (mirror, readers) = market.follow(world, world.builder()).await?;
    // Without a link it is RPC that must come to the slot.
    world.ws_side.refuse(true);
    world.ws_side.cut(Cut::Reset);
    world.until("loss of the link", || mirror.health().phase != LinkPhase::Live).await?;
    for round in 1..=3u64 {
        // The client that trades sees what RPC sees: further on, neither has been.
        let slot = market.trade(world).await? + 10;
        for reader in &readers {
            let query = ReadQuery::max_age(USUAL).as_of(Floor::confirmed(slot)).deadline(world.soon());
            let balance = mirror.balance(&reader.address(), query).await?;
            equal!(balance.state.token_amount(), Some(100 + round), "as of {slot}");
            check!(balance.as_of() >= Some(slot), "{balance:?}");
        }
    }
    check!(mirror.health().rpc_failures > 0, "it was never behind");
    world.ws_side.refuse(false);
    net.faults().clear();
    world.agree(&readers).await?;
    Ok(())
}
