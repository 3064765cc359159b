//! Without a live link: readers go on finding something fresh in memory, at a bounded price.

use std::time::{Duration, Instant};

use balance_mirror::{LinkPhase, Mirror, ServedFrom};

use super::market::Market;
use crate::{
    checker::Checker,
    outcome::{Outcome, check, equal},
    proxy::Cut,
    world::World,
};

const EVERY: Duration = Duration::from_millis(400);

/// RPC calls that read accounts: as the node counted them, where it does.
fn calls(world: &World<'_>, mirror: &Mirror) -> u64 {
    let counted = world.local().map(|net| net.stats().rpc_calls("getMultipleAccounts"));
    counted.unwrap_or_else(|_| mirror.health().rpc_calls)
}

fn cut_off(world: &World<'_>) {
    world.ws_side.refuse(true);
    world.ws_side.cut(Cut::Reset);
}

pub(crate) async fn while_the_link_is_down_readers_hit_memory(world: &World<'_>) -> Outcome {
    // Many times what lies between two refreshes, and less than the spell: memory that is not
    // refreshed is found out.
    let (age, spell) = (world.short_age() + 8 * EVERY, world.short_age() + 12 * EVERY);
    let market = Market::open(world, 3).await?;
    let builder = world.builder().selling_age(age).refresh_every(EVERY);
    let (mirror, readers) = market.follow(world, builder).await?;
    let checker = Checker::start(world, &readers, age)?;
    cut_off(world);
    world.until("loss of the link", || mirror.health().phase != LinkPhase::Live).await?;
    // The link's own: its baselines and rechecks have been answered before it was live.
    let (before, began) = (calls(world, &mirror), Instant::now());
    let mut amount = 100;
    while began.elapsed() < spell {
        market.trade(world).await?;
        amount += 1;
        let traded = calls(world, &mirror);
        loop {
            // One may have been under way as the trade was confirmed, and one fail; counted before
            // memory is looked at.
            let since = calls(world, &mirror) - traded;
            let held =
                readers.iter().map(|reader| reader.fresh(age).map(|balance| balance.state.token_amount()));
            let held: Vec<_> = held.collect::<Result<_, _>>()?;
            if held == vec![Some(amount); 3] {
                break;
            }
            check!(since <= 3, "{held:?} after {since} calls");
            world.pass(Duration::from_millis(5)).await;
        }
        let balance = mirror.balance(&market.accounts[0], age).await?;
        equal!(balance.served_from, ServedFrom::Cache, "memory serves");
        check!(!balance.reading.is_live(), "{balance:?}");
    }
    let made = calls(world, &mirror) - before;
    let most = began.elapsed().as_millis() / EVERY.as_millis() + 2;
    check!((2..=most).contains(&u128::from(made)), "{made} calls in {:?}", began.elapsed());
    world.ws_side.refuse(false);
    market.hold(world, &readers, amount).await?;
    checker.finish(world)?;
    // A live link costs no call, once those of the refresh and of going live are over.
    world.until_still("end of the calls", 4 * EVERY, || calls(world, &mirror)).await?;
    Ok(())
}

pub(crate) async fn refused_refreshes_back_off(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 3).await?;
    let every = Duration::from_millis(500);
    let (mirror, readers) = market.follow(world, world.builder().refresh_every(every)).await?;
    world.until("the mint", || mirror.mint(&market.token.mint).is_some()).await?;
    cut_off(world);
    world.rpc_side.answer_http(Some(503));
    world.until("a refusal", || mirror.health().rpc_failures > 0).await?;
    // The waits are 1 s, 2 s, 4 s and so on: at least the second lies between the next two calls,
    // or a later one. Without backing off both have come after a second.
    let (began, before) = (Instant::now(), mirror.health().rpc_calls);
    world.until("two calls", || mirror.health().rpc_calls >= before + 2).await?;
    check!(began.elapsed() >= 3 * every + every / 2, "two calls in {:?}", began.elapsed());
    market.trade(world).await?;
    world.rpc_side.answer_http(None);
    for reader in &readers {
        let told = |reading: &balance_mirror::Reading| {
            reading.fresh(every * 3).is_ok_and(|state| state.token_amount() == Some(101))
        };
        reader.wait_for(told, world.soon()).await?;
    }
    // One good answer, and it is as quick as ever.
    let (began, before) = (Instant::now(), mirror.health().rpc_calls);
    world.until("four calls", || mirror.health().rpc_calls >= before + 4).await?;
    let took = began.elapsed();
    check!((2 * every..20 * every).contains(&took), "four calls took {took:?}");
    Ok(())
}

pub(crate) async fn a_rate_limit_quiets_the_refresh(world: &World<'_>) -> Outcome {
    let market = Market::open(world, 3).await?;
    let every = Duration::from_millis(500);
    let (mirror, readers) = market.follow(world, world.builder().refresh_every(every)).await?;
    cut_off(world);
    world.rpc_side.answer_http(Some(429));
    world.until("a refusal", || mirror.health().rpc_failures > 0).await?;
    let (began, before) = (Instant::now(), mirror.health().rpc_calls);
    world.pass(Duration::from_secs(3)).await;
    let made = mirror.health().rpc_calls - before;
    // Each refusal asks for a second of rest.
    check!(made <= began.elapsed().as_secs() + 1, "{made} calls in {:?}", began.elapsed());
    world.rpc_side.answer_http(None);
    market.trade(world).await?;
    for reader in &readers {
        let told = |reading: &balance_mirror::Reading| {
            reading.fresh(every * 3).is_ok_and(|state| state.token_amount() == Some(101))
        };
        reader.wait_for(told, world.soon()).await?;
    }
    Ok(())
}
