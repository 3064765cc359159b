//! The mirror and its process: tasks, clients, headers, secrets, and the other commitment.

use std::{error::Error, fmt::Debug, sync::Arc, time::Duration};

use balance_mirror::{
    CommitmentLevel, Mirror, ReadQuery, Reader, ServedFrom, StaleReason, WaitError, WatchTarget,
};
use localnet::{CommitmentConfig, Keypair, Signer};
use solana_rpc_client::nonblocking::rpc_client::RpcClient;

use crate::{
    logs::{self, SECRET},
    outcome::{Outcome, check, equal, shape},
    proxy::{Cut, Direction},
    token::Token,
    world::{HEADER, World},
};

pub(crate) async fn dropping_the_last_handle_ends_every_task(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    for deaf in [false, true] {
        // In a runtime of its own, where nobody else has tasks.
        tokio::task::block_in_place(|| {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(drop_it(world, token.target(&wallet), deaf))
        })?;
        world.ws_side.clear();
        world.rpc_side.clear();
        world.within("end of the connection", world.ws_side.until_open(0)).await?;
    }
    Ok(())
}

async fn drop_it(world: &World<'_>, target: WatchTarget, deaf: bool) -> Outcome {
    let tasks = tokio::runtime::Handle::current().metrics();
    equal!(tasks.num_alive_tasks(), 0, "tasks before");
    let mirror = world.mirror()?;
    let reader = mirror.watch(target)?;
    world.holds(&reader, 5).await?;
    let another = mirror.clone();
    drop(mirror);
    check!(reader.read().is_live() && tasks.num_alive_tasks() > 0, "a clone is the same mirror");
    if deaf {
        for proxy in [&world.rpc_side, &world.ws_side] {
            proxy.black_hole(Direction::Up, true);
            proxy.black_hole(Direction::Down, true);
        }
    }
    let waiting = reader.clone();
    let waiting = async move { waiting.wait_for(|_| false, Duration::from_secs(60)).await };
    let mut waiting = std::pin::pin!(waiting);
    check!(futures::poll!(&mut waiting).is_pending(), "it waits");
    drop(another);
    shape!(world.within("end of a wait", waiting).await?, Err(WaitError::Ended { .. }), "a wait");
    shape!(reader.fresh(Duration::from_secs(30)), Err(stale) if stale.why == StaleReason::Stopped, "its readers");
    check!(!reader.read().is_live(), "{:?}", reader.read());
    world.until("end of every task", || tasks.num_alive_tasks() == 0).await
}

pub(crate) async fn a_starved_runtime_makes_nothing_younger(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    let age = world.short_age();
    tokio::task::block_in_place(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mirror, reader) = runtime.block_on(async {
            let mirror = world.mirror()?;
            let reader = mirror.watch(token.target(&wallet))?;
            world.holds(&reader, 5).await?;
            Outcome::Ok((mirror, reader))
        })?;
        // From here on nobody drives the mirror's tasks, and readers are on their own.
        std::thread::sleep(world.canary_deadline() + Duration::from_millis(50));
        check!(!reader.read().is_live(), "live without a canary: {:?}", reader.read());
        std::thread::sleep(age.saturating_sub(world.canary_deadline()));
        shape!(reader.fresh(age), Err(stale) if stale.why == StaleReason::Expired, "its age is over");
        // The backlog, read at full rate, is not young at once; the canaries after it are.
        runtime.block_on(async {
            world.holds(&reader, 5).await?;
            mirror.shutdown().await;
            Ok(())
        })
    })
}

pub(crate) async fn the_bots_own_rpc_client_is_used(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    token.buy(world, &wallet, 5).await?;
    world.rpc_side.refuse(true);
    let own = Arc::new(RpcClient::new_with_commitment(world.rpc.url(), CommitmentConfig::processed()));
    let mirror = world.builder().rpc_client(Arc::clone(&own)).start()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.holds(&reader, 5).await?;
    let balance = mirror.balance(&reader.address(), Duration::ZERO).await?;
    equal!(
        (balance.state.token_amount(), balance.served_from),
        (Some(5), ServedFrom::Rpc),
        "by the bot's client"
    );
    equal!(world.rpc_side.accepted(), 0, "connections of any other client");
    mirror.shutdown().await;
    drop(mirror);
    world.until("the client given back", || Arc::strong_count(&own) == 1).await
}

pub(crate) async fn headers_reach_the_server(world: &World<'_>) -> Outcome {
    let mirror = world.builder().header("x-second", "another").start()?;
    let reader = mirror.watch(WatchTarget::account(Keypair::new().pubkey()))?;
    world.is(&reader, "absent").await?;
    mirror.balance(&reader.address(), Duration::ZERO).await?;
    for (proxy, start) in [(&world.ws_side, "get /?api-key="), (&world.rpc_side, "post /?api-key=")] {
        let said = proxy.first_words();
        check!(!said.is_empty(), "nobody connected");
        for words in said {
            let words = String::from_utf8_lossy(&words).to_ascii_lowercase();
            check!(words.starts_with(start), "{words}");
            for header in [format!("{HEADER}: {SECRET}\r\n"), "x-second: another\r\n".to_owned()] {
                check!(words.contains(&header), "{header:?} is missing in {words}");
            }
        }
    }
    Ok(())
}

pub(crate) async fn no_secret_is_shown(world: &World<'_>) -> Outcome {
    let mut shown = Shown(Vec::new());
    let before = logs::seen();
    let mirror = world.builder().start()?;
    shown.debug(&world.builder());
    shown.debug(&mirror);
    let reader = mirror.watch(WatchTarget::account(Keypair::new().pubkey()))?;
    world.is(&reader, "absent").await?;
    let query = ReadQuery::max_age(Duration::ZERO).deadline(Duration::from_millis(300));
    // Refused, unanswered, and cut while under way: each has words of its own.
    world.rpc_side.refuse(true);
    world.ws_side.refuse(true);
    world.rpc_side.cut(Cut::Reset);
    world.ws_side.cut(Cut::Reset);
    world.ws_side.until_accepted(world.ws_side.accepted() + 2).await;
    shown.failure(&mirror, &reader, query).await?;
    world.rpc_side.clear();
    world.rpc_side.black_hole(Direction::Down, true);
    shown.failure(&mirror, &reader, query).await?;
    world.rpc_side.clear();
    world.ws_side.clear();
    world.ws_side.black_hole(Direction::Down, true);
    world.pass(world.canary_deadline()).await;
    world.ws_side.cut(Cut::Fin);
    shown.debug(&mirror.health());
    mirror.shutdown().await;

    for (rpc, ws) in [
        (format!("nonsense-{SECRET}"), String::new()),
        (format!("ftp://host/{SECRET}"), String::new()),
        (format!("http://host:99999/{SECRET}"), String::new()),
        (format!("http://host/{SECRET}"), format!("http://host/?key={SECRET}")),
        (format!("http://{SECRET}@host:65535"), String::new()),
    ] {
        let builder = Mirror::builder(rpc);
        let builder = if ws.is_empty() { builder } else { builder.ws_url(ws) };
        shown.debug(&builder);
        let error = builder.start().err().ok_or("a URL that cannot work was taken")?;
        shown.error(&error);
    }
    let error = world
        .builder()
        .header("x-key", format!("{SECRET}\n"))
        .start()
        .err()
        .ok_or("a bad header was taken")?;
    shown.error(&error);

    check!(shown.0.len() > 15, "{:?}", shown.0);
    let leak = shown.0.iter().find(|text| text.contains(SECRET));
    check!(leak.is_none(), "the secret is in {leak:?}");
    // The runner looks at every line of the process after each scenario.
    check!(logs::seen() > before + 5, "{} log lines were heard", logs::seen() - before);
    Ok(())
}

struct Shown(Vec<String>);

impl Shown {
    fn debug(&mut self, value: &impl Debug) {
        self.0.push(format!("{value:?}"));
        self.0.push(format!("{value:#?}"));
    }

    fn error(&mut self, error: &dyn Error) {
        let mut cause = Some(error);
        while let Some(error) = cause {
            self.0.push(format!("{error} {error:?}"));
            cause = error.source();
        }
    }

    async fn failure(&mut self, mirror: &Mirror, reader: &Reader, query: ReadQuery) -> Outcome {
        let error = mirror.balance(&reader.address(), query).await.err().ok_or("a read without a node")?;
        self.error(&error);
        self.debug(&mirror.health());
        self.debug(reader);
        Ok(())
    }
}

pub(crate) async fn finalized_serves_what_is_final(world: &World<'_>) -> Outcome {
    let token = Token::plain(world).await?;
    let wallet = Keypair::new().pubkey();
    let mirror = world.builder().commitment(CommitmentLevel::Finalized).start()?;
    let reader = mirror.watch(token.target(&wallet))?;
    world.is(&reader, "absent").await?;
    let finalized = async || world.rpc.get_slot_with_commitment(CommitmentConfig::finalized()).await;
    let mut amount = 0;
    for _ in 0..3 {
        amount += 10;
        let slot = token.buy(world, &wallet, 10).await?;
        // The node's RPC could tell of it already.
        let forced = mirror.balance(&reader.address(), Duration::ZERO).await?;
        let tip = finalized().await?;
        check!(forced.as_of() <= Some(tip), "RPC as of more than is final, {tip}: {forced:?}");
        let reading = world.holds(&reader, amount).await?;
        let tip = finalized().await?;
        check!(
            reading.slot() >= Some(slot) && tip >= slot,
            "{slot} is shown while {tip} is final: {reading:?}"
        );
        check!(reading.as_of() <= Some(tip), "as of more than is final, {tip}: {reading:?}");
    }
    Ok(())
}

pub(crate) async fn finalized_absence_is_confirmed_without_hurry(world: &World<'_>) -> Outcome {
    world.ws_side.refuse(true);
    let mirror = world.builder().commitment(CommitmentLevel::Finalized).start()?;
    for _ in 0..3 {
        let reader = mirror.watch(WatchTarget::account(Keypair::new().pubkey()))?;
        let before = mirror.health();
        let query = ReadQuery::max_age(mirror.selling_age()).deadline(world.soon());
        let balance = mirror.balance(&reader.address(), query).await?;
        equal!((balance.state.token_amount(), balance.served_from), (Some(0), ServedFrom::Rpc), "absent");
        let calls = mirror.health().rpc_calls - before.rpc_calls;
        check!(calls >= 2, "absence was taken for granted after {calls} calls");
        check!(calls <= 8, "{calls} calls to see one absence twice");
    }
    Ok(())
}
