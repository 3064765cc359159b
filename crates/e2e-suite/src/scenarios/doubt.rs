//! What the bot has invalidated is served to nobody until RPC has confirmed it since.

use std::time::Duration;

use balance_mirror::{Floor, ReadQuery, ServedFrom, StaleReason};

use super::market::{Market, USUAL};
use crate::{
    outcome::{Outcome, check, equal, shape},
    proxy::Direction,
    world::World,
};

pub(crate) async fn neither_a_tick_nor_an_earlier_question_ends_a_doubt(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 2).await?;
    let builder = world.builder().rpc_timeout(Duration::from_secs(6)).read_deadline(world.soon());
    let (mirror, readers) = market.follow(world, builder).await?;
    let (address, reader) = (market.accounts[0], &readers[0]);
    world.until("the mint", || mirror.mint(&market.token.mint).is_some()).await?;
    // A question asked before, whose answer is held back; who asked it goes away.
    world.rpc_side.black_hole(Direction::Down, true);
    let (calls, asking) = (mirror.health().rpc_calls, mirror.clone());
    let asked = tokio::spawn(async move { asking.balance(&address, Duration::ZERO).await });
    world.until("the question", || mirror.health().rpc_calls > calls).await?;
    asked.abort();
    check!(mirror.invalidate(&address, None), "it is watched");
    let doubted = || matches!(reader.fresh(USUAL), Err(stale) if stale.why == StaleReason::Invalidated);
    check!(doubted(), "{:?}", reader.read());
    // Neither a tick nor a notification of it.
    let slot = market.trade(world).await?;
    let told = |reading: &balance_mirror::Reading| {
        reading.last_known().and_then(|state| state.token_amount()) == Some(101)
    };
    reader.wait_for(told, world.soon()).await?;
    world.until_slot(slot + 3).await?;
    world.until("ticks", || mirror.health().slot > Some(slot + 2)).await?;
    check!(doubted(), "{:?}", reader.read());
    world.holds(&readers[1], 101).await?;
    // Nor the answer to that question.
    world.rpc_side.black_hole(Direction::Down, false);
    world.pass(Duration::from_millis(300)).await;
    check!(doubted(), "{:?}", reader.read());
    equal!(mirror.health().rpc_calls, calls + 1, "nobody has asked since");
    let balance = mirror.balance(&address, USUAL).await?;
    equal!((balance.state.token_amount(), balance.served_from), (Some(101), ServedFrom::Rpc), "asked since");
    check!(balance.as_of() >= Some(slot), "{balance:?}");
    equal!(mirror.health().rpc_calls, calls + 2, "by one call");
    world.holds(reader, 101).await?;
    let balance = mirror.balance(&address, USUAL).await?;
    equal!(balance.served_from, ServedFrom::Cache, "and from then on memory serves");
    equal!(mirror.health().invalidations, 1, "invalidations");
    Ok(())
}

pub(crate) async fn a_doubt_with_a_floor_ends_at_its_slot(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 1).await?;
    let (mirror, readers) = market.follow(world, world.builder()).await?;
    let (address, ahead) = (market.accounts[0], 12);
    let floor = world.slot().await? + ahead;
    check!(mirror.invalidate(&address, Some(Floor::confirmed(floor))), "it is watched");
    let query = ReadQuery::max_age(USUAL).deadline(world.soon());
    let balance = mirror.balance(&address, query).await?;
    check!(balance.as_of() >= Some(floor), "as of {:?}, where {floor} was asked for", balance.as_of());
    check!(world.slot().await? >= floor, "the node was never there");
    equal!(balance.state.token_amount(), Some(100), "what it holds");
    world.holds(&readers[0], 100).await?;
    // A slot that does not come is waited for as long as the read may take.
    let never = world.slot().await? + 100_000;
    mirror.invalidate(&address, Some(Floor::confirmed(never)));
    let query = ReadQuery::max_age(USUAL).deadline(Duration::from_millis(700));
    let error = mirror.balance(&address, query).await;
    check!(error.as_ref().is_err_and(|error| error.is_transient()), "{error:?}");
    shape!(
        readers[0].fresh(USUAL),
        Err(stale) if stale.why == StaleReason::Invalidated,
        "it is in doubt as long"
    );
    check!(!mirror.invalidate(&market.wallets[0], None), "nobody watches a wallet");
    Ok(())
}

pub(crate) async fn readers_of_a_doubted_account_share_a_call(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 1).await?;
    let (mirror, _readers) = market.follow(world, world.builder()).await?;
    world.until("the mint", || mirror.mint(&market.token.mint).is_some()).await?;
    let address = market.accounts[0];
    for round in 1..=3u64 {
        let calls = mirror.health().rpc_calls;
        check!(mirror.invalidate(&address, None), "it is watched");
        let reads = (0..50).map(|_| mirror.balance(&address, USUAL));
        for balance in futures::future::join_all(reads).await {
            equal!(balance?.state.token_amount(), Some(100), "what it holds");
        }
        equal!(mirror.health().rpc_calls, calls + 1, "calls of round {round}");
    }
    Ok(())
}
