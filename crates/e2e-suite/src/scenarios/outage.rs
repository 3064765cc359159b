//! Links that break: what was live is served while it may be, never as anything younger, and comes
//! back.

use std::time::{Duration, Instant};

use balance_mirror::{
    AccountState, Freshness, LinkPhase, Mirror, MirrorBuilder, ReadError, ReadQuery, Reader, Reading,
    RpcFailure, ServedFrom, StaleReason, WatchError,
};
use localnet::{Keypair, Pubkey, Signer};

use crate::{
    checker::Checker,
    outcome::{Outcome, check, equal, shape},
    proxy::{Cut, Direction},
    token::Token,
    world::{World, timed},
};

/// Some accounts, watched and live, which hold 100 each.
struct Market {
    token: Token,
    wallets: Vec<Pubkey>,
    mirror: Mirror,
    readers: Vec<Reader>,
}

impl Market {
    async fn open(world: &World<'_>, selling_age: Duration) -> Outcome<Self> {
        Self::open_with(world, world.builder().selling_age(selling_age)).await
    }

    async fn open_with(world: &World<'_>, builder: MirrorBuilder) -> Outcome<Self> {
        let token = Token::plain(world).await?;
        let wallets: Vec<_> = (0..3).map(|_| Keypair::new().pubkey()).collect();
        for wallet in &wallets {
            token.buy(world, wallet, 100).await?;
        }
        let mirror = builder.start()?;
        let readers = mirror.watch_all(wallets.iter().map(|wallet| token.target(wallet)))?;
        for reader in &readers {
            world.holds(reader, 100).await?;
        }
        world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
        // Health follows what it tells of.
        world.until("live link", || mirror.health().phase == LinkPhase::Live).await?;
        Ok(Self { token, wallets, mirror, readers })
    }

    /// One more token for each.
    async fn trade(&self, world: &World<'_>) -> Outcome<u64> {
        let mints: Vec<_> =
            self.wallets.iter().map(|wallet| self.token.mint_to(&self.token.ata(wallet), 1)).collect();
        world.send(&mints, &[]).await
    }

    async fn until_phase(&self, world: &World<'_>, what: &str, is: impl Fn(LinkPhase) -> bool) -> Outcome {
        world.until(what, || is(self.mirror.health().phase)).await
    }
}

const USUAL: Duration = Duration::from_secs(30);

async fn cut_and_healed(world: &World<'_>, cut: Cut) -> Outcome {
    let market = Market::open(world, USUAL).await?;
    let checker = Checker::start(world, &market.readers, USUAL)?;
    for round in 1..=3u64 {
        market.until_phase(world, "live link", |phase| phase == LinkPhase::Live).await?;
        world.ws_side.refuse(true);
        check!(world.ws_side.cut(cut) >= 1, "nothing was there to cut");
        market.until_phase(world, "loss of the link", |phase| phase != LinkPhase::Live).await?;
        check!(!market.readers[0].read().is_live(), "{:?}", market.readers[0].read());
        market.trade(world).await?;
        market.trade(world).await?;
        world.ws_side.refuse(false);
        for reader in &market.readers {
            world.holds(reader, 100 + 2 * round).await?;
        }
        world.agree(&market.readers).await?;
        let health = market.mirror.health();
        check!(health.reconnects >= round && health.losses >= round, "{health:?}");
        check!(health.last_error.is_some(), "{health:?}");
    }
    market.trade(world).await?;
    world.agree(&market.readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn reset_and_healed(world: &World<'_>) -> Outcome {
    cut_and_healed(world, Cut::Reset).await
}

pub(crate) async fn ended_and_healed(world: &World<'_>) -> Outcome {
    cut_and_healed(world, Cut::Fin).await
}

pub(crate) async fn deaf_to_the_server_and_healed(world: &World<'_>) -> Outcome {
    let market = Market::open(world, USUAL).await?;
    let checker = Checker::start(world, &market.readers, USUAL)?;
    world.ws_side.black_hole(Direction::Down, true);
    market.trade(world).await?;
    market.until_phase(world, "loss of the link", |phase| phase != LinkPhase::Live).await?;
    market.trade(world).await?;
    world.ws_side.black_hole(Direction::Down, false);
    for reader in &market.readers {
        world.holds(reader, 102).await?;
    }
    world.agree(&market.readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn unheard_by_the_server_and_healed(world: &World<'_>) -> Outcome {
    let market = Market::open(world, USUAL).await?;
    let checker = Checker::start(world, &market.readers, USUAL)?;
    world.ws_side.black_hole(Direction::Up, true);
    // What is subscribed is told all the same.
    market.trade(world).await?;
    for reader in &market.readers {
        world.holds(reader, 101).await?;
    }
    // What is not never will be: the connection is given up for it.
    let late = Keypair::new().pubkey();
    let late = market.mirror.watch(market.token.target(&late))?;
    let balance = market.mirror.balance(&late.address(), USUAL).await?;
    equal!((balance.state, balance.served_from), (AccountState::Absent, ServedFrom::Rpc), "meanwhile");
    market.until_phase(world, "loss of the link", |phase| phase != LinkPhase::Live).await?;
    market.trade(world).await?;
    world.ws_side.black_hole(Direction::Up, false);
    for reader in &market.readers {
        world.holds(reader, 102).await?;
    }
    world.is(&late, "absent").await?;
    world.agree(&market.readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_silent_server_is_found_out_in_time(world: &World<'_>) -> Outcome {
    let age = world.short_age();
    let market = Market::open(world, age).await?;
    let checker = Checker::start(world, &market.readers, age)?;
    let (reader, address) = (&market.readers[0], market.readers[0].address());
    world.ws_side.black_hole(Direction::Down, true);
    let began = Instant::now();
    world.until("end of live", || !reader.read().is_live()).await?;
    let took = began.elapsed();
    // For a machine that is busy.
    let slack = Duration::from_secs(4);
    check!(took <= world.canary_deadline() + slack, "live for {took:?}");
    market.trade(world).await?;
    world.until("end of fresh", || reader.fresh(age).is_err()).await?;
    check!(began.elapsed() <= age.max(took) + world.slots(8) + slack, "fresh for {:?}", began.elapsed());
    shape!(reader.fresh(age), Err(stale) if stale.why == StaleReason::Expired, "its age is over");
    let old = reader.read();
    equal!(old.last_known().and_then(AccountState::token_amount), Some(100), "the last known");
    equal!(old.freshness(USUAL), Freshness::Aging, "for who accepts it");
    for _ in 0..3 {
        let balance = market.mirror.balance(&address, Duration::ZERO).await?;
        equal!(
            (balance.state.token_amount(), balance.served_from),
            (Some(101), ServedFrom::Rpc),
            "RPC serves"
        );
    }
    let served = market.mirror.balance(&address, USUAL).await?;
    equal!(
        (served.state.token_amount(), served.served_from),
        (Some(101), ServedFrom::Cache),
        "put back into memory"
    );
    world.ws_side.clear();
    world.agree(&market.readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_stalled_and_slow_link_catches_up(world: &World<'_>) -> Outcome {
    let market = Market::open(world, USUAL).await?;
    let checker = Checker::start_with(world, &market.readers, USUAL, Duration::from_secs(1))?;
    let short = world.canary_deadline() / 3;
    for round in 1..=3u64 {
        // Shorter than the deadline: a backlog then comes at once.
        world.ws_side.black_hole(Direction::Down, true);
        let traded = timed(market.trade(world)).await;
        traded.0?;
        world.pass(short.saturating_sub(traded.1)).await;
        world.ws_side.black_hole(Direction::Down, false);
        for reader in &market.readers {
            world.holds(reader, 100 + round).await?;
        }
    }
    world.ws_side.delay(Direction::Down, short);
    world.ws_side.delay(Direction::Up, short);
    market.trade(world).await?;
    for reader in &market.readers {
        world.holds(reader, 104).await?;
    }
    world.ws_side.clear();
    world.agree(&market.readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_throttled_link_never_serves_older_as_fresh(world: &World<'_>) -> Outcome {
    let age = world.short_age();
    let market = Market::open(world, age).await?;
    // The chain's Clock has whole seconds: a link that is slow from its first second on looks so
    // much younger.
    let checker = Checker::start_with(world, &market.readers, age, Duration::from_secs(1))?;
    // A fraction of what the notifications of one slot take, at the cluster's pace.
    let per_slot = 400.0 / world.slots(1).as_secs_f64();
    world.ws_side.throttle(Direction::Down, Some((per_slot / 3.0) as u32));
    let until = Instant::now() + age * 2;
    while Instant::now() < until {
        market.trade(world).await?;
        let expected = world.chain_amount(&market.readers[0].address()).await?;
        let balance = market.mirror.balance(&market.readers[0].address(), age).await?;
        check!(balance.reading.age() <= Some(age) && balance.state.token_amount() <= expected, "{balance:?}");
    }
    world.ws_side.clear();
    world.agree(&market.readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn without_rpc_a_live_link_serves(world: &World<'_>) -> Outcome {
    let age = world.short_age() + Duration::from_secs(3);
    let market = Market::open_with(world, world.steady_builder().selling_age(age)).await?;
    let checker = Checker::start(world, &market.readers, USUAL)?;
    world.rpc_side.refuse(true);
    world.rpc_side.cut(Cut::Reset);
    for round in 1..=3u64 {
        let slot = market.trade(world).await?;
        for reader in &market.readers {
            let query = ReadQuery::max_age(market.mirror.selling_age())
                .as_of(balance_mirror::Floor::confirmed(slot))
                .deadline(world.soon());
            let balance = market.mirror.balance(&reader.address(), query).await?;
            equal!(balance.state.token_amount(), Some(100 + round), "as of {slot}");
        }
    }
    world.pass(age).await;
    for reader in &market.readers {
        let served = market.mirror.balance(&reader.address(), market.mirror.selling_age()).await?;
        equal!(
            (served.state.token_amount(), served.served_from),
            (Some(103), ServedFrom::Cache),
            "past its TTL"
        );
    }
    // What is watched now cannot be proved until RPC is back.
    let wallet = Keypair::new().pubkey();
    let late = market.mirror.watch(market.token.target(&wallet))?;
    let slot = market.token.buy(world, &wallet, 9).await?;
    let error = market.mirror.balance(&late.address(), Duration::ZERO).await;
    shape!(
        error,
        Err(error @ ReadError::Rpc { source: RpcFailure::Unreachable { .. }, .. }) if error.is_transient(),
        "a read that needs RPC"
    );
    // Not even by its notification, some canaries, and rechecks that fail.
    let told = |reading: &Reading| reading.last_known().and_then(AccountState::token_amount) == Some(9);
    late.wait_for(told, world.soon()).await?;
    world.until_slot(slot + 2).await?;
    let failed = market.mirror.health().rpc_failures;
    world.until("rechecks", || market.mirror.health().rpc_failures >= failed + 3).await?;
    check!(!late.read().is_live(), "{:?}", late.read());
    world.rpc_side.refuse(false);
    world.holds(&late, 9).await?;
    check!(market.mirror.health().reconnects == 0, "the link was never lost");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn without_both_nothing_old_is_fresh(world: &World<'_>) -> Outcome {
    let age = world.short_age();
    let market = Market::open(world, age).await?;
    let checker = Checker::start(world, &market.readers, age)?;
    for proxy in [&world.rpc_side, &world.ws_side] {
        proxy.refuse(true);
        proxy.cut(Cut::Reset);
    }
    market.trade(world).await?;
    let address = market.readers[0].address();
    world.until("end of fresh", || market.readers[0].fresh(age).is_err()).await?;
    for _ in 0..10 {
        let read = market.mirror.balance(&address, age);
        let error = world.within("end of a read that nobody answers", read).await?;
        shape!(
            error,
            // Now and then reqwest sleeps through a reset that comes as it connects; its own
            // deadline wakes it.
            Err(error @ ReadError::Rpc {
                stale,
                source: RpcFailure::Unreachable { .. } | RpcFailure::Timeout { .. },
            }) if error.is_transient() && stale.why == StaleReason::Expired && stale.age > Some(age),
            "nobody can tell"
        );
    }
    let old = market.readers[0].read();
    equal!(old.last_known().and_then(AccountState::token_amount), Some(100), "the last known");
    check!(market.mirror.health().phase != LinkPhase::Live, "{:?}", market.mirror.health());
    world.rpc_side.refuse(false);
    equal!(market.mirror.balance(&address, age).await?.state.token_amount(), Some(101), "RPC is back");
    world.ws_side.refuse(false);
    world.agree(&market.readers).await?;
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn started_before_its_node(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    world.rpc_side.refuse(true);
    world.ws_side.refuse(true);
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.ws_side.until_accepted(2).await;
    shape!(reader.fresh(USUAL), Err(stale) if stale.why == StaleReason::Unseen, "nothing is known");
    let error = mirror.balance(&reader.address(), USUAL).await;
    shape!(error, Err(ReadError::Rpc { source: RpcFailure::Unreachable { .. }, .. }), "no node");
    let health = mirror.health();
    equal!((health.connects, health.reconnects, health.canary_age_ms), (0, 0, None), "nothing yet");
    check!(health.last_error.is_some(), "{health:?}");
    token.buy(world, &wallet, 6).await?;
    world.rpc_side.refuse(false);
    world.ws_side.refuse(false);
    world.holds(&reader, 6).await?;
    token.mint(world, &wallet, 1).await?;
    world.holds(&reader, 7).await?;
    Ok(())
}

pub(crate) async fn shutdown_does_not_wait_for_the_deaf(world: &World<'_>) -> Outcome {
    // Nothing else ends what is under way before the scenario would fail.
    let long = 4 * world.soon();
    let builder = world.builder().canary_deadline(long).rpc_timeout(long).read_deadline(long);
    let market = Market::open_with(world, builder.selling_age(USUAL)).await?;
    let mut updates = market.mirror.updates();
    for proxy in [&world.rpc_side, &world.ws_side] {
        proxy.black_hole(Direction::Up, true);
        proxy.black_hole(Direction::Down, true);
    }
    let address = market.readers[0].address();
    let waiting = market.mirror.clone();
    let waiting = tokio::spawn(async move { waiting.balance(&address, Duration::ZERO).await });
    world.until("a read under way", || market.mirror.health().fallbacks > 0).await?;
    world.within("shutdown", market.mirror.shutdown()).await?;
    let waited = world.within("end of the read", waiting).await??;
    shape!(waited, Err(ReadError::Stopped), "a read under way");
    for reader in &market.readers {
        shape!(reader.fresh(USUAL), Err(stale) if stale.why == StaleReason::Stopped, "after the shutdown");
        check!(!reader.read().is_live(), "{:?}", reader.read());
    }
    equal!(updates.next().await, None, "updates");
    shape!(
        market.mirror.balance(&address, USUAL).await,
        Err(ReadError::Stopped),
        "a read after the shutdown"
    );
    let target = market.token.target(&Keypair::new().pubkey());
    shape!(market.mirror.watch(target), Err(WatchError::Stopped), "a watch after the shutdown");
    equal!(market.mirror.health().phase, LinkPhase::Stopped, "phase");
    world.within("second shutdown", market.mirror.shutdown()).await
}
