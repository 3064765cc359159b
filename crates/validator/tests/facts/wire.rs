//! One raw WebSocket connection to the server: what it says, in the order in which it says it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_sdk_ids::sysvar::clock;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a test waits for any one event. Finality alone takes 32 slots, on a machine that may be
/// busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for an event, at most [`PATIENCE`].
pub(crate) async fn soon<T>(what: impl Debug, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what:?}"),
    }
}

/// A notification as it came.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) subscription: u64,
    /// The context slot.
    pub(crate) slot: u64,
    /// What the context is about; for methods without context, the whole result.
    pub(crate) value: Value,
    pub(crate) at: Instant,
}

impl Note {
    pub(crate) fn lamports(&self) -> u64 {
        self.value["lamports"].as_u64().expect("an account")
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With a Close frame from the server.
    Frame,
    /// Without one: the TCP connection was reset or closed.
    Dropped(#[expect(dead_code, reason = "printed")] String),
}

#[derive(Debug)]
enum Heard {
    Note(Note),
    Response(Value),
    End(End),
}

pub(crate) struct Wire {
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    unread: VecDeque<Note>,
    /// Pings that the server sent.
    pub(crate) pings: u32,
}

impl Wire {
    pub(crate) async fn connect(url: &str) -> Self {
        Self::connect_with(url, None).await
    }

    /// With a receive buffer of so many bytes, so that a reader who stops stops the server soon.
    pub(crate) async fn connect_with(url: &str, receive_buffer: Option<u32>) -> Self {
        let address = url.trim_start_matches("ws://").trim_end_matches('/').parse().expect("an address");
        let tcp = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = receive_buffer {
            tcp.set_recv_buffer_size(bytes).expect("a buffer size");
        }
        let stream = soon("a connection", tcp.connect(address)).await.expect("the server listens");
        stream.set_nodelay(true).expect("no delay");
        let (socket, _) =
            soon("a handshake", client_async(url, stream)).await.expect("the server shakes hands");
        Self { socket, last_id: 0, unread: VecDeque::new(), pings: 0 }
    }

    async fn hear(&mut self) -> Heard {
        loop {
            let message = match soon("a message", self.socket.next()).await {
                None => return Heard::End(End::Dropped("end of stream".into())),
                Some(Err(Error::ConnectionClosed)) => return Heard::End(End::Frame),
                Some(Err(error)) => return Heard::End(End::Dropped(error.to_string())),
                Some(Ok(message)) => message,
            };
            let text = match message {
                Message::Text(text) => text,
                Message::Close(_) => return Heard::End(End::Frame),
                Message::Ping(_) => {
                    self.pings += 1;
                    continue;
                }
                _ => continue,
            };
            let mut heard: Value = serde_json::from_str(&text).expect("JSON");
            if heard.get("id").is_some() {
                return Heard::Response(heard);
            }
            let mut result = heard["params"]["result"].take();
            let context = result["context"]["slot"].as_u64();
            return Heard::Note(Note {
                subscription: heard["params"]["subscription"].as_u64().expect("an id"),
                slot: context.or_else(|| result["slot"].as_u64()).unwrap_or_default(),
                value: if context.is_some() { result["value"].take() } else { result },
                at: Instant::now(),
            });
        }
    }

    /// The next notification, in the order of the wire, or how the connection ended.
    pub(crate) async fn try_note(&mut self) -> Result<Note, End> {
        if let Some(note) = self.unread.pop_front() {
            return Ok(note);
        }
        match self.hear().await {
            Heard::Note(note) => Ok(note),
            Heard::End(end) => Err(end),
            Heard::Response(response) => panic!("nothing was asked: {response}"),
        }
    }

    /// The next notification, in the order of the wire.
    pub(crate) async fn note(&mut self) -> Note {
        self.try_note().await.unwrap_or_else(|end| panic!("a notification was due: {end:?}"))
    }

    /// The next notification of one subscription; those of others before it are dropped.
    pub(crate) async fn note_of(&mut self, subscription: u64) -> Note {
        loop {
            let note = self.note().await;
            if note.subscription == subscription {
                return note;
            }
        }
    }

    /// Everything up to and with the first notification of `canary` whose slot is `slot` or newer.
    pub(crate) async fn until(&mut self, canary: u64, slot: u64) -> Vec<Note> {
        let mut notes = Vec::new();
        loop {
            let note = self.note().await;
            let last = note.subscription == canary && note.slot >= slot;
            notes.push(note);
            if last {
                return notes;
            }
        }
    }

    /// Everything up to and with the next `count` notifications of `canary`.
    pub(crate) async fn ticks(&mut self, canary: u64, count: usize) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut ticks = 0;
        while ticks < count {
            let note = self.note().await;
            ticks += usize::from(note.subscription == canary);
            notes.push(note);
        }
        notes
    }

    /// Sends text as it is.
    pub(crate) async fn say(&mut self, text: String) {
        soon("a send", self.socket.send(Message::text(text))).await.expect("the connection lives");
    }

    /// Sends a request and returns its id, without waiting.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.say(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        id
    }

    /// The next response; notifications before it stay to be read.
    pub(crate) async fn response(&mut self) -> Value {
        loop {
            match self.hear().await {
                Heard::Note(note) => self.unread.push_back(note),
                Heard::Response(response) => return response,
                Heard::End(end) => panic!("a response was due: {end:?}"),
            }
        }
    }

    /// Drops the notifications that came before the last response.
    pub(crate) fn forget(&mut self) {
        self.unread.clear();
    }

    /// Sends a request and returns its result or its error.
    pub(crate) async fn try_request(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.ask(method, params).await;
        let mut response = self.response().await;
        assert_eq!(response["id"], id, "requests are answered in their order");
        if response["error"].is_null() {
            Ok(response["result"].take())
        } else {
            Err(response["error"].take())
        }
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        self.try_request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// `accountSubscribe` with a configuration of one's own.
    pub(crate) async fn subscribe_with(&mut self, account: &Pubkey, config: Value) -> u64 {
        self.request("accountSubscribe", json!([account.to_string(), config])).await.as_u64().expect("an id")
    }

    /// `accountSubscribe` as the mirror does it: base64 at an explicit commitment.
    pub(crate) async fn subscribe(&mut self, account: &Pubkey, commitment: &str) -> u64 {
        self.subscribe_with(account, json!({"encoding": "base64", "commitment": commitment})).await
    }

    /// The canary: the Clock sysvar.
    pub(crate) async fn clock(&mut self, commitment: &str) -> u64 {
        self.subscribe(&clock::ID, commitment).await
    }

    /// The barrier: the Clock sysvar with a slice that nobody else uses.
    pub(crate) async fn barrier(&mut self, commitment: &str, length: usize) -> u64 {
        self.subscribe_with(
            &clock::ID,
            json!({"encoding": "base64", "commitment": commitment,
                "dataSlice": {"offset": 0, "length": length}}),
        )
        .await
    }

    /// Reads until the connection ends.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            if let Heard::End(end) = self.hear().await {
                return end;
            }
        }
    }
}
