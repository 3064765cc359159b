//! A server that says what a test tells it: for what the client does with answers that a validator
//! never gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::wire::soon;

pub(crate) struct Listener {
    tcp: TcpListener,
    pub(crate) url: String,
}

impl Listener {
    pub(crate) async fn bind() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/", tcp.local_addr().expect("an address"));
        Self { tcp, url }
    }

    pub(crate) async fn accept(&self) -> Script {
        let (stream, _) = soon("a client", self.tcp.accept()).await.expect("a client");
        let socket = soon("a handshake", accept_async(stream)).await.expect("a handshake");
        Script { socket }
    }

    /// Answers every HTTP request with 429, and counts them.
    pub(crate) fn refuse_all(self) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = self.tcp.accept().await {
                let mut head = [0; 4096];
                // A request of these tests comes in one piece; only its arrival matters.
                if stream.read(&mut head).await.is_ok_and(|length| length > 0) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let answer =
                        "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        count
    }
}

pub(crate) struct Script {
    socket: WebSocketStream<TcpStream>,
}

impl Script {
    /// The next message of the client.
    pub(crate) async fn heard(&mut self) -> Option<Message> {
        soon("a message of the client", self.socket.next()).await.and_then(Result::ok)
    }

    /// The next request of the client.
    pub(crate) async fn request(&mut self) -> Value {
        match self.heard().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("a request was due, not {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, text: impl ToString) {
        self.socket.send(Message::text(text.to_string())).await.expect("the client lives");
    }

    /// Queues messages, and sends them in one piece.
    pub(crate) async fn say_together(&mut self, texts: &[Value]) {
        for text in texts {
            self.socket.feed(Message::text(text.to_string())).await.expect("the client lives");
        }
        self.socket.flush().await.expect("the client lives");
    }

    /// Answers the next request with a subscription.
    pub(crate) async fn acknowledge(&mut self, subscription: u64) {
        let request = self.request().await;
        self.say(answer(&request, json!(subscription))).await;
    }

    pub(crate) async fn close(&mut self) {
        let frame = CloseFrame { code: 1001.into(), reason: "going away".into() };
        self.socket.close(Some(frame)).await.expect("it lives");
    }
}

pub(crate) fn answer(request: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

/// A notification of an account that holds so many lamports.
pub(crate) fn account(subscription: u64, lamports: u64) -> Value {
    account_with(subscription, lamports, json!(u64::MAX))
}

pub(crate) fn account_with(subscription: u64, lamports: u64, rent_epoch: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "accountNotification", "params": {
        "subscription": subscription,
        "result": {"context": {"slot": 1}, "value": {
            "lamports": lamports, "data": ["", "base64"], "owner": "11111111111111111111111111111111",
            "executable": false, "rentEpoch": rent_epoch, "space": 0}}}})
}
