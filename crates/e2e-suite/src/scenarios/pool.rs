//! Several connections to one node: who is where, who has no place, and whom a loss concerns.

use std::time::Duration;

use balance_mirror::{Mirror, MirrorBuilder, NodeHealth, Reader, ServedFrom};

use super::market::{Market, USUAL};
use crate::{
    checker::Checker,
    outcome::{Outcome, check, equal},
    proxy::Cut,
    world::World,
};

const ACCOUNTS: usize = 25;
pub(super) const EACH: usize = 10;

fn builder(world: &World<'_>, connections: usize) -> MirrorBuilder {
    world.builder().max_connections(connections).max_per_connection(EACH)
}

fn node(mirror: &Mirror) -> NodeHealth {
    mirror.health().nodes.swap_remove(0)
}

pub(super) fn live(readers: &[Reader]) -> usize {
    readers.iter().filter(|reader| reader.read().is_live()).count()
}

pub(crate) async fn accounts_fill_one_connection_after_the_other(world: &World<'_>) -> Outcome {
    let market = Market::open(world, ACCOUNTS).await?;
    let mirror = builder(world, 3).start()?;
    let mut readers = Vec::new();
    for (number, wallet) in (1..).zip(&market.wallets) {
        readers.push(mirror.watch(market.token.target(wallet))?);
        if [1, EACH, EACH + 1, 2 * EACH + 1, ACCOUNTS].contains(&number) {
            let needed = number.div_ceil(EACH);
            world.within("connections", world.ws_side.until_open(needed)).await?;
            market.hold(world, &readers, 100).await?;
            world
                .until("counts", || (node(&mirror).connections, node(&mirror).live) == (needed, number))
                .await?;
            equal!(world.ws_side.accepted(), needed, "connections for {number}");
        }
    }
    equal!((node(&mirror).acknowledged, node(&mirror).unplaced), (ACCOUNTS, 0), "places");
    if let Ok(net) = world.local() {
        let subscribers: Vec<_> = market.accounts.iter().map(|account| net.subscribers(account)).collect();
        equal!(subscribers, vec![1; ACCOUNTS], "each once, on one connection");
    }
    market.trade(world).await?;
    market.hold(world, &readers, 101).await?;
    // Those that came last are alone on the third, which is closed when they leave.
    for account in &market.accounts[2 * EACH..] {
        mirror.unwatch(account);
    }
    world.within("end of the third connection", world.ws_side.until_open(2)).await?;
    equal!(live(&readers[..2 * EACH]), 2 * EACH, "the others");
    equal!(mirror.health().reconnects, 2, "reconnects: those of the second and the third");
    Ok(())
}

pub(crate) async fn accounts_without_room_are_refreshed(world: &World<'_>) -> Outcome {
    let market = Market::open(world, ACCOUNTS).await?;
    let age = world.short_age();
    let (mirror, readers) = market.watch(builder(world, 2).refresh_every(Duration::from_millis(300)))?;
    world.until("twenty live", || live(&readers) == 2 * EACH).await?;
    equal!(node(&mirror).unplaced, ACCOUNTS - 2 * EACH, "without room");
    equal!(world.ws_side.accepted(), 2, "connections");
    let waiting: Vec<_> = readers.iter().filter(|reader| !reader.read().is_live()).cloned().collect();
    equal!(waiting.len(), ACCOUNTS - 2 * EACH, "waiting");
    let checker = Checker::start(world, &waiting, age)?;
    for round in 1..=3 {
        market.trade(world).await?;
        for reader in &waiting {
            let told = |reading: &balance_mirror::Reading| {
                reading.fresh(age).is_ok_and(|state| state.token_amount() == Some(100 + round))
            };
            reader.wait_for(told, world.soon()).await?;
            let balance = mirror.balance(&reader.address(), age).await?;
            equal!(balance.served_from, ServedFrom::Cache, "memory has it");
            check!(!reader.read().is_live(), "{:?}", reader.read());
        }
    }
    checker.finish(world)?;
    // Room for all of them.
    let placed: Vec<_> = readers.iter().filter(|reader| reader.read().is_live()).cloned().collect();
    for reader in &placed[..waiting.len()] {
        mirror.unwatch(&reader.address());
    }
    market.hold(world, &waiting, 103).await?;
    equal!(node(&mirror).unplaced, 0, "without room");
    equal!(world.ws_side.accepted(), 2, "connections");
    Ok(())
}

pub(crate) async fn one_cut_connection_costs_its_accounts_alone(world: &World<'_>) -> Outcome {
    let market = Market::open(world, ACCOUNTS).await?;
    let (mirror, readers) = market.follow(world, builder(world, 3)).await?;
    let checker = Checker::start(world, &readers, USUAL)?;
    let subscribes = world.local().ok().map(|net| net.stats().subscribes);
    // Its successor stays out until it is counted whom it concerned.
    world.ws_side.refuse(true);
    world.ws_side.cut_one(1, Cut::Reset);
    world.until("a loss", || mirror.health().losses == 1).await?;
    let left = live(&readers);
    check!(
        left == ACCOUNTS - EACH || left == 2 * EACH,
        "{left} of {ACCOUNTS} live with two of three connections"
    );
    let (kept, lost): (Vec<_>, Vec<_>) = readers.iter().cloned().partition(|reader| reader.read().is_live());
    market.trade(world).await?;
    market.hold(world, &kept, 101).await?;
    world.ws_side.refuse(false);
    market.hold(world, &lost, 101).await?;
    world.agree(&readers).await?;
    equal!(mirror.health().losses, 1, "losses");
    if let (Ok(net), Some(before)) = (world.local(), subscribes) {
        // Its canary, its accounts, and a barrier or two.
        let more = usize::try_from(net.stats().subscribes - before)?;
        check!((lost.len() + 2..=lost.len() + 5).contains(&more), "{more} subscribes for {}", lost.len());
    }
    checker.finish(world)?;
    Ok(())
}
