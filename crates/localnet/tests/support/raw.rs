//! A WebSocket without a client in between, to see what is on the wire and in which order.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use localnet::Pubkey;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{Urls, soon};

pub struct Raw {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    notifications: VecDeque<Value>,
    calls: u64,
}

/// A notification about an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub id: u64,
    pub slot: u64,
    pub lamports: u64,
}

impl Raw {
    pub async fn connect(net: &impl Urls) -> Self {
        let (socket, _) = soon("a connection", connect_async(net.ws())).await.unwrap();
        Self { socket, notifications: VecDeque::new(), calls: 0 }
    }

    /// A connection with limits of its own.
    pub async fn connect_with(net: &impl Urls, config: WebSocketConfig) -> Self {
        let connected = connect_async_with_config(net.ws(), Some(config), true);
        let (socket, _) = soon("a connection", connected).await.unwrap();
        Self { socket, notifications: VecDeque::new(), calls: 0 }
    }

    /// A connection that takes little before its peer must wait.
    pub async fn connect_with_small_window(net: &impl Urls) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4096).unwrap();
        let place = net.ws().trim_start_matches("ws://").parse().unwrap();
        let stream = MaybeTlsStream::Plain(soon("a connection", tcp.connect(place)).await.unwrap());
        let (socket, _) = soon("a handshake", client_async(net.ws(), stream)).await.unwrap();
        Self { socket, notifications: VecDeque::new(), calls: 0 }
    }

    pub async fn send(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message; `None` when the connection ends.
    pub async fn message(&mut self) -> Option<Value> {
        loop {
            match soon("a message", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    /// Sends a request and takes its answer; what is notified meanwhile waits.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.calls, "method": method, "params": params });
        self.send(request.to_string()).await;
        loop {
            let message = self.message().await.expect("an answer");
            if message.get("id").is_some() {
                assert_eq!(message["id"], self.calls);
                return message;
            }
            self.notifications.push_back(message);
        }
    }

    pub async fn subscribe(&mut self, address: &Pubkey, commitment: &str) -> u64 {
        let config = json!({ "encoding": "base64", "commitment": commitment });
        let answer = self.call("accountSubscribe", json!([address.to_string(), config])).await;
        answer["result"].as_u64().expect("an id")
    }

    /// Subscribes with a slice of so many bytes, and takes the answer.
    pub async fn subscribe_slice(&mut self, address: &Pubkey, length: u64) -> Value {
        let slice = json!({ "offset": 0, "length": length });
        let config = json!({ "encoding": "base64", "commitment": "processed", "dataSlice": slice });
        self.call("accountSubscribe", json!([address.to_string(), config])).await
    }

    /// Asks for a subscription without waiting for the answer.
    pub async fn ask(&mut self, id: u64, address: &Pubkey) {
        let params = json!([address.to_string(), { "encoding": "base64", "commitment": "processed" }]);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": "accountSubscribe", "params": params });
        self.send(request.to_string()).await;
    }

    /// Forgets the notifications that wait.
    pub fn forget(&mut self) {
        self.notifications.clear();
    }

    pub async fn notification(&mut self) -> Value {
        match self.notifications.pop_front() {
            Some(waiting) => waiting,
            None => self.message().await.expect("a notification"),
        }
    }

    pub async fn seen(&mut self) -> Seen {
        let notification = self.notification().await;
        let params = &notification["params"];
        Seen {
            id: params["subscription"].as_u64().unwrap(),
            slot: params["result"]["context"]["slot"].as_u64().unwrap(),
            lamports: params["result"]["value"]["lamports"].as_u64().unwrap(),
        }
    }
}
