//! A WebSocket without a client in between, to see what is on the wire and in which order.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use localnet::{Localnet, Pubkey};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async, tungstenite::Message};

use super::soon;

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
    pub async fn connect(net: &Localnet) -> Self {
        let (socket, _) = soon("a connection", connect_async(net.ws_url())).await.unwrap();
        Self { socket, notifications: VecDeque::new(), calls: 0 }
    }

    /// A connection that takes little before its peer must wait.
    pub async fn connect_with_small_window(net: &Localnet) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4096).unwrap();
        let place = net.ws_url().trim_start_matches("ws://").parse().unwrap();
        let stream = MaybeTlsStream::Plain(soon("a connection", tcp.connect(place)).await.unwrap());
        let (socket, _) = soon("a handshake", client_async(net.ws_url(), stream)).await.unwrap();
        Self { socket, notifications: VecDeque::new(), calls: 0 }
    }

    pub async fn send(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message; `None` when the connection ends.
    pub async fn message(&mut self) -> Option<Value> {
        match soon("a message", self.socket.next()).await {
            Some(Ok(Message::Text(text))) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
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
