//! A buy, from before it is sent until its tokens are there.

use std::time::{Duration, Instant};

use balance_mirror::{
    AccountState, BuyError, BuyLanding, ExpectedBuy, Floor, LinkPhase, MintError, SettleError, SettledBuy,
    SettledThrough, TokenProgram,
};
use localnet::{Keypair, Signer, tokens::Extension};

use super::desk::{Desk, asked};
use crate::{
    order::End,
    outcome::{Outcome, check, equal, shape},
    proxy::Cut,
    world::{World, timed},
};

/// So long that no probe comes in a scenario.
const NO_PROBE: Duration = Duration::from_secs(600);
/// In which nothing should happen: longer than a signature is left unasked for.
const SPELL: Duration = Duration::from_millis(2_500);

fn amount_of(settled: &SettledBuy) -> u64 {
    match settled.balance.state {
        AccountState::Initialized(token) => token.amount,
        _ => 0,
    }
}

pub(crate) async fn a_buy_is_settled_by_its_notification(world: &World<'_>) -> Outcome {
    for program in TokenProgram::ALL {
        let desk = Desk::open(world, program, &[]).await?;
        let mirror = world.builder().probe_after(NO_PROBE).start()?;
        for (before, amount) in [(0, 700), (700, 55)] {
            let position = desk.expect(world, &mirror).await?;
            let baseline = position.baseline().ok_or("no baseline")?;
            equal!(baseline.amount, before, "the baseline");
            let absent = position.reader().read().last_known() == Some(&AccountState::Absent);
            equal!(absent, before == 0, "no account before the first buy");
            equal!((position.address(), position.program()), (desk.account(), program), "where");
            // Nor could RPC tell.
            world.until("mint", || mirror.mint(&desk.token.mint).is_some()).await?;
            world.rpc_side.refuse(true);
            world.rpc_side.cut(Cut::Reset);
            let order = desk.buy_order(world, amount).await?;
            // Begins after the wait: the buy is sent that long after it is waited for, or longer.
            let landed = async {
                let (began, ahead) = (Instant::now(), world.slots(3));
                world.pass(ahead).await;
                let ahead = began.elapsed();
                world.post(&order).await?;
                Outcome::Ok((world.landed(&order).await?, ahead))
            };
            let settled = timed(position.settled(ExpectedBuy::at_least(amount)));
            let ((settled, took), landed) =
                world.within("settled buy", async { tokio::join!(settled, landed) }).await?;
            let (settled, (slot, ahead)) = (settled?, landed?);
            equal!(
                (settled.received, settled.through),
                (amount, SettledThrough::Notification),
                "{settled:?}"
            );
            equal!(amount_of(&settled), before + amount, "what is there");
            equal!(settled.balance.reading.slot(), Some(slot), "where it landed");
            check!(baseline.as_of < slot, "{baseline:?} is no baseline of a buy at {slot}");
            check!((ahead..=took).contains(&settled.took), "{:?} of {ahead:?} to {took:?}", settled.took);
            world.rpc_side.refuse(false);
        }
    }
    Ok(())
}

pub(crate) async fn a_buy_seen_before_it_is_asked_for_is_settled_at_once(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    let mirror = world.mirror()?;
    let position = desk.expect(world, &mirror).await?;
    let order = desk.buy_order(world, 70).await?;
    world.post(&order).await?;
    let slot = world.landed(&order).await?;
    world.holds(position.reader(), 70).await?;
    world.until("mint", || mirror.mint(&desk.token.mint).is_some()).await?;
    let before = asked(world);
    let bare = ExpectedBuy::at_least(70);
    let signed = bare.signature(order.signature()).valid_until(order.last_valid_block_height);
    for buy in [bare, signed, signed.landed_at(Floor::confirmed(slot))] {
        let settled = world.within("settled buy", position.settled(buy)).await??;
        equal!((settled.received, settled.through), (70, SettledThrough::Notification), "{settled:?}");
    }
    equal!(asked(world), before, "bytes sent to RPC");
    Ok(())
}

pub(crate) async fn without_a_link_a_buy_is_settled_by_asking(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    world.ws_side.refuse(true);
    let wait = Duration::from_millis(500);
    let mirror = world.builder().probe_after(wait).refresh_every(Duration::from_secs(60)).start()?;
    let expected = desk.open_buy(&mirror, Some(desk.token.program));
    let position = world.within("baseline", expected).await??;
    check!(mirror.health().phase != LinkPhase::Live, "{:?}", mirror.health());
    desk.buy(world, 70).await?;
    let settled = world.within("settled buy", position.settled(ExpectedBuy::at_least(70))).await??;
    equal!((settled.received, settled.through), (70, SettledThrough::Probe), "{settled:?}");
    check!(settled.took >= wait, "no probe is sent before {wait:?}: {:?}", settled.took);
    // And by its landing, where that is known: at once.
    let position = world.within("baseline", desk.open_buy(&mirror, None)).await??;
    equal!(position.baseline().map(|baseline| baseline.amount), Some(70), "the baseline");
    let slot = desk.buy(world, 30).await?;
    let buy = ExpectedBuy::at_least(1_000).landed_at(Floor::confirmed(slot));
    let settled = world.within("settled buy", position.settled(buy)).await??;
    equal!((settled.received, settled.through), (30, SettledThrough::Landing), "{settled:?}");
    check!(settled.balance.as_of() >= Some(slot), "{settled:?}");
    Ok(())
}

pub(crate) async fn what_strangers_send_is_no_buy(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    let mirror = world.mirror()?;
    // Somebody creates the account while the buy is expected, and somebody else sends dust.
    let position = desk.expect(world, &mirror).await?;
    equal!(position.baseline().map(|baseline| baseline.amount), Some(0), "the baseline");
    world.send(&[desk.token.create_ata(&desk.owner())], &[]).await?;
    world.holds(position.reader(), 0).await?;
    let short = |minimum| ExpectedBuy::at_least(minimum).deadline(Duration::from_millis(700));
    for minimum in [0, 1, 100] {
        shape!(
            position.settled(short(minimum)).await,
            Err(SettleError::Deadline { received: 0, landing: BuyLanding::Unknown, .. }),
            "an empty account is no buy of {minimum}"
        );
    }
    desk.dust(world, 5).await?;
    world.holds(position.reader(), 5).await?;
    shape!(
        position.settled(short(100)).await,
        Err(SettleError::Deadline { received: 5, expected: 100, landing: BuyLanding::Unknown, .. }),
        "dust is no buy"
    );
    // Dust that was there before is part of the next baseline.
    let second = desk.expect(world, &mirror).await?;
    equal!(second.baseline().map(|baseline| baseline.amount), Some(5), "the baseline");
    drop(second);
    desk.buy(world, 100).await?;
    let settled = world.within("settled buy", position.settled(ExpectedBuy::at_least(100))).await??;
    equal!(settled.received, 105, "over the first baseline");
    Ok(())
}

pub(crate) async fn the_program_is_read_from_the_mint_once(world: &World<'_>) -> Outcome {
    let mirror = world.builder().read_deadline(Duration::from_millis(1_500)).start()?;
    for program in TokenProgram::ALL {
        let desk = Desk::open(world, program, &[]).await?;
        let expected = desk.open_buy(&mirror, None);
        let position = world.within("baseline", expected).await??;
        equal!((position.program(), position.address()), (program, desk.account()), "read");
        equal!((position.wallet(), position.mint()), (desk.owner(), desk.token.mint), "given");
        desk.buy(world, 9).await?;
        equal!(position.settled(ExpectedBuy::at_least(9)).await?.received, 9, "what arrived");
        // For another wallet nothing is left to be read.
        let neighbour = desk.neighbour();
        world.rpc_side.refuse(true);
        world.rpc_side.cut(Cut::Reset);
        let warm = mirror.prewarm(&neighbour.owner(), &desk.token.mint, None, SPELL).await?;
        equal!((warm.program(), warm.address()), (program, neighbour.account()), "known");
        world.rpc_side.refuse(false);
        world.live(warm.reader()).await?;
    }
    Ok(())
}

pub(crate) async fn what_is_no_mint_is_told(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    desk.buy(world, 1).await?;
    let mirror = world.builder().read_deadline(Duration::from_millis(1_500)).start()?;
    let none = [desk.account(), Keypair::new().pubkey(), TokenProgram::Token.id(), world.payer().pubkey()];
    let owner = desk.owner();
    let all = none.iter().map(|mint| mirror.expect_buy(&owner, mint, None));
    let all = world.within("errors", futures::future::join_all(all)).await?;
    for (mint, refused) in none.iter().zip(all) {
        shape!(
            refused,
            Err(error @ BuyError::Mint { mint: named, source: MintError::Absent { .. } })
                if named == mint && error.is_transient(),
            "no mint"
        );
    }
    equal!(mirror.watched(), vec![], "nothing is watched for it");
    world.rpc_side.refuse(true);
    world.rpc_side.cut(Cut::Reset);
    let mint = desk.token.mint;
    let unknown = world.within("error", mirror.expect_buy(&owner, &mint, None)).await?;
    shape!(unknown, Err(BuyError::Mint { source: MintError::NoAnswer { .. }, .. }), "nobody could tell");
    world.rpc_side.refuse(false);
    let read = async {
        loop {
            match mirror.expect_buy(&owner, &mint, None).await {
                Err(error) if error.is_transient() => {}
                read => return read,
            }
        }
    };
    equal!(world.within("position", read).await??.program(), TokenProgram::Token, "now it is read");
    Ok(())
}

pub(crate) async fn a_prewarmed_buy_asks_rpc_for_nothing(world: &World<'_>) -> Outcome {
    for program in TokenProgram::ALL {
        let desk = Desk::open(world, program, &[]).await?;
        let mirror = world.builder().probe_after(NO_PROBE).start()?;
        let warm = world
            .within("prewarmed", mirror.prewarm(&desk.owner(), &desk.token.mint, None, NO_PROBE))
            .await??;
        equal!(warm.baseline(), None, "nothing is expected yet");
        shape!(
            warm.settled(ExpectedBuy::at_least(1)).await,
            Err(SettleError::NoBaseline),
            "nothing is expected yet"
        );
        world.live(warm.reader()).await?;
        let before = asked(world);
        let position = world.within("baseline", desk.open_buy(&mirror, None)).await??;
        equal!(position.baseline().map(|baseline| baseline.amount), Some(0), "the baseline");
        let slot = desk.buy(world, 12).await?;
        let settled = world.within("settled buy", position.settled(ExpectedBuy::at_least(12))).await??;
        equal!((settled.received, settled.through), (12, SettledThrough::Notification), "{settled:?}");
        let hold = position.hold_all()?;
        equal!((hold.amount(), position.fresh()?.as_of() >= Some(slot)), (12, true), "to sell");
        equal!(asked(world), before, "bytes sent to RPC");
    }
    Ok(())
}

pub(crate) async fn less_arrives_than_was_sent(world: &World<'_>) -> Outcome {
    let fee = Extension::TransferFee { basis_points: 100, maximum: u64::MAX };
    let desk = Desk::open(world, TokenProgram::Token2022, &[fee]).await?;
    let mirror = world.mirror()?;
    // Whoever knows the fee expects less.
    let position = desk.expect(world, &mirror).await?;
    desk.buy(world, 10_000).await?;
    let settled = world.within("settled buy", position.settled(ExpectedBuy::at_least(9_900))).await??;
    equal!((settled.received, settled.through), (9_900, SettledThrough::Notification), "{settled:?}");
    // Whoever does not gives the signature, and learns what arrived.
    let position = desk.expect(world, &mirror).await?;
    let order = desk.buy_order(world, 10_000).await?;
    let buy = order.buys(10_000);
    world.post(&order).await?;
    let settled = world.within("settled buy", position.settled(buy)).await??;
    equal!((settled.received, settled.through), (9_900, SettledThrough::Landing), "{settled:?}");
    let End::Landed(slot) = world.end_of(&order).await? else { return Err("it failed".into()) };
    check!(settled.balance.as_of() >= Some(slot), "as of its slot {slot}: {settled:?}");
    // With neither, what arrived is told, and nothing is taken for granted.
    let position = desk.expect(world, &mirror).await?;
    desk.buy(world, 10_000).await?;
    let buy = ExpectedBuy::at_least(10_000).deadline(SPELL);
    shape!(
        position.settled(buy).await,
        Err(SettleError::Deadline { received: 9_900, expected: 10_000, landing: BuyLanding::Unknown, .. }),
        "less than expected"
    );
    // All of it can be sold.
    let hold = position.hold_all()?;
    equal!(hold.amount(), 29_700, "to sell");
    let order = desk.sell_order(world, hold.amount()).await?;
    let flight = order.sells(hold);
    world.post(&order).await?;
    flight.landed(Floor::confirmed(world.landed(&order).await?));
    world.holds(position.reader(), 0).await?;
    desk.chain_holds(world, 0).await
}

pub(crate) async fn a_wait_for_a_buy_can_be_given_up_and_begun_again(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    let mirror = world.mirror()?;
    let position = desk.expect(world, &mirror).await?;
    world.until("mint", || mirror.mint(&desk.token.mint).is_some()).await?;
    let order = desk.buy_order(world, 40).await?;
    let buy = order.buys(40);
    // Asked for while somebody waits, and not a moment longer.
    let before = asked(world);
    for wait in [0, 1, 20, 1_500] {
        let waited = tokio::time::timeout(Duration::from_millis(wait), position.settled(buy)).await;
        check!(waited.is_err(), "settled, and nothing was sent: {waited:?}");
    }
    check!(asked(world) > before, "its signature was asked for");
    world.until_still("end of the questions", SPELL, || asked(world)).await?;
    // One lands while somebody waits and gives up, again and again.
    let order = desk.buy_order(world, 40).await?;
    let buy = order.buys(40);
    let landing = async {
        world.post(&order).await?;
        world.landed(&order).await
    };
    let impatient = async {
        loop {
            let waited = tokio::time::timeout(Duration::from_millis(1), position.settled(buy)).await;
            if let Ok(settled) = waited {
                return settled;
            }
        }
    };
    let (settled, landed) = world.within("settled buy", async { tokio::join!(impatient, landing) }).await?;
    landed?;
    equal!(settled?.received, 40, "what arrived");
    Ok(())
}

pub(crate) async fn a_hundred_wait_for_one_buy(world: &World<'_>) -> Outcome {
    let desk = Desk::plain(world).await?;
    let mirror = world.mirror()?;
    let position = desk.expect(world, &mirror).await?;
    world.until("mint", || mirror.mint(&desk.token.mint).is_some()).await?;
    let order = desk.buy_order(world, 40).await?;
    let buy = order.buys(40);
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let position = position.clone();
            tokio::spawn(async move { position.settled(buy).await })
        })
        .collect();
    world.pass(Duration::from_millis(700)).await;
    waiters[..10].iter().for_each(tokio::task::JoinHandle::abort);
    world.post(&order).await?;
    let mut settled = 0;
    for waiter in world.within("every waiter's end", futures::future::join_all(waiters)).await? {
        match waiter {
            Ok(waited) => {
                equal!(waited?.received, 40, "what arrived");
                settled += 1;
            }
            Err(gone) => check!(gone.is_cancelled(), "{gone}"),
        }
    }
    equal!(settled, 90, "those that did not give up");
    // Nobody is left to ask for.
    world.holds(position.reader(), 40).await?;
    world.until_still("end of the questions", SPELL, || asked(world)).await?;
    Ok(())
}
