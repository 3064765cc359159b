//! Runs a cluster in this process, with a market and faults, and mirrors it.

use std::{sync::Arc, time::Duration};

use balance_mirror::{CommitmentLevel, Mirror, NodeConfig};
use localnet::Localnet;

use crate::{
    Failure,
    args::Args,
    check,
    client::client,
    events::Registry,
    human::{COLUMNS, REPEAT_AFTER, counted},
    market::Market,
    output::{Output, Voice},
    trouble,
    watch::{End, Tally, Watch},
};

/// Ages and deadlines that let a fault show within seconds. The Clock has whole seconds, so what it
/// proves on a link is up to two seconds old: with smaller ages every read would go to RPC.
const MAX_AGE: Duration = Duration::from_secs(3);
const CANARY_DEADLINE: Duration = Duration::from_secs(2);
const RECONNECT_CAP: Duration = Duration::from_secs(2);
const RPC_TIMEOUT: Duration = Duration::from_secs(1);
const READ_DEADLINE: Duration = Duration::from_secs(2);
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until asked to end, then compares the mirror with the chain.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let net = Arc::new(Localnet::start()?);
    let market = Market::open(net.clone()).map_err(|error| Failure::Fatal(format!("no market: {error}")))?;
    let registry = Arc::new(Registry::with_labels(market.labels()));
    let (output, writer) = Output::open(args.json, registry.clone())?;
    let output = Arc::new(output);
    let ended = mirrored(args, &net, market, &output, registry).await;
    drop(output);
    writer.finish().await;
    ended
}

async fn mirrored(
    args: &Args,
    net: &Localnet,
    mut market: Market,
    output: &Arc<Output>,
    registry: Arc<Registry>,
) -> Result<(), Failure> {
    let max_age = args.max_age.unwrap_or(MAX_AGE);
    let mut end = End::of(args.duration)?;
    introduce(args, net, &market, max_age, output).await;
    let health_interval = args.health_interval.unwrap_or(HEALTH_INTERVAL);
    // A bot already has an RPC client of its own: the mirror reads through it.
    let rpc = client(&net.rpc_url(), CommitmentLevel::Confirmed);
    let second = net.add_node()?;
    let mirror = Mirror::builder(net.rpc_url())
        .ws_url(net.ws_url())
        .rpc_client(rpc.clone())
        .node(NodeConfig::new(second.rpc_url()).ws_url(second.ws_url()))
        .selling_age(max_age)
        .canary_deadline(CANARY_DEADLINE)
        .reconnect_cap(RECONNECT_CAP)
        .rpc_timeout(RPC_TIMEOUT)
        .read_deadline(READ_DEADLINE)
        .health_interval(health_interval)
        .processed(args.processed)
        .start()?;
    let updates = mirror.updates();
    let watch = Watch {
        mirror,
        output: output.clone(),
        registry,
        max_age,
        read_interval: args.read_interval,
        health_interval,
        tally: Tally::default(),
    };
    watch.all(market.accounts())?;

    let mut faults = 0;
    let work = async {
        tokio::select! {
            () = end.reached() => {}
            () = market.play(output) => {}
            () = trouble::play([net.faults(), second.faults()], output, args.duration, &mut faults) => {}
        }
        net.faults().clear();
        second.faults().clear();
        output
            .tell(Voice::Watcher, "the market closes, and every fault ends; comparing with the chain")
            .await;
        let accounts: Vec<_> = watch.mirror.watched();
        tokio::select! {
            compared = check::compare(&watch.mirror, &rpc, &accounts, market.last_slot()) => compared,
            () = end.signalled() => Err("interrupted".to_owned()),
        }
    };
    let compared = watch.run(updates, work).await;
    output.tell(Voice::Watcher, &watch.tally.summary()).await;
    let played = format!("{} played; ", counted(faults, "fault"));
    match compared {
        Some(Ok(count)) => {
            let equal = format!("{played}all {count} accounts in the mirror equal the chain, says RPC");
            output.tell(Voice::Watcher, &equal).await;
            Ok(())
        }
        Some(Err(difference)) => {
            let text = format!("{played}the mirror was not found equal to the chain: {difference}");
            Err(Failure::Fatal(text))
        }
        // Stdout is closed.
        None => Ok(()),
    }
}

async fn introduce(args: &Args, net: &Localnet, market: &Market, max_age: Duration, output: &Output) {
    let (wallets, mints, accounts) = market.size();
    let lines = [
        format!("a cluster in this process, at {}, with a slot every 400 ms", net.rpc_url()),
        "and a second node of it, in reserve: it takes over while the first is not live".to_owned(),
        format!(
            "{wallets} wallets trade {mints} tokens with a pool; the mirror watches their {accounts} accounts"
        ),
        format!(
            "reading each every {:?}, as a bot would before it sells: shown when it changes, or every {REPEAT_AFTER:?}",
            args.read_interval
        ),
        format!("the columns of a balance: wallet, token, {COLUMNS}"),
        format!(
            "shortened, to see faults within seconds: greatest age {max_age:?} (30s), canary deadline \
             {CANARY_DEADLINE:?} (5s),"
        ),
        format!(
            "  wait before a reconnect {RECONNECT_CAP:?} (30s), RPC timeout {RPC_TIMEOUT:?} (3s), read deadline \
             {READ_DEADLINE:?} (5s)"
        ),
        "Ctrl-C ends it".to_owned(),
    ];
    for line in lines {
        output.tell(Voice::Watcher, &line).await;
    }
}
