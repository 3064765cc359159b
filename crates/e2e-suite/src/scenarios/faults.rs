//! Servers that misbehave in ways that only the local cluster can be made to: subscriptions.

use std::time::Duration;

use balance_mirror::{LinkPhase, Mirror, ReadError, Reader, RpcFailure, ServedFrom};
use localnet::{Keypair, Pubkey, Signer};

use crate::{
    checker::Checker,
    outcome::{Outcome, check, equal, shape},
    token::Token,
    world::World,
};

const USUAL: Duration = Duration::from_secs(30);

/// Changes found that were never notified: ahead of the link's canaries they are missed, behind
/// them disputed.
fn found(mirror: &Mirror) -> u64 {
    let health = mirror.health();
    health.missed + health.disputes
}

/// Two accounts of 100 each.
struct Pair {
    token: Token,
    wallets: [Pubkey; 2],
    accounts: [Pubkey; 2],
}

impl Pair {
    async fn open(world: &World<'_>) -> Outcome<Self> {
        let token = Token::plain(world).await?;
        let wallets = [Keypair::new().pubkey(), Keypair::new().pubkey()];
        for wallet in &wallets {
            token.buy(world, wallet, 100).await?;
        }
        Ok(Self { token, wallets, accounts: wallets.map(|wallet| token.ata(&wallet)) })
    }

    fn watch(&self, mirror: &Mirror) -> Outcome<[Reader; 2]> {
        let [a, b] = self.wallets;
        Ok([mirror.watch(self.token.target(&a))?, mirror.watch(self.token.target(&b))?])
    }

    /// One more token for each.
    async fn trade(&self, world: &World<'_>) -> Outcome<u64> {
        let [a, b] = &self.accounts;
        world.send(&[self.token.mint_to(a, 1), self.token.mint_to(b, 1)], &[]).await
    }
}

pub(crate) async fn one_refused_subscription_is_retried_alone(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    net.faults().refuse_subscriptions_to(&pair.accounts[0], -32603, "too many");
    let mirror = world.steady_builder().start()?;
    let [refused, other] = pair.watch(&mirror)?;
    world.holds(&other, 100).await?;
    world.until("a refusal", || mirror.health().refused >= 2).await?;
    check!(!refused.read().is_live(), "{:?}", refused.read());
    let balance = mirror.balance(&refused.address(), USUAL).await?;
    equal!(
        (balance.state.token_amount(), balance.served_from),
        (Some(100), ServedFrom::Rpc),
        "served by RPC"
    );
    pair.trade(world).await?;
    world.holds(&other, 101).await?;
    net.faults().clear();
    world.holds(&refused, 101).await?;
    world.until("both live in Health", || mirror.health().live == 2).await?;
    let health = mirror.health();
    equal!((health.connects, health.losses), (1, 0), "the connection");
    check!(health.last_error.is_some_and(|error| error.contains("too many")), "what the server said");
    Ok(())
}

pub(crate) async fn a_subscription_that_dies_in_silence_is_found(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    let mirror = world.steady_builder().audit_every(Duration::from_millis(300)).start()?;
    let [dead, other] = pair.watch(&mirror)?;
    world.holds(&dead, 100).await?;
    world.holds(&other, 100).await?;
    let checker = Checker::start(world, std::slice::from_ref(&other), USUAL)?;
    for round in 1..=3u64 {
        let before = net.stats();
        equal!(net.faults().kill_subscriptions_to(&dead.address()), 1, "subscriptions to kill");
        pair.trade(world).await?;
        world.holds(&dead, 100 + round).await?;
        world.holds(&other, 100 + round).await?;
        world.until("a miss", || found(&mirror) == round).await?;
        world.until("a new subscription", || net.subscribers(&dead.address()) == 1).await?;
        world.live(&dead).await?;
        equal!(net.subscribers(&other.address()), 1, "the other's subscription");
        // One for the account, one for its barrier.
        equal!(net.stats().subscribes, before.subscribes + 2, "subscribes");
    }
    let health = mirror.health();
    equal!((health.reconnects, found(&mirror)), (0, 3), "reconnects and misses");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn an_unanswered_subscribe_costs_the_connection_not_the_others(
    world: &World<'_>,
) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    net.faults().ignore_subscriptions_to(&pair.accounts[0]);
    let mirror = world.mirror()?;
    let [unanswered, other] = pair.watch(&mirror)?;
    let served = mirror.balance(&unanswered.address(), USUAL).await?;
    equal!(served.state.token_amount(), Some(100), "served by RPC");
    world.holds(&other, 100).await?;
    world.until("loss of the connection", || mirror.health().losses >= 1).await?;
    net.faults().clear();
    world.holds(&unanswered, 100).await?;
    world.holds(&other, 100).await?;
    check!(mirror.health().reconnects >= 1, "{:?}", mirror.health());
    Ok(())
}

pub(crate) async fn subscriptions_that_take_effect_late_lose_nothing(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    // Longer than a trade takes on a busy machine.
    net.faults().delay_baselines(60);
    let mirror = world.steady_builder().start()?;
    for round in 1..=4 {
        let [a, b] = pair.watch(&mirror)?;
        let checker = Checker::start(world, &[a.clone(), b.clone()], USUAL)?;
        // After the first answer of RPC, and before the subscription sees anything: it is in
        // neither.
        for reader in [&a, &b] {
            reader.wait_for(|reading| reading.slot().is_some(), world.soon()).await?;
        }
        pair.trade(world).await?;
        check!(!a.read().is_live(), "live before its barrier: {:?}", a.read());
        world.holds(&a, 100 + round).await?;
        world.agree(&[a, b]).await?;
        checker.finish(world)?;
        for account in &pair.accounts {
            mirror.unwatch(account);
        }
    }
    equal!((mirror.health().reconnects, mirror.health().missed), (0, 0), "reconnects and misses");
    Ok(())
}

pub(crate) async fn duplicates_and_reordering_move_nothing_backwards(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    let mirror = world.mirror()?;
    let readers = pair.watch(&mirror)?;
    for reader in &readers {
        world.holds(reader, 100).await?;
    }
    let checker = Checker::start(world, &readers, USUAL)?;
    net.faults().duplicate_notifications(2);
    net.faults().reorder_notifications(6);
    for _ in 0..25 {
        pair.trade(world).await?;
    }
    net.faults().clear();
    world.agree(&readers).await?;
    check!(mirror.health().notifications > 100, "{:?}", mirror.health());
    equal!(readers[0].read().last_known().and_then(|state| state.token_amount()), Some(125), "in the end");
    checker.finish_among_lies()?;
    Ok(())
}

pub(crate) async fn what_cannot_be_decoded_is_found_by_the_audit(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    let mirror = world.steady_builder().audit_every(Duration::from_millis(300)).start()?;
    let readers = pair.watch(&mirror)?;
    for reader in &readers {
        world.holds(reader, 100).await?;
    }
    let told = mirror.health().notifications;
    net.faults().undecodable_rent_epoch(true);
    let slot = pair.trade(world).await?;
    world.until_slot(slot + 1).await?;
    net.faults().undecodable_rent_epoch(false);
    equal!(mirror.health().notifications, told, "the client drops them without a word");
    for reader in &readers {
        world.holds(reader, 101).await?;
    }
    world.until("misses", || found(&mirror) == 2).await?;
    equal!(mirror.health().reconnects, 0, "reconnects");
    pair.trade(world).await?;
    world.agree(&readers).await?;
    Ok(())
}

pub(crate) async fn rpc_ahead_of_the_link_accuses_nobody(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    net.faults().lag_notifications(6);
    let mirror = world.steady_builder().audit_every(Duration::from_millis(60)).start()?;
    let readers = pair.watch(&mirror)?;
    for reader in &readers {
        world.holds(reader, 100).await?;
    }
    let before = net.stats().subscribes;
    for _ in 0..15 {
        pair.trade(world).await?;
    }
    world.agree(&readers).await?;
    // Judgement comes when the link passes what RPC told.
    let tip = world.slot().await?;
    world.until("the link past it", || mirror.health().slot > Some(tip)).await?;
    let health = mirror.health();
    equal!((health.missed, health.disputes, health.reconnects), (0, 0, 0), "misses, disputes, reconnects");
    equal!(net.stats().subscribes, before, "subscribes");
    check!(health.rpc_calls > 10, "{} RPC calls: too few to tell", health.rpc_calls);
    Ok(())
}

pub(crate) async fn junk_ends_the_connection_and_no_more(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    let mirror = world.mirror()?;
    let readers = pair.watch(&mirror)?;
    let checker = Checker::start(world, &readers, USUAL)?;
    for (round, junk) in (0..).zip([
        "no JSON at all",
        "[]",
        r#"{"jsonrpc":"2.0","result":18446744073709551616,"id":1}"#,
        r#"{"jsonrpc":"2.0","result":1,"id":99999999999}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":18446744073709551615},"value":null},"subscription":18446744073709551615}}"#,
    ]) {
        for reader in &readers {
            world.holds(reader, 100 + round).await?;
        }
        net.faults().inject(junk);
        pair.trade(world).await?;
    }
    world.agree(&readers).await?;
    check!(mirror.health().reconnects >= 1, "{:?}", mirror.health());
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn a_handshake_told_to_wait_is_not_waited_for(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    // The client would sleep a minute inside its connect.
    net.faults().refuse_connections(429, Some(60), None);
    let mirror = world.builder().connect_timeout(Duration::from_millis(700)).start()?;
    let readers = pair.watch(&mirror)?;
    let balance = mirror.balance(&pair.accounts[0], USUAL).await?;
    equal!((balance.state.token_amount(), balance.served_from), (Some(100), ServedFrom::Rpc), "meanwhile");
    world.ws_side.until_accepted(2).await;
    net.faults().clear();
    for reader in &readers {
        world.holds(reader, 100).await?;
    }
    Ok(())
}

pub(crate) async fn a_chain_that_lags_proves_nothing(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    let age = world.short_age();
    let mirror = world.steady_builder().start()?;
    let readers = pair.watch(&mirror)?;
    for reader in &readers {
        world.holds(reader, 100).await?;
    }
    net.faults().clock_behind(Duration::from_secs(60));
    world.until("phase lagging", || mirror.health().phase == LinkPhase::Lagging).await?;
    check!(!readers[0].read().is_live(), "{:?}", readers[0].read());
    check!(mirror.health().chain_lag_ms > Some(20_000), "{:?}", mirror.health());
    world.until("end of fresh", || readers[0].fresh(age).is_err()).await?;
    pair.trade(world).await?;
    for _ in 0..3 {
        let error = mirror.balance(&pair.accounts[0], age).await;
        let lag = Duration::from_secs(55)..Duration::from_secs(65);
        shape!(
            error,
            Err(ReadError::Rpc { source: RpcFailure::Lagging { lag: by }, .. }) if lag.contains(by),
            "RPC lags as well"
        );
    }
    equal!(mirror.health().reconnects, 0, "it is connected all the same");
    net.faults().clear();
    world.holds(&readers[0], 101).await?;
    world.until("phase live", || mirror.health().phase == LinkPhase::Live).await?;
    Ok(())
}

pub(crate) async fn a_clock_that_stands_still_ends_the_link(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let pair = Pair::open(world).await?;
    let mirror = world.mirror()?;
    let readers = pair.watch(&mirror)?;
    for reader in &readers {
        world.holds(reader, 100).await?;
    }
    net.faults().freeze_clock(true);
    world.until("end of live", || !readers[0].read().is_live()).await?;
    world.until("loss of the link", || mirror.health().losses >= 1).await?;
    net.faults().clear();
    pair.trade(world).await?;
    for reader in &readers {
        world.holds(reader, 101).await?;
    }
    Ok(())
}
