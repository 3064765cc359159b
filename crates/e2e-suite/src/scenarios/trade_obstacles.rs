//! What stands in the way of a sell, as the chain has it.

use std::time::Duration;

use balance_mirror::{
    HoldError, Mirror, Position, SellObstacle, SellObstacles, SellWarning, TokenProgram, Unsellable,
};
use localnet::{
    Keypair, Signer,
    tokens::{self, Extension},
};

use super::desk::Desk;
use crate::{
    outcome::{Outcome, check, equal, shape},
    world::World,
};

/// What the account holds.
const HELD: u64 = 100;

/// Both forms of the question agree: the one that tells, and the one that takes.
fn blocked(position: &Position, obstacle: SellObstacle) -> Outcome {
    let only = |obstacles: &SellObstacles| obstacles.iter().eq([obstacle]);
    shape!(position.sellable(), Err(Unsellable::Blocked(obstacles)) if only(obstacles), "it is {obstacle}");
    shape!(
        position.hold(1),
        Err(HoldError::Unsellable(obstacles)) if only(obstacles),
        "it is {obstacle}"
    );
    check!(position.hold_all().is_err(), "it is {obstacle}");
    Ok(())
}

fn free(position: &Position, amount: u64) -> Outcome {
    let sellable = position.sellable()?;
    equal!(sellable.amount, amount, "{sellable:?}");
    equal!(position.hold_all()?.amount(), amount, "to hold");
    Ok(())
}

/// A position in an account that holds something already, opened once its mint is read.
async fn adopted(world: &World<'_>, mirror: &Mirror, desk: &Desk) -> Outcome<Position> {
    let keep = 4 * world.soon();
    let position = mirror.prewarm(&desk.owner(), &desk.token.mint, Some(desk.token.program), keep).await?;
    world.live(position.reader()).await?;
    world.until("mint", || mirror.mint(&desk.token.mint).is_some()).await?;
    Ok(position)
}

pub(crate) async fn frozen_between_buy_and_sell(world: &World<'_>) -> Outcome {
    for program in TokenProgram::ALL {
        let desk = Desk::open(world, program, &[]).await?;
        let mirror = world.mirror()?;
        let position = desk.bought(world, &mirror, HELD).await?;
        free(&position, HELD)?;
        let sellable = position.sellable()?;
        check!(sellable.warnings.contains(SellWarning::FreezeAuthority), "{sellable:?}");
        let held = position.hold(10)?;
        world.send(&[desk.token.freeze(&desk.account())], &[]).await?;
        world.is(position.reader(), "frozen").await?;
        blocked(&position, SellObstacle::Frozen)?;
        // What the chain says of it is the same.
        let sell = desk.sell_order(world, 1).await?;
        check!(world.submit(&sell).await.is_err(), "a frozen account sold");
        world.send(&[desk.token.thaw(&desk.account())], &[]).await?;
        world.is(position.reader(), "initialized").await?;
        free(&position, HELD - 10)?;
        drop(held);
        free(&position, HELD)?;
        desk.sell(world, HELD).await?;
        world.holds(position.reader(), 0).await?;
        shape!(
            position.sellable(),
            Err(Unsellable::Blocked(obstacles)) if obstacles.iter().eq([SellObstacle::Empty]),
            "sold out"
        );
    }
    Ok(())
}

pub(crate) async fn what_there_is_not_cannot_be_sold(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    let mirror = world.builder().linger(Duration::from_secs(600)).start()?;
    let position = desk.expect(world, &mirror).await?;
    blocked(&position, SellObstacle::Absent)?;
    desk.buy(world, HELD).await?;
    world.holds(position.reader(), HELD).await?;
    free(&position, HELD)?;
    let all = position.hold_all()?;
    shape!(
        position.sellable(),
        Err(Unsellable::Blocked(obstacles)) if obstacles.iter().eq([SellObstacle::Held]),
        "all of it is held"
    );
    drop(all);
    let stranger = Keypair::new();
    let give = desk.token.give_account(&desk.account(), &desk.owner(), &stranger.pubkey());
    world.send(&[give], &[&desk.wallet]).await?;
    world.is(position.reader(), "owner_changed").await?;
    blocked(&position, SellObstacle::OwnerChanged)?;
    let back = desk.token.give_account(&desk.account(), &stranger.pubkey(), &desk.owner());
    world.send(&[back], &[&stranger]).await?;
    world.holds(position.reader(), HELD).await?;
    free(&position, HELD)?;
    desk.token.sell_out(world, &desk.wallet, HELD).await?;
    world.is(position.reader(), "closed").await?;
    blocked(&position, SellObstacle::Closed)
}

pub(crate) async fn what_others_may_do_is_a_warning(world: &World<'_>) -> Outcome {
    let (delegate, forever) = (Keypair::new().pubkey(), Keypair::new().pubkey());
    let fee = Extension::TransferFee { basis_points: 100, maximum: u64::MAX };
    let kinds = [fee, Extension::PermanentDelegate(forever), Extension::Pausable];
    let desk = Desk::open(world, TokenProgram::Token2022, &kinds).await?;
    let mirror = world.mirror()?;
    desk.buy(world, 1_000).await?;
    let position = adopted(world, &mirror, &desk).await?;
    let of_mint = [
        SellWarning::TransferFee,
        SellWarning::PermanentDelegate,
        SellWarning::Pausable,
        SellWarning::FreezeAuthority,
    ];
    // A part of what it bought is withheld in the account.
    let of_account = [SellWarning::WithheldFees];
    free(&position, 990)?;
    let warnings = position.sellable()?.warnings;
    let mut told: Vec<_> = warnings.iter().collect();
    let mut expected: Vec<_> = of_mint.into_iter().chain(of_account).collect();
    told.sort_unstable();
    expected.sort_unstable();
    equal!(told, expected, "warnings");
    desk.approve(world, &delegate, 5).await?;
    world
        .until("delegate", || {
            position.sellable().is_ok_and(|sellable| sellable.warnings.contains(SellWarning::Delegate))
        })
        .await?;
    free(&position, 990)
}

pub(crate) async fn what_its_mint_forbids_cannot_be_sold(world: &World<'_>) -> Outcome {
    // Tokens that never move are minted to their holder.
    let token =
        crate::token::Token::create(world, TokenProgram::Token2022, &[Extension::NonTransferable]).await?;
    let desk = Desk { token, wallet: Keypair::new() };
    token.buy(world, &desk.owner(), HELD).await?;
    let mirror = world.mirror()?;
    let position = adopted(world, &mirror, &desk).await?;
    blocked(&position, SellObstacle::NonTransferable)?;

    let desk = Desk::open(world, TokenProgram::Token2022, &[Extension::Pausable]).await?;
    desk.buy(world, HELD).await?;
    let before = world.mirror()?;
    let position = adopted(world, &before, &desk).await?;
    free(&position, HELD)?;
    let authority = world.payer().pubkey();
    world.send(&[tokens::pause(&desk.token.mint, &authority)], &[]).await?;
    let sell = desk.sell_order(world, 1).await?;
    check!(world.submit(&sell).await.is_err(), "a paused mint moved");
    // A mint is read again every minute: a bot that starts now knows at once.
    let paused = world.mirror()?;
    let position = adopted(world, &paused, &desk).await?;
    blocked(&position, SellObstacle::Paused)?;
    world.send(&[tokens::resume(&desk.token.mint, &authority)], &[]).await?;
    let resumed = world.mirror()?;
    let position = adopted(world, &resumed, &desk).await?;
    free(&position, HELD)
}

pub(crate) async fn behind_a_cpi_guard_nothing_is_sold_until_its_owner_opens_it(
    world: &World<'_>,
) -> Outcome {
    let desk = Desk::open(world, TokenProgram::Token2022, &[]).await?;
    let mirror = world.mirror()?;
    let position = desk.bought(world, &mirror, HELD).await?;
    let payer = world.payer().pubkey();
    let guard = tokens::enable_cpi_guard(&desk.account(), &payer, &desk.owner());
    world.send(&guard, &[&desk.wallet]).await?;
    let guarded = || position.sellable().is_err();
    world.until("guard", guarded).await?;
    blocked(&position, SellObstacle::CpiGuard)?;
    let open = tokens::disable_cpi_guard(&desk.account(), &desk.owner());
    world.send(&[open], &[&desk.wallet]).await?;
    world.until("guard's end", || !guarded()).await?;
    free(&position, HELD)
}
