//! What the threads of one node share: its side of the chain, its connections, its faults.

use std::{
    fmt,
    sync::{Arc, mpsc},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::{
    chain::Chain,
    cluster::Cluster,
    conditions::Conditions,
    hub::Hub,
    notifier::Item,
    stats::{Counters, Stats},
};

/// The state of a node. Locks are short; the chain's and `hub` are never held together.
pub(crate) struct Face {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) hub: Mutex<Hub>,
    pub(crate) faults: Conditions,
    pub(crate) counters: Counters,
    pub(crate) ring: usize,
    notifier: mpsc::Sender<Item>,
    /// How often the node was restarted, whereupon its RPC connections end.
    restarts: watch::Sender<u64>,
    /// How often the RPC connections were to be closed. Each that is open listens to it.
    hang_ups: watch::Sender<u64>,
    stopped: watch::Sender<bool>,
}

impl fmt::Debug for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Face").finish_non_exhaustive()
    }
}

impl Face {
    pub(crate) fn new(cluster: Arc<Cluster>, notifier: mpsc::Sender<Item>) -> Arc<Self> {
        let face = Arc::new(Self {
            hub: Mutex::new(Hub::new(notifier.clone())),
            faults: Conditions::default(),
            counters: Counters::default(),
            ring: cluster.ring,
            notifier,
            restarts: watch::Sender::new(0),
            hang_ups: watch::Sender::new(0),
            stopped: watch::Sender::new(false),
            cluster,
        });
        face.cluster.join(&face);
        face
    }

    pub(crate) fn chain(&self) -> MutexGuard<'_, Chain> {
        self.cluster.chain.lock()
    }

    /// How many blocks the node is behind the chain, by what its faults say of the whole of it.
    pub(crate) fn behind(&self, chain: &Chain) -> u64 {
        let (blocks, time) = {
            let faults = self.faults.read();
            (faults.behind, faults.behind_by)
        };
        let younger = if time.is_zero() { 0 } else { chain.blocks_younger_than(time) };
        blocks.saturating_add(younger)
    }

    /// Puts something into the notifier's queue.
    pub(crate) fn queue(&self, item: Item) {
        // The notifier is gone only when the node stops.
        let _ = self.notifier.send(item);
    }

    /// Waits until the notifier has taken everything that is queued now.
    pub(crate) fn settle(&self) {
        let (settled, waits) = mpsc::sync_channel(1);
        self.queue(Item::Settle(settled));
        // It fails only when the notifier is gone.
        let _ = waits.recv();
    }

    /// Cuts every connection, as a node that starts anew.
    pub(crate) fn restart(&self) {
        self.hub.lock().restart();
        // No node knows the old chain any more.
        self.faults.change(|state| state.rpc_frozen_at = None);
        self.restarts.send_modify(|restarts| *restarts += 1);
    }

    pub(crate) fn restarts(&self) -> watch::Receiver<u64> {
        self.restarts.subscribe()
    }

    /// Closes every RPC connection: one with a request under way after its answer. Returns how many
    /// were open.
    pub(crate) fn hang_up(&self) -> usize {
        self.hang_ups.send_modify(|hang_ups| *hang_ups += 1);
        self.hang_ups.receiver_count()
    }

    pub(crate) fn hang_ups(&self) -> watch::Receiver<u64> {
        self.hang_ups.subscribe()
    }

    pub(crate) fn stop(&self) {
        self.queue(Item::Stop);
        self.stopped.send_replace(true);
    }

    /// Waits until the node is to stop.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as this does.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let hub = self.hub.lock();
        Stats {
            rpc: counters.rpc.lock().clone(),
            rpc_connections: counters.rpc_connections.get(),
            ws_connections: counters.ws_connections.get(),
            ws_open: hub.connections(),
            subscriptions: hub.subscriptions(),
            subscribes: counters.subscribes.get(),
            unsubscribes: counters.unsubscribes.get(),
            notifications: counters.notifications.get(),
        }
    }
}
