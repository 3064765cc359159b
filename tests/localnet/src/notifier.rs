//! The one FIFO from which all notifications come.
//!
//! Subscriptions, checks of banks and opened slots are taken in the order in which they were queued, by one thread.
//! A check compares every account subscription at its commitment with one bank, and notifies those whose account
//! was last written in another slot than the one last told. Hence: several writes in one bank show once, a bank
//! that is never checked heals at the next, and nothing of an older bank comes after a newer one's.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
};

use serde_json::json;
use solana_account::AccountSharedData;
use solana_account_decoder_client_types::UiAccountEncoding;
use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;
use solana_transaction_status_client_types::UiTransactionError;

use crate::{
    chain::Chain,
    cluster::Cluster,
    encoding::{self, MintData},
    faults::Fate,
    hub::Topic,
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
    },
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
    /// The slot of the write that was last told; for a new subscription, of the last write at its commitment.
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
    cluster: Arc<Cluster>,
    watches: HashMap<u64, Watch>,
    /// The last bank checked, by commitment.
    checked: HashMap<CommitmentLevel, u64>,
    /// Notifications held back to be sent out of order.
    held: Vec<Notification>,
    rng: Rng,
}

impl Notifier {
    pub(crate) fn new(cluster: Arc<Cluster>, seed: u64) -> Self {
        Self {
            cluster,
            watches: HashMap::new(),
            checked: HashMap::new(),
            held: Vec::new(),
            rng: Rng::new(seed),
        }
    }

    /// Takes the queue until it is told to stop.
    pub(crate) fn run(mut self, queue: &mpsc::Receiver<Item>) {
        while let Ok(item) = queue.recv() {
            match item {
                Item::Subscribed { id, topic } => self.watch(id, topic),
                Item::Unsubscribed { id } => {
                    self.watches.remove(&id);
                }
                Item::Check { commitment, slot } => self.check(commitment, slot),
                Item::Opened { slot, parent, root } => self.opened(slot, parent, root),
                Item::Settle(settled) => {
                    // Nobody may be waiting any more.
                    let _ = settled.send(());
                }
                Item::Stop => return,
            }
        }
    }

    /// The baseline is what the commitment's bank holds now, not when the subscription was acknowledged.
    fn watch(&mut self, id: u64, topic: Topic) {
        let mut watch = Watch { topic, last_notified: 0, asleep_until: None };
        if let Topic::Account { address, commitment, .. } = &watch.topic {
            let late = self.cluster.faults.read().baseline_delay;
            let chain = self.cluster.chain.lock();
            let slot = self.lagged(&chain, chain.slot(*commitment));
            watch.last_notified = chain.store.modified(slot, address);
            watch.asleep_until = (late > 0).then_some(slot + late);
        }
        self.watches.insert(id, watch);
    }

    /// The bank that is checked for this one: itself, unless the feed is made to lag.
    fn lagged(&self, chain: &Chain, slot: u64) -> u64 {
        chain.ancestor(slot, self.cluster.faults.read().notifications_behind)
    }

    fn check(&mut self, commitment: CommitmentLevel, slot: u64) {
        let mut notifications = self.compare(commitment, slot);
        self.rng.shuffle(&mut notifications);
        for notification in notifications {
            self.emit(notification);
        }
    }

    fn compare(&mut self, commitment: CommitmentLevel, slot: u64) -> Vec<Notification> {
        let cluster = Arc::clone(&self.cluster);
        let every = cluster.faults.read().check_every.max(1);
        if commitment != CommitmentLevel::Finalized && !slot.is_multiple_of(every) {
            return Vec::new();
        }
        let chain = cluster.chain.lock();
        if !chain.is_on_chain(slot) {
            return Vec::new(); // Abandoned before its turn came.
        }
        let slot = self.lagged(&chain, slot);
        let checked = self.checked.entry(commitment).or_default();
        if slot <= *checked {
            return Vec::new();
        }
        *checked = slot;
        let mut accounts = Vec::new();
        let mut notifications = Vec::new();
        for (id, watch) in &mut self.watches {
            match &watch.topic {
                Topic::Account { address, commitment: at, encoding, .. } if *at == commitment => {
                    let modified = chain.store.modified(slot, address);
                    if let Some(until) = watch.asleep_until {
                        watch.last_notified = modified;
                        watch.asleep_until = Some(until).filter(|until| slot < *until);
                    }
                    if modified != watch.last_notified {
                        watch.last_notified = modified;
                        let account = chain.store.account(slot, address).cloned();
                        let mint = encoding::mint_data(&chain, slot, account.as_ref());
                        accounts.push((*id, *address, *encoding, account, mint));
                    }
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
                            ),
                            last: true,
                        });
                    }
                }
                _ => {}
            }
        }
        drop(chain);
        for (id, address, encoding, account, mint) in accounts {
            let text = self.account_text(id, slot, &address, encoding, account, mint);
            notifications.push(Notification { id, address: Some(address), text, last: false });
        }
        notifications
    }

    fn account_text(
        &self,
        id: u64,
        slot: u64,
        address: &Pubkey,
        encoding: UiAccountEncoding,
        account: Option<AccountSharedData>,
        mint: MintData,
    ) -> String {
        // A closed account is told as the default one.
        let account = account.unwrap_or_default();
        let value = encoding::ui_account(address, &account, encoding, None, mint);
        let slot = slot.saturating_add(self.cluster.faults.read().notifications_ahead);
        let text = message("accountNotification", id, json!({ "context": { "slot": slot }, "value": value }));
        if self.cluster.faults.read().undecodable_rent_epoch {
            let epoch = format!("\"rentEpoch\":{}", value.rent_epoch);
            return text.replace(&epoch, "\"rentEpoch\":18446744073709551616");
        }
        text
    }

    fn opened(&mut self, slot: u64, parent: u64, root: u64) {
        let of_slots = self.watches.iter().filter(|(_, watch)| watch.topic == Topic::Slot);
        let ids: Vec<u64> = of_slots.map(|(id, _)| *id).collect();
        for id in ids {
            let info = json!({ "slot": slot, "parent": parent, "root": root });
            self.emit(Notification {
                id,
                address: None,
                text: message("slotNotification", id, info),
                last: false,
            });
        }
    }

    /// Sends a notification, or what the faults make of it.
    fn emit(&mut self, notification: Notification) {
        let fate = self.cluster.faults.fate(notification.address.as_ref());
        let copies = match fate {
            Fate::Lost => {
                if notification.last {
                    self.watches.remove(&notification.id);
                }
                return;
            }
            Fate::Sent { copies } => copies,
        };
        let window = self.cluster.faults.read().reorder_window;
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
        self.cluster.hub.lock().deliver(
            notification.id,
            notification.text.as_str().into(),
            notification.last,
        );
    }
}

fn message(method: &str, id: u64, result: serde_json::Value) -> String {
    json!({
        "jsonrpc": "2.0",
        "method": method,
        "params": { "result": result, "subscription": id },
    })
    .to_string()
}
