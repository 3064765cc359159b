//! A token traded, from the expected buy to the swept account.

use std::time::Duration;

use balance_mirror::{
    BuyError, BuyLanding, ExpectedBuy, Floor, MintError, Mirror, SettleError, SettledThrough, StaleReason,
    TokenProgram,
};
use localnet::{Keypair, Signer, tokens::Extension};

use super::desk::asked;
use crate::{
    order::Order,
    outcome::{Outcome, check, equal, shape},
    proxy::Direction,
    token::Token,
    world::World,
};

/// How long an empty account is watched on here.
const LINGER: Duration = Duration::from_millis(300);

pub(crate) async fn a_token_is_bought_held_sold_and_swept(world: &World<'_>) -> Outcome {
    for program in TokenProgram::ALL {
        let token = Token::create(world, program, &[]).await?;
        let wallet = Keypair::new();
        // Only a notification can be so quick.
        let mirror = world.builder().linger(LINGER).probe_after(world.soon()).start()?;
        let position = mirror.expect_buy(&wallet.pubkey(), &token.mint, None).await?;
        equal!(
            (position.program(), position.address()),
            (program, token.ata(&wallet.pubkey())),
            "its account"
        );
        equal!(position.baseline().map(|baseline| baseline.amount), Some(0), "there is none yet");
        // What waits for a buy is not swept.
        world.pass(3 * LINGER).await;
        world.live(position.reader()).await?;

        token.buy(world, &wallet.pubkey(), 500).await?;
        let settled = position.settled(ExpectedBuy::at_least(500).deadline(world.soon())).await?;
        equal!((settled.received, settled.through), (500, SettledThrough::Notification), "what was bought");
        equal!(position.fresh()?.state.token_amount(), Some(500), "and is there to be sold");

        let hold = position.hold(200)?;
        check!(position.hold(301).is_err(), "held twice");
        let rest = position.hold_all()?;
        equal!((hold.amount(), rest.amount()), (200, 300), "each holds its own");
        drop(hold);
        drop(rest);
        let hold = position.hold_all()?;
        let sell = world.sign(&token.sell_out_with(&wallet.pubkey(), 500), &[&wallet]).await?;
        let in_flight = sell.sells(hold);
        let landed = world.submit(&sell).await?;
        in_flight.landed(Floor::confirmed(landed));

        world.until("sweep", || mirror.health().swept == 1).await?;
        equal!(mirror.watched(), [], "and nothing is watched");
        shape!(position.fresh(), Err(stale) if stale.why == StaleReason::Unwatched, "its position");
        check!(mirror.positions().is_empty() && mirror.position(&position.address()).is_none(), "forgotten");
    }
    Ok(())
}

pub(crate) async fn dust_is_not_taken_for_the_buy(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 1_000).await?;
    let mirror = world.builder().probe_after(world.slots(2)).start()?;
    let position = mirror.expect_buy(&wallet, &token.mint, Some(token.program)).await?;
    equal!(position.baseline().map(|baseline| baseline.amount), Some(1_000), "what was there");

    // A stranger's dust is no buy, by notification or by probe.
    token.mint(world, &wallet, 3).await?;
    world.holds(position.reader(), 1_003).await?;
    let buy = ExpectedBuy::at_least(100).deadline(world.slots(15));
    let shape = |received| SettleError::Deadline {
        received,
        expected: 100,
        deadline: world.slots(15),
        landing: BuyLanding::Unknown,
    };
    equal!(position.settled(buy).await.err(), Some(shape(3)), "dust");

    // A wait that is given up takes nothing with it; one that began before the tokens came hears of
    // them.
    let buy = ExpectedBuy::at_least(100).deadline(world.soon());
    check!(tokio::time::timeout(world.slots(1), position.settled(buy)).await.is_err(), "nothing came");
    let another = position.clone();
    let waiting = async { another.settled(buy).await };
    let bought = async { token.mint(world, &wallet, 200).await };
    let (settled, bought) = tokio::join!(waiting, bought);
    bought?;
    let settled = settled?;
    equal!((settled.received, settled.balance.state.token_amount()), (203, Some(1_203)), "what came");
    // It came before: nobody is asked, once the probes of the first wait are over.
    world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
    let before = world.until_still("end of the probes", Duration::from_millis(300), || asked(world)).await?;
    equal!(position.settled(buy).await?.received, 203, "what came before");
    equal!(asked(world), before, "bytes sent to RPC");
    check!(mirror.reader(&position.address()).is_some(), "and it is there");
    Ok(())
}

pub(crate) async fn a_buy_that_nobody_notifies_is_found_by_a_probe(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    // Nothing is refreshed: what is seen is what was asked for.
    let builder = world.builder().refresh_every(Duration::from_secs(600)).canary_deadline(2 * world.soon());
    let mirror = builder.probe_after(world.slots(3)).start()?;
    let position = mirror.expect_buy(&wallet, &token.mint, Some(token.program)).await?;
    world.live(position.reader()).await?;
    world.ws_side.black_hole(Direction::Down, true);
    token.buy(world, &wallet, 70).await?;
    let settled = position.settled(ExpectedBuy::at_least(70).deadline(world.soon())).await?;
    equal!((settled.received, settled.through), (70, SettledThrough::Probe), "what RPC knew");
    check!(settled.took >= world.slots(3), "not before its time: {settled:?}");
    Ok(())
}

pub(crate) async fn a_landing_settles_what_a_fee_left_and_a_failure_lets_the_account_go(
    world: &World<'_>,
) -> Outcome {
    // Ten percent of what is sent stays behind.
    let fee = Extension::TransferFee { basis_points: 1_000, maximum: u64::MAX };
    let token = Token::create(world, TokenProgram::Token2022, &[fee]).await?;
    let (seller, wallet) = (Keypair::new(), Keypair::new());
    token.buy(world, &seller.pubkey(), 1_000).await?;
    let mirror = world.builder().start()?;
    let expect = async || mirror.expect_buy(&wallet.pubkey(), &token.mint, Some(token.program)).await;
    let soon = |order: &Order| order.buys(200).deadline(world.soon());

    let position = expect().await?;
    // Nothing can be burnt where there is no account.
    let fails = [token.burn(&wallet.pubkey(), 5)];
    let failing = world.sign(&fails, &[&wallet]).await?;
    world.post(&failing).await?;
    let outcome = position.settled(soon(&failing)).await;
    let signature = failing.signature();
    shape!(outcome, Err(SettleError::Failed { signature: of, .. }) if *of == signature, "a buy that fails");
    world.until("sweep at once", || mirror.watched().is_empty()).await?;

    let position = expect().await?;
    let buy = [token.create_ata(&wallet.pubkey()), token.transfer(&seller.pubkey(), &wallet.pubkey(), 200)];
    let buying = world.sign(&buy, &[&seller]).await?;
    let waiting = position.settled(soon(&buying));
    let (settled, landed) = tokio::join!(waiting, world.submit(&buying));
    let (settled, landed) = (settled?, landed?);
    equal!((settled.received, settled.through), (180, SettledThrough::Landing), "less than was sent");
    check!(settled.balance.as_of() >= Some(landed), "{landed}: {settled:?}");
    // Its slot known, nothing has to be asked for.
    let buy = ExpectedBuy::at_least(200).landed_at(Floor::confirmed(landed)).deadline(world.soon());
    equal!(position.settled(buy).await?.through, SettledThrough::Landing, "the landing alone");
    Ok(())
}

pub(crate) async fn a_mint_that_is_none_or_not_answered_for_is_no_position(world: &World<'_>) -> Outcome {
    let wallet = Keypair::new().pubkey();
    let deadline = world.slots(10);
    let mirror = world.builder().read_deadline(deadline).start()?;
    let nowhere = Keypair::new().pubkey();
    let refused = mirror.expect_buy(&wallet, &nowhere, None).await;
    shape!(refused, Err(BuyError::Mint { mint, source: MintError::Absent { .. } }) if *mint == nowhere, "no mint");
    equal!(mirror.watched(), [], "nothing is watched for it");
    world.rpc_side.black_hole(Direction::Down, true);
    let refused = mirror.prewarm(&wallet, &nowhere, None, deadline).await;
    shape!(refused, Err(BuyError::Mint { source: MintError::NoAnswer { .. }, .. }), "no answer");
    // The program given, it is watched at once; but what it holds nobody can tell.
    let warm = mirror.prewarm(&wallet, &nowhere, Some(TokenProgram::Token), deadline).await?;
    check!(warm.baseline().is_none(), "{warm:?}");
    shape!(warm.settled(ExpectedBuy::at_least(1)).await, Err(SettleError::NoBaseline), "not expected");
    let refused = mirror.expect_buy(&wallet, &nowhere, Some(TokenProgram::Token)).await;
    shape!(refused, Err(BuyError::Baseline(_)), "no baseline");
    ended(&mirror, &warm).await
}

/// A position does not keep its mirror from ending, and says so.
async fn ended(mirror: &Mirror, position: &balance_mirror::Position) -> Outcome {
    mirror.shutdown().await;
    shape!(position.fresh(), Err(stale) if stale.why == StaleReason::Stopped, "its mirror has ended");
    Ok(())
}
