//! A node that limits what one connection may hold.

use std::time::Duration;

use super::{
    market::Market,
    pool::{EACH, live},
};
use crate::{
    checker::Checker,
    outcome::{Outcome, check, equal},
    world::World,
};

pub(crate) async fn a_node_that_takes_no_more_subscriptions_is_lived_with(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let market = Market::open(world, EACH).await?;
    // The canary, a barrier, and six accounts at most.
    net.faults().limit_subscriptions(Some(8), -32603, "too many subscriptions");
    let (mirror, readers) = market.watch(world.builder().refresh_every(Duration::from_millis(400)))?;
    world.until("refusals", || mirror.health().refused >= 2).await?;
    world.until("some live", || live(&readers) >= 5).await?;
    check!(live(&readers) <= 7, "{} live", live(&readers));
    let checker = Checker::start(world, &readers, super::market::USUAL)?;
    market.trade(world).await?;
    for reader in &readers {
        let balance = mirror.balance(&reader.address(), Duration::ZERO).await?;
        equal!(balance.state.token_amount(), Some(101), "served");
        let fresh = |reading: &balance_mirror::Reading| reading.fresh(world.short_age()).is_ok();
        reader.wait_for(fresh, world.soon()).await?;
    }
    equal!(mirror.health().losses, 0, "no connection is lost for it");
    net.faults().clear();
    market.trade(world).await?;
    let all = market.hold(world, &readers, 102);
    world.within_time(Duration::from_secs(30), "room for all", all).await??;
    world.agree(&readers).await?;
    checker.finish(world)?;
    Ok(())
}
