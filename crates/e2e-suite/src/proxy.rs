//! A TCP proxy on loopback that breaks connections at will: the network between a mirror and its
//! node.

use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

/// How much of what each client says first is kept.
const KEPT: usize = 4096;
/// Chunks under way in one direction of one connection, while they are delayed.
const UNDER_WAY: usize = 64;
const CHUNK: usize = 16 * 1024;
/// How long a client may take to close its side after it was told of the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Both ends of a wire, as seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// TCP RST.
    Reset,
    /// TCP FIN: the end of the stream, without a word.
    Fin,
}

/// What the network does to what passes.
#[derive(Clone, Debug, Default)]
struct Weather {
    refuse: bool,
    hole: [bool; 2],
    delay: [Duration; 2],
    /// Bytes a second.
    rate: [Option<u32>; 2],
    /// Bytes after which a connection is reset.
    cut_after: [Option<u64>; 2],
    /// The HTTP status that the proxy itself answers.
    status: Option<u16>,
    /// How many seconds a 429 asks to wait.
    wait: u32,
}

#[derive(Debug)]
struct Shared {
    weather: watch::Sender<Weather>,
    /// With the number of the connection that is cut, where not all are.
    cuts: broadcast::Sender<(Cut, Option<usize>)>,
    /// Connections accepted, refused ones too.
    accepted: watch::Sender<usize>,
    open: watch::Sender<usize>,
    /// Bytes that passed, by direction.
    passed: [AtomicU64; 2],
    first_words: Mutex<VecDeque<Vec<u8>>>,
}

/// A running proxy on a thread of its own. Dropping it ends its connections.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts a proxy for one server.
    ///
    /// # Errors
    /// No port can be bound, or no thread started.
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            weather: watch::Sender::default(),
            cuts: broadcast::Sender::new(16),
            accepted: watch::Sender::default(),
            open: watch::Sender::default(),
            passed: Default::default(),
            first_words: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = stopped => {}
                    () = accept(&serving, listener, server) => {}
                }
            });
        })?;
        Ok(Self { port, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection that is open now. Returns how many.
    pub fn cut(&self, cut: Cut) -> usize {
        self.shared.cuts.send((cut, None)).unwrap_or(0)
    }

    /// Ends the connection that was accepted as the so manieth, the first being 1, if it is open.
    pub fn cut_one(&self, number: usize, cut: Cut) {
        // Without a connection there is nothing to cut.
        let _ = self.shared.cuts.send((cut, Some(number)));
    }

    /// New connections are accepted and reset at once.
    pub fn refuse(&self, on: bool) {
        self.shared.weather.send_modify(|weather| weather.refuse = on);
    }

    /// Nothing passes in this direction, on connections that live; when it is over, what was held
    /// back follows.
    pub fn black_hole(&self, direction: Direction, on: bool) {
        self.shared.weather.send_modify(|weather| weather.hole[direction as usize] = on);
    }

    /// What passes in this direction comes so much later.
    pub fn delay(&self, direction: Direction, by: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay[direction as usize] = by);
    }

    /// At most so many bytes a second pass in this direction of each connection.
    pub fn throttle(&self, direction: Direction, bytes_per_second: Option<u32>) {
        self.shared.weather.send_modify(|weather| weather.rate[direction as usize] = bytes_per_second);
    }

    /// Each connection, those that are open now included, is reset once so many bytes more have
    /// passed in this direction; in the middle of a message, most likely.
    pub fn cut_after(&self, direction: Direction, bytes: Option<u64>) {
        self.shared.weather.send_modify(|weather| weather.cut_after[direction as usize] = bytes);
    }

    /// The proxy answers HTTP requests with this status itself, as a hosted node's gate does; 429
    /// asks to wait a second. Open connections are reset.
    pub fn answer_http(&self, status: Option<u16>) {
        self.answer(status, 1);
    }

    /// As [`answer_http`](Self::answer_http) with a 429 that asks to wait for so many seconds.
    pub fn limit_rate(&self, wait: u32) {
        self.answer(Some(429), wait);
    }

    fn answer(&self, status: Option<u16>, wait: u32) {
        self.shared.weather.send_modify(|weather| (weather.status, weather.wait) = (status, wait));
        if status.is_some() {
            self.cut(Cut::Reset);
        }
    }

    /// Everything passes again.
    pub fn clear(&self) {
        self.shared.weather.send_replace(Weather::default());
    }

    /// How many connections were accepted so far, refused ones too.
    pub fn accepted(&self) -> usize {
        *self.shared.accepted.borrow()
    }

    /// How many bytes passed in this direction so far, on all connections: while none do, nobody
    /// asks for anything.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Relaxed)
    }

    /// Waits until so many connections were accepted.
    pub async fn until_accepted(&self, count: usize) {
        let mut accepted = self.shared.accepted.subscribe();
        // Its sender lives as long as this proxy.
        let _ = accepted.wait_for(|accepted| *accepted >= count).await;
    }

    /// Waits until so many connections are open.
    pub async fn until_open(&self, count: usize) {
        let mut open = self.shared.open.subscribe();
        let _ = open.wait_for(|open| *open == count).await;
    }

    /// The first words of each client, up to 4 KiB, in the order in which they came.
    pub fn first_words(&self) -> Vec<Vec<u8>> {
        self.shared.first_words.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed when it happened.
            let _ = thread.join();
        }
    }
}

async fn accept(shared: &Arc<Shared>, listener: tokio::net::TcpListener, server: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                // Whoever is cut is who was counted before.
                let cuts = shared.cuts.subscribe();
                connections.spawn(connection(Arc::clone(shared), client, server, cuts));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    shared: Arc<Shared>,
    mut client: TcpStream,
    server: SocketAddr,
    mut cuts: broadcast::Receiver<(Cut, Option<usize>)>,
) {
    let mut number = 0;
    shared.accepted.send_modify(|count| {
        *count += 1;
        number = *count;
    });
    let (refused, status, wait) = {
        let weather = shared.weather.borrow();
        (weather.refuse, weather.status, weather.wait)
    };
    if let Some(status) = status.filter(|_| !refused) {
        return turn_away(client, status, wait).await;
    }
    let upstream = if refused { None } else { TcpStream::connect(server).await.ok() };
    let Some(mut upstream) = upstream else { return reset(&client) };
    shared.open.send_modify(|count| *count += 1);
    let _ = client.set_nodelay(true);
    let _ = upstream.set_nodelay(true);
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let up = pump(&shared, Direction::Up, from_client, to_server);
        let down = pump(&shared, Direction::Down, from_server, to_client);
        tokio::select! {
            biased;
            cut = its_cut(&mut cuts, number) => cut,
            end = up => end,
            end = down => end,
        }
    };
    shared.open.send_modify(|count| *count -= 1);
    match cut {
        Cut::Reset => {
            reset(&client);
            reset(&upstream);
        }
        Cut::Fin => {
            let _ = client.shutdown().await;
            let _ = upstream.shutdown().await;
            // Unread bytes would make it a reset.
            let mut rest = [0; 1024];
            let drain = async { while matches!(client.read(&mut rest).await, Ok(1..)) {} };
            let _ = timeout(FAREWELL, drain).await;
        }
    }
}

/// Waits until the connection of this number is to be cut.
async fn its_cut(cuts: &mut broadcast::Receiver<(Cut, Option<usize>)>, number: usize) -> Cut {
    loop {
        match cuts.recv().await {
            Ok((cut, one)) if one.is_none_or(|one| one == number) => return cut,
            Ok(_) => {}
            Err(_) => return Cut::Reset,
        }
    }
}

/// Answers one HTTP request with a status, and closes.
async fn turn_away(mut client: TcpStream, status: u16, wait: u32) {
    let answer = async {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !is_whole(&request) {
            match client.read(&mut buffer).await {
                Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                _ => return,
            }
        }
        let wait = if status == 429 { format!("retry-after: {wait}\r\n") } else { String::new() };
        let answer =
            format!("HTTP/1.1 {status} Refused\r\n{wait}content-length: 0\r\nconnection: close\r\n\r\n");
        let _ = client.write_all(answer.as_bytes()).await;
        let _ = client.shutdown().await;
    };
    // Whoever does not ask is not answered.
    let _ = timeout(FAREWELL, answer).await;
}

/// Whether an HTTP request is there, as long as its head says.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0usize)
}

fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Carries one direction until it ends, and says how.
async fn pump(shared: &Shared, direction: Direction, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Cut {
    let side = direction as usize;
    let mut weather = shared.weather.subscribe();
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let reading = async move {
        let mut kept = direction == Direction::Down;
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => return Cut::Fin,
                Ok(read) => {
                    if !std::mem::replace(&mut kept, true) {
                        shared.keep(&buffer[..read.min(KEPT)]);
                    }
                    let due = Instant::now() + shared.weather.borrow().delay[side];
                    if sender.send((due, buffer[..read].to_vec())).await.is_err() {
                        return Cut::Reset;
                    }
                }
                Err(_) => return Cut::Reset,
            }
        }
    };
    let writing = async {
        // Bytes since they are counted.
        let mut passed = 0;
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            for piece in chunk.chunks(1024) {
                let limit = match weather.wait_for(|weather| !weather.hole[side]).await {
                    Ok(weather) => weather.cut_after[side],
                    Err(_) => return Cut::Reset,
                };
                passed = if limit.is_some() { passed + piece.len() as u64 } else { 0 };
                let over = limit.map_or(0, |limit| passed.saturating_sub(limit));
                let piece = &piece[..piece.len().saturating_sub(over as usize)];
                if to.write_all(piece).await.is_err() || over > 0 {
                    return Cut::Reset;
                }
                shared.passed[side].fetch_add(piece.len() as u64, Relaxed);
                let rate = weather.borrow().rate[side];
                if let Some(rate) = rate {
                    sleep(Duration::from_secs_f64(piece.len() as f64 / f64::from(rate.max(1)))).await;
                }
            }
        }
        Cut::Fin
    };
    let mut writing = pin!(writing);
    let end = tokio::select! {
        biased;
        // Before all is read that only is an end of its own.
        written = &mut writing => return written,
        end = reading => end,
    };
    // What was read before an end is written before the end.
    let written = writing.await;
    if written == Cut::Reset { written } else { end }
}

impl Shared {
    fn keep(&self, words: &[u8]) {
        let mut kept = self.first_words.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(words.to_vec());
        if kept.len() > 1024 {
            kept.pop_front();
        }
    }
}
