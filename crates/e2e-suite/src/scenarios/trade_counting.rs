//! What is counted of a trade, and what follows from how often a balance changes.

use std::time::Duration;

use balance_mirror::{HoldError, Position, ServedFrom, StaleReason, TokenStats};

use super::desk::Desk;
use crate::{
    outcome::{Outcome, check, equal, shape},
    proxy::{Cut, Direction},
    world::World,
};

/// Longer than any scenario.
const NEVER: Duration = Duration::from_secs(600);

pub(crate) async fn what_changes_often_is_trusted_for_less_time(world: &World<'_>) -> Outcome {
    let (busy, quiet) = (Desk::plain(world).await?, Desk::plain(world).await?);
    quiet.buy(world, 100).await?;
    let (least, most) = (world.short_age(), Duration::from_secs(30));
    let builder = world.builder().dynamic_ttl(least..=most).refresh_every(NEVER);
    let mirror = builder.start()?;
    let (trading, kept) = (busy.bought(world, &mirror, 100).await?, quiet.expect(world, &mirror).await?);
    for _ in 0..6 {
        busy.dust(world, 1).await?;
    }
    world.holds(trading.reader(), 106).await?;
    let ttl = |position: &Position| position.stats().ttl_ms.map(Duration::from_millis);
    equal!((ttl(&trading), ttl(&kept)), (Some(least), Some(most)), "what it came to");
    equal!(mirror.health().shortest_ttl_ms.map(Duration::from_millis), Some(least), "the shortest");
    // A live link proves what it proves.
    world.pass(2 * least).await;
    check!(trading.fresh().is_ok() && trading.hold(1).is_ok(), "{:?}", trading.reader().read());
    busy.dust(world, 1).await?;
    world.holds(trading.reader(), 107).await?;
    for proxy in [&world.ws_side, &world.rpc_side] {
        proxy.refuse(true);
        proxy.cut(Cut::Reset);
    }
    check!(trading.fresh().is_ok(), "not so soon: {:?}", trading.reader().read());
    world.until("end of what is trusted", || trading.fresh().is_err()).await?;
    shape!(
        trading.fresh(),
        Err(stale) if stale.why == StaleReason::Expired && stale.age.is_some_and(|age| age > least && age < most),
        "too old for what changes so often"
    );
    shape!(trading.hold(1), Err(HoldError::Stale(_)), "nor is it sold");
    equal!(kept.fresh()?.state.token_amount(), Some(100), "the quiet one");
    equal!(kept.hold_all()?.amount(), 100, "is sold");
    Ok(())
}

pub(crate) async fn what_a_trade_costs_is_counted(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    let mirror = world.mirror()?;
    let position = desk.bought(world, &mirror, 100).await?;
    let before = position.stats();
    equal!((before.address, before.changes), (desk.account(), 2), "absent, and bought");
    check!(before.notifications > 0 && before.rpc_reads > 0 && before.memory_bytes > 0, "{before:?}");
    for _ in 0..10 {
        equal!(position.fresh()?.state.token_amount(), Some(100), "what it holds");
    }
    equal!(position.balance().await?.served_from, ServedFrom::Cache, "memory serves");
    let hot = position.stats();
    equal!(hot.hits - before.hits, 11, "hits");
    equal!(hot.rpc_calls_avoided - before.rpc_calls_avoided, 11, "calls avoided");
    let costs = |stats: &TokenStats| (stats.misses, stats.fallbacks, stats.rpc_reads);
    equal!(costs(&hot), costs(&before), "misses, fallbacks and calls");
    // A doubt costs a call, for which somebody waits.
    check!(position.invalidate(None), "it is watched");
    world.rpc_side.delay(Direction::Down, Duration::from_millis(50));
    equal!(position.balance().await?.served_from, ServedFrom::Rpc, "asked for");
    world.rpc_side.clear();
    let cold = position.stats();
    equal!(cold.invalidations - hot.invalidations, 1, "invalidations");
    equal!((cold.misses - hot.misses, cold.fallbacks - hot.fallbacks), (1, 1), "misses and fallbacks");
    equal!((cold.rpc_reads - hot.rpc_reads, cold.waits - hot.waits), (1, 1), "calls and waits");
    check!(cold.wait_max_us >= 50_000, "{cold:?}");
    equal!(cold.hits, hot.hits, "hits");
    let health = mirror.health();
    check!(health.wait_us.max >= 50_000 && health.memory_bytes >= cold.memory_bytes, "{health:?}");
    Ok(())
}
