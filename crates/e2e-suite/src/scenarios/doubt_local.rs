//! A doubt, and an answer that is new enough and was asked for too early.

use std::time::Duration;

use balance_mirror::{Reading, StaleReason};

use super::market::{Market, USUAL};
use crate::{
    outcome::{Outcome, check, equal},
    proxy::Direction,
    world::World,
};

pub(crate) async fn an_answer_asked_for_before_a_doubt_does_not_end_it(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let market = Market::open(world, 1).await?;
    let builder = world.steady_builder().rpc_timeout(world.soon());
    let (mirror, readers) = market.follow(world, builder).await?;
    let (address, reader) = (market.accounts[0], readers[0].clone());
    world.until("the mint", || mirror.mint(&market.token.mint).is_some()).await?;
    // What RPC answers is ahead of whatever the link proves meanwhile.
    net.faults().lag_notifications(25);
    world.until_slot(world.slot().await? + 40).await?;
    world.live(&reader).await?;
    world.rpc_side.black_hole(Direction::Down, true);
    let (calls, asking) = (mirror.health().rpc_calls, mirror.clone());
    let asked = tokio::spawn(async move { asking.balance(&address, Duration::ZERO).await });
    let asks = net.stats().rpc_calls("getMultipleAccounts");
    world.until("the question", || mirror.health().rpc_calls > calls).await?;
    world.until("the answer on its way", || net.stats().rpc_calls("getMultipleAccounts") > asks).await?;
    asked.abort();
    check!(mirror.invalidate(&address, None), "it is watched");
    let known = reader.read().as_of();
    world.rpc_side.black_hole(Direction::Down, false);
    let landed = |reading: &Reading| reading.slot() > known;
    let reading = reader.wait_for(landed, world.soon()).await?;
    let health = mirror.health();
    equal!((health.rpc_calls, health.losses), (calls + 1, 0), "nobody has asked since, and the link lives");
    check!(
        matches!(reading.fresh(USUAL), Err(stale) if stale.why == StaleReason::Invalidated),
        "ended by {reading:?}"
    );
    equal!(mirror.balance(&address, USUAL).await?.state.token_amount(), Some(100), "asked since");
    check!(reader.fresh(USUAL).is_ok(), "{:?}", reader.read());
    net.faults().clear();
    world.agree(&readers).await?;
    Ok(())
}
