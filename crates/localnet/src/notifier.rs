//! The one FIFO from which all notifications come.
//!
//! Subscriptions, checks of banks and opened slots are taken in the order in which they were
//! queued, by one thread. A check compares every account subscription at its commitment with one
//! bank, and notifies those whose account was last written in another slot than the one last told.
//! Hence: several writes in one bank show once, a bank that is never checked heals at the next, and
//! nothing of an older bank comes after a newer one's.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
};

use serde_json::{Value, json};
use solana_account_decoder_client_types::UiAccountEncoding;
use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;
use solana_transaction_status_client_types::UiTransactionError;

use crate::{
    chain::Chain,
    conditions::Fate,
    encoding,
    face::Face,
    hub::Topic,
    lies::{self, Side},
    rng::Rng,
};

/// What waits in the queue.
#[derive(Debug)]
pub(crate) enum Item {
    Subscribed {
        id: u64,
        topic: Topic,
    },
    Unsubscribed {
        id: u64,
    },
    /// A bank reached a commitment.
    Check {
        commitment: CommitmentLevel,
        slot: u64,
        /// It is the first on another fork than the one before.
        forked: bool,
    },
    /// The chain is another one now, or was set back.
    Restart,
    /// A bank was opened.
    Opened {
        slot: u64,
        parent: u64,
        root: u64,
    },
    /// Answered when its turn comes.
    Settle(mpsc::SyncSender<()>),
    Stop,
}

struct Watch {
    topic: Topic,
    /// The slot of the write that was last told; for a new subscription, of the last write at its
    /// commitment.
    last_notified: u64,
    /// Not compared before the check of this slot, which gives it its baseline.
    asleep_until: Option<u64>,
}

/// A notification ready to be sent.
#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    pub(crate) address: Option<Pubkey>,
    pub(crate) text: String,
    /// The subscription ends with it.
    pub(crate) last: bool,
}

pub(crate) struct Notifier {
    face: Arc<Face>,
    watches: HashMap<u64, Watch>,
    /// The last bank checked, by commitment.
    checked: HashMap<CommitmentLevel, u64>,
    /// Notifications held back to be sent out of order.
    held: Vec<Notification>,
    rng: Rng,
}

impl Notifier {
    pub(crate) fn new(face: Arc<Face>, seed: u64) -> Self {
        Self { face, watches: HashMap::new(), checked: HashMap::new(), held: Vec::new(), rng: Rng::new(seed) }
    }

    /// Takes the queue until it is told to stop.
    pub(crate) fn run(mut self, queue: &mpsc::Receiver<Item>) {
        while let Ok(item) = queue.recv() {
            match item {
                Item::Subscribed { id, topic } => self.watch(id, topic),
                Item::Unsubscribed { id } => {
                    self.watches.remove(&id);
                }
                Item::Check { commitment, slot, forked } => self.check(commitment, slot, forked),
                Item::Restart => self.restart(),
                Item::Opened { slot, parent, root } => self.opened(slot, parent, root),
                Item::Settle(settled) => {
                    // Nobody may be waiting any more.
                    let _ = settled.send(());
                }
                Item::Stop => return,
            }
        }
    }

    /// The baseline is what the commitment's bank holds now, not when the subscription was
    /// acknowledged.
    fn watch(&mut self, id: u64, topic: Topic) {
        let mut watch = Watch { topic, last_notified: 0, asleep_until: None };
        if let Topic::Account { address, commitment, .. } = &watch.topic {
            let late = self.face.faults.read().baseline_delay;
            let chain = self.face.chain();
            let slot = self.lagged(&chain, chain.slot(*commitment));
            watch.last_notified = chain.store.modified(slot, address);
            watch.asleep_until = (late > 0).then_some(slot + late);
        }
        self.watches.insert(id, watch);
    }

    /// Everybody has to subscribe anew.
    fn restart(&mut self) {
        self.watches.clear();
        self.checked.clear();
        self.held.clear();
        self.face.restart();
    }

    /// The bank that is checked for this one: itself, unless the feed or the node is made to lag.
    fn lagged(&self, chain: &Chain, slot: u64) -> u64 {
        let behind = self.face.faults.read().notifications_behind;
        chain.ancestor(slot, behind.saturating_add(self.face.behind(chain)))
    }

    fn check(&mut self, commitment: CommitmentLevel, slot: u64, forked: bool) {
        let mut notifications = self.compare(commitment, slot, forked);
        self.rng.shuffle(&mut notifications);
        for notification in notifications {
            self.emit(notification);
        }
    }

    fn compare(&mut self, commitment: CommitmentLevel, slot: u64, forked: bool) -> Vec<Notification> {
        let face = Arc::clone(&self.face);
        let (every, silent) = {
            let faults = face.faults.read();
            (faults.check_every.max(1), forked && faults.silent_reverts)
        };
        if commitment != CommitmentLevel::Finalized && !slot.is_multiple_of(every) {
            return Vec::new();
        }
        let chain = face.chain();
        if !chain.is_on_chain(slot) {
            return Vec::new(); // Abandoned before its turn came.
        }
        let slot = self.lagged(&chain, slot);
        let checked = self.checked.entry(commitment).or_default();
        if slot <= *checked {
            return Vec::new();
        }
        *checked = slot;
        let mut notifications = Vec::new();
        for (id, watch) in &mut self.watches {
            match &watch.topic {
                Topic::Account { address, commitment: at, encoding, .. } if *at == commitment => {
                    let modified = chain.store.modified(slot, address);
                    if let Some(until) = watch.asleep_until {
                        watch.last_notified = modified;
                        watch.asleep_until = Some(until).filter(|until| slot < *until);
                    }
                    // What the first bank of a fork did not write itself was reverted.
                    let untold = silent && modified != slot;
                    if modified != watch.last_notified && !untold {
                        let text = account_text(&face, &chain, *id, slot, address, *encoding);
                        notifications.push(Notification {
                            id: *id,
                            address: Some(*address),
                            text,
                            last: false,
                        });
                    }
                    watch.last_notified = modified;
                }
                Topic::Signature { signature, commitment: at } if *at == commitment => {
                    let status = chain.status(signature).filter(|s| s.slot <= slot);
                    if let Some(status) = status {
                        let err = status.err.clone().map(UiTransactionError::from);
                        notifications.push(Notification {
                            id: *id,
                            address: None,
                            text: message(
                                "signatureNotification",
                                *id,
                                json!({ "context": { "slot": slot }, "value": { "err": err } }),
                            )
                            .to_string(),
                            last: true,
                        });
                    }
                }
                _ => {}
            }
        }
        notifications
    }

    fn opened(&mut self, mut slot: u64, mut parent: u64, mut root: u64) {
        {
            let chain = self.face.chain();
            let behind = self.lagged(&chain, parent);
            if behind < parent {
                (slot, parent, root) = (behind + 1, behind, root.min(behind));
            }
        }
        let of_slots = self.watches.iter().filter(|(_, watch)| watch.topic == Topic::Slot);
        let ids: Vec<u64> = of_slots.map(|(id, _)| *id).collect();
        for id in ids {
            let info = json!({ "slot": slot, "parent": parent, "root": root });
            self.emit(Notification {
                id,
                address: None,
                text: message("slotNotification", id, info).to_string(),
                last: false,
            });
        }
    }

    /// Sends a notification, or what the faults make of it.
    fn emit(&mut self, notification: Notification) {
        let fate = self.face.faults.fate(notification.address.as_ref());
        let copies = match fate {
            Fate::Lost => {
                if notification.last {
                    self.watches.remove(&notification.id);
                }
                return;
            }
            Fate::Sent { copies } => copies,
        };
        let window = self.face.faults.read().reorder_window;
        for _ in 1..copies {
            self.deliver(&notification);
        }
        if window == 0 && self.held.is_empty() {
            return self.deliver(&notification);
        }
        self.held.push(notification);
        while self.held.len() > window {
            // Any account may come next; what belongs to one subscription stays in order.
            let chosen = self.held[self.rng.below(self.held.len())].id;
            let first = self.held.iter().position(|held| held.id == chosen);
            let next = self.held.remove(first.unwrap_or(0));
            self.deliver(&next);
        }
    }

    fn deliver(&mut self, notification: &Notification) {
        if notification.last {
            self.watches.remove(&notification.id);
        }
        self.face.hub.lock().deliver(notification.id, notification.text.as_str().into(), notification.last);
    }
}

/// The notification of an account's state in the bank of `slot`, or what the faults make of it.
pub(crate) fn account_text(
    face: &Face,
    chain: &Chain,
    id: u64,
    slot: u64,
    address: &Pubkey,
    encoding: UiAccountEncoding,
) -> String {
    let told = face.faults.ahead(Side::Notifications);
    let faults = face.faults.read();
    // A closed account is told as the default one.
    let account = lies::told(&faults.lies, Side::Notifications, chain, slot, address).unwrap_or_default();
    let mint = encoding::mint_data(chain, slot, Some(&account));
    let value = encoding::ui_account(address, &account, encoding, None, mint);
    let epoch = format!("\"rentEpoch\":{}", value.rent_epoch);
    let slot = slot.saturating_add(told);
    let result = json!({ "context": { "slot": slot }, "value": value });
    let mut notification = message("accountNotification", id, result);
    if let Some((malformed, of)) = faults.malformed
        && of.is_none_or(|of| of == *address)
    {
        malformed.apply(&mut notification);
    }
    let text = notification.to_string();
    match faults.undecodable_rent_epoch {
        // No JSON value of ours holds such a number.
        true => text.replace(&epoch, "\"rentEpoch\":18446744073709551616"),
        false => text,
    }
}

fn message(method: &str, id: u64, result: Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": method,
        "params": { "result": result, "subscription": id },
    })
}

#[cfg(test)]
mod tests {
    use solana_account::AccountSharedData;
    use tokio::sync::mpsc as ring;

    use super::*;
    use crate::{
        chain::Depths,
        cluster::Cluster,
        hub::{Cut, Outgoing},
    };

    /// A node whose notifier takes nothing before [`take_all`](Self::take_all): as late as one can
    /// be.
    struct Late {
        face: Arc<Face>,
        items: mpsc::Receiver<Item>,
        sent: ring::Receiver<Outgoing>,
        _cut: ring::Receiver<Cut>,
        connection: u64,
    }

    impl Late {
        fn new() -> Self {
            let chain = Chain::genesis(0, Depths::default(), 0);
            let (queue, items) = mpsc::channel();
            let face = Face::new(Cluster::new(chain, 16, true), queue);
            let ((ring, sent), (cut, _cut)) = (ring::channel(16), ring::channel(1));
            let connection = face.hub.lock().connect(ring, cut);
            Self { face, items, sent, _cut, connection }
        }

        fn subscribe(&self, address: Pubkey) {
            let (commitment, encoding) = (CommitmentLevel::Confirmed, UiAccountEncoding::Base64);
            let topic = Topic::Account { address, commitment, encoding, slice: None };
            self.face.hub.lock().subscribe(self.connection, topic);
        }

        /// What was sent: slots and lamports.
        fn take_all(mut self) -> Vec<(u64, u64)> {
            self.face.stop();
            Notifier::new(Arc::clone(&self.face), 0).run(&self.items);
            let mut told = Vec::new();
            while let Ok(Outgoing { frame, .. }) = self.sent.try_recv() {
                let text: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
                let result = &text["params"]["result"];
                let number = |value: &Value| value.as_u64().unwrap();
                told.push((number(&result["context"]["slot"]), number(&result["value"]["lamports"])));
            }
            told
        }
    }

    /// As on a real node: a subscription's baseline is of the newest bank when its turn comes
    /// (`initial_last_notified_slot` in solana-rpc's `rpc_subscriptions.rs`), while the banks that
    /// wait behind it may be older; and another slot of the last write than the baseline's is a
    /// change, whichever is newer (`filter_account_result`).
    #[test]
    fn a_late_notifier_tells_a_new_subscriber_first_that_the_account_is_not_there_yet() {
        let (node, address) = (Late::new(), Pubkey::from([1; 32]));
        node.subscribe(address);
        let cluster = Arc::clone(&node.face.cluster);
        cluster.tick();
        cluster.tick(); // Slot 1 is confirmed, without the account.
        let account = AccountSharedData::new(7, 0, &Pubkey::default());
        let written = node.face.chain().set_account(address, account).unwrap();
        cluster.tick();
        cluster.tick();
        assert_eq!((node.face.chain().slot(CommitmentLevel::Confirmed), written), (3, 3));
        assert_eq!(node.take_all(), [(1, 0), (3, 7)]);
    }

    #[test]
    fn a_notifier_in_time_tells_nothing_of_what_is_not_there() {
        let (node, address) = (Late::new(), Pubkey::from([1; 32]));
        let cluster = Arc::clone(&node.face.cluster);
        let mut notifier = Notifier::new(Arc::clone(&node.face), 0);
        node.subscribe(address);
        let take = |notifier: &mut Notifier| {
            while let Ok(item) = node.items.try_recv() {
                match item {
                    Item::Subscribed { id, topic } => notifier.watch(id, topic),
                    Item::Check { commitment, slot, forked } => notifier.check(commitment, slot, forked),
                    _ => {}
                }
            }
        };
        take(&mut notifier);
        for _ in 0..3 {
            cluster.tick();
            take(&mut notifier);
        }
        assert_eq!(node.take_all(), []);
    }
}
