//! Trades on a cluster that errs in ways of its own: a silent subscription, an RPC node behind, a
//! fork, a new chain.

use std::time::Duration;

use balance_mirror::{ExpectedBuy, Floor, SellOutcome, SettleError, StaleReason, StateOrigin};
use localnet::{Accounts, CommitmentConfig};

use super::{
    ceiling::Ceiling,
    desk::{available, holding, holding_with, send},
};
use crate::{
    order::End,
    outcome::{Outcome, check, equal, shape},
    world::World,
};

const BOUGHT: u64 = 100;

pub(crate) async fn a_sell_that_its_link_keeps_silent_about_stays_sold(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    // By its sender's word, or found out.
    for told in [true, false] {
        let (desk, mirror, position) = holding_with(world, world.steady_builder(), BOUGHT).await?;
        let ceiling = Ceiling::over(&position, BOUGHT)?;
        net.faults().silence_account(&desk.account());
        let order = desk.sell_order(world, 30).await?;
        let flight = send(world, &position, &ceiling, 30, &order).await?;
        let slot = world.landed(&order).await?;
        if told {
            flight.landed(Floor::confirmed(slot));
        } else {
            equal!(flight.outcome(world.soon()).await?, SellOutcome::Landed { slot }, "found out");
        }
        ceiling.sold_at(slot);
        equal!(available(&position), Some(70), "to sell");
        // Canaries pass the sell and prove nothing of it; RPC is asked.
        world.until("balance after the sell", || position.fresh().is_ok()).await?;
        let balance = position.fresh()?;
        let shown = (balance.state.token_amount(), balance.reading.origin());
        equal!(shown, (Some(70), Some(StateOrigin::Rpc)), "asked for");
        check!(balance.reading.slot() >= Some(slot), "{balance:?}");
        equal!(position.hold_all()?.amount(), 70, "the rest");
        equal!(mirror.health().reconnects, 0, "on one connection");
        ceiling.finish()?;
    }
    Ok(())
}

pub(crate) async fn a_doubted_balance_is_not_taken_from_a_node_that_is_behind(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let builder = world.steady_builder().read_deadline(2 * world.soon());
    let (desk, _mirror, position) = holding_with(world, builder, BOUGHT).await?;
    let order = desk.failing_sell(world).await?;
    let flight = order.sells(position.hold_all()?);
    world.post(&order).await?;
    let End::Failed(slot) = world.end_of(&order).await? else { return Err("it landed".into()) };
    // The node forgets all of it, however long this takes.
    net.faults().hold_rpc(100_000);
    let behind = world.slot().await?;
    check!(behind < slot, "RPC is at {behind}, and the sell failed at {slot}");
    flight.failed(Floor::confirmed(slot));
    let reads = || net.stats().rpc_calls("getMultipleAccounts");
    let (before, waiting) = (reads(), position.clone());
    let waiting = tokio::spawn(async move { waiting.balance().await });
    world.until("questions", || reads() >= before + 3).await?;
    check!(!waiting.is_finished(), "a node that is behind ended the wait");
    shape!(position.fresh(), Err(stale) if stale.why == StaleReason::Invalidated, "in doubt");
    net.faults().clear();
    let balance = world.within("balance", waiting).await???;
    check!(balance.as_of() >= Some(slot), "as of the failed sell's slot {slot}: {balance:?}");
    equal!(position.hold_all()?.amount(), BOUGHT, "free");
    Ok(())
}

pub(crate) async fn a_sell_on_an_abandoned_fork_is_not_sold(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let (desk, _mirror, position) = holding(world, BOUGHT).await?;
    let order = desk.sell_order(world, 60).await?;
    let hold = position.hold(60)?;
    let last_valid = world.height().await? + world.short_life();
    let flight = hold.sending(order.signature(), last_valid);
    net.pause_slots();
    world.post(&order).await?;
    let tip = net.advance(1);
    // It shows at `processed`, and is asked for.
    let processed = || net.account(&desk.account(), CommitmentConfig::processed());
    equal!(processed().1.and_then(|account| crate::world::amount(&account.data)), Some(40), "on the fork");
    world.pass(Duration::from_millis(700)).await;
    equal!(net.faults().revert(1), vec![tip], "abandoned");
    net.resume_slots();
    equal!(available(&position), Some(40), "it may still land");
    let ended = flight.outcome(world.soon()).await?;
    equal!(ended, SellOutcome::Expired { last_valid_block_height: last_valid }, "it never landed");
    world.until("free tokens", || available(&position) == Some(BOUGHT)).await?;
    desk.chain_holds(world, BOUGHT).await
}

pub(crate) async fn on_a_new_chain_no_buy_settles_and_what_is_in_flight_stays_so(
    world: &World<'_>,
) -> Outcome {
    let net = world.local()?;
    let (desk, mirror, position) = holding(world, BOUGHT).await?;
    let open = desk.expect(world, &mirror).await?;
    let waiting = tokio::spawn(async move { open.settled(ExpectedBuy::at_least(5)).await });
    let order = desk.sell_order(world, 30).await?;
    let flight = position.hold(30)?.sending(order.signature(), u64::MAX);
    net.new_chain(Accounts::Keep);
    shape!(
        world.within("end of the wait", waiting).await??,
        Err(SettleError::Reset),
        "a buy of the old chain"
    );
    equal!(mirror.health().resets, 1, "resets");
    world.holds(position.reader(), BOUGHT).await?;
    equal!(available(&position), Some(70), "it was told to be in flight");
    flight.not_sent();
    equal!(position.hold_all()?.amount(), BOUGHT, "free");
    // And the new chain is traded on.
    let again = desk.bought(world, &mirror, 5).await?;
    equal!(again.hold_all()?.amount(), BOUGHT + 5, "to sell");
    Ok(())
}
