//! The WebSocket face: one task a connection.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::mpsc,
    task::{JoinSet, coop::unconstrained},
    time::{sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        self, Message, Utf8Bytes,
        handshake::server::{Callback, ErrorResponse, Request, Response},
        http,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    conditions::Refusal,
    face::Face,
    hostile::flood::{Flood, Flooding},
    hub::{Cut, Outgoing},
    pubsub::{self, Answer},
};

/// The longest message that a client may send.
const MAX_CLIENT_MESSAGE: usize = 4096;
/// How long a peer is given to answer a Close frame.
const CLOSING: Duration = Duration::from_secs(1);

/// Accepts connections for ever.
pub(crate) async fn serve(face: Arc<Face>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    face.counters.ws_connections.add_one();
                    connections.spawn(connection(Arc::clone(&face), stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(face: Arc<Face>, mut stream: TcpStream) {
    let down = face.faults.read().ws_down;
    if down {
        return reset(&stream);
    }
    if face.faults.read().ws_half_open {
        swallow(&face, &mut stream).await;
        return reset(&stream);
    }
    // Small messages, each of them waited for.
    let _ = stream.set_nodelay(true);
    let refusal = face.faults.refuse_handshake();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_CLIENT_MESSAGE))
        .max_frame_size(Some(MAX_CLIENT_MESSAGE));
    let handshake = accept_hdr_async_with_config(stream, Gate(refusal), Some(config));
    let Ok(mut socket) = handshake.await else {
        return;
    };
    let (ring, outgoing) = mpsc::channel(face.ring);
    let (cut, mut cuts) = mpsc::channel(1);
    let id = face.hub.lock().connect(ring, cut);
    let mut session = Session {
        face: &face,
        id,
        outgoing,
        next: None,
        late: HashMap::new(),
        flooding: Flooding::default(),
    };
    let cut = select! {
        biased;
        Some(cut) = cuts.recv() => cut,
        () = face.faults.until(|state| state.ws_half_open) => {
            swallow(&face, socket.get_mut()).await;
            Cut::Reset
        }
        cut = session.run(&mut socket) => cut,
    };
    face.hub.lock().disconnect(id);
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
async fn swallow(face: &Face, stream: &mut TcpStream) {
    let mut scrap = [0; 4096];
    let over = face.faults.until(|state| !state.ws_half_open);
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
    face: &'a Arc<Face>,
    id: u64,
    outgoing: mpsc::Receiver<Outgoing>,
    /// Taken from the ring and waiting for its time.
    next: Option<Outgoing>,
    late: HashMap<u64, Late>,
    flooding: Flooding,
}

impl Session<'_> {
    /// Until either side ends the connection. While a message is being sent nothing is read, as on
    /// a real server.
    async fn run(&mut self, socket: &mut WebSocketStream<TcpStream>) -> Cut {
        let mut changes = self.face.faults.changes();
        let mut heard = Instant::now();
        loop {
            let (delay, idle, flood) = {
                let faults = self.face.faults.read();
                (faults.notification_delay, faults.idle_limit, faults.flood)
            };
            let burst = self.flooding.due(flood);
            let due = self.next.as_ref().map(|next| next.queued + delay);
            let late = self.late.iter().map(|(id, late)| (late.due, *id)).min();
            let alive = select! {
                received = socket.next() => {
                    heard = Instant::now();
                    self.received(socket, received).await
                }
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
                () = at(burst) => match flood {
                    Some((of, rate)) => self.flood(socket, of, rate).await,
                    None => true,
                },
                () = at(idle.map(|limit| heard + limit)) => match unconstrained(socket.next()).now_or_never() {
                    // It had come in time, and was not read yet.
                    Some(received) => {
                        heard = Instant::now();
                        self.received(socket, received).await
                    }
                    None => return Cut::Close,
                },
                Ok(()) = changes.changed() => true,
            };
            if !alive {
                return Cut::Drop;
            }
        }
    }

    async fn received(
        &mut self,
        socket: &mut WebSocketStream<TcpStream>,
        received: Option<tungstenite::Result<Message>>,
    ) -> bool {
        match received {
            Some(Ok(Message::Text(text))) => self.request(socket, &text).await,
            Some(Ok(Message::Binary(data))) => match std::str::from_utf8(&data) {
                Ok(text) => self.request(socket, text).await,
                Err(_) => false,
            },
            // The library answers pings and Close frames.
            Some(Ok(_)) => true,
            Some(Err(_)) | None => false,
        }
    }

    async fn request(&mut self, socket: &mut WebSocketStream<TcpStream>, text: &str) -> bool {
        match pubsub::handle(self.face, self.id, text) {
            Answer::Nothing => true,
            Answer::Now(answer) => send(socket, Message::text(answer)).await,
            Answer::Late { by, subscription, answer } => {
                let late = Late { due: Instant::now() + by, acknowledgement: answer, behind: Vec::new() };
                self.late.insert(subscription, late);
                true
            }
        }
    }

    async fn notify(&mut self, socket: &mut WebSocketStream<TcpStream>, mut message: Outgoing) -> bool {
        if let Some(id) = message.id {
            if let Some(late) = self.late.get_mut(&id) {
                late.behind.push(message);
                return true;
            }
            // It may have been unsubscribed since this was queued.
            let mut hub = self.face.hub.lock();
            if !hub.holds(self.id, id) {
                return true;
            }
            if message.last {
                hub.unsubscribe(self.id, id);
            }
            let known_as = hub.known_as(self.id, id);
            drop(hub);
            if known_as != id {
                message.frame = renumber(&message.frame, id, known_as);
            }
            self.face.counters.notifications.add_one();
        }
        send(socket, message.frame).await
    }

    async fn flood(&mut self, socket: &mut WebSocketStream<TcpStream>, of: Flood, per_second: u64) -> bool {
        for text in self.flooding.burst(self.face, self.id, of, per_second) {
            self.face.counters.notifications.add_one();
            if socket.feed(Message::Text(text)).await.is_err() {
                return false;
            }
        }
        socket.flush().await.is_ok()
    }

    async fn acknowledge(&mut self, socket: &mut WebSocketStream<TcpStream>, id: u64) -> bool {
        let Some(late) = self.late.remove(&id) else {
            return true;
        };
        if !send(socket, Message::text(late.acknowledgement)).await {
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

async fn send(socket: &mut WebSocketStream<TcpStream>, frame: Message) -> bool {
    socket.send(frame).await.is_ok()
}

/// A notification under the id of another subscription.
fn renumber(frame: &Message, from: u64, to: u64) -> Message {
    let id = |id| format!("\"subscription\":{id}}}");
    frame.to_text().map_or_else(|_| frame.clone(), |text| Message::text(text.replace(&id(from), &id(to))))
}

/// Never, for no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
