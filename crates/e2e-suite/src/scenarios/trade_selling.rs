//! A sell, from the hold until its tokens are gone or free again.

use std::time::Duration;

use balance_mirror::{
    Floor, HoldError, LinkPhase, Mirror, Position, ReadQuery, SellOutcome, ServedFrom, StaleReason,
};

use super::{
    ceiling::Ceiling,
    desk::{asked, available, holding, holding_with, send},
};
use crate::{
    order::{End, Order},
    outcome::{Outcome, check, equal, shape},
    proxy::{Cut, Direction},
    world::World,
};

/// What the wallet has before it sells.
const BOUGHT: u64 = 100;

/// The slot at which an order failed, as it was built to.
async fn failed(world: &World<'_>, order: &Order) -> Outcome<u64> {
    match world.end_of(order).await? {
        End::Failed(slot) => Ok(slot),
        End::Landed(slot) => Err(format!("it landed at {slot}").into()),
    }
}

async fn doubted_until_rpc_answers(position: &Position, mirror: &Mirror, floor: u64) -> Outcome {
    for stale in [position.fresh().err(), position.reader().fresh(mirror.general_age()).err()] {
        shape!(stale, Some(stale) if stale.why == StaleReason::Invalidated, "in doubt");
    }
    shape!(
        position.hold(1),
        Err(HoldError::Stale(stale)) if stale.why == StaleReason::Invalidated,
        "nothing is sold on a doubt"
    );
    let balance = position.balance().await?;
    equal!(
        (balance.state.token_amount(), balance.served_from),
        (Some(BOUGHT), ServedFrom::Rpc),
        "what it holds"
    );
    check!(balance.as_of() >= Some(floor), "as of the failed sell's slot {floor}: {balance:?}");
    equal!(mirror.health().invalidations, 1, "invalidations");
    let hold = position.hold_all()?;
    equal!(hold.amount(), BOUGHT, "all of it is free again");
    Ok(())
}

pub(crate) async fn the_sell_path_asks_rpc_for_nothing(world: &World<'_>) -> Outcome {
    let (desk, _mirror, position) = holding(world, BOUGHT).await?;
    let ceiling = Ceiling::over(&position, BOUGHT)?;
    for (amount, left) in [(60, 40), (40, 0)] {
        let order = desk.sell_order(world, amount).await?;
        let before = asked(world);
        let balance = position.fresh()?;
        equal!(balance.served_from, ServedFrom::Cache, "memory serves");
        let flight = send(world, &position, &ceiling, amount, &order).await?;
        equal!(asked(world), before, "bytes sent to RPC until the sell is sent");
        // Where it is slow to land, the mirror asks what became of it.
        let slot = world.landed(&order).await?;
        flight.landed(Floor::confirmed(slot));
        ceiling.sold_at(slot);
        world.holds(position.reader(), left).await?;
    }
    // What the bot itself has told of is asked for no more.
    world.until_still("end of the questions", Duration::from_millis(2_500), || asked(world)).await?;
    ceiling.finish()?;
    desk.chain_holds(world, 0).await
}

pub(crate) async fn the_rest_is_sold_while_the_first_part_is_not_seen_to_be_gone(
    world: &World<'_>,
) -> Outcome {
    let (desk, mirror, position) = holding(world, BOUGHT).await?;
    let ceiling = Ceiling::over(&position, BOUGHT)?;
    // From here on nobody tells the mirror anything.
    world.ws_side.black_hole(Direction::Down, true);
    world.rpc_side.refuse(true);
    world.rpc_side.cut(Cut::Reset);
    let order = desk.sell_order(world, 60).await?;
    let flight = send(world, &position, &ceiling, 60, &order).await?;
    equal!(available(&position), Some(40), "while it is under way");
    let slot = world.landed(&order).await?;
    flight.landed(Floor::confirmed(slot));
    ceiling.sold_at(slot);
    let observed = position.reader().read();
    equal!(observed.last_known().and_then(|state| state.token_amount()), Some(BOUGHT), "what was last seen");
    equal!(available(&position), Some(40), "sold, and not seen to be gone");
    check!(position.fresh().is_err(), "a balance from before the sell: {observed:?}");
    let query = ReadQuery::max_age(mirror.selling_age()).deadline(Duration::from_millis(300));
    let unread = mirror.balance(&position.address(), query).await;
    check!(unread.as_ref().is_err_and(|error| error.is_transient()), "nobody can tell: {unread:?}");
    shape!(position.hold(41), Err(HoldError::TooMuch { wanted: 41, available: 40, .. }), "of what is gone");

    let rest = position.hold_all()?;
    ceiling.lower(40);
    equal!(rest.amount(), 40, "the rest");
    let order = desk.sell_order(world, rest.amount()).await?;
    let flight = order.sells(rest);
    world.post(&order).await?;
    let slot = world.landed(&order).await?;
    flight.landed(Floor::confirmed(slot));
    ceiling.sold_at(slot);
    shape!(position.hold_all(), Err(HoldError::Nothing { .. }), "all is sold");
    desk.chain_holds(world, 0).await?;

    world.rpc_side.refuse(false);
    world.ws_side.black_hole(Direction::Down, false);
    let gone = world.holds(position.reader(), 0).await?;
    check!(gone.as_of() >= Some(slot), "{gone:?}");
    equal!(available(&position), Some(0), "nothing is left");
    // What comes next is not eaten by debits that are over.
    ceiling.raise(7);
    desk.buy(world, 7).await?;
    world.holds(position.reader(), 7).await?;
    equal!(position.hold_all()?.amount(), 7, "bought anew");
    ceiling.finish()?;
    Ok(())
}

pub(crate) async fn after_a_sell_no_older_balance_is_served(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = holding_with(world, world.steady_builder(), BOUGHT).await?;
    let ceiling = Ceiling::over(&position, BOUGHT)?;
    // What the link tells comes late, and not before RPC has told the same.
    world.ws_side.delay(Direction::Down, world.canary_deadline() / 3);
    let mut left = BOUGHT;
    for _ in 0..4 {
        world.ws_side.black_hole(Direction::Down, true);
        let order = desk.sell_order(world, 10).await?;
        let flight = send(world, &position, &ceiling, 10, &order).await?;
        let slot = world.landed(&order).await?;
        flight.landed(Floor::confirmed(slot));
        ceiling.sold_at(slot);
        left -= 10;
        check!(mirror.health().slot < Some(slot), "the link is not late: {:?}", mirror.health());
        let balance = world.within("balance", position.balance()).await??;
        check!(balance.as_of() >= Some(slot), "as of the sell at {slot}: {balance:?}");
        equal!(balance.state.token_amount(), Some(left), "after the sell at {slot}");
        let balance = mirror.balance(&position.address(), mirror.general_age()).await?;
        equal!(balance.state.token_amount(), Some(left), "under any age");
        equal!(available(&position), Some(left), "to sell");
        world.ws_side.black_hole(Direction::Down, false);
    }
    world.ws_side.clear();
    world.holds(position.reader(), left).await?;
    ceiling.finish()?;
    desk.chain_holds(world, left).await
}

pub(crate) async fn a_sell_that_lands_while_the_link_is_down_stays_sold(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = holding(world, BOUGHT).await?;
    let ceiling = Ceiling::over(&position, BOUGHT)?;
    let mut left = BOUGHT;
    for (round, cut) in [Cut::Reset, Cut::Fin, Cut::Reset].into_iter().enumerate() {
        world.until("live link", || mirror.health().phase == LinkPhase::Live).await?;
        let order = desk.sell_order(world, 30).await?;
        // Down before it is sent, while it is under way, or with RPC.
        if round == 2 {
            world.rpc_side.refuse(true);
            world.rpc_side.cut(Cut::Reset);
        }
        if round != 1 {
            world.ws_side.refuse(true);
            world.ws_side.cut(cut);
        }
        let flight = send(world, &position, &ceiling, 30, &order).await?;
        world.ws_side.refuse(true);
        world.ws_side.cut(cut);
        let slot = world.landed(&order).await?;
        left -= 30;
        // Its notification may have come before the cut.
        check!(available(&position) <= Some(left), "{:?}", position.reader().read());
        match round {
            // Whoever sent it tells, or it is found out; before the link is back, or after.
            0 => {
                flight.landed(Floor::confirmed(slot));
                ceiling.sold_at(slot);
            }
            1 => {
                let ended = flight.outcome(world.soon()).await?;
                equal!(ended, SellOutcome::Landed { slot }, "found out");
            }
            _ => drop(flight),
        }
        if round < 2 {
            equal!(available(&position), Some(left), "while the link is down");
        }
        world.rpc_side.refuse(false);
        world.ws_side.refuse(false);
        world.holds(position.reader(), left).await?;
        world.until("rest, to sell", || available(&position) == Some(left)).await?;
        world.until("fresh", || position.fresh().is_ok()).await?;
        equal!(position.hold_all()?.amount(), left, "the rest");
    }
    let looks = ceiling.finish()?;
    check!(looks.fresh > 0, "{looks:?}");
    desk.chain_holds(world, left).await
}

pub(crate) async fn a_sell_that_fails_frees_its_tokens_in_doubt(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = holding(world, BOUGHT).await?;
    let hold = position.hold(70)?;
    let order = desk.failing_sell(world).await?;
    let flight = order.sells(hold);
    equal!((flight.amount(), flight.signature()), (70, order.signature()), "under way");
    // Once it is on chain, the mirror may find out before it is told.
    equal!(available(&position), Some(30), "under way");
    world.post(&order).await?;
    let slot = failed(world, &order).await?;
    flight.failed(Floor::confirmed(slot));
    equal!(available(&position), Some(BOUGHT), "free");
    doubted_until_rpc_answers(&position, &mirror, slot).await
}

pub(crate) async fn what_nobody_tells_of_a_failed_sell_is_found_out(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = holding(world, BOUGHT).await?;
    let hold = position.hold_all()?;
    let order = desk.failing_sell(world).await?;
    let flight = order.sells(hold);
    world.post(&order).await?;
    let slot = failed(world, &order).await?;
    equal!(flight.outcome(world.soon()).await?, SellOutcome::Failed { slot }, "found out");
    equal!(flight.outcome(world.soon()).await?, SellOutcome::Failed { slot }, "asked again");
    doubted_until_rpc_answers(&position, &mirror, slot).await?;
    // The same with nobody left to ask.
    let hold = position.hold_all()?;
    let order = desk.failing_sell(world).await?;
    let _ = order.sells(hold);
    equal!(available(&position), Some(0), "what is dropped is under way still");
    world.post(&order).await?;
    failed(world, &order).await?;
    world.until("free tokens", || available(&position) == Some(BOUGHT)).await?;
    shape!(position.fresh(), Err(stale) if stale.why == StaleReason::Invalidated, "in doubt");
    equal!(mirror.health().invalidations, 2, "invalidations");
    Ok(())
}

pub(crate) async fn what_nobody_tells_of_a_landed_sell_is_found_out(world: &World<'_>) -> Outcome {
    let (desk, _mirror, position) = holding(world, BOUGHT).await?;
    let ceiling = Ceiling::over(&position, BOUGHT)?;
    let order = desk.sell_order(world, 60).await?;
    let flight = send(world, &position, &ceiling, 60, &order).await?;
    let slot = world.landed(&order).await?;
    // Seen to be gone, and not known yet by whom: for a moment too little is available.
    check!(available(&position) <= Some(40), "{:?}", position.reader().read());
    equal!(flight.outcome(world.soon()).await?, SellOutcome::Landed { slot }, "found out");
    drop(flight);
    world.holds(position.reader(), 40).await?;
    equal!(position.hold_all()?.amount(), 40, "the rest");

    let order = desk.sell_order(world, 25).await?;
    drop(send(world, &position, &ceiling, 25, &order).await?);
    world.landed(&order).await?;
    world.holds(position.reader(), 15).await?;
    world.until("rest, to sell", || available(&position) == Some(15)).await?;
    equal!(position.hold_all()?.amount(), 15, "the rest");
    ceiling.finish()?;
    desk.chain_holds(world, 15).await
}

pub(crate) async fn a_sell_that_never_lands_frees_its_tokens_when_it_is_over(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = holding(world, BOUGHT).await?;
    for dropped in [false, true] {
        let (order, hold) = (desk.sell_order(world, 60).await?, position.hold(60)?);
        let last_valid = world.height().await? + world.short_life();
        let flight = hold.sending(order.signature(), last_valid);
        let expired = async {
            if dropped {
                drop(flight);
            } else {
                let expired = SellOutcome::Expired { last_valid_block_height: last_valid };
                equal!(flight.outcome(2 * world.soon()).await?, expired, "found out");
            }
            while available(&position) != Some(BOUGHT) {
                world.pass(Duration::from_millis(2)).await;
            }
            Outcome::Ok(())
        };
        world.within_time(2 * world.soon(), "free tokens", expired).await??;
        let height = world.height().await?;
        check!(height > last_valid, "free at height {height}, where it was valid up to {last_valid}");
        equal!(position.hold_all()?.amount(), BOUGHT, "all of it, and in no doubt");
        equal!(mirror.health().invalidations, 0, "invalidations");
    }
    desk.chain_holds(world, BOUGHT).await
}

pub(crate) async fn a_sell_that_never_left_is_free_at_once(world: &World<'_>) -> Outcome {
    let (desk, _mirror, position) = holding(world, BOUGHT).await?;
    let order = desk.sell_order(world, BOUGHT).await?;
    let before = asked(world);
    let flight = order.sells(position.hold_all()?);
    shape!(position.hold(1), Err(HoldError::TooMuch { wanted: 1, available: 0, .. }), "all is under way");
    flight.not_sent();
    equal!(position.hold_all()?.amount(), BOUGHT, "free");
    world.pass(Duration::from_millis(2_500)).await;
    equal!(asked(world), before, "bytes sent to RPC");
    desk.chain_holds(world, BOUGHT).await
}
