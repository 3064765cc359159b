//! Who subscribed to what, and the way of a message to its subscribers.
//!
//! Equal parameters share one entry and one id on the whole node. An entry ends with its last
//! holder. A connection holds an entry once, however often it subscribed: one unsubscribe removes
//! it.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc,
    time::Instant,
};

use solana_account_decoder_client_types::{UiAccountEncoding, UiDataSliceConfig};
use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::sync::mpsc as ring;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::notifier::Item;

/// What a subscription is about: the key by which equal ones are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    Account {
        address: Pubkey,
        commitment: CommitmentLevel,
        encoding: UiAccountEncoding,
        /// Part of the key, and of nothing else: notifications carry the whole data.
        slice: Option<UiDataSliceConfig>,
    },
    Signature {
        signature: Signature,
        commitment: CommitmentLevel,
    },
    Slot,
}

impl Topic {
    /// The account, if it is one that is watched.
    pub(crate) fn address(&self) -> Option<&Pubkey> {
        match self {
            Self::Account { address, .. } => Some(address),
            _ => None,
        }
    }
}

/// How a connection is to end.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// The socket is dropped, with no word.
    Drop,
    /// The kernel resets the connection.
    Reset,
    /// The stream ends (FIN), without a Close frame before.
    Fin,
    /// A Close frame first.
    Close,
}

/// A message on its way to one connection.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// The subscription that it belongs to; `None` for what comes from nowhere.
    pub(crate) id: Option<u64>,
    pub(crate) frame: Message,
    pub(crate) queued: Instant,
    /// The subscription ends with this message.
    pub(crate) last: bool,
}

#[derive(Debug)]
struct Connection {
    ring: ring::Sender<Outgoing>,
    cut: ring::Sender<Cut>,
    subscriptions: HashSet<u64>,
    /// Subscriptions that it knows by another's id.
    shared: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Entry {
    topic: Topic,
    holders: HashSet<u64>,
}

#[derive(Debug)]
pub(crate) struct Hub {
    next_connection: u64,
    next_subscription: u64,
    connections: HashMap<u64, Connection>,
    by_topic: HashMap<Topic, u64>,
    entries: HashMap<u64, Entry>,
    notifier: mpsc::Sender<Item>,
}

impl Hub {
    pub(crate) fn new(notifier: mpsc::Sender<Item>) -> Self {
        Self {
            next_connection: 0,
            next_subscription: 0,
            connections: HashMap::new(),
            by_topic: HashMap::new(),
            entries: HashMap::new(),
            notifier,
        }
    }

    /// Enters a connection; what is sent to it comes out of its ring.
    pub(crate) fn connect(&mut self, ring: ring::Sender<Outgoing>, cut: ring::Sender<Cut>) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        let connection = Connection { ring, cut, subscriptions: HashSet::new(), shared: HashMap::new() };
        self.connections.insert(id, connection);
        id
    }

    pub(crate) fn disconnect(&mut self, connection: u64) {
        if let Some(gone) = self.connections.remove(&connection) {
            for id in gone.subscriptions {
                self.release(connection, id);
            }
        }
    }

    /// Resets every connection and forgets what they subscribed to; ids go on, so that none is used
    /// twice.
    pub(crate) fn restart(&mut self) {
        self.cut_all(&Cut::Reset);
        self.connections.clear();
        self.by_topic.clear();
        self.entries.clear();
    }

    /// Subscribes a connection; the notifier learns of a new entry through its queue, behind what
    /// is there already.
    pub(crate) fn subscribe(&mut self, connection: u64, topic: Topic) -> u64 {
        if !self.connections.contains_key(&connection) {
            return self.next_subscription; // It was just cut, and will not hear of it.
        }
        let id = match self.by_topic.get(&topic) {
            Some(id) => *id,
            None => {
                let id = self.next_subscription;
                self.next_subscription += 1;
                self.by_topic.insert(topic.clone(), id);
                let entry = Entry { topic: topic.clone(), holders: HashSet::new() };
                self.entries.insert(id, entry);
                self.tell(Item::Subscribed { id, topic });
                id
            }
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.holders.insert(connection);
        }
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.subscriptions.insert(id);
        }
        id
    }

    /// Whether the connection held that subscription.
    pub(crate) fn unsubscribe(&mut self, connection: u64, id: u64) -> bool {
        let held = self
            .connections
            .get_mut(&connection)
            .is_some_and(|connection| connection.subscriptions.remove(&id));
        if held {
            self.release(connection, id);
        }
        held
    }

    pub(crate) fn holds(&self, connection: u64, id: u64) -> bool {
        self.connections.get(&connection).is_some_and(|connection| connection.subscriptions.contains(&id))
    }

    fn release(&mut self, connection: u64, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.holders.remove(&connection);
        if entry.holders.is_empty() {
            let topic = &entry.topic;
            // A subscription that was left to die has lost its topic to a younger one.
            if self.by_topic.get(topic) == Some(&id) {
                self.by_topic.remove(topic);
            }
            self.entries.remove(&id);
            self.tell(Item::Unsubscribed { id });
        }
    }

    /// Lets every subscription of an account die without a word: its holders keep their ids, and
    /// nothing ever comes.
    pub(crate) fn kill_subscriptions(&mut self, address: &Pubkey) -> usize {
        let dead: Vec<(u64, Topic)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.topic.address() == Some(address))
            .map(|(id, entry)| (*id, entry.topic.clone()))
            .collect();
        for (id, topic) in &dead {
            if self.by_topic.get(topic) == Some(id) {
                self.by_topic.remove(topic);
            }
            self.tell(Item::Unsubscribed { id: *id });
        }
        dead.len()
    }

    /// Puts a message into the ring of each holder. A ring that is full ends its connection.
    pub(crate) fn deliver(&mut self, id: u64, text: Utf8Bytes, last: bool) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let frame = Message::Text(text);
        let message = Outgoing { id: Some(id), frame, queued: Instant::now(), last };
        for connection in entry.holders.iter().filter_map(|c| self.connections.get(c)) {
            connection.push(message.clone());
        }
    }

    /// Sends something to every connection, whatever it asked for. The frame may differ by the
    /// oldest subscription of the connection.
    pub(crate) fn broadcast(&self, frame: impl Fn(Option<u64>) -> Message) {
        for connection in self.connections.values() {
            let frame = frame(connection.oldest());
            connection.push(Outgoing { id: None, frame, queued: Instant::now(), last: false });
        }
    }

    /// Makes a connection know a subscription by the id of its oldest one, which is returned.
    pub(crate) fn share_id(&mut self, connection: u64, id: u64) -> u64 {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return id;
        };
        let oldest = connection.oldest().unwrap_or(id);
        connection.shared.insert(id, oldest);
        oldest
    }

    /// The id by which a connection knows a subscription.
    pub(crate) fn known_as(&self, connection: u64, id: u64) -> u64 {
        let shared = self.connections.get(&connection).and_then(|connection| connection.shared.get(&id));
        shared.copied().unwrap_or(id)
    }

    /// How many subscriptions a connection holds.
    pub(crate) fn held(&self, connection: u64) -> usize {
        self.connections.get(&connection).map_or(0, |connection| connection.subscriptions.len())
    }

    /// The subscriptions to an account that a connection holds.
    pub(crate) fn held_to(&self, connection: u64, address: &Pubkey) -> Vec<(u64, Topic)> {
        let ids = self.connections.get(&connection).into_iter().flat_map(|c| &c.subscriptions);
        let topics = ids.filter_map(|id| Some((*id, self.entries.get(id)?.topic.clone())));
        topics.filter(|(_, topic)| topic.address() == Some(address)).collect()
    }

    /// Ends every connection; returns how many there were.
    pub(crate) fn cut_all(&self, how: &Cut) -> usize {
        for connection in self.connections.values() {
            // Already told to end otherwise.
            let _ = connection.cut.try_send(how.clone());
        }
        self.connections.len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Subscriptions held, each counted once a connection.
    pub(crate) fn subscriptions(&self) -> usize {
        let held = self.connections.values().map(|c| c.subscriptions.len());
        held.sum()
    }

    /// How many connections hold a subscription to the account, at any commitment.
    pub(crate) fn subscribers(&self, address: &Pubkey) -> usize {
        let of = self.entries.values();
        of.filter(|entry| entry.topic.address() == Some(address)).map(|entry| entry.holders.len()).sum()
    }

    fn tell(&self, item: Item) {
        // The notifier is gone only when the cluster stops.
        let _ = self.notifier.send(item);
    }
}

impl Connection {
    fn oldest(&self) -> Option<u64> {
        self.subscriptions.iter().min().copied()
    }

    fn push(&self, message: Outgoing) {
        if let Err(ring::error::TrySendError::Full(_)) = self.ring.try_send(message) {
            let _ = self.cut.try_send(Cut::Drop);
        }
    }
}
