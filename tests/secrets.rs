//! Keys in URLs and headers appear in nothing that the crate says, whatever fails, and whatever
//! servers repeat of them.
//!
//! Each run plants keys in every place at once: user, password, path, query and fragment of the
//! RPC, the WebSocket and the bot's own client's URL, and headers. The servers here repeat all of
//! them, in several forms, in whatever they may say. Everything heard meanwhile is searched: each
//! event of this process (those of the `log` crate among them), panics, and the texts of every
//! value that a bot can get at.
//!
//! Crates below this one print requests, and so keys, at their own DEBUG and TRACE: see
//! [`TALKATIVE`].

mod support;

use std::{
    collections::BTreeSet,
    error::Error,
    fmt::{Debug, Display, Write as _},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use balance_mirror::{Mirror, Pubkey, WatchTarget};
use base64::{Engine, prelude::BASE64_STANDARD};
use localnet::Localnet;
use serde_json::{Value, json};
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use tokio::time::{sleep, timeout};
use tracing::{
    Level,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use tungstenite::{
    Message, WebSocket,
    handshake::server::{ErrorResponse, Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// How long anything may take, with other tests beside it.
const DEADLINE: Duration = Duration::from_secs(30);

/// The crates below that print what they send and what servers say, at DEBUG and TRACE alone. It is
/// their word, not ours: who runs a bot at these levels names the crates to hear
/// (`info,balance_mirror=trace`).
const TALKATIVE: [&str; 3] = ["solana_pubsub_client", "solana_rpc_client", "tungstenite"];

// What is planted.

/// The keys of one URL, all beginning with its own letters.
struct Url {
    text: String,
    keys: Vec<String>,
}

/// A URL with a key in every place, one of them short, one that needs encoding.
fn url(scheme: &str, authority: &str, letters: &str) -> Url {
    let key = |name: &str| format!("{letters}{name}");
    let (user, password, path, matrix) = (key("Usr-1k"), key("Pwd-2k"), key("Pth-3k"), key("Mtx-4k"));
    let (query, bare, short, fragment) = (key("Qry-5k"), key("Bar-6k"), key("7Q"), key("Frg-9k"));
    let text = format!(
        "{scheme}://{user}:{password}@{authority}/v1/{path};m={matrix}/x?api-key={query}&s={short}&e={letters}%2fE%2b8k\
         &{bare}#{fragment}"
    );
    let encoded = [format!("{letters}%2fE%2b8k"), format!("{letters}/E+8k")];
    let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let keys = [user, password, path, matrix, query, bare, short, fragment, basic].into_iter().chain(encoded);
    Url { text, keys: keys.collect() }
}

struct Planted {
    rpc: Url,
    ws: Url,
    own: Url,
    headers: [(&'static str, &'static str); 3],
}

const HEADERS: [(&str, &str); 3] =
    [("x-token", "hTok-1k"), ("authorization", "Bearer hBea-2k"), ("cookie", "lang=en; session=hCoo-3k")];
const HEADER_KEYS: [&str; 3] = ["hTok-1k", "hBea-2k", "hCoo-3k"];

fn planted(rpc: &str, ws: &str, schemes: (&str, &str)) -> Planted {
    Planted {
        rpc: url(schemes.0, rpc, "rq"),
        ws: url(schemes.1, ws, "wq"),
        own: url(schemes.0, rpc, "oq"),
        headers: HEADERS,
    }
}

/// Every key of some URLs; the same in every run.
fn keys<const N: usize>(of: impl FnOnce(Planted) -> [Url; N]) -> Vec<String> {
    of(planted("h", "h", ("http", "ws"))).into_iter().flat_map(|url| url.keys).collect()
}

/// Those that a mirror is given, and so its servers: without one, none of an own client.
fn known(own_client: bool) -> Arc<[String]> {
    let of_urls = if own_client { keys(|it| [it.rpc, it.ws, it.own]) } else { keys(|it| [it.rpc, it.ws]) };
    of_urls.into_iter().chain(HEADER_KEYS.map(str::to_owned)).collect()
}

/// What the servers say: some of the keys, as they are, or in another case. The crate tells half a
/// kilobyte of it, so the keys take turns.
fn echo(keys: &[String]) -> String {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let turn = TURN.fetch_add(1, Relaxed);
    let some = keys.iter().cycle().skip(turn * 7).take(20);
    let said = some.enumerate().fold(String::from("echo"), |mut said, (place, key)| {
        let key = match (turn + place) % 4 {
            0 => key.to_uppercase(),
            1 => key.to_lowercase(),
            _ => key.clone(),
        };
        let _ = write!(said, " {key}");
        said
    });
    assert!(said.len() < 400, "an echo is told whole");
    said
}

// What is heard.

#[derive(Clone, Debug)]
struct Heard {
    level: Level,
    target: String,
    text: String,
}

static HEARD: Mutex<Vec<Heard>> = Mutex::new(Vec::new());

fn hear(level: Level, target: &str, text: String) {
    HEARD.lock().expect("no panic while it is held").push(Heard { level, target: target.to_owned(), text });
}

/// The texts of a value: as shown, and in full.
fn say(value: &(impl Display + Debug)) {
    hear(Level::ERROR, "balance_mirror", format!("{value} {value:?} {value:#?}"));
}

/// An error with all that is below it.
fn say_error(error: &(impl Error + 'static)) {
    say(error);
    let mut source = error.source();
    while let Some(below) = source {
        hear(Level::ERROR, "balance_mirror", format!("{below} {below:?}"));
        source = below.source();
    }
}

fn say_debug(value: &impl Debug) {
    hear(Level::ERROR, "balance_mirror", format!("{value:?} {value:#?}"));
}

struct Ear;

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ear {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let target = line.target.unwrap_or_else(|| event.metadata().target().to_owned());
        hear(*event.metadata().level(), &target, line.text);
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let mut line = Line::default();
        attributes.record(&mut line);
        hear(*attributes.metadata().level(), attributes.metadata().target(), line.text);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let mut line = Line::default();
        values.record(&mut line);
        let Some(span) = context.span(id) else { return };
        hear(*span.metadata().level(), span.metadata().target(), line.text);
    }
}

#[derive(Default)]
struct Line {
    text: String,
    /// Of a record of the `log` crate.
    target: Option<String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "log.target" {
            self.target = Some(format!("{value:?}").trim_matches('"').to_owned());
        }
        let _ = write!(self.text, " {}={value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        let _ = write!(self.text, " {}={value}", field.name());
    }
}

/// Listens to the whole process: events, records of the `log` crate, and panics.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::registry().with(Ear).init();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let test = thread::current()
                .name()
                .is_some_and(|name| name.starts_with("a_") || name.starts_with("what_"));
            // A failed assertion of these tests repeats what it found.
            if !test {
                hear(Level::ERROR, "balance_mirror", format!("panic: {panic}"));
            }
            before(panic);
        }));
    });
}

fn leaks(text: &str, keys: &[String]) -> Vec<String> {
    let text = text.to_lowercase();
    keys.iter().filter(|key| text.contains(&key.to_lowercase())).cloned().collect()
}

/// Searches everything heard so far.
fn search() {
    let (heard, keys) = (HEARD.lock().expect("no panic while it is held").clone(), known(true));
    let (mut wrong, mut talkative) = (Vec::new(), BTreeSet::new());
    let mut lines = [0; 2];
    for Heard { level, target, text } in heard {
        let ours = target.starts_with("balance_mirror");
        lines[usize::from(!ours)] += 1;
        let found = leaks(&text, &keys);
        if found.is_empty() {
            continue;
        }
        let root = target.split("::").next().unwrap_or(&target).to_owned();
        if ours || level <= Level::INFO || !TALKATIVE.contains(&root.as_str()) {
            wrong.push(format!("{level} {target}: {found:?} in {text}"));
        }
        talkative.insert(root);
    }
    println!(
        "{} texts of this crate, {} of others; keys at DEBUG and TRACE of {talkative:?}",
        lines[0], lines[1]
    );
    assert!(wrong.is_empty(), "{} texts with keys, such as {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(lines[0] > 100 && lines[1] > 100, "hardly anything was heard: {lines:?}");
    assert!(!talkative.is_empty(), "the keys were not even sent");
}

// Servers that repeat what they should not.

/// What is wrong with a node's RPC.
#[derive(Clone, Copy, Debug)]
enum Rpc {
    Status(u16),
    Redirect,
    Page,
    Text,
    Error,
    ErrorUnderStatus,
    OddError,
    OddResult,
    OddContext,
    OddVersion,
    OddOwner,
    OddData,
    Garbage,
}

/// What is wrong with its WebSockets.
#[derive(Clone, Copy, Debug)]
enum Ws {
    Status(u16),
    Garbage,
    RefusedSubscription,
    OddRefusal,
    OddAcknowledgement,
    OddId,
    NoJson,
    Close,
    Canary,
    Unknown,
}

/// Serves each connection on a thread, as long as the process lives. Returns the port.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            let _ = stream.set_read_timeout(Some(DEADLINE));
            thread::spawn(move || answer(stream));
        }
    });
    port
}

fn http(status: u16, echo: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {echo}\r\nx-echo: {echo}\r\nlocation: http://127.0.0.1:9/{echo}\r\ncontent-length: \
         {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn rpc_node(wrong: Rpc, keys: Arc<[String]>) -> u16 {
    serve(move |mut stream| {
        let mut request = BufReader::new(stream.try_clone().expect("a socket"));
        let (mut line, mut length) = (String::new(), 0);
        while request.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse().expect("a length");
            }
            line.clear();
        }
        let _ = request.read_exact(&mut vec![0; length]);
        let echo = echo(&keys);
        let account = |owner: &str, data: &str| {
            let account = json!({"lamports": 1, "owner": owner, "data": [data, "base64"], "executable": false,
                "rentEpoch": 0, "space": 0});
            json!({"result": {"context": {"slot": 1}, "value": [account, account]}})
        };
        let (status, body): (u16, Value) = match wrong {
            Rpc::Status(status) => (status, json!(echo)),
            Rpc::Redirect => (307, json!(echo)),
            Rpc::Page => (200, json!(format!("<html>{echo}</html>"))),
            Rpc::Text | Rpc::Garbage => (200, json!(echo)),
            Rpc::Error => (200, json!({"error": {"code": -32000, "message": echo, "data": echo}})),
            Rpc::ErrorUnderStatus => (500, json!({"error": {"code": -32000, "message": echo}})),
            Rpc::OddError => (200, json!({"error": {"code": echo, "message": [echo]}})),
            Rpc::OddResult => (200, json!({"result": echo})),
            Rpc::OddContext => (200, json!({"result": {"context": {"slot": echo}, "value": []}})),
            Rpc::OddVersion => {
                (200, json!({"result": {"context": {"slot": 1, "apiVersion": echo}, "value": []}}))
            }
            Rpc::OddOwner => (200, account(&echo, "")),
            Rpc::OddData => (200, account("11111111111111111111111111111111", &echo)),
        };
        let text = match wrong {
            Rpc::Garbage => echo,
            Rpc::Text => http(status, &echo, &echo),
            _ => http(status, &echo, &body.to_string()),
        };
        let _ = stream.write_all(text.as_bytes());
    })
}

fn ws_node(wrong: Ws, keys: Arc<[String]>) -> u16 {
    serve(move |mut stream| {
        if matches!(wrong, Ws::Garbage) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(echo(&keys).as_bytes());
            return;
        }
        #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
        let handshake = |_: &Request, response: Response| match wrong {
            Ws::Status(status) => {
                let mut refusal = ErrorResponse::new(Some(echo(&keys)));
                *refusal.status_mut() = status.try_into().expect("a status");
                refusal.headers_mut().insert("x-echo", echo(&keys).parse().expect("a value"));
                Err(refusal)
            }
            _ => Ok(response),
        };
        let Ok(mut socket) = tungstenite::accept_hdr(stream, handshake) else { return };
        while let Ok(Message::Text(text)) = socket.read() {
            let request: Value = serde_json::from_str(&text).expect("a request");
            if !answer(wrong, &mut socket, &request["id"], echo(&keys)) {
                break;
            }
        }
    })
}

/// Answers a subscribe; `false` at the end of the connection.
fn answer(wrong: Ws, socket: &mut WebSocket<TcpStream>, id: &Value, echo: String) -> bool {
    let notification = |subscription: u64| {
        json!({"jsonrpc": "2.0", "method": "accountNotification", "params": {"subscription": subscription,
            "result": {"context": {"slot": 1}, "value": {"lamports": 1, "owner": echo, "data": [echo, "base64"],
            "executable": false, "rentEpoch": 0}}}})
    };
    let messages = match wrong {
        Ws::RefusedSubscription => vec![json!({"id": id, "error": {"code": -32000, "message": echo}})],
        Ws::OddRefusal => vec![json!({"id": id, "error": echo})],
        Ws::OddAcknowledgement => vec![json!({"id": id, "result": echo})],
        Ws::OddId => vec![json!({"id": echo, "result": 1})],
        Ws::Unknown => vec![json!({"id": 4_000_000, "result": echo})],
        Ws::Canary => vec![json!({"id": id, "result": id}), notification(id.as_u64().unwrap_or_default())],
        Ws::NoJson => {
            let _ = socket.send(Message::text(echo));
            return false;
        }
        _ => {
            // No longer reason fits into a frame.
            let reason = echo.chars().take(120).collect::<String>().into();
            let _ = socket.send(Message::Close(Some(CloseFrame { code: CloseCode::Policy, reason })));
            return true;
        }
    };
    messages.into_iter().all(|message| socket.send(Message::text(message.to_string())).is_ok())
}

// The runs.

const ACCOUNT: Pubkey = Pubkey::new_from_array([7; 32]);

/// A mirror of a node where something is wrong, until it has said so in all its ways.
async fn run(planted: Planted, own_client: bool) {
    let mut builder = Mirror::builder(&planted.rpc.text)
        .ws_url(&planted.ws.text)
        .connect_timeout(Duration::from_secs(1))
        .rpc_timeout(Duration::from_millis(500))
        .read_deadline(Duration::from_secs(1))
        .reconnect_cap(Duration::from_millis(20))
        .health_interval(Duration::from_millis(20));
    for (name, value) in planted.headers {
        builder = builder.header(name, value);
    }
    if own_client {
        builder = builder.rpc_client(Arc::new(RpcClient::new(planted.own.text.clone())));
    }
    say_debug(&builder);
    let mirror = builder.start().expect("a mirror");
    let mut updates = mirror.updates();
    let reader = mirror.watch(WatchTarget::account(ACCOUNT)).expect("a place");
    let failed = async {
        while mirror.health().last_error.is_none() {
            sleep(Duration::from_millis(5)).await;
        }
        // The first loss says least; what a client knows of it comes after.
        for _ in 0..3 {
            if let Err(error) = mirror.balance(&ACCOUNT, Duration::from_millis(1)).await {
                say_error(&error);
            }
            sleep(Duration::from_millis(100)).await;
            let health = mirror.health();
            say_debug(&health);
            let json = serde_json::to_string(&health).expect("JSON");
            hear(Level::ERROR, "balance_mirror", json);
        }
    };
    timeout(DEADLINE, failed).await.expect("a failure that is told");
    if let Err(stale) = reader.fresh(Duration::from_secs(1)) {
        say_error(&stale);
    }
    if let Err(error) = reader.wait_for(|_| false, Duration::from_millis(1)).await {
        say_error(&error);
    }
    say_debug(&(&mirror, &reader, reader.read(), &updates));
    mirror.shutdown().await;
    if let Err(error) = mirror.watch(WatchTarget::account(ACCOUNT)) {
        say_error(&error);
    }
    while let Ok(Some(update)) = timeout(Duration::ZERO, updates.next()).await {
        say_debug(&update);
    }
}

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_appears_in_nothing_that_is_said_of_a_failure() {
    listen();
    let at = |port: u16| format!("127.0.0.1:{port}");
    let mut nodes = Vec::new();
    let rpcs = [401, 403, 429, 500].map(Rpc::Status).into_iter().chain([
        Rpc::Redirect,
        Rpc::Page,
        Rpc::Text,
        Rpc::Error,
        Rpc::ErrorUnderStatus,
        Rpc::OddError,
        Rpc::OddResult,
        Rpc::OddContext,
        Rpc::OddVersion,
        Rpc::OddOwner,
        Rpc::OddData,
        Rpc::Garbage,
    ]);
    let wss = [401, 403, 429, 500].map(Ws::Status).into_iter().chain([
        Ws::Garbage,
        Ws::RefusedSubscription,
        Ws::OddRefusal,
        Ws::OddAcknowledgement,
        Ws::OddId,
        Ws::NoJson,
        Ws::Close,
        Ws::Canary,
        Ws::Unknown,
    ]);
    // Each of the one with one of the other, so that all have their turn.
    for own_client in [false, true] {
        let (plain, keys) = (("http", "ws"), known(own_client));
        let nowhere = "no-such-host.invalid:1".to_owned();
        nodes.push((at(closed_port()), at(closed_port()), plain, own_client));
        nodes.push((nowhere.clone(), nowhere, plain, own_client));
        // TLS with a server that speaks none.
        let (rpc, ws) = (rpc_node(Rpc::Text, keys.clone()), ws_node(Ws::Close, keys.clone()));
        nodes.push((at(rpc), at(ws), ("https", "wss"), own_client));
        for (rpc, ws) in rpcs.clone().zip(wss.clone().cycle()) {
            nodes.push((at(rpc_node(rpc, keys.clone())), at(ws_node(ws, keys.clone())), plain, own_client));
        }
    }
    let runs =
        nodes.iter().map(|(rpc, ws, schemes, own_client)| run(planted(rpc, ws, *schemes), *own_client));
    futures::future::join_all(runs).await;
    search();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_appears_in_nothing_that_is_said_of_a_living_node() {
    listen();
    let net = Localnet::builder().slot_time(Duration::from_millis(20)).start().expect("a cluster");
    let bare = |url: String| url.split("://").nth(1).map(|rest| rest.trim_end_matches('/').to_owned());
    let (rpc, ws) = (bare(net.rpc_url()).expect("a host"), bare(net.ws_url()).expect("a host"));
    for own_client in [false, true] {
        let (planted, keys) = (planted(&rpc, &ws, ("http", "ws")), known(own_client));
        let mut builder = Mirror::builder(&planted.rpc.text)
            .ws_url(&planted.ws.text)
            .reconnect_cap(Duration::from_millis(20))
            .health_interval(Duration::from_millis(20));
        if own_client {
            builder = builder.rpc_client(Arc::new(RpcClient::new(planted.own.text.clone())));
        }
        for (name, value) in planted.headers {
            builder = builder.header(name, value);
        }
        let mirror = builder.start().expect("a mirror");
        let reader = mirror.watch(WatchTarget::account(ACCOUNT)).expect("a place");
        reader.wait_for(|reading| reading.is_live(), DEADLINE).await.expect("live");
        say_debug(&(&mirror, reader.read()));

        let faults = net.faults();
        let refused = mirror.health().refused;
        faults.rpc_error(-32000, &echo(&keys));
        faults.refuse_subscriptions(-32000, &echo(&keys));
        faults.cut_with_close_frame();
        let told = async {
            while mirror.health().refused == refused {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, told).await.expect("a refusal");
        let error = mirror.balance(&ACCOUNT, Duration::from_millis(1)).await.expect_err("RPC refuses");
        assert!(error.source().is_some_and(|source| source.to_string().contains("-32000")), "{error:?}");
        say_error(&error);
        say_debug(&mirror);
        faults.clear();
        faults.cut_with_reset();
        reader.wait_for(|reading| reading.is_live(), DEADLINE).await.expect("live again");
        faults.inject(&echo(&keys));
        mirror.shutdown().await;
    }
    search();
}

#[test]
fn what_is_said_of_wrong_settings_repeats_none_of_them() {
    let key = "rqQry-5k";
    let urls = [
        key.to_owned(),
        format!("{key}.example/x"),
        format!("{key}:pass@host"),
        format!("user:{key}@host"),
        format!("http://{key}@:99"),
        format!("http://host:{key}/"),
        format!("http://[{key}]/"),
        format!("http://ho st/{key}"),
        format!("ftp://{key}@host/{key}?{key}"),
        format!("mailto:{key}"),
        format!("http://host:65535/{key}"),
    ];
    let headers = [
        ("x-token", format!("{key}\n")),
        (&*format!("Bearer {key}"), "x".to_owned()),
        (&*format!("{key}:"), String::new()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let rpc = urls.iter().map(Mirror::builder);
    let ws = urls[..urls.len() - 1].iter().map(|url| Mirror::builder("http://host").ws_url(url));
    let header = headers.into_iter().map(|(name, value)| Mirror::builder("http://host").header(name, value));
    let mut refused = 0;
    for builder in rpc.chain(ws).chain(header) {
        let said = format!("{builder:?}");
        let error = builder.start().expect_err("no settings to work with");
        let source = error.source().map(|source| format!("{source} {source:?}"));
        let said = format!("{said} {error} {error:?} {source:?}");
        assert!(!said.to_lowercase().contains(&key.to_lowercase()), "{said}");
        refused += 1;
    }
    assert_eq!(refused, 24);
}

// The watcher, as a process of its own.

fn watcher(arguments: &[&str], log: Option<&str>) -> (Option<i32>, String) {
    let output = support::example("watcher", arguments, log).output().expect("a watcher");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_key_appears_in_nothing_that_the_watcher_prints() {
    let keys: Arc<[String]> = keys(|it| [it.rpc, it.ws]).into();
    let wallet = ACCOUNT.to_string();
    let closed = format!("127.0.0.1:{}", closed_port());
    let closed = closed.as_str();
    let refuses = [Ws::Status(401), Ws::RefusedSubscription]
        .map(|ws| format!("127.0.0.1:{}", ws_node(ws, keys.clone())));
    let mut nodes: Vec<_> =
        refuses.into_iter().chain([closed.to_owned()]).map(|ws| (closed.to_owned(), ws)).collect();
    // And nodes whose RPC repeats the keys that it was asked with: each form in its turn.
    for rpc in [Rpc::Error, Rpc::ErrorUnderStatus, Rpc::OddError, Rpc::Page, Rpc::Status(403), Rpc::OddResult]
    {
        nodes.push((format!("127.0.0.1:{}", rpc_node(rpc, keys.clone())), closed.to_owned()));
    }
    let mut watchers = Vec::new();
    for (rpc, ws) in nodes {
        for (json, log) in [
            (None, None),
            (Some("--json"), None),
            (Some("--json"), Some("info")),
            (None, Some("info,balance_mirror=trace,watcher=trace")),
        ] {
            let planted = planted(&rpc, &ws, ("http", "ws"));
            let (wallet, host) = (wallet.clone(), rpc.clone());
            watchers.push(thread::spawn(move || {
                let Planted { rpc, ws, .. } = planted;
                let mut arguments = vec!["--rpc-url", &rpc.text, "--ws-url", &ws.text];
                arguments.extend(["--account", &wallet, "--owner", &wallet, "--duration", "2"]);
                arguments.extend(json);
                (host, watcher(&arguments, log))
            }));
        }
    }
    for watcher in watchers {
        let (host, (code, said)) = watcher.join().expect("a watcher");
        assert!(matches!(code, Some(0 | 1)), "{code:?}: {said}");
        assert!(said.contains(&host), "the host is shown: {said}");
        let found = leaks(&said, &keys);
        assert!(found.is_empty(), "{found:?} in {said}");
    }
    // Arguments that are none.
    let secret = keys[0].as_str();
    for arguments in [
        vec!["--rpc-url", secret, "--account", &wallet],
        vec!["--rpc-url", "http://127.0.0.1:9", "--ws-url", secret, "--account", &wallet],
        vec![secret],
        vec!["--rpc-url", "http://127.0.0.1:9", secret],
    ] {
        let (code, said) = watcher(&arguments, None);
        assert_eq!((code, leaks(&said, &keys)), (Some(2), Vec::new()), "{said}");
    }
}
