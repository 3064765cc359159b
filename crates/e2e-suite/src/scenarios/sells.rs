//! Sells in flight of which nobody says how they ended: the mirror finds it out by RPC.

use balance_mirror::{HoldError, SellOutcome, StaleReason};
use localnet::Signer;

use super::market::USUAL;
use crate::{
    order::Order,
    outcome::{Outcome, check, equal, shape},
    token::Token,
    world::World,
};

/// A sell of so many of the payer's tokens.
async fn signed(world: &World<'_>, token: &Token, amount: u64) -> Outcome<Order> {
    world.sign(&[token.burn(&world.payer().pubkey(), amount)], &[]).await
}

pub(crate) async fn a_sell_in_flight_is_looked_after_until_its_end(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = world.payer().pubkey();
    token.buy(world, &wallet, 100).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 100).await?;
    let address = reader.address();
    let available = || reader.read().available();

    // One that lands.
    let sell = signed(world, &token, 30).await?;
    let landing = sell.sells(mirror.hold(&address, 30)?);
    shape!(mirror.hold(&address, 71), Err(HoldError::TooMuch { available: 70, .. }), "another strategy");
    world.post(&sell).await?;
    let outcome = landing.outcome(world.soon()).await?;
    shape!(outcome, SellOutcome::Landed { .. }, "it landed");
    world.holds(&reader, 70).await?;
    equal!(available(), Some(70), "it is deducted once");

    // One that fails on chain: there are not so many.
    let sell = signed(world, &token, 1_000).await?;
    let failing = sell.sells(mirror.hold(&address, 50)?);
    world.post(&sell).await?;
    let outcome = failing.outcome(world.soon()).await?;
    shape!(outcome, SellOutcome::Failed { .. }, "it failed");
    equal!(available(), Some(70), "its tokens are free");
    shape!(reader.fresh(USUAL), Err(stale) if stale.why == StaleReason::Invalidated, "and in doubt");
    equal!(mirror.balance(&address, USUAL).await?.state.token_amount(), Some(70), "until RPC has said so");

    // One that reaches nobody, whose handle is dropped.
    let sell = signed(world, &token, 70).await?;
    let height = world.height().await?;
    drop(mirror.hold_all(&address)?.sending(sell.signature(), height + 4));
    equal!(available(), Some(0), "it may land");
    world.until("its expiry", || available() == Some(70)).await?;
    let passed = world.height().await?;
    check!(passed > height + 4, "free at height {passed}, valid up to {}", height + 4);
    equal!(mirror.hold_all(&address)?.amount(), 70, "all can be sold again");
    Ok(())
}
