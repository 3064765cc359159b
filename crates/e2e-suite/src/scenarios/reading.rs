//! Reading: from memory while the link lives, as of a slot, under an age, and as updates.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use balance_mirror::{
    AccountState, Floor, Freshness, MirrorUpdate, ReadError, ReadQuery, RpcFailure, ServedFrom, StaleReason,
    StateOrigin, WaitError, WatchTarget,
};
use localnet::{Keypair, Signer};

use crate::{
    outcome::{Outcome, check, equal, shape},
    token::Token,
    world::{World, timed},
};

pub(crate) async fn a_buy_becomes_a_live_balance(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    let reading = reader.ready(world.soon()).await?;
    equal!(reading.last_known(), Some(&AccountState::Absent), "before the buy");

    let slot = token.buy(world, &wallet, 1_234_567).await?;
    let reading = world.holds(&reader, 1_234_567).await?;
    equal!(reading.origin(), Some(StateOrigin::Subscription), "who told");
    check!(reading.slot() >= Some(slot), "{reading:?} is older than slot {slot}");
    let balance = mirror.balance(&token.ata(&wallet), mirror.selling_age()).await?;
    equal!(
        (balance.state.token_amount(), balance.served_from),
        (Some(1_234_567), ServedFrom::Cache),
        "to sell"
    );
    let account = *balance.state.token().ok_or("no token account")?;
    equal!((account.mint, account.owner, account.program), (token.mint, wallet, token.program), "whose");

    world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
    let shown = mirror.mint(&token.mint).and_then(|mint| mint.ui_amount(account.amount));
    equal!(shown.as_deref(), Some("1.234567"), "with six decimals");
    mirror.shutdown().await;
    Ok(())
}

pub(crate) async fn a_change_is_notified_without_rpc(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let (seller, buyer) = (Keypair::new(), Keypair::new().pubkey());
    token.buy(world, &seller.pubkey(), 500).await?;
    world.send(&[token.create_ata(&buyer)], &[]).await?;
    let mirror = world.mirror()?;
    let readers = mirror.watch_all([token.target(&seller.pubkey()), token.target(&buyer)])?;
    world.holds(&readers[0], 500).await?;
    world.holds(&readers[1], 0).await?;
    world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
    let before = mirror.health();

    for sold in 1..=3 {
        world.send(&[token.transfer(&seller.pubkey(), &buyer, 100)], &[&seller]).await?;
        let left = world.holds(&readers[0], 500 - 100 * sold).await?;
        let right = world.holds(&readers[1], 100 * sold).await?;
        equal!(left.origin(), Some(StateOrigin::Subscription), "who told of the sale");
        equal!(right.revision(), 1 + sold, "one change a transfer");
    }
    let after = mirror.health();
    equal!(after.rpc_calls, before.rpc_calls, "RPC calls");
    check!(after.notifications >= before.notifications + 6, "{} notifications", after.notifications);
    let stats = mirror.token_stats(&readers[0].address()).ok_or("an account that is watched")?;
    equal!((stats.changes, stats.notifications), (4, 3), "of the seller's account");
    check!(stats.rpc_reads >= 1 && stats.memory_bytes < 10_000, "{stats:?}");
    // The last one's Clock may still be under way.
    check!(after.notification_lag_ms.count + 2 >= after.notifications, "{after:?}");
    check!(after.notification_lag_ms.max < 10_000, "{after:?}");
    Ok(())
}

pub(crate) async fn an_absent_account_appears(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    let mirror = world.mirror()?;
    let reader = mirror.watch(WatchTarget::account(token.ata(&wallet)))?;
    world.is(&reader, "absent").await?;
    let absent = reader.fresh(mirror.selling_age())?;
    equal!(absent.state.token_amount(), Some(0), "an absent account");
    check!(absent.state.token().is_none(), "absent is not an empty account");

    world.send(&[token.create_ata(&wallet)], &[]).await?;
    let created = world.is(&reader, "initialized").await?;
    equal!(created.last_known().and_then(AccountState::token_amount), Some(0), "created, empty");
    token.mint(world, &wallet, 7).await?;
    world.holds(&reader, 7).await?;
    Ok(())
}

pub(crate) async fn unchanged_past_its_ttl_is_still_fresh(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 42).await?;
    let age = world.short_age() + Duration::from_secs(4);
    let mirror = world.steady_builder().selling_age(age).start()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 42).await?;
    world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
    let before = mirror.health();

    world.pass(age + world.short_age()).await;
    let reading = reader.read();
    check!(reading.is_live(), "{reading:?}");
    equal!(reading.freshness(age), Freshness::Live, "past its TTL");
    let balance = mirror.balance(&reader.address(), mirror.selling_age()).await?;
    equal!((balance.state.token_amount(), balance.served_from), (Some(42), ServedFrom::Cache), "served");
    let after = mirror.health();
    equal!(after.rpc_calls, before.rpc_calls, "RPC calls");
    equal!((after.hits, after.misses), (before.hits + 1, before.misses), "hits and misses");
    equal!(after.notifications, before.notifications, "notifications of an account that did not change");
    Ok(())
}

pub(crate) async fn a_floor_is_met_at_slots_that_changed_it_or_not(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let (wallet, other) = (Keypair::new().pubkey(), Keypair::new().pubkey());
    token.buy(world, &wallet, 1).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 1).await?;
    for round in 1..=5u64 {
        // A slot that changes the account, and one that does not.
        let changed = token.mint(world, &wallet, 1).await?;
        let floor = ReadQuery::max_age(mirror.selling_age()).as_of(Floor::confirmed(changed));
        let own = mirror.balance(&reader.address(), floor).await?;
        equal!(own.state.token_amount(), Some(1 + round), "own write of slot {changed}");
        check!(own.as_of() >= Some(changed), "{own:?} is not as of {changed}");

        let elsewhere = token.buy(world, &other, 1).await?;
        let floor = ReadQuery::max_age(mirror.selling_age()).as_of(Floor::confirmed(elsewhere));
        let same = mirror.balance(&reader.address(), floor).await?;
        equal!(same.state.token_amount(), Some(1 + round), "as of slot {elsewhere}, which did not change it");
        check!(same.as_of() >= Some(elsewhere), "{same:?} is not as of {elsewhere}");
        check!(same.reading.slot() <= same.as_of(), "{same:?}");
    }
    Ok(())
}

pub(crate) async fn a_floor_far_ahead_fails_in_time_and_holds_up_nobody(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallets: Vec<_> = (0..7).map(|_| Keypair::new().pubkey()).collect();
    for wallet in &wallets {
        token.buy(world, wallet, 9).await?;
    }
    let mirror = world.mirror()?;
    let readers = mirror.watch_all(wallets.iter().map(|wallet| token.target(wallet)))?;
    for reader in &readers {
        world.holds(reader, 9).await?;
    }
    let deadline = Duration::from_secs(4) + world.slots(4);
    let far = world.slot().await? + 1_000_000;
    let query =
        |n: u64| ReadQuery::max_age(mirror.selling_age()).as_of(Floor::confirmed(far + n)).deadline(deadline);
    let failed = AtomicUsize::new(0);
    let waiting = readers[..6].iter().zip(0..).map(|(reader, n)| {
        let (mirror, address, query, failed) = (&mirror, reader.address(), query(n), &failed);
        timed(async move {
            let failure = mirror.balance(&address, query).await;
            failed.fetch_add(1, Relaxed);
            failure
        })
    });
    let waiting = futures::future::join_all(waiting);
    let others = async {
        // Behind the far ones, in the queue.
        world.pass(Duration::from_millis(100)).await;
        let other = mirror.balance(&readers[6].address(), Duration::ZERO).await;
        (other, failed.load(Relaxed))
    };
    let (failures, (other, over)) = futures::join!(waiting, others);
    equal!(other?.state.token_amount(), Some(9), "the other read");
    equal!(over, 0, "far ones that were over before the other read");
    for (failure, took) in failures {
        shape!(
            failure,
            Err(ReadError::Deadline { stale, .. } | ReadError::Rpc { stale, source: RpcFailure::Behind { .. } })
                if stale.why == StaleReason::BelowFloor,
            "a floor far ahead"
        );
        check!(took >= deadline && took < deadline + world.soon(), "it took {took:?} of {deadline:?}");
    }
    world.until("live link: it is not to blame", || readers[0].read().is_live()).await?;
    Ok(())
}

pub(crate) async fn an_age_that_no_link_meets_asks_rpc(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 5).await?;
    for _ in 0..10 {
        let before = mirror.health();
        let balance = mirror.balance(&reader.address(), Duration::ZERO).await?;
        equal!((balance.state.token_amount(), balance.served_from), (Some(5), ServedFrom::Rpc), "asked anew");
        let after = mirror.health();
        check!(after.rpc_calls > before.rpc_calls, "no RPC call was made");
        check!(after.rpc_calls <= before.rpc_calls + 3, "{} RPC calls", after.rpc_calls - before.rpc_calls);
        equal!(after.misses, before.misses + 1, "misses");
    }
    Ok(())
}

pub(crate) async fn updates_come_in_order_and_a_slow_consumer_is_told(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    let mirror = world.builder().update_buffer(4).start()?;
    let (mut quick, mut slow) = (mirror.updates(), mirror.updates());
    let reader = mirror.watch(token.target(&wallet))?;
    world.is(&reader, "absent").await?;
    token.buy(world, &wallet, 1).await?;
    let mut seen = Vec::new();
    for amount in 2..=10 {
        token.mint(world, &wallet, 1).await?;
        world.holds(&reader, amount).await?;
        while seen.len() < amount as usize + 1 {
            match world.within("update", quick.next()).await? {
                Some(MirrorUpdate::Account(update)) => seen.push(update),
                other => return Err(format!("{other:?} instead of an update").into()),
            }
        }
    }
    equal!(seen[0].state, AccountState::Absent, "the first sight is included");
    let held: Vec<_> = seen.iter().filter_map(|update| update.state.token_amount()).collect();
    equal!(held, (0..=10).collect::<Vec<u64>>(), "each change, once, in order");
    let revisions: Vec<_> = seen.iter().map(|update| update.revision).collect();
    equal!(revisions, (1..=11).collect::<Vec<u64>>(), "revisions");
    check!(seen.is_sorted_by_key(|update| update.slot), "slots in order");

    shape!(slow.next().await, Some(MirrorUpdate::Missed(7)), "11 updates through a buffer of 4");
    for amount in 7..=10 {
        shape!(slow.next().await, Some(MirrorUpdate::Account(update)) if update.state.token_amount() == Some(amount), "the rest");
    }
    mirror.shutdown().await;
    shape!(slow.next().await, None, "after the shutdown");
    Ok(())
}

pub(crate) async fn waiting_ends_in_time(world: &World<'_>) -> Outcome {
    let mirror = world.mirror()?;
    let reader = mirror.watch(WatchTarget::account(Keypair::new().pubkey()))?;
    let deadline = Duration::from_millis(200);
    let (waited, took) = timed(reader.wait_for(|reading| reading.revision() > 99, deadline)).await;
    shape!(waited, Err(WaitError::Deadline { .. }), "a wait for nothing");
    check!(took >= deadline && took < world.soon(), "it took {took:?}");
    let (ended, ()) = futures::join!(reader.wait_for(|_| false, world.soon()), async {
        mirror.unwatch(&reader.address());
    });
    shape!(
        ended,
        Err(WaitError::Ended { why: StaleReason::Unwatched, .. }),
        "a wait on an unwatched account"
    );
    let error = mirror.balance(&reader.address(), Duration::from_secs(1)).await;
    shape!(error, Err(ReadError::NotWatched { .. }), "a read of an unwatched account");
    Ok(())
}
