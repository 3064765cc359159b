//! The processed bank beside what is confirmed: a hint, which may be taken back.

use std::time::Duration;

use balance_mirror::{AccountState, LinkPhase, Mirror, MirrorUpdate, MirrorUpdates, Reader, Reading};
use localnet::Localnet;

use super::market::{Market, USUAL};
use crate::{
    outcome::{Outcome, check, equal},
    world::World,
};

/// The chain stands still between steps: links must bear that.
const PATIENT: Duration = Duration::from_secs(20);

fn shown(reading: &Reading) -> Option<u64> {
    reading.processed().and_then(|(state, _)| state.token_amount())
}

fn confirmed(reading: &Reading) -> Option<u64> {
    reading.fresh(USUAL).ok().and_then(AccountState::token_amount)
}

/// One account of 100, live, on a chain that moves on demand.
struct Stage<'a> {
    net: &'a Localnet,
    market: Market,
    mirror: Mirror,
    reader: Reader,
    updates: MirrorUpdates,
}

impl<'a> Stage<'a> {
    async fn open(world: &World<'a>) -> Outcome<Self> {
        let net = world.local()?;
        let market = Market::open(world, 1).await?;
        let builder = world.builder().processed(true).canary_deadline(PATIENT);
        let (mirror, mut readers) = market.follow(world, builder).await?;
        let reader = readers.remove(0);
        // The twin has a connection of its own, with the account and the Clock.
        world.until("the twin", || net.subscribers(&market.accounts[0]) == 2).await?;
        let updates = mirror.updates();
        let stage = Self { net, market, mirror, reader, updates };
        // Until the twin has it as well: what is shown proves it.
        let mut amount = 100;
        while shown(&stage.reader.read()).is_none() {
            stage.market.trade(world).await?;
            amount += 1;
            check!(amount < 200, "nothing is ever shown");
        }
        world.holds(&stage.reader, amount).await?;
        net.pause_slots();
        Ok(stage)
    }

    /// Mints in the open bank, and freezes it: processed, and not confirmed.
    fn mint(&self, amount: u64) -> Outcome<u64> {
        let mint = self.market.token.mint_to(&self.market.accounts[0], amount);
        let landed = self.net.send(&[mint], &[])?;
        self.net.advance(1);
        Ok(landed.slot)
    }

    async fn until_shown(&self, world: &World<'_>, amount: u64) -> Outcome<Reading> {
        let met = |reading: &Reading| shown(reading) == Some(amount);
        let seen = self.reader.wait_for(met, world.soon()).await;
        seen.map_err(|error| format!("{amount} is not shown: {error}; {:?}", self.reader.read()).into())
    }

    /// The next update of the processed view that is asked for.
    async fn until_told(
        &mut self,
        world: &World<'_>,
        what: &str,
        is: impl Fn(&MirrorUpdate) -> bool,
    ) -> Outcome {
        let told = async {
            while let Some(update) = self.updates.next().await {
                if is(&update) {
                    return true;
                }
            }
            false
        };
        check!(world.within(what, told).await?, "the updates ended before {what}");
        Ok(())
    }
}

pub(crate) async fn a_change_is_shown_before_it_is_confirmed(world: &World<'_>) -> Outcome {
    let mut stage = Stage::open(world).await?;
    let before = confirmed(&stage.reader.read()).ok_or("nothing confirmed")?;
    let slot = stage.mint(5)?;
    let reading = stage.until_shown(world, before + 5).await?;
    equal!(reading.processed().map(|(_, slot)| slot), Some(slot), "its slot");
    equal!(confirmed(&reading), Some(before), "what is served is what is confirmed");
    check!(reading.as_of() < Some(slot), "{reading:?}");
    let balance = stage.mirror.balance(&stage.reader.address(), Duration::ZERO).await;
    check!(balance.is_ok_and(|balance| balance.state.token_amount() == Some(before)), "a hint was served");
    stage
        .until_told(
            world,
            "a hint",
            |update| matches!(update, MirrorUpdate::Processed(seen) if seen.slot == slot),
        )
        .await?;
    stage.net.advance(3);
    stage.reader.wait_for(|reading| confirmed(reading) == Some(before + 5), world.soon()).await?;
    stage.reader.wait_for(|reading| shown(reading).is_none(), world.soon()).await?;
    stage.net.resume_slots();
    let mut reverted = false;
    stage
        .until_told(world, "its confirmation", |update| match update {
            MirrorUpdate::Account(update) => update.state.token_amount() == Some(before + 5),
            _ => false,
        })
        .await?;
    while let Ok(Some(update)) = tokio::time::timeout(Duration::from_millis(300), stage.updates.next()).await
    {
        reverted |= matches!(update, MirrorUpdate::Reverted { .. });
    }
    check!(!reverted, "it came to be, and was called reverted");
    Ok(())
}

pub(crate) async fn a_fork_that_is_told_takes_the_hint_back(world: &World<'_>) -> Outcome {
    let mut stage = Stage::open(world).await?;
    let before = confirmed(&stage.reader.read()).ok_or("nothing confirmed")?;
    stage.mint(7)?;
    stage.until_shown(world, before + 7).await?;
    equal!(stage.net.faults().revert(1).len(), 1, "slots abandoned");
    stage.reader.wait_for(|reading| shown(reading) != Some(before + 7), world.soon()).await?;
    stage
        .until_told(world, "the revert", |update| match update {
            MirrorUpdate::Reverted { .. } => true,
            MirrorUpdate::Processed(seen) => seen.state.token_amount() == Some(before),
            _ => false,
        })
        .await?;
    stage.net.resume_slots();
    world.holds(&stage.reader, before).await?;
    equal!(
        stage.reader.read().last_known().and_then(AccountState::token_amount),
        Some(before),
        "never served"
    );
    Ok(())
}

pub(crate) async fn a_fork_that_nobody_tells_is_reverted_by_what_is_confirmed(world: &World<'_>) -> Outcome {
    let mut stage = Stage::open(world).await?;
    let before = confirmed(&stage.reader.read()).ok_or("nothing confirmed")?;
    stage.net.faults().silent_reverts(true);
    stage.mint(7)?;
    stage.until_shown(world, before + 7).await?;
    equal!(stage.net.faults().revert(1).len(), 1, "slots abandoned");
    let reading = stage.reader.read();
    equal!(confirmed(&reading), Some(before), "what is served");
    stage.net.advance(4);
    stage.until_told(world, "the revert", |update| matches!(update, MirrorUpdate::Reverted { .. })).await?;
    stage.reader.wait_for(|reading| shown(reading).is_none(), world.soon()).await?;
    stage.net.faults().clear();
    stage.net.resume_slots();
    world.holds(&stage.reader, before).await?;
    Ok(())
}

pub(crate) async fn a_hint_goes_with_its_connection(world: &World<'_>) -> Outcome {
    let mut stage = Stage::open(world).await?;
    let before = confirmed(&stage.reader.read()).ok_or("nothing confirmed")?;
    stage.mint(3)?;
    stage.until_shown(world, before + 3).await?;
    world.ws_side.refuse(true);
    world.ws_side.cut(crate::proxy::Cut::Reset);
    stage.reader.wait_for(|reading| shown(reading).is_none(), world.soon()).await?;
    equal!(confirmed(&stage.reader.read()), Some(before), "what is served");
    world.ws_side.refuse(false);
    stage.net.resume_slots();
    world.holds(&stage.reader, before + 3).await?;
    world.until("live", || stage.mirror.health().phase == LinkPhase::Live).await?;
    // And the next connection shows again.
    world.until("the twin", || stage.net.subscribers(&stage.reader.address()) == 2).await?;
    let mut amount = before + 3;
    let wanted = |update: &MirrorUpdate| matches!(update, MirrorUpdate::Processed(_));
    stage.updates = stage.mirror.updates();
    for _ in 0..3 {
        stage.market.trade(world).await?;
        amount += 1;
    }
    stage.until_told(world, "a hint", wanted).await?;
    world.holds(&stage.reader, amount).await?;
    Ok(())
}
