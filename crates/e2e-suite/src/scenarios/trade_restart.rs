//! A bot that starts again in the middle of its trades.

use balance_mirror::{Floor, TokenProgram};

use super::{ceiling::Ceiling, desk::Desk};
use crate::{
    outcome::{Outcome, check, equal},
    world::World,
};

pub(crate) async fn a_bot_that_starts_again_sells_what_it_finds(world: &World<'_>) -> Outcome {
    let plain = Desk::plain(world).await?;
    let modern = Desk::open(world, TokenProgram::Token2022, &[]).await?;
    let modern = Desk { wallet: plain.wallet.insecure_clone(), ..modern };
    let mirror = world.mirror()?;
    let first = plain.bought(world, &mirror, 100).await?;
    let second = modern.expect(world, &mirror).await?;
    // In the middle: one sell is under way, one buy was never seen to settle, one hold is open.
    let hold = first.hold(10)?;
    let order = plain.sell_order(world, 60).await?;
    let flight = order.sells(first.hold(60)?);
    world.post(&order).await?;
    modern.buy(world, 200).await?;
    mirror.shutdown().await;
    drop((mirror, second, hold, flight));
    world.landed(&order).await?;

    let mirror = world.mirror()?;
    let adopted = world.within("adoption", mirror.adopt(&plain.owner())).await??;
    check!(adopted.left_out.is_empty(), "{adopted:?}");
    for (desk, amount) in [(&plain, 40), (&modern, 200)] {
        let position = mirror.position(&desk.account()).ok_or("it was not found")?;
        equal!((position.mint(), position.wallet()), (desk.token.mint, plain.owner()), "whose it is");
        world.holds(position.reader(), amount).await?;
        let ceiling = Ceiling::over(&position, amount)?;
        let hold = position.hold_all()?;
        ceiling.lower(amount);
        equal!(hold.amount(), amount, "all of it");
        let order = desk.sell_order(world, amount).await?;
        let flight = order.sells(hold);
        world.post(&order).await?;
        let slot = world.landed(&order).await?;
        flight.landed(Floor::confirmed(slot));
        ceiling.sold_at(slot);
        world.holds(position.reader(), 0).await?;
        ceiling.finish()?;
        desk.chain_holds(world, 0).await?;
    }
    Ok(())
}
