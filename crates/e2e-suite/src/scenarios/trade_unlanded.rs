//! Buys that bring nothing: they fail, expire, or nobody can tell.

use std::time::{Duration, Instant};

use balance_mirror::{BuyLanding, ExpectedBuy, Mirror, Position, SettleError, StaleReason};
use localnet::{Hash, Signer};

use super::desk::Desk;
use crate::{
    order::{End, Order},
    outcome::{Outcome, check, equal, shape},
    world::World,
};

/// Longer than any scenario: an account goes earlier only if nothing keeps it.
const LINGER: Duration = Duration::from_secs(600);

async fn expecting(world: &World<'_>) -> Outcome<(Desk, Mirror, Position)> {
    let desk = Desk::plain(world).await?;
    let mirror = world.builder().linger(LINGER).start()?;
    let position = desk.expect(world, &mirror).await?;
    Ok((desk, mirror, position))
}

fn told(order: &Order, last_valid_block_height: u64) -> ExpectedBuy {
    ExpectedBuy::at_least(10).signature(order.signature()).valid_until(last_valid_block_height)
}

/// What a buy came to nothing for is let go at once, whatever the linger.
async fn released(world: &World<'_>, desk: &Desk, mirror: &Mirror, position: &Position) -> Outcome {
    desk.swept(world, mirror).await?;
    equal!((mirror.health().swept, mirror.positions().len()), (1, 0), "swept, and left");
    shape!(position.fresh(), Err(stale) if stale.why == StaleReason::Unwatched, "its readers are told");
    desk.chain_holds(world, 0).await
}

pub(crate) async fn a_buy_that_was_never_sent_expires(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = expecting(world).await?;
    let order = desk.buy_order(world, 10).await?;
    let last_valid = world.height().await? + world.short_life();
    let expired = world.within_time(2 * world.soon(), "expiry", position.settled(told(&order, last_valid)));
    let expired = expired.await?;
    let height = world.height().await?;
    shape!(
        expired,
        Err(SettleError::Expired { signature, last_valid_block_height })
            if *signature == order.signature() && *last_valid_block_height == last_valid,
        "it can land no more"
    );
    check!(height > last_valid, "told at height {height}, where it was valid up to {last_valid}");
    released(world, &desk, &mirror, &position).await?;
    // The same can be expected again.
    let again = desk.expect(world, &mirror).await?;
    desk.buy(world, 10).await?;
    equal!(again.settled(ExpectedBuy::at_least(10)).await?.received, 10, "the next one");
    Ok(())
}

pub(crate) async fn a_buy_sent_too_late_expires(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = expecting(world).await?;
    // No bank knows this blockhash, as if it were too old.
    let over = world.height().await?.saturating_sub(1);
    let pool = world.payer().pubkey();
    let transfer = desk.token.transfer(&pool, &desk.owner(), 10);
    let instructions = [desk.token.create_ata(&desk.owner()), transfer];
    let order = world.sign_with((Hash::new_from_array([7; 32]), over), &instructions, &[]);
    world.post(&order).await?;
    let expired = world.within("expiry", position.settled(told(&order, over))).await?;
    shape!(expired, Err(SettleError::Expired { .. }), "it cannot land");
    released(world, &desk, &mirror, &position).await
}

pub(crate) async fn a_buy_that_fails_on_chain_says_where(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = expecting(world).await?;
    // More than the pool has: the account is not created either.
    let order = desk.buy_order(world, u64::MAX).await?;
    world.post(&order).await?;
    let failed = world.within("failure", position.settled(told(&order, order.last_valid_block_height)));
    let failed = failed.await?;
    let End::Failed(at) = world.end_of(&order).await? else { return Err("it landed".into()) };
    shape!(
        failed,
        Err(SettleError::Failed { signature, slot }) if *signature == order.signature() && *slot == at,
        "failed at {at}"
    );
    released(world, &desk, &mirror, &position).await
}

pub(crate) async fn a_buy_that_fails_takes_no_tokens_along(world: &World<'_>) -> Outcome {
    let (desk, mirror, first) = expecting(world).await?;
    desk.buy(world, 30).await?;
    world.within("settled buy", first.settled(ExpectedBuy::at_least(30))).await??;
    let second = desk.expect(world, &mirror).await?;
    let order = desk.buy_order(world, u64::MAX).await?;
    world.post(&order).await?;
    let failed = world.within("failure", second.settled(told(&order, order.last_valid_block_height)));
    shape!(failed.await?, Err(SettleError::Failed { .. }), "it fails");
    // What was there before stays watched, and can be sold.
    world.pass(Duration::from_secs(1)).await;
    equal!(first.hold_all()?.amount(), 30, "what is there");
    check!(first.reader().read().is_live() && mirror.health().swept == 0, "{:?}", mirror.health());
    Ok(())
}

pub(crate) async fn without_a_signature_nobody_knows_that_a_buy_never_landed(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = expecting(world).await?;
    let deadline = Duration::from_millis(900);
    let bare = ExpectedBuy::at_least(10).deadline(deadline);
    let waited = Instant::now();
    shape!(
        position.settled(bare).await,
        Err(SettleError::Deadline { received: 0, expected: 10, deadline: told, landing: BuyLanding::Unknown })
            if *told == deadline,
        "nobody can tell"
    );
    check!(waited.elapsed() >= deadline, "after {:?}", waited.elapsed());
    let order = desk.buy_order(world, 10).await?;
    shape!(
        position.settled(told(&order, order.last_valid_block_height).deadline(deadline)).await,
        Err(SettleError::Deadline { received: 0, landing: BuyLanding::Pending, .. }),
        "it may still land"
    );
    // It stays expected, and settles in the end.
    check!(position.reader().read().is_live() && mirror.health().swept == 0, "{:?}", mirror.health());
    world.post(&order).await?;
    let settled = world.within("settled buy", position.settled(bare.deadline(world.soon()))).await??;
    equal!(settled.received, 10, "what arrived");
    Ok(())
}

pub(crate) async fn dust_leaves_it_open_what_an_expired_buy_brought(world: &World<'_>) -> Outcome {
    let (desk, mirror, position) = expecting(world).await?;
    world.send(&[desk.token.create_ata(&desk.owner())], &[]).await?;
    desk.dust(world, 3).await?;
    let order = desk.buy_order(world, 10).await?;
    let last_valid = world.height().await? + world.short_life();
    // Long enough to be asked for thrice after its end.
    let deadline = world.slots(2 * world.short_life() as u32) + Duration::from_secs(6);
    let missed = position.settled(told(&order, last_valid).deadline(deadline)).await;
    shape!(
        missed,
        Err(SettleError::Deadline { received: 3, expected: 10, landing: BuyLanding::Expired, .. }),
        "it expired, and something arrived"
    );
    // It holds something: it stays.
    equal!(position.hold_all()?.amount(), 3, "to sell");
    equal!(mirror.health().swept, 0, "swept");
    Ok(())
}
