//! The WebSocket face: one task a connection.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::mpsc,
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::server::{Callback, ErrorResponse, Request, Response},
        http,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    cluster::Cluster,
    conditions::Refusal,
    hub::{Cut, Outgoing},
    pubsub::{self, Answer},
};

/// The longest message that a client may send.
const MAX_CLIENT_MESSAGE: usize = 4096;
/// How long a peer is given to answer a Close frame.
const CLOSING: Duration = Duration::from_secs(1);

/// Accepts connections for ever.
pub(crate) async fn serve(cluster: Arc<Cluster>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    cluster.counters.ws_connections.add_one();
                    connections.spawn(connection(Arc::clone(&cluster), stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(cluster: Arc<Cluster>, mut stream: TcpStream) {
    let down = cluster.faults.read().ws_down;
    if down {
        return reset(&stream);
    }
    if cluster.faults.read().ws_half_open {
        swallow(&cluster, &mut stream).await;
        return reset(&stream);
    }
    // Small messages, each of them waited for.
    let _ = stream.set_nodelay(true);
    let refusal = cluster.faults.refuse_handshake();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_CLIENT_MESSAGE))
        .max_frame_size(Some(MAX_CLIENT_MESSAGE));
    let handshake = accept_hdr_async_with_config(stream, Gate(refusal), Some(config));
    let Ok(mut socket) = handshake.await else {
        return;
    };
    let (ring, outgoing) = mpsc::channel(cluster.ring);
    let (cut, mut cuts) = mpsc::channel(1);
    let id = cluster.hub.lock().connect(ring, cut);
    let mut session = Session { cluster: &cluster, id, outgoing, next: None, late: HashMap::new() };
    let cut = select! {
        biased;
        Some(cut) = cuts.recv() => cut,
        () = cluster.faults.until(|state| state.ws_half_open) => {
            swallow(&cluster, socket.get_mut()).await;
            Cut::Reset
        }
        () = session.run(&mut socket) => Cut::Drop,
    };
    cluster.hub.lock().disconnect(id);
    end(socket, cut).await;
}

/// Answers a handshake, by a refusal if there is one.
struct Gate(Option<Refusal>);

impl Callback for Gate {
    fn on_request(self, _: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let Some(refusal) = self.0 else {
            return Ok(response);
        };
        let mut refused = http::Response::builder().status(refusal.status);
        if let Some(seconds) = refusal.retry_after {
            refused = refused.header(http::header::RETRY_AFTER, seconds);
        }
        Err(refused.body(Some("refused".to_owned())).unwrap_or_default())
    }
}

/// Reads and forgets until the connection is not half open any more, or the peer has gone.
async fn swallow(cluster: &Cluster, stream: &mut TcpStream) {
    let mut scrap = [0; 4096];
    let over = cluster.faults.until(|state| !state.ws_half_open);
    tokio::pin!(over);
    loop {
        select! {
            () = &mut over => return,
            read = stream.read(&mut scrap) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
            }
        }
    }
}

fn reset(stream: &TcpStream) {
    // Dropping a socket with zero linger resets its connection.
    let _ = stream.set_zero_linger();
}

async fn end(mut socket: WebSocketStream<TcpStream>, cut: Cut) {
    match cut {
        Cut::Drop => {}
        Cut::Reset => reset(socket.get_ref()),
        Cut::Fin => {
            let stream = socket.get_mut();
            let _ = stream.shutdown().await;
            // Unread bytes would turn the end into a reset.
            let mut scrap = [0; 4096];
            let drained = async { while let Ok(1..) = stream.read(&mut scrap).await {} };
            let _ = timeout(CLOSING, drained).await;
        }
        Cut::Close => {
            let frame = CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::default() };
            let closed = async {
                let _ = socket.close(Some(frame)).await;
                while let Some(Ok(_)) = socket.next().await {}
            };
            let _ = timeout(CLOSING, closed).await;
        }
    }
}

/// An acknowledgement that is held back, and what may not overtake it.
struct Late {
    due: Instant,
    acknowledgement: String,
    behind: Vec<Outgoing>,
}

struct Session<'a> {
    cluster: &'a Arc<Cluster>,
    id: u64,
    outgoing: mpsc::Receiver<Outgoing>,
    /// Taken from the ring and waiting for its time.
    next: Option<Outgoing>,
    late: HashMap<u64, Late>,
}

impl Session<'_> {
    /// Until either side ends the connection. While a message is being sent nothing is read, as on a real server.
    async fn run(&mut self, socket: &mut WebSocketStream<TcpStream>) {
        let mut changes = self.cluster.faults.changes();
        loop {
            let delay = self.cluster.faults.read().notification_delay;
            let due = self.next.as_ref().map(|next| next.queued + delay);
            let late = self.late.iter().map(|(id, late)| (late.due, *id)).min();
            let alive = select! {
                received = socket.next() => match received {
                    Some(Ok(Message::Text(text))) => self.request(socket, &text).await,
                    Some(Ok(Message::Binary(data))) => match std::str::from_utf8(&data) {
                        Ok(text) => self.request(socket, text).await,
                        Err(_) => false,
                    },
                    // The library answers pings and Close frames.
                    Some(Ok(_)) => true,
                    Some(Err(_)) | None => false,
                },
                Some(message) = self.outgoing.recv(), if self.next.is_none() => {
                    self.next = Some(message);
                    true
                }
                () = at(due) => match self.next.take() {
                    Some(message) => self.notify(socket, message).await,
                    None => true,
                },
                () = at(late.map(|(due, _)| due)) => match late {
                    Some((_, id)) => self.acknowledge(socket, id).await,
                    None => true,
                },
                Ok(()) = changes.changed() => true,
            };
            if !alive {
                return;
            }
        }
    }

    async fn request(&mut self, socket: &mut WebSocketStream<TcpStream>, text: &str) -> bool {
        match pubsub::handle(self.cluster, self.id, text) {
            Answer::Nothing => true,
            Answer::Now(answer) => send(socket, answer.into()).await,
            Answer::Late { by, subscription, answer } => {
                let late = Late { due: Instant::now() + by, acknowledgement: answer, behind: Vec::new() };
                self.late.insert(subscription, late);
                true
            }
        }
    }

    async fn notify(&mut self, socket: &mut WebSocketStream<TcpStream>, message: Outgoing) -> bool {
        if let Some(id) = message.id {
            if let Some(late) = self.late.get_mut(&id) {
                late.behind.push(message);
                return true;
            }
            // It may have been unsubscribed since this was queued.
            let mut hub = self.cluster.hub.lock();
            if !hub.holds(self.id, id) {
                return true;
            }
            if message.last {
                hub.unsubscribe(self.id, id);
            }
            drop(hub);
            self.cluster.counters.notifications.add_one();
        }
        send(socket, message.text).await
    }

    async fn acknowledge(&mut self, socket: &mut WebSocketStream<TcpStream>, id: u64) -> bool {
        let Some(late) = self.late.remove(&id) else {
            return true;
        };
        if !send(socket, late.acknowledgement.into()).await {
            return false;
        }
        for message in late.behind {
            if !self.notify(socket, message).await {
                return false;
            }
        }
        true
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, text: Utf8Bytes) -> bool {
    socket.send(Message::Text(text)).await.is_ok()
}

/// Never, for no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
