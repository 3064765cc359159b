//! The watcher as its users run it: the built example, judged by its exit code and by what it
//! prints.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use localnet::{Keypair, Localnet, Signer, tokens};
use serde_json::Value;
use tokio::time::Instant;

/// How long a run may take at most, with other tests beside it: some play all faults of the market
/// twice.
const DEADLINE: Duration = Duration::from_secs(240);
/// Ends a run that is not told to end: longer than [`DEADLINE`].
const CAP: [&str; 2] = ["--duration", "300"];
const WSOL: &str = "So11111111111111111111111111111111111111112";

#[derive(Debug)]
enum Line {
    Out(String),
    Err(String),
}

/// A watcher that runs. It ends with the test.
struct Running {
    child: Child,
    lines: Receiver<Line>,
    deadline: Instant,
    out: Vec<String>,
    err: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A watcher that ended.
struct Ended {
    code: Option<i32>,
    out: Vec<String>,
    err: Vec<String>,
}

impl Running {
    fn start(arguments: &[&str], log: Option<&str>) -> Self {
        let mut child = support::example("watcher", arguments, log)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a watcher");
        let (sender, lines) = sync_channel(100_000);
        let forward = |stream: Box<dyn Read + Send>, line: fn(String) -> Line| {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                lines.map(line).all(|line| sender.send(line).is_ok())
            });
        };
        forward(Box::new(child.stdout.take().expect("stdout")), Line::Out);
        forward(Box::new(child.stderr.take().expect("stderr")), Line::Err);
        Self { child, lines, deadline: Instant::now() + DEADLINE, out: Vec::new(), err: Vec::new() }
    }

    /// Reads on; `false` at the end of both streams.
    fn next(&mut self) -> bool {
        match self.lines.recv_timeout(self.deadline.duration_since(Instant::now())) {
            Ok(Line::Out(line)) => self.out.push(line),
            Ok(Line::Err(line)) => self.err.push(line),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("it goes on after {DEADLINE:?}; {:#?}", self.err),
        }
        true
    }

    fn until_logged(&mut self, text: &str) {
        while !self.err.last().is_some_and(|line| line.contains(text)) {
            assert!(self.next(), "it ended before {text:?}: {:#?}", self.err);
        }
    }

    /// Reads on until what is on stdout is as wanted.
    fn until_printed(&mut self, what: &str, mut wanted: impl FnMut(&str) -> bool) {
        let mut read = 0;
        loop {
            while let Some(line) = self.out.get(read) {
                read += 1;
                if wanted(line) {
                    return;
                }
            }
            assert!(self.next(), "it ended before {what}: {:#?}\n{:#?}", self.out, self.err);
        }
    }

    /// As [`until_printed`](Self::until_printed), of a run with `--json`.
    fn until_told(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) {
        self.until_printed(what, |line| serde_json::from_str(line).is_ok_and(|line| wanted(&line)));
    }

    /// Asks it to end, as Ctrl-C does, and waits for that.
    fn interrupt(self) -> Ended {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-INT", &id]).status().expect("a signal");
        assert!(asked.success(), "it had ended: {:#?}", self.err);
        self.end()
    }

    fn end(mut self) -> Ended {
        while self.next() {}
        let code = self.child.wait().expect("an exit code").code();
        Ended { code, out: std::mem::take(&mut self.out), err: std::mem::take(&mut self.err) }
    }
}

fn run(arguments: &[&str]) -> Ended {
    Running::start(arguments, None).end()
}

impl Ended {
    /// The lines of a run with `--json`, each judged, by type.
    fn json(&self) -> BTreeMap<String, Vec<Value>> {
        let mut types: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in &self.out {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let kind = judge(&value).unwrap_or_else(|wrong| panic!("{wrong}: {line}"));
            types.entry(kind).or_default().push(value);
        }
        types
    }
}

/// What a field may hold.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Key,
    /// A u64 as text.
    Raw,
    Number,
    /// Possibly negative.
    Integer,
    Time,
    OneOf(&'static [&'static str]),
}

use Shape::{Integer, Key, Number, OneOf, Raw, Text, Time};

const STATES: Shape =
    OneOf(&["absent", "initialized", "frozen", "closed", "owner_changed", "wrong_mint", "not_token"]);
const PHASES: Shape =
    OneOf(&["parked", "waiting", "connecting", "probing", "unproven", "live", "lagging", "stopped"]);

/// Name, shape, and whether it may be null.
const BALANCE: &[(&str, Shape, bool)] = &[
    ("ts", Time, false),
    ("account", Key, false),
    ("mint", Key, true),
    ("owner", Key, true),
    ("program", OneOf(&["spl-token", "token-2022"]), true),
    ("amount", Raw, true),
    ("decimals", Number, true),
    ("ui_amount", Text, true),
    ("state", STATES, false),
    ("slot", Number, false),
    ("origin", OneOf(&["subscription", "rpc"]), false),
];
const PROCESSED: &[(&str, Shape, bool)] = &[
    ("ts", Time, false),
    ("account", Key, false),
    ("amount", Raw, true),
    ("ui_amount", Text, true),
    ("state", STATES, false),
    ("slot", Number, false),
];
const READING: &[(&str, Shape, bool)] = &[
    ("ts", Time, false),
    ("account", Key, false),
    ("amount", Raw, true),
    ("state", STATES, true),
    ("slot", Number, true),
    ("as_of", Number, true),
    ("freshness", OneOf(&["live", "aging", "stale"]), false),
    ("served_from", OneOf(&["cache", "rpc", "error"]), false),
    ("age_ms", Number, true),
    ("elapsed_us", Number, false),
    ("error", Text, true),
];
const HEALTH: &[(&str, Shape, bool)] = &[
    ("ts", Time, false),
    ("phase", PHASES, false),
    ("phase_ms", Number, false),
    ("canary_age_ms", Number, true),
    ("chain_lag_ms", Integer, true),
    ("slot", Number, true),
    ("watched", Number, false),
    ("acknowledged", Number, false),
    ("live", Number, false),
    ("reconnects", Number, false),
    ("last_error", Text, true),
    ("hits", Number, false),
    ("misses", Number, false),
    ("fallbacks", Number, false),
];

/// The type of a line whose fields are all there, and of their types. Health may have more of them.
fn judge(line: &Value) -> Result<String, String> {
    let fields = line.as_object().ok_or("not an object")?;
    let kind = line["type"].as_str().ok_or("no type")?;
    let (schema, open): (&[(&str, Shape, bool)], bool) = match kind {
        "balance" => (BALANCE, false),
        "reading" => (READING, false),
        "health" => (HEALTH, true),
        "missed" => (&[("count", Number, false)], false),
        "processed" => (PROCESSED, false),
        "reverted" => (&[("ts", Time, false), ("account", Key, false)], false),
        "reset" => (&[("ts", Time, false), ("epoch", Number, false)], false),
        _ => return Err(format!("unknown type {kind}")),
    };
    for (name, shape, nullable) in schema {
        let value = fields.get(*name).ok_or_else(|| format!("no {name}"))?;
        if !(value.is_null() && *nullable || shape.fits(value)) {
            return Err(format!("{name} is {value}"));
        }
    }
    if !open && fields.len() != schema.len() + 1 {
        return Err("more fields than there should be".to_owned());
    }
    if kind == "reading" {
        let refused = line["served_from"] == "error";
        let consistent = refused != line["error"].is_null()
            && refused == (line["freshness"] == "stale")
            && refused == line["amount"].is_null();
        return consistent.then(|| kind.to_owned()).ok_or("half an error".to_owned());
    }
    Ok(kind.to_owned())
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Text => text.is_some(),
            Key => text.is_some_and(|text| text.parse::<balance_mirror::Pubkey>().is_ok()),
            Raw => text.is_some_and(|text| text.parse::<u64>().is_ok_and(|raw| raw.to_string() == text)),
            Number => value.is_u64(),
            Integer => value.is_i64(),
            Time => text.is_some_and(|text| {
                let shape = "0000-00-00T00:00:00.000Z";
                let digits = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "0");
                digits(text) == shape
            }),
            OneOf(words) => text.is_some_and(|text| words.contains(&text)),
        }
    }
}

#[test]
fn the_local_market_shows_changes_a_loss_the_fallback_and_the_recovery() {
    // The first node falls silent after five seconds, for eight, and the second takes over; five
    // seconds later both cut the connection, for five. What is older than three is not served.
    // Other faults follow, and all of them again.
    let often = ["--json", "--read-interval", "500", "--health-interval", "0.25"];
    let mut running = Running::start(&[&often[..], &CAP].concat(), None);
    let (mut states, mut programs) = (BTreeSet::new(), BTreeSet::new());
    running.until_told("every kind of balance", |line| {
        if line["type"] == "balance" {
            states.extend(line["state"].as_str().map(str::to_owned));
            programs.extend(
                line["program"].as_str().filter(|_| line["ui_amount"].is_string()).map(str::to_owned),
            );
        }
        programs.len() == 2 && ["absent", "initialized", "closed"].iter().all(|state| states.contains(*state))
    });
    // One after the other: the second node in place of the first, both lost, RPC instead, and all
    // of it whole again.
    let mut steps = 0;
    running.until_told("the second node's turn, a loss, the fallback and the recovery", |line| {
        let (first, second) = (&line["nodes"][0], &line["nodes"][1]);
        steps += usize::from(match steps {
            0 => line["type"] == "health" && first["phase"] != "live" && second["live"] == 9,
            1 => line["type"] == "health" && line["phase"] == "waiting",
            2 => line["served_from"] == "rpc",
            _ => line["type"] == "health" && line["phase"] == "live" && line["live"] == 9,
        });
        steps == 4
    });
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.err);
    let types = ended.json();
    let (balances, readings, healths) = (&types["balance"], &types["reading"], &types["health"]);

    for state in ["absent", "initialized", "closed"] {
        assert!(balances.iter().any(|line| line["state"] == state), "nothing was {state}");
    }
    for program in ["spl-token", "token-2022"] {
        let shown = |line: &&Value| line["program"] == program && line["ui_amount"].is_string();
        assert!(balances.iter().any(|line| shown(&line)), "nothing of {program}");
    }
    assert!(balances.iter().any(|line| line["origin"] == "subscription"));
    let accounts: BTreeSet<_> = readings.iter().filter_map(|line| line["account"].as_str()).collect();
    assert_eq!(accounts.len(), 9, "each account is read");

    let stood_in = |line: &&Value| line["nodes"][0]["phase"] != "live" && line["nodes"][1]["live"] == 9;
    let stood_in = healths.iter().find(stood_in).expect("the second node in the first one's place");
    assert_eq!(stood_in["phase"], "live", "the best of them is the mirror's");
    let from_cache = |line: &&Value| line["served_from"] == "cache" && line["freshness"] == "live";
    assert!(readings.iter().any(|line| from_cache(&line)), "no reading from memory, live");

    let last = healths.last().expect("health at the end");
    assert_eq!(last["watched"], 9);
    assert!(last["reconnects"].as_u64() > Some(0));
    assert!(ended.err.iter().any(|line| line.contains("equal the chain")), "{:#?}", ended.err);
}

#[test]
fn a_ctrl_c_that_comes_with_the_first_line_ends_the_run_in_order() {
    let mut running = Running::start(&CAP, None);
    running.until_printed("the first line", |_| true);
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.err);
    let last = ended.out.last().expect("a line");
    assert!(last.contains("all 9 accounts in the mirror equal the chain"), "{last}");
}

#[test]
fn people_get_lines_without_escapes_and_a_summary() {
    let mut running = Running::start(&CAP, None);
    running.until_printed("the first trade", |line| line.contains("alice buys 1,250.5 BONK"));
    let ended = running.interrupt();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.err);
    let last = ended.out.last().expect("a line");
    assert!(last.contains("all 9 accounts in the mirror equal the chain"), "{last}");
    assert!(ended.out.iter().all(|line| !line.contains('\x1b')));
}

/// The library's periodic health line bears this target.
const HEALTH_LINE: &str = "balance_mirror::health";

#[test]
fn health_is_shown_to_people_once_and_logged_beside_json() {
    let often = ["--health-interval", "0.2"];
    let mut json = Running::start(&[&often[..], &CAP, &["--json"]].concat(), None);
    let mut people = Running::start(&[&often[..], &CAP].concat(), None);
    // The log has one at each interval, as stdout has.
    json.until_logged(HEALTH_LINE);
    let mut shown = 0;
    people.until_printed("health, again and again", |line| {
        shown += usize::from(line.contains("  health "));
        shown == 10
    });
    json.interrupt();
    let people = people.interrupt();
    assert!(people.err.iter().all(|line| !line.contains(HEALTH_LINE)), "{:#?}", people.err);
}

#[test]
fn wrong_arguments_are_named_on_stderr_with_exit_code_2() {
    for (arguments, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--rpc-url", "http://127.0.0.1:9"], "--account or --owner"),
        (&["--rpc-url", "nonsense", "--account", WSOL], "--rpc-url takes a URL"),
        (&["--rpc-url", "http://127.0.0.1:9", "--account", "nonsense"], "not a public key"),
        (&["--max-age", "1000000"], "selling_age"),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {:?}", ended.err);
        assert!(ended.err.iter().any(|line| line.contains(named)), "{arguments:?}: {:?}", ended.err);
        assert!(!ended.out.iter().any(|line| line.starts_with('{')));
    }
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.iter().any(|line| line.contains("--rpc-url URL")));
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn a_key_in_a_url_is_printed_nowhere_while_the_node_is_awaited() {
    const KEY: &str = "pl4nted-s3cr3t";
    let port = closed_port();
    let host = format!("127.0.0.1:{port}");
    let mut running = Vec::new();
    for rest in [format!("{host}/{KEY}"), format!("{host}/?api-key={KEY}"), format!("user:{KEY}@{host}")] {
        let (rpc, ws) = (format!("http://{rest}"), format!("ws://{rest}"));
        let arguments =
            ["--rpc-url", &rpc, "--ws-url", &ws, "--account", WSOL, "--owner", WSOL, CAP[0], CAP[1]];
        let levels = "balance_mirror=trace,watcher=trace";
        let json = [&arguments[..], &["--json"]].concat();
        running.push(Running::start(&arguments, None));
        running.push(Running::start(&json, Some(levels)));
    }
    for mut running in running {
        running.until_logged("trying again");
        let ended = running.interrupt();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.err);
        for line in ended.out.iter().chain(&ended.err) {
            assert!(!line.contains(KEY), "{line}");
        }
        let shown = ended.out.iter().chain(&ended.err).any(|line| line.contains(&host));
        assert!(shown, "the host is shown: {:#?}", ended.err);
    }
}

#[test]
fn a_wallets_accounts_are_found_under_both_programs_once_the_node_is_there() {
    let net = Localnet::builder().slot_time(Duration::from_millis(100)).start().expect("a cluster");
    let (bank, wallet) = (net.payer().pubkey(), Keypair::new().pubkey());
    let mint = |program, decimals, amount: u64| {
        let mint = Keypair::new();
        let key = mint.pubkey();
        let account = tokens::ata(&program, &wallet, &key);
        let mut instructions = tokens::create_mint(&program, &bank, &key, decimals, &bank, None, &[]);
        instructions.push(tokens::create_ata(&program, &bank, &wallet, &key));
        instructions.push(tokens::mint_to(&program, &key, &account, &bank, amount));
        net.send(&instructions, &[&mint]).expect("an account");
        (key.to_string(), account.to_string())
    };
    let old = mint(tokens::TOKEN, 6, 1_500_000);
    let new = mint(tokens::TOKEN_2022, 9, 7);
    net.advance(2);

    let owner = wallet.to_string();
    let (rpc, ws) = (net.rpc_url(), net.ws_url());
    let arguments = ["--rpc-url", &rpc, "--ws-url", &ws, "--owner", &owner, "--json", CAP[0], CAP[1]];
    net.faults().rpc_down(true);
    let mut all = Running::start(&arguments, None);
    all.until_logged("trying again");
    net.faults().clear();
    let mut one = Running::start(&[&arguments[..], &["--mint", &new.0]].concat(), None);
    for (running, accounts) in [(&mut all, &[&old.1, &new.1][..]), (&mut one, &[&new.1])] {
        let mut seen = BTreeSet::new();
        running.until_told("each balance", |line| {
            if line["type"] == "balance" {
                seen.extend(line["account"].as_str().map(str::to_owned));
            }
            accounts.iter().all(|account| seen.contains(*account))
        });
    }

    let first = |ended: &Ended| -> BTreeMap<String, Value> {
        assert_eq!(ended.code, Some(0), "{:#?}", ended.err);
        let balances = ended.json().remove("balance").unwrap_or_default();
        balances
            .into_iter()
            .map(|line| (line["account"].as_str().unwrap_or_default().to_owned(), line))
            .collect()
    };
    let (all, one) = (first(&all.interrupt()), first(&one.interrupt()));
    assert_eq!(all.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&old.1, &new.1]));
    assert_eq!(one.keys().collect::<Vec<_>>(), [&new.1]);
    for (lines, (mint, account), program, amount, decimals, ui) in [
        (&all, &old, "spl-token", "1500000", 6, "1.5"),
        (&all, &new, "token-2022", "7", 9, "0.000000007"),
        (&one, &new, "token-2022", "7", 9, "0.000000007"),
    ] {
        let line = &lines[account];
        assert_eq!((&line["mint"], &line["owner"]), (&mint.as_str().into(), &owner.as_str().into()));
        assert_eq!((&line["program"], &line["state"]), (&program.into(), &"initialized".into()));
        assert_eq!((&line["amount"], &line["decimals"]), (&amount.into(), &decimals.into()));
        assert_eq!(line["ui_amount"], ui);
    }
}

#[test]
fn of_several_nodes_each_is_shown_and_the_one_that_works_serves() {
    let net = Localnet::builder().slot_time(Duration::from_millis(100)).start().expect("a cluster");
    let (bank, wallet, mint) = (net.payer().pubkey(), Keypair::new().pubkey(), Keypair::new());
    let (program, key) = (tokens::TOKEN, mint.pubkey());
    let account = tokens::ata(&program, &wallet, &key);
    let mut instructions = tokens::create_mint(&program, &bank, &key, 6, &bank, None, &[]);
    instructions.push(tokens::create_ata(&program, &bank, &wallet, &key));
    net.send(&instructions, &[&mint]).expect("an account");
    net.advance(2);

    let down = format!("http://127.0.0.1:{}", closed_port());
    let (owner, rpc) = (wallet.to_string(), net.rpc_url());
    let nodes = ["--rpc-url", &down, "--rpc-url", &rpc, "--race", "--owner", &owner, "--processed"];
    let arguments = [&nodes[..], &["--health-interval", "0.5"], &CAP].concat();
    let mut json = Running::start(&[&arguments[..], &["--json"]].concat(), None);
    let mut people = Running::start(&arguments, None);
    for running in [&mut json, &mut people] {
        running.until_logged("link live");
    }
    // A node that is down holds up neither the look-up of the wallet nor the link of the other.
    // Each trade is processed before it is confirmed. Whoever hears of both at once shows the
    // latter alone: then one more.
    let mut held = 0;
    let mut ahead = [false; 2];
    while ahead != [true; 2] {
        held += 1;
        net.send(&[tokens::mint_to(&program, &key, &account, &bank, 1)], &[]).expect("tokens");
        let amount = held.to_string();
        json.until_told("the trade", |line| line["type"] == "balance" && line["amount"] == *amount);
        let told = |line: &String| line.contains(r#""type":"processed""#);
        ahead = [json.out.iter().any(told), people.out.iter().any(|line| line.contains("ahead "))];
        people.next();
    }
    let both_shown = |line: &Value| {
        let [first, second] = [0, 1].map(|place| &line["nodes"][place]);
        let failed = first["phase"] != "live" && first["last_error"].is_string() && first["slot"].is_null();
        failed && second["phase"] == "live" && second["live"] == 1
    };
    json.until_told("both nodes in Health", both_shown);
    let ports = [&down, &rpc].map(|url| {
        let port = url.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        format!(":{}", port.expect("a port") + 1)
    });
    for (port, says) in ports.iter().zip(["0/1 live", "1/1 live"]) {
        let shown = |line: &str| line.contains("  node") && line.contains(port) && line.contains(says);
        people.until_printed(&format!("{port} {says}"), shown);
    }
    let (json, people) = (json.interrupt(), people.interrupt());
    assert_eq!((json.code, people.code), (Some(0), Some(0)), "{:#?}", json.err);

    let types = json.json();
    let amounts = |kind: &str| -> Vec<_> {
        types.get(kind).into_iter().flatten().filter_map(|line| line["amount"].as_str()).collect()
    };
    assert_eq!(amounts("balance").last(), Some(&&*held.to_string()), "{types:#?}");
    assert!(!amounts("processed").is_empty(), "what is to come is shown too: {types:#?}");
}

#[test]
fn a_mint_that_is_none_ends_it() {
    let net = Localnet::builder().slot_time(Duration::from_millis(100)).start().expect("a cluster");
    let (rpc, nobody) = (net.rpc_url(), Keypair::new().pubkey().to_string());
    let ended = run(&["--rpc-url", &rpc, "--owner", WSOL, "--mint", &nobody]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.iter().any(|line| line.contains(&nobody) && line.contains("no mint")),
        "{:#?}",
        ended.err
    );
}
