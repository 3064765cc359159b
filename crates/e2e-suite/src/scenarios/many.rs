//! Many accounts and many callers: what is shared, what is bounded, and what contradicts.

use std::time::Duration;

use balance_mirror::{
    Freshness, Health, LinkPhase, ReadError, StaleReason, TokenProgram, WatchError, WatchTarget,
};
use localnet::{Keypair, Signer};

use crate::{
    outcome::{Outcome, check, equal, shape},
    proxy::{Cut, Direction},
    token::Token,
    world::World,
};

/// More than the server's acknowledgements under way at once, and than one batch of RPC.
const MANY: usize = 120;

pub(crate) async fn many_accounts_go_live_with_few_calls(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallets: Vec<_> = (0..MANY).map(|_| Keypair::new().pubkey()).collect();
    let buys = wallets[..10].iter().map(|wallet| token.buy(world, wallet, 77));
    futures::future::try_join_all(buys).await?;
    let mirror = world.mirror()?;
    let readers = mirror.watch_all(wallets.iter().map(|wallet| token.target(wallet)))?;
    equal!(readers.len(), MANY, "readers");
    for (n, reader) in readers.iter().enumerate() {
        equal!(reader.address(), token.ata(&wallets[n]), "readers come in order");
        match n {
            0..10 => world.holds(reader, 77).await?,
            _ => world.is(reader, "absent").await?,
        };
    }
    // Health follows what it tells of.
    let live = |health: Health| (health.phase, health.live) == (LinkPhase::Live, MANY);
    world.until("every account live in Health", || live(mirror.health())).await?;
    let health = mirror.health();
    equal!((health.watched, health.acknowledged, health.live), (MANY, MANY, MANY), "counts");
    equal!((health.phase, health.reconnects), (LinkPhase::Live, 0), "the link");
    // Two batches at least for the baselines, two for the rechecks, one for the mint. One call an
    // account would be 240.
    check!(health.rpc_calls <= 24, "{} RPC calls", health.rpc_calls);
    // A change of one is a change of that one.
    token.mint(world, &wallets[5], 1).await?;
    world.holds(&readers[5], 78).await?;
    equal!(readers[6].read().revision(), 1, "its neighbour");
    Ok(())
}

pub(crate) async fn watching_twice_is_the_same_watch(world: &World<'_>) -> Outcome {
    let (token, other) = (Token::plain(world).await?, Token::plain(world).await?);
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    let mirror = world.mirror()?;
    let address = token.ata(&wallet);
    let first = mirror.watch(WatchTarget::account(address))?;
    world.holds(&first, 5).await?;
    let second = mirror.watch(token.target(&wallet))?;
    check!(second.read().is_live(), "it is live already: {:?}", second.read());
    equal!((mirror.watched(), mirror.health().watched), (vec![address], 1), "one watch");

    for contradiction in [
        WatchTarget::account(address).mint(other.mint),
        WatchTarget::account(address).owner(other.mint),
        WatchTarget::account(address).program(TokenProgram::Token2022),
    ] {
        let refused = mirror.watch(contradiction);
        shape!(refused, Err(WatchError::Contradiction { address: named }) if *named == address, "{contradiction:?}");
    }
    let fresh = Keypair::new().pubkey();
    let both = [WatchTarget::account(fresh), WatchTarget::account(address).mint(other.mint)];
    check!(mirror.watch_all(both).is_err() && mirror.reader(&fresh).is_none(), "all of them, or none");
    world.holds(&first, 5).await?;
    Ok(())
}

pub(crate) async fn unwatched_is_stale_and_watched_again_is_live(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    let mirror = world.mirror()?;
    let address = token.ata(&wallet);
    for round in 0..5 {
        let amount = 5 + round;
        let reader = mirror.watch(token.target(&wallet))?;
        world.holds(&reader, amount).await?;
        check!(mirror.unwatch(&address), "it was watched");
        check!(!mirror.unwatch(&address), "and is no longer");
        let old = reader.read();
        equal!(old.freshness(mirror.selling_age()), Freshness::Stale, "an old reader");
        let refusal = reader.fresh(mirror.selling_age());
        shape!(refusal, Err(stale) if stale.why == StaleReason::Unwatched, "an old reader");
        token.mint(world, &wallet, 1).await?;
        // Not of this watch, nor of the next.
        equal!(reader.read().revision(), old.revision(), "nothing more is told to an old reader");
    }
    // So fast that subscribing and unsubscribing overtake each other.
    let mut reader = mirror.watch(token.target(&wallet))?;
    for _ in 0..20 {
        mirror.unwatch(&address);
        reader = mirror.watch(token.target(&wallet))?;
    }
    world.holds(&reader, 10).await?;
    token.mint(world, &wallet, 1).await?;
    world.holds(&reader, 11).await?;
    equal!(mirror.health().reconnects, 0, "on one connection");
    Ok(())
}

pub(crate) async fn no_more_accounts_than_allowed(world: &World<'_>) -> Outcome {
    let mirror = world.builder().max_accounts(3).start()?;
    let target = || WatchTarget::account(Keypair::new().pubkey());
    let readers = mirror.watch_all([target(), target(), target()])?;
    shape!(mirror.watch(target()), Err(WatchError::TooMany { limit: 3 }), "a fourth");
    mirror.watch(WatchTarget::account(readers[0].address()))?;
    mirror.unwatch(&readers[0].address());
    shape!(
        mirror.watch_all([target(), target()]),
        Err(WatchError::TooMany { limit: 3 }),
        "two for one place"
    );
    let fourth = mirror.watch(target())?;
    world.is(&fourth, "absent").await?;
    Ok(())
}

pub(crate) async fn no_more_reads_wait_than_allowed(world: &World<'_>) -> Outcome {
    world.ws_side.refuse(true);
    let mirror = world.builder().max_pending_reads(2).start()?;
    let reader = mirror.watch(WatchTarget::account(Keypair::new().pubkey()))?;
    let age = mirror.selling_age();
    world.rpc_side.black_hole(Direction::Down, true);
    let address = reader.address();
    let third = async {
        world.until("two reads under way", || mirror.health().fallbacks == 2).await?;
        Outcome::Ok(mirror.balance(&address, age).await)
    };
    let (first, second, third) =
        futures::join!(mirror.balance(&address, age), mirror.balance(&address, age), third);
    shape!(third?, Err(ReadError::Busy { limit: 2 }), "a third");
    for held_up in [first, second] {
        shape!(held_up, Err(error @ (ReadError::Rpc { .. } | ReadError::Deadline { .. })) if error.is_transient(), "in vain");
    }
    world.rpc_side.clear();
    world.rpc_side.cut(Cut::Reset);
    equal!(mirror.balance(&reader.address(), age).await?.state.token_amount(), Some(0), "when there is room");
    Ok(())
}

pub(crate) async fn a_hundred_callers_share_a_call(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 64).await?;
    // No link: memory has nothing.
    world.ws_side.refuse(true);
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    let address = reader.address();
    world.rpc_side.delay(Direction::Down, Duration::from_millis(150));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let mirror = mirror.clone();
            tokio::spawn(async move { mirror.balance(&address, Duration::from_secs(20)).await })
        })
        .collect();
    // The first caller may be the last to begin.
    let under_way = |health: Health| health.rpc_calls > 0 && health.fallbacks == 100;
    world.until("a call under way, for all of them", || under_way(mirror.health())).await?;
    callers[0].abort();
    let mut served = 0;
    for caller in callers {
        match caller.await {
            Ok(balance) => {
                equal!(balance?.state.token_amount(), Some(64), "each caller");
                served += 1;
            }
            Err(gone) => check!(gone.is_cancelled(), "{gone}"),
        }
    }
    check!(served >= 99, "{served} of 99 were served");
    let health = mirror.health();
    check!(health.rpc_calls <= 4, "{} RPC calls for one account and one mint", health.rpc_calls);
    equal!(health.fallbacks, 100, "reads that asked RPC");
    Ok(())
}
