//! A node: the JSON-RPC and WebSocket faces of the chain on two ports, with threads of its own.

use std::{
    fmt, io,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use solana_pubkey::Pubkey;

use crate::{cluster::Cluster, face::Face, faults::Faults, http, notifier::Notifier, stats::Stats, ws};

/// How often a pair of neighbouring ports is looked for.
const PORT_ATTEMPTS: usize = 100;

/// One node of a cluster, with connections, faults and counts of its own. Dropping it stops its
/// servers and frees its ports; so does dropping the cluster.
pub struct Node {
    face: Arc<Face>,
    faults: Faults,
    rpc_port: u16,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("rpc_url", &self.rpc_url()).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.face.stop();
        for thread in self.threads.drain(..) {
            // A panic there was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Node {
    pub(crate) fn start(cluster: &Arc<Cluster>, seed: u64, port: Option<u16>) -> io::Result<Self> {
        let (rpc, ws) = bind(port)?;
        let rpc_port = rpc.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (queue, items) = mpsc::channel();
        let face = Face::new(Arc::clone(cluster), queue);
        // From here on, dropping this stops whatever was started.
        let mut node = Self {
            faults: Faults::new(Arc::clone(&face)),
            face: Arc::clone(&face),
            rpc_port,
            threads: Vec::new(),
        };
        let notifier = Notifier::new(Arc::clone(&face), seed);
        node.spawn("localnet-notifier", move || notifier.run(&items))?;
        node.spawn("localnet-io", move || {
            runtime.block_on(async {
                let (Ok(rpc), Ok(ws)) = (listen(rpc), listen(ws)) else {
                    return;
                };
                tokio::select! {
                    () = face.stopped() => {}
                    () = http::serve(Arc::clone(&face), rpc) => {}
                    () = ws::serve(Arc::clone(&face), ws) => {}
                }
            });
        })?;
        Ok(node)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.into()).spawn(body)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Where JSON-RPC is served: `http://127.0.0.1:PORT`.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port)
    }

    /// Where WebSockets are served: on the next port, as on a validator.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.rpc_port + 1)
    }

    /// What can go wrong with this node, at will. (With the chain, too; that all nodes feel.)
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many connections of this node are subscribed to an account, counted once for each set of
    /// parameters.
    pub fn subscribers(&self, address: &Pubkey) -> usize {
        self.face.hub.lock().subscribers(address)
    }

    /// What happened at this node so far.
    pub fn stats(&self) -> Stats {
        self.face.stats()
    }
}

/// Two neighbouring ports, the second for WebSockets, as clients expect it.
fn bind(port: Option<u16>) -> io::Result<(TcpListener, TcpListener)> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let pair = || {
        let rpc = bind(port.unwrap_or(0))?;
        let next = rpc.local_addr()?.port().checked_add(1);
        let ws = bind(next.ok_or(io::ErrorKind::AddrNotAvailable)?)?;
        Ok((rpc, ws))
    };
    let mut found = pair();
    for _ in 1..PORT_ATTEMPTS {
        if found.is_ok() || port.is_some() {
            break;
        }
        found = pair();
    }
    found
}

fn listen(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
