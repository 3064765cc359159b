//! Parses the watcher's command line.

use std::{ffi::OsString, fmt, str::FromStr, time::Duration};

use balance_mirror::{CommitmentLevel, Pubkey};
use lexopt::{Arg, Parser, ValueExt};
use url::Url;

/// The text that `--help` prints.
pub(crate) const HELP: &str = "\
Watches Solana token balances through balance-mirror, and shows what a bot's sell path would get.

Without arguments it starts a cluster in this process, plays a small market on it with a fault now and
then, and mirrors that. With --rpc-url it watches a real cluster.

Usage: watcher [OPTIONS]
       watcher (--rpc-url URL [--ws-url URL])... (--account PUBKEY | --owner PUBKEY)... [OPTIONS]

A real cluster:
  --rpc-url URL           where the node answers JSON-RPC (http or https); up to four times, for as many
                          nodes, the preferred one first
  --ws-url URL            where it serves WebSockets; left out, the RPC URL's port + 1, or the same
                          authority where the RPC URL has no port; with several nodes, one for each in
                          the same order, or none
  --race                  use all nodes at once; without it, the next one while the first is not live
  --account PUBKEY        watch this token account; may be repeated
  --owner PUBKEY          watch this wallet: all token accounts that it has now, of both token programs
  --mint PUBKEY           of the wallet, watch only its associated token account for this mint, which
                          need not exist yet; may be repeated
  --commitment LEVEL      confirmed (the default) or finalized

Both modes:
  --max-age SECS          how old the proof of a balance may be [30; the local market: 3]; below 2 many
                          reads ask RPC, for the chain's clock knows whole seconds alone
  --processed             show changes at processed too, before they are confirmed: hints, which may be
                          taken back
  --read-interval MS      how often each account is read [1000]
  --health-interval SECS  how often health is shown [10; the local market: 5]
  --duration SECS         end after so long; without it, at Ctrl-C
  --json                  one JSON object a line on stdout, of the types balance, processed, reverted,
                          reset, missed, reading and health; everything else goes to stderr
  -h, --help              print this

Logs go to stderr; RUST_LOG sets their level [balance_mirror=info; without --json, its periodic health
line is left out, because health is on stdout]. URLs are printed as scheme, host and port alone.
Exit code: 0 when it ended as asked, 1 when it could not go on or the mirror differed from the local
chain, 2 for wrong arguments.
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run(Box<Args>),
}

/// The settings of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// The cluster to watch; `None` runs the local market.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) read_interval: Duration,
    pub(crate) health_interval: Option<Duration>,
    pub(crate) duration: Option<Duration>,
    pub(crate) json: bool,
    pub(crate) processed: bool,
}

/// A real cluster, and the accounts to watch there.
#[derive(PartialEq, Eq)]
pub(crate) struct Cluster {
    /// At least one node, in the order of preference.
    pub(crate) nodes: Vec<NodeUrls>,
    pub(crate) race: bool,
    pub(crate) accounts: Vec<Pubkey>,
    pub(crate) wallet: Option<Wallet>,
    pub(crate) commitment: CommitmentLevel,
}

/// A node's URLs.
#[derive(PartialEq, Eq)]
pub(crate) struct NodeUrls {
    pub(crate) rpc: String,
    pub(crate) ws: Option<String>,
}

/// A wallet, and the mints to watch of it; all mints if none is given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wallet {
    pub(crate) owner: Pubkey,
    pub(crate) mints: Vec<Pubkey>,
}

/// The URLs may carry a key.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("nodes", &self.nodes.len())
            .field("accounts", &self.accounts)
            .field("wallet", &self.wallet)
            .finish_non_exhaustive()
    }
}

/// An error in the arguments: says what is wrong, without repeating what may be a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<lexopt::Error> for Wrong {
    fn from(error: lexopt::Error) -> Self {
        use lexopt::Error;
        Self(match error {
            // The error's text contains the value, which may belong to a URL option.
            Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
            Error::UnexpectedArgument(_) | Error::NonUnicodeValue(_) => UNEXPECTED.to_owned(),
            other => other.to_string(),
        })
    }
}

const UNEXPECTED: &str = "an argument stands alone that belongs to no option";

/// A value without its option. Only a key is repeated: any other may be a URL.
fn alone(value: &OsString, last: &str) -> Wrong {
    let key = value.to_str().filter(|text| Pubkey::from_str(text).is_ok());
    Wrong(match (key, last) {
        (Some(key), "--account" | "--mint") => {
            format!("{key} belongs to no option: repeat {last} for each key")
        }
        (Some(key), _) => format!("{key} belongs to no option: give --account, --owner or --mint before it"),
        (None, "") => format!("{UNEXPECTED}: the first"),
        (None, last) => format!("{UNEXPECTED}: the one after {last} and its value, if it takes one"),
    })
}

/// Parses the arguments, without the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Wrong> {
    let mut parser = Parser::from_args(arguments);
    let (mut owner, mut commitment, mut race) = (None, None, false);
    let (mut rpc_urls, mut ws_urls, mut accounts, mut mints) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut args = Args {
        cluster: None,
        max_age: None,
        read_interval: Duration::from_secs(1),
        health_interval: None,
        duration: None,
        json: false,
        processed: false,
    };
    let mut last = String::new();
    while let Some(argument) = parser.next()? {
        if let Arg::Long(name) = argument {
            last = format!("--{name}");
        }
        match argument {
            Arg::Long("rpc-url") => rpc_urls.push(url("--rpc-url", ["http", "https"], text(&mut parser)?)?),
            Arg::Long("ws-url") => ws_urls.push(url("--ws-url", ["ws", "wss"], text(&mut parser)?)?),
            Arg::Long("race") => race = true,
            Arg::Long("account") => accounts.push(key("--account", &text(&mut parser)?)?),
            Arg::Long("owner") => once("--owner", &mut owner, key("--owner", &text(&mut parser)?)?)?,
            Arg::Long("mint") => mints.push(key("--mint", &text(&mut parser)?)?),
            Arg::Long("commitment") => once("--commitment", &mut commitment, level(&text(&mut parser)?)?)?,
            Arg::Long("max-age") => args.max_age = Some(seconds("--max-age", &text(&mut parser)?)?),
            Arg::Long("read-interval") => args.read_interval = millis(&text(&mut parser)?)?,
            Arg::Long("health-interval") => {
                args.health_interval = Some(seconds("--health-interval", &text(&mut parser)?)?);
            }
            Arg::Long("duration") => args.duration = Some(seconds("--duration", &text(&mut parser)?)?),
            Arg::Long("json") => args.json = true,
            Arg::Long("processed") => args.processed = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Value(value) => return Err(alone(&value, &last)),
            unknown => return Err(unknown.unexpected().into()),
        }
    }
    if owner.is_none() && !mints.is_empty() {
        return Err(Wrong("--mint says which account of a wallet is meant: give --owner too".to_owned()));
    }
    let wallet = owner.map(|owner| Wallet { owner, mints });
    if rpc_urls.is_empty() {
        let alone =
            ws_urls.is_empty() && commitment.is_none() && wallet.is_none() && accounts.is_empty() && !race;
        return match alone {
            true => Ok(Command::Run(Box::new(args))),
            false => Err(Wrong(
                "--ws-url, --race, --account, --owner and --commitment are about a real cluster: give --rpc-url too"
                    .to_owned(),
            )),
        };
    }
    let nodes = pair(rpc_urls, ws_urls)?;
    if race && nodes.len() == 1 {
        return Err(Wrong("--race takes several nodes: give --rpc-url for each".to_owned()));
    }
    if accounts.is_empty() && wallet.is_none() {
        return Err(Wrong("there is nothing to watch: give --account or --owner".to_owned()));
    }
    let commitment = commitment.unwrap_or(CommitmentLevel::Confirmed);
    args.cluster = Some(Cluster { nodes, race, accounts, wallet, commitment });
    Ok(Command::Run(Box::new(args)))
}

/// The nodes, each with its WebSocket URL if one is given.
fn pair(rpc: Vec<String>, ws: Vec<String>) -> Result<Vec<NodeUrls>, Wrong> {
    if !ws.is_empty() && ws.len() != rpc.len() {
        let (rpc, ws) = (rpc.len(), ws.len());
        return Err(Wrong(format!(
            "{rpc} --rpc-url and {ws} --ws-url: give one of the latter for each of the former, in order, or none"
        )));
    }
    let ws = ws.into_iter().map(Some).chain(std::iter::repeat(None));
    Ok(rpc.into_iter().zip(ws).map(|(rpc, ws)| NodeUrls { rpc, ws }).collect())
}

fn text(parser: &mut Parser) -> Result<String, Wrong> {
    Ok(parser.value()?.string()?)
}

/// A URL with one of these schemes. What is none is not repeated: it may hold a key.
fn url(option: &str, [plain, secure]: [&str; 2], text: String) -> Result<String, Wrong> {
    match Url::parse(&text) {
        Ok(url) if [plain, secure].contains(&url.scheme()) => Ok(text),
        _ => Err(Wrong(format!("{option} takes a URL like {secure}://host or {plain}://host:port"))),
    }
}

fn once<T>(option: &str, slot: &mut Option<T>, value: T) -> Result<(), Wrong> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Wrong(format!("{option} is given twice"))),
    }
}

fn key(option: &str, text: &str) -> Result<Pubkey, Wrong> {
    let wrong = |_| Wrong(format!("{option} {text:?} is not a public key: 32 bytes in base58 are needed"));
    Pubkey::from_str(text).map_err(wrong)
}

fn level(text: &str) -> Result<CommitmentLevel, Wrong> {
    match text {
        "confirmed" => Ok(CommitmentLevel::Confirmed),
        "finalized" => Ok(CommitmentLevel::Finalized),
        "processed" => Err(Wrong(
            "--commitment processed is not served, for it can be reverted: use confirmed".to_owned(),
        )),
        _ => Err(Wrong(format!("--commitment {text:?} is neither confirmed nor finalized"))),
    }
}

fn seconds(option: &str, text: &str) -> Result<Duration, Wrong> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| Wrong(format!("{option} {text:?} is not a number of seconds above zero")))
}

fn millis(text: &str) -> Result<Duration, Wrong> {
    let duration = text.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis);
    duration
        .ok_or_else(|| Wrong(format!("--read-interval {text:?} is not a number of milliseconds above zero")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "So11111111111111111111111111111111111111112";
    const URL: &str = "https://host/s3cr3t";

    fn run(arguments: &[&str]) -> Args {
        match parse(arguments.iter().map(OsString::from)) {
            Ok(Command::Run(args)) => *args,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn refusal(arguments: &[&str]) -> String {
        parse(arguments.iter().map(OsString::from)).expect_err("wrong arguments").to_string()
    }

    #[test]
    fn without_arguments_it_is_the_local_market() {
        let args = run(&[]);
        assert_eq!((args.cluster, args.max_age, args.json), (None, None, false));
        let args = run(&["--json", "--max-age=2.5", "--read-interval", "250", "--duration", "1"]);
        assert_eq!(args.cluster, None);
        assert_eq!(args.max_age, Some(Duration::from_millis(2_500)));
        assert_eq!(args.read_interval, Duration::from_millis(250));
        assert_eq!((args.duration, args.json), (Some(Duration::from_secs(1)), true));
    }

    #[test]
    fn a_real_cluster_takes_accounts_and_a_wallet_with_its_mints() {
        let args = run(&[
            "--rpc-url",
            URL,
            "--account",
            KEY,
            "--account",
            KEY,
            "--owner",
            KEY,
            "--mint",
            KEY,
            "--commitment",
            "finalized",
        ]);
        let cluster = args.cluster.expect("a cluster");
        assert!(!format!("{cluster:?}").contains("s3cr3t"));
        assert_eq!(cluster.nodes.len(), 1);
        assert_eq!((cluster.nodes[0].rpc.as_str(), &cluster.nodes[0].ws), (URL, &None));
        assert_eq!((cluster.accounts.len(), cluster.commitment), (2, CommitmentLevel::Finalized));
        assert_eq!(cluster.wallet.map(|wallet| wallet.mints.len()), Some(1));
    }

    #[test]
    fn several_nodes_are_paired_in_order() {
        let ws = |cluster: &Cluster| cluster.nodes.iter().map(|node| node.ws.clone()).collect::<Vec<_>>();
        let two = ["--rpc-url", "http://a", "--rpc-url", "http://b", "--account", KEY];
        let cluster = run(&two).cluster.expect("a cluster");
        assert_eq!(
            (cluster.nodes[1].rpc.as_str(), ws(&cluster), cluster.race),
            ("http://b", vec![None, None], false)
        );
        let more = ["--ws-url", "ws://a", "--ws-url", "ws://b", "--race"];
        let cluster = run(&[&two[..], &more].concat()).cluster.expect("a cluster");
        assert_eq!(ws(&cluster), [Some("ws://a".to_owned()), Some("ws://b".to_owned())]);
        assert!(cluster.race);
    }

    #[test]
    fn each_mistake_is_named() {
        for (arguments, named) in [
            (&["--rpc-url", URL][..], "nothing to watch"),
            (&["--rpc-url", "nonsense"], "--rpc-url takes a URL like https://host"),
            (&["--rpc-url", "host:8899", "--account", KEY], "--rpc-url takes"),
            (&["--rpc-url", URL, "--ws-url", URL, "--account", KEY], "--ws-url takes a URL like wss://host"),
            (&["--rpc-url", URL, "--account", KEY, KEY], "repeat --account"),
            (&["--rpc-url", URL, KEY], "before it"),
            (&["--json", "nonsense"], "after --json"),
            (&["--account", KEY], "--rpc-url"),
            (&["--rpc-url", URL, "--mint", KEY], "--owner"),
            (&["--rpc-url", URL, "--account", "nonsense"], "not a public key"),
            (&["--rpc-url", URL, "--account", KEY, "--commitment", "processed"], "reverted"),
            (&["--commitment", "nonsense"], "neither confirmed nor finalized"),
            (&["--max-age", "0"], "above zero"),
            (&["--max-age", "-1"], "above zero"),
            (&["--duration", "inf"], "above zero"),
            (&["--read-interval", "1.5"], "milliseconds"),
            (&["--rpc-url"], "missing argument"),
            (&["--owner", KEY, "--owner", KEY], "twice"),
            (&["--rpc-url", URL, "--account", KEY, "--race"], "several nodes"),
            (&["--race"], "--rpc-url"),
            (
                &["--rpc-url", URL, "--rpc-url", URL, "--ws-url", "ws://host", "--account", KEY],
                "2 --rpc-url and 1 --ws-url",
            ),
            (&["--nonsense"], "--nonsense"),
        ] {
            let refusal = refusal(arguments);
            assert!(refusal.contains(named), "{arguments:?}: {refusal}");
        }
    }

    #[test]
    fn a_url_in_the_wrong_place_is_not_repeated() {
        for arguments in
            [&[URL][..], &["--json=https://host/s3cr3t"], &["--rpc-ur", URL], &["-h=s3cr3t", URL]]
        {
            if let Err(wrong) = parse(arguments.iter().map(OsString::from)) {
                assert!(!wrong.to_string().contains("s3cr3t"), "{wrong}");
            }
        }
    }
}
