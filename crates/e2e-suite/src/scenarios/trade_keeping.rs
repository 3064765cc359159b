//! What is kept, and what is let go: emptied accounts, open buys, a bot that starts again.

use std::time::Duration;

use balance_mirror::{ExpectedBuy, HoldError, Mirror, StaleReason, TokenProgram, WaitError};

use super::desk::Desk;
use crate::{
    outcome::{Outcome, check, equal, shape},
    proxy::Cut,
    world::World,
};

const LINGER: Duration = Duration::from_millis(300);
/// In which whatever is to be swept is.
const SPELL: Duration = Duration::from_millis(1_500);

fn tidy(world: &World<'_>) -> Outcome<Mirror> {
    Ok(world.builder().linger(LINGER).start()?)
}

/// Fails if the account goes within several lingers.
async fn stays(world: &World<'_>, mirror: &Mirror, desk: &Desk, why: &str) -> Outcome {
    world.pass(SPELL).await;
    let reader = mirror.reader(&desk.account());
    check!(reader.is_some_and(|reader| reader.read().is_live()), "swept: {why}");
    Ok(())
}

pub(crate) async fn what_is_sold_out_is_let_go(world: &World<'_>) -> Outcome {
    for (number, program) in TokenProgram::ALL.into_iter().enumerate() {
        let desk = Desk::open(world, program, &[]).await?;
        let mirror = tidy(world)?;
        let position = desk.bought(world, &mirror, 50).await?;
        stays(world, &mirror, &desk, "it holds something").await?;
        let ended = position.reader().clone();
        let ended = async move { ended.wait_for(|_| false, Duration::from_secs(60)).await };
        // Sold out, or closed as well.
        if number == 0 {
            desk.sell(world, 50).await?;
        } else {
            desk.token.sell_out(world, &desk.wallet, 50).await?;
        }
        let (ended, swept) = tokio::join!(world.within("end of a wait", ended), desk.swept(world, &mirror));
        swept?;
        shape!(ended?, Err(WaitError::Ended { why: StaleReason::Unwatched, .. }), "who waits is told");
        shape!(position.fresh(), Err(stale) if stale.why == StaleReason::Unwatched, "who reads is told");
        shape!(position.hold(1), Err(HoldError::NotWatched { .. }), "nothing is sold there");
        equal!((mirror.health().swept, mirror.watched()), (1, vec![]), "swept, and left");
        check!(mirror.position(&desk.account()).is_none() && mirror.positions().is_empty(), "{mirror:?}");
        // And it is opened anew.
        let again = desk.bought(world, &mirror, 20).await?;
        equal!(again.hold_all()?.amount(), 20, "bought anew");
    }
    Ok(())
}

pub(crate) async fn what_is_held_or_expected_is_not_let_go(world: &World<'_>) -> Outcome {
    let (held, expected) = (Desk::plain(world).await?, Desk::plain(world).await?);
    let (flying, pinned) = (Desk::plain(world).await?, Desk::plain(world).await?);
    let mirror = tidy(world)?;
    let position = held.bought(world, &mirror, 50).await?;
    let hold = position.hold(10)?;
    held.sell(world, 50).await?;
    world.holds(position.reader(), 0).await?;

    let sold = flying.bought(world, &mirror, 50).await?;
    let order = flying.sell_order(world, 50).await?;
    let flight = sold.hold_all()?.sending(order.signature(), u64::MAX);
    flying.sell(world, 50).await?;
    world.holds(sold.reader(), 0).await?;

    let open = expected.expect(world, &mirror).await?;
    let by_hand = mirror.watch(pinned.token.target(&pinned.owner()))?;
    drop(pinned.expect(world, &mirror).await?);
    world.is(&by_hand, "absent").await?;

    world.pass(SPELL).await;
    for (desk, why) in
        [(&held, "held"), (&flying, "in flight"), (&expected, "expected"), (&pinned, "watched")]
    {
        let reader = mirror.reader(&desk.account());
        check!(reader.is_some_and(|reader| reader.read().is_live()), "swept, though {why}");
    }
    equal!(mirror.health().swept, 0, "swept");
    // As soon as nothing keeps them they go, but what is watched by hand.
    drop(hold);
    held.swept(world, &mirror).await?;
    flight.not_sent();
    flying.swept(world, &mirror).await?;
    expected.buy(world, 5).await?;
    world.within("settled buy", open.settled(ExpectedBuy::at_least(5))).await??;
    stays(world, &mirror, &expected, "it holds something").await?;
    expected.sell(world, 5).await?;
    expected.swept(world, &mirror).await?;
    stays(world, &mirror, &pinned, "it is watched by hand").await?;
    equal!((mirror.health().swept, mirror.watched()), (3, vec![pinned.account()]), "swept, and left");
    Ok(())
}

pub(crate) async fn what_is_prewarmed_is_kept_for_its_time(world: &World<'_>) -> Outcome {
    let (short, long) = (Desk::plain(world).await?, Desk::plain(world).await?);
    let mirror = tidy(world)?;
    let warm = |desk: &Desk, keep| {
        let (wallet, mint) = (desk.owner(), desk.token.mint);
        let mirror = mirror.clone();
        async move { mirror.prewarm(&wallet, &mint, Some(TokenProgram::Token), keep).await }
    };
    let kept = warm(&long, 2 * world.soon()).await?;
    let gone = warm(&short, LINGER).await?;
    world.live(kept.reader()).await?;
    short.swept(world, &mirror).await?;
    shape!(gone.fresh(), Err(stale) if stale.why == StaleReason::Unwatched, "its time is over");
    stays(world, &mirror, &long, "its time is not over").await?;
    // A buy that is given up does not shorten it.
    drop(long.expect(world, &mirror).await?);
    stays(world, &mirror, &long, "its time is not over").await?;
    equal!(mirror.health().swept, 1, "swept");
    Ok(())
}

pub(crate) async fn an_account_is_not_let_go_while_its_link_is_down(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    // When it is over, what a link proved is too old to let anything go on.
    let linger = world.canary_deadline() + Duration::from_secs(1);
    let mirror = world.builder().linger(linger).start()?;
    let position = desk.bought(world, &mirror, 50).await?;
    desk.sell(world, 50).await?;
    world.holds(position.reader(), 0).await?;
    for proxy in [&world.ws_side, &world.rpc_side] {
        proxy.refuse(true);
        proxy.cut(Cut::Reset);
    }
    // Meanwhile it is bought anew, by a hand that the mirror does not see.
    desk.buy(world, 7).await?;
    world.pass(2 * linger).await;
    for proxy in [&world.ws_side, &world.rpc_side] {
        proxy.refuse(false);
    }
    world.holds(position.reader(), 7).await?;
    world.pass(linger).await;
    check!(position.reader().read().is_live() && mirror.health().swept == 0, "{:?}", mirror.health());
    equal!(position.hold_all()?.amount(), 7, "to sell");
    Ok(())
}
