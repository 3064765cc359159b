//! RPC that misbehaves in ways that only the local cluster can be made to.

use std::time::{Duration, Instant};

use balance_mirror::{Floor, Mirror, ReadError, ReadQuery, Reader, RpcFailure};
use localnet::{Keypair, Signer};

use crate::{
    checker::Checker,
    logs::SECRET,
    outcome::{Outcome, check, equal, shape},
    proxy::Cut,
    token::Token,
    world::{World, timed},
};

const USUAL: Duration = Duration::from_secs(30);
/// What mirrors ask; the suite's own calls are spared.
const READS: &[&str] = &["getMultipleAccounts"];

/// A token, and a mirror without a link.
async fn unlinked(world: &World<'_>) -> Outcome<(Token, Mirror, Reader)> {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 100).await?;
    world.ws_side.refuse(true);
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.until("mint", || mirror.mint(&token.mint).is_some()).await?;
    Ok((token, mirror, reader))
}

pub(crate) async fn a_rate_limit_is_told_at_once_and_respected(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let (_, mirror, reader) = unlinked(world).await?;
    net.faults().rpc_only(READS);
    let wait = Duration::from_secs(2);
    net.faults().rpc_refuse(429, Some(wait.as_secs()), None);
    let before = net.stats().rpc_calls(READS[0]);
    let began = Instant::now();
    let reads = 100;
    for _ in 0..reads {
        let error = mirror.balance(&reader.address(), Duration::ZERO).await;
        shape!(
            error,
            Err(error @ ReadError::Rpc { source: RpcFailure::RateLimited { retry_after: Some(asked) }, .. })
                if *asked == wait && error.is_transient(),
            "a limited rate"
        );
        world.pass(Duration::from_millis(5)).await;
    }
    // One, and one more for each wait that is over.
    let calls = net.stats().rpc_calls(READS[0]) - before;
    let (took, waits) = (began.elapsed(), began.elapsed().as_millis() / wait.as_millis());
    check!((1..=1 + waits).contains(&calls.into()), "{reads} reads made {calls} calls in {took:?}");
    check!(took < wait * reads / 4, "{reads} reads took {took:?}: they waited for the node");
    net.faults().clear();
    let served = async {
        loop {
            match mirror.balance(&reader.address(), Duration::ZERO).await {
                Ok(balance) => return balance,
                Err(_) => world.pass(Duration::from_millis(20)).await,
            }
        }
    };
    equal!(world.within("end of the wait", served).await?.state.token_amount(), Some(100), "afterwards");
    check!(began.elapsed() >= wait, "asked again after {:?}", began.elapsed());
    Ok(())
}

pub(crate) async fn answers_that_do_not_fit_are_errors(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let (_, mirror, reader) = unlinked(world).await?;
    let faults = net.faults();
    faults.rpc_only(READS);
    let read = async || mirror.balance(&reader.address(), Duration::ZERO).await;

    faults.short_answers(true);
    let error = read().await;
    shape!(error, Err(ReadError::Rpc { source: RpcFailure::Malformed { .. }, .. }), "an account too few");
    faults.short_answers(false);

    faults.rpc_error(-32005, &format!("Node is unhealthy, says {SECRET}"));
    let error = read().await;
    shape!(
        error,
        Err(error @ ReadError::Rpc { source: RpcFailure::Server { code: -32005, message }, .. })
            if error.is_transient() && message.contains("unhealthy") && !message.contains(SECRET),
        "an error of the node"
    );
    faults.clear();
    faults.rpc_only(READS);
    faults.rpc_error(-32602, "Invalid param");
    shape!(read().await, Err(error) if !error.is_transient(), "an error of ours");
    faults.clear();

    faults.rpc_only(READS);
    faults.rpc_refuse(503, None, Some(1));
    let error = read().await;
    shape!(error, Err(error @ ReadError::Rpc { source: RpcFailure::Status { status: 503 }, .. }) if error.is_transient(), "503");

    faults.rpc_stall(true);
    let error = world.within("end of the wait for an answer", read()).await?;
    shape!(error, Err(ReadError::Rpc { source: RpcFailure::Timeout { .. }, .. }), "no answer");
    faults.clear();
    equal!(read().await?.state.token_amount(), Some(100), "afterwards");
    Ok(())
}

pub(crate) async fn rpc_always_behind_the_link_still_verifies_what_is_quiet(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 100).await?;
    net.faults().hold_rpc(8);
    let verify_every = Duration::from_secs(1);
    let builder = world.steady_builder().verify_every(verify_every).audit_every(verify_every / 4);
    let mirror = builder.start()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 100).await?;
    // Nothing happens to the account, so that only RPC can verify it.
    let checker = Checker::start(world, std::slice::from_ref(&reader), USUAL)?;
    let before = mirror.health().rpc_calls;
    world.pass(verify_every * 3).await;
    world.agree(std::slice::from_ref(&reader)).await?;
    check!(mirror.health().rpc_calls >= before + 2, "it was not verified");
    let health = mirror.health();
    equal!((health.reconnects, health.disputes, health.missed), (0, 0, 0), "an honest node");
    checker.finish(world)?;
    Ok(())
}

pub(crate) async fn rpc_behind_the_tip_is_waited_for(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    for in_other_words in [false, true] {
        let token = Token::plain(world).await?;
        let wallet = Keypair::new().pubkey();
        token.buy(world, &wallet, 100).await?;
        net.faults().hold_rpc(8);
        net.faults().min_context_slot_as_internal_error(in_other_words);
        let mirror = world.mirror()?;
        let reader = mirror.watch(token.target(&wallet))?;
        let checker = Checker::start(world, std::slice::from_ref(&reader), USUAL)?;
        // Live takes an answer as of the barrier: the node is asked until it has come there.
        world.holds(&reader, 100).await?;
        let deadline = world.soon();
        for round in 1..=3u64 {
            let slot = token.mint(world, &wallet, 1).await?;
            let query = ReadQuery::max_age(USUAL).as_of(Floor::confirmed(slot)).deadline(deadline);
            let balance = mirror.balance(&reader.address(), query).await?;
            equal!(balance.state.token_amount(), Some(100 + round), "as of {slot}");
        }
        checker.finish(world)?;
        // Without a link, RPC alone has to come to the slot.
        world.ws_side.refuse(true);
        world.ws_side.cut(Cut::Reset);
        world.until("end of live", || !reader.read().is_live()).await?;
        let landed = net.send(&[token.mint_to(&reader.address(), 1)], &[])?;
        let query = ReadQuery::max_age(USUAL).as_of(Floor::confirmed(landed.slot)).deadline(deadline);
        let balance = mirror.balance(&reader.address(), query).await?;
        equal!(balance.state.token_amount(), Some(104), "as of {}", landed.slot);
        check!(balance.as_of() >= Some(landed.slot), "{balance:?}");
        world.ws_side.refuse(false);
        net.faults().clear();
        world.holds(&reader, 104).await?;
    }
    Ok(())
}

pub(crate) async fn a_node_cut_off_from_its_cluster_serves_nothing_older(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 100).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 100).await?;
    // RPC says that it is healthy, and knows nothing newer.
    net.faults().freeze_rpc(true);
    let landed = net.send(&[token.mint_to(&reader.address(), 1)], &[])?;
    let seen = reader.wait_for(|reading| reading.as_of() >= Some(landed.slot + 2), world.soon()).await?;
    equal!(seen.last_known().and_then(|state| state.token_amount()), Some(101), "told by the link");
    world.ws_side.refuse(true);
    world.ws_side.cut(Cut::Reset);
    world.until("end of live", || !reader.read().is_live()).await?;
    let error = mirror.balance(&reader.address(), Duration::ZERO).await;
    shape!(
        error,
        Err(ReadError::Deadline { .. } | ReadError::Rpc { source: RpcFailure::Behind { .. }, .. }),
        "RPC knows only what is older"
    );
    equal!(reader.read().last_known().and_then(|state| state.token_amount()), Some(101), "nothing went back");
    net.faults().clear();
    equal!(
        mirror.balance(&reader.address(), Duration::ZERO).await?.state.token_amount(),
        Some(101),
        "afterwards"
    );
    Ok(())
}

pub(crate) async fn a_slow_answer_still_answers(world: &World<'_>) -> Outcome {
    let net = world.local()?;
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 100).await?;
    let mirror = world.mirror()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 100).await?;
    net.faults().rpc_only(READS);
    // Some slots: the link's canaries are past the answer's slot when it comes.
    net.faults().rpc_delay(world.slots(5));
    let before = mirror.health().rpc_calls;
    for _ in 0..5 {
        let (balance, took) = timed(mirror.balance(&reader.address(), Duration::ZERO)).await;
        equal!(balance?.state.token_amount(), Some(100), "after {took:?}");
    }
    let calls = mirror.health().rpc_calls - before;
    check!(calls <= 10, "{calls} calls for 5 reads");
    Ok(())
}
