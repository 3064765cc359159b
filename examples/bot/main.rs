//! A small but realistic bot, on a cluster in this process. Several strategies buy and sell several
//! tokens of one wallet at once, through the mirror, while connections are cut, RPC fails,
//! transactions are lost and sells fail on chain.
//!
//! `trade.rs` is the part to copy; `strategy.rs` decides what to trade; the rest is the stage and
//! the judge. At the end, the judge compares every balance that a trade was based on with the
//! chain's own history. If one was wrong, the exit code is 1.

mod ledger;
mod stage;
mod strategy;
mod trade;
mod verdict;

use std::{
    error::Error,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use balance_mirror::Mirror;
use localnet::{Keypair, Rng, Signer};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    ledger::{Ledger, write},
    stage::{Market, Stage},
    strategy::Strategy,
    trade::Trader,
};

const HELP: &str = "\
A small bot on a cluster in this process, with faults, judged by the chain at the end.

Usage: bot [--duration SECS] [--trades NUMBER] [--seed NUMBER]

  --duration SECS   begin no trade after so long; those under way are waited for [15]
  --trades NUMBER   play the faults again, for so long each time and ten times at most, until so many
                    buys and so many sells came to a good end, and trades met every kind of trouble [0]
  --seed NUMBER     what the strategies' choices follow from [the time]
  -h, --help        print this

RUST_LOG sets the level of the log on stderr [error]. Exit code: 0 when no trade used a wrong balance and every sell
ended as the mirror said, 1 when not, 2 for wrong arguments.
";

/// What the lines of a run tell.
const HEAD: [&str; 4] = [
    "flip buys a token, and sells all of it as soon as it is there; ladder sells it in three parts",
    "stop-loss sells half of what it finds, whoever bought it; two of each trade with one wallet",
    "a trade's line is written when the trade has ended, whenever it began",
    "the columns: time, who, token, what was traded and how it ended",
];

/// How long trades under way may take to land or expire: 150 slots, and the time to see that.
const WIND_DOWN: Duration = Duration::from_secs(60);
/// Shorter than a mainnet bot's 30 s, so that memory becomes too old within a run.
const SELLING_AGE: Duration = Duration::from_secs(3);
/// How often the faults are played at most, for `--trades`.
const ROUNDS: usize = 10;
const ADOPT_EVERY: Duration = Duration::from_secs(1);

struct Args {
    duration: Duration,
    /// How many buys and sells make a run; 0 where its duration does.
    trades: usize,
    seed: u64,
}

fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut args = Args { duration: Duration::from_secs(15), trades: 0, seed: u64::from(now.subsec_nanos()) };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("duration") => {
                let seconds: f64 = parser.value()?.parse()?;
                let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
                args.duration = duration.clamp(Duration::from_secs(1), Duration::from_secs(86_400));
            }
            Long("trades") => args.trades = parser.value()?.parse()?,
            Long("seed") => args.seed = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(args))
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(Some(args)) => args,
        Ok(None) => {
            write(HELP);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            // Stderr may be closed; the exit code reports the failure as well.
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("bot: {wrong}\n{HELP}").as_bytes());
            return ExitCode::from(2);
        }
    };
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            write(&format!("bot: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let wallet = Keypair::new();
    let stage = Stage::open(&wallet.pubkey())?;
    let ledger = Arc::new(Ledger::open(stage.symbols()));
    ledger.note(
        "bot",
        &format!("a cluster at {}, a slot every 50 ms; seed {}", stage.net.rpc_url(), args.seed),
    );
    for line in HEAD {
        ledger.note("bot", line);
    }

    // What a bot sets up: its own RPC client, the mirror that uses it, and the positions that the
    // wallet already holds.
    let rpc = stage.client();
    let mirror = Mirror::builder(stage.net.rpc_url())
        .ws_url(stage.net.ws_url())
        .rpc_client(rpc.clone())
        .selling_age(SELLING_AGE)
        .rpc_timeout(Duration::from_secs(1))
        .reconnect_cap(Duration::from_secs(1))
        .start()?;
    let adopted = mirror.adopt(&wallet.pubkey()).await?;
    for position in &adopted.positions {
        ledger.note("bot", &format!("found {} of an earlier run", stage.symbols()[&position.mint()]));
    }
    mirror.keep_adopting(&wallet.pubkey(), ADOPT_EVERY);
    let trader = Arc::new(Trader::new(mirror.clone(), rpc.clone(), wallet, stage.market()));

    let (close, closing) = watch::channel(false);
    let mut strategies = strategies(&trader, &ledger, &closing, args.seed);
    for round in 1.. {
        // This task never ends by itself.
        let _ = timeout(args.duration, stage.trouble(&trader.wallet(), args.duration, &ledger)).await;
        stage.net.faults().clear();
        let enough = || ledger.met_all(args.trades) && mirror.health().adopted > 1;
        if args.trades == 0 || round == ROUNDS || enough() {
            break;
        }
        ledger.note("bot", "trades have not met everything yet; once more");
    }
    close.send_replace(true);
    ledger.note("bot", "no further trade begins; those under way are waited for");
    let ended = timeout(WIND_DOWN, async { while strategies.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        return Err(format!("a trade has no end after {WIND_DOWN:?}").into());
    }
    let health = mirror.health();
    let verdict = verdict::judge(&stage, &rpc, &mirror, &ledger).await?;
    write(&format!("\n{ledger}\n{}\n{verdict}\n", verdict::Served(&health)));
    mirror.shutdown().await;
    Ok(verdict.is_good())
}

/// Starts two strategies that sell at once what they buy, two that sell in parts, and two that sell
/// whatever they find.
fn strategies(
    trader: &Arc<Trader<Market>>,
    ledger: &Arc<Ledger>,
    closing: &watch::Receiver<bool>,
    seed: u64,
) -> JoinSet<()> {
    let mut set = JoinSet::new();
    let tokens = trader.venue.tokens();
    for number in 0..6 {
        let name = ["flip", "ladder", "flip", "ladder", "stop-loss", "stop-loss"][number];
        let strategy = Strategy {
            name,
            trader: trader.clone(),
            ledger: ledger.clone(),
            closing: closing.clone(),
            random: Rng::new(seed.wrapping_add(number as u64)),
        };
        match name {
            "flip" => set.spawn(strategy.flip(tokens[number].mint())),
            "ladder" => set.spawn(strategy.ladder(tokens[number].mint())),
            _ => set.spawn(strategy.stop_loss()),
        };
    }
    set
}
