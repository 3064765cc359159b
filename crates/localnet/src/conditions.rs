//! The faults in force, as the servers see them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::{RwLock, RwLockReadGuard};
use solana_pubkey::Pubkey;
use tokio::sync::watch;

use crate::{
    hostile::{answers::BadAnswer, flood::Flood, forged::Forged, malformed::Malformed},
    lies::{Lies, Side},
};

/// An HTTP refusal.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    /// How many times more; `None` until it is cleared.
    pub(crate) times: Option<u64>,
}

/// A JSON-RPC refusal.
#[derive(Clone, Debug)]
pub(crate) struct RefusedCall {
    pub(crate) code: i64,
    pub(crate) message: String,
}

/// Slots told too high.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) by: u64,
    /// How many times more; `None` until it is cleared.
    pub(crate) times: Option<u64>,
}

impl Ahead {
    /// By how much this time.
    fn take(&mut self) -> u64 {
        match &mut self.times {
            Some(0) => 0,
            Some(times) => {
                *times -= 1;
                self.by
            }
            None => self.by,
        }
    }
}

/// What a provider says to a request for too many accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TooMany {
    /// JSON-RPC error -32602.
    InvalidParams,
    /// HTTP status 413.
    PayloadTooLarge,
}

/// What all faults come to. The default is a faultless cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// How many blocks, and how much time, the whole node is behind the chain.
    pub(crate) behind: u64,
    pub(crate) behind_by: Duration,
    pub(crate) lies: Lies,

    pub(crate) silent: bool,
    pub(crate) silent_accounts: HashSet<Pubkey>,
    /// How many notifications of an account are still to be lost.
    pub(crate) drops: HashMap<Pubkey, u64>,
    /// Notifications are sent this many times more than once.
    pub(crate) duplicates: u64,
    pub(crate) reorder_window: usize,
    pub(crate) notifications_behind: u64,
    /// New subscriptions take effect so many slots late.
    pub(crate) baseline_delay: u64,
    pub(crate) notification_delay: Duration,
    pub(crate) undecodable_rent_epoch: bool,
    /// Only banks of slots that this divides are checked; zero and one mean every one.
    pub(crate) check_every: u64,
    /// Context slots are told so much too high.
    pub(crate) notifications_ahead: Ahead,
    pub(crate) rpc_ahead: Ahead,
    pub(crate) silent_reverts: bool,
    /// How notifications are malformed; those of one account, if one is named.
    pub(crate) malformed: Option<(Malformed, Option<Pubkey>)>,
    /// With how many notifications a second.
    pub(crate) flood: Option<(Flood, u64)>,

    pub(crate) ws_down: bool,
    pub(crate) ws_half_open: bool,
    pub(crate) ws_refusal: Option<Refusal>,
    pub(crate) refuse_subscriptions: Option<RefusedCall>,
    pub(crate) refuse_accounts: HashMap<Pubkey, RefusedCall>,
    pub(crate) ignore_subscriptions: bool,
    pub(crate) ignore_accounts: HashSet<Pubkey>,
    pub(crate) acknowledgement_delay: Duration,
    pub(crate) forged: Option<Forged>,
    pub(crate) refuse_slices: bool,
    pub(crate) ignore_slices: bool,
    /// The most subscriptions of a connection, and what is said to one more.
    pub(crate) subscription_limit: Option<(usize, RefusedCall)>,
    pub(crate) idle_limit: Option<Duration>,

    /// The methods that RPC faults are for; empty for all.
    pub(crate) rpc_methods: HashSet<String>,
    pub(crate) rpc_down: bool,
    pub(crate) rpc_stalled: bool,
    pub(crate) rpc_delay: Duration,
    pub(crate) rpc_refusal: Option<Refusal>,
    pub(crate) rpc_error: Option<RefusedCall>,
    pub(crate) rpc_behind: u64,
    /// The newest slot that RPC knows.
    pub(crate) rpc_frozen_at: Option<u64>,
    pub(crate) short_answers: bool,
    pub(crate) bad_answers: Option<BadAnswer>,
    pub(crate) key_limit: Option<(usize, TooMany)>,
    /// How many slots the node says it is behind, when asked for its health.
    pub(crate) unhealthy: Option<u64>,
    pub(crate) min_context_slot_as_internal_error: bool,
}

/// What becomes of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Sent { copies: u64 },
}

/// The faults in force, and a signal whenever they change.
#[derive(Debug)]
pub(crate) struct Conditions {
    state: RwLock<State>,
    changed: watch::Sender<()>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { state: RwLock::default(), changed: watch::Sender::new(()) }
    }
}

impl Conditions {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Changes the faults and wakes whoever waits on them.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write());
        self.changed.send_replace(());
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until `holds` does.
    pub(crate) async fn until(&self, holds: impl Fn(&State) -> bool) {
        let mut changes = self.changes();
        while !holds(&self.read()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Decides over a notification, and counts it where the fault is for so many.
    pub(crate) fn fate(&self, address: Option<&Pubkey>) -> Fate {
        let mut state = self.state.write();
        if state.silent {
            return Fate::Lost;
        }
        if let Some(address) = address {
            if state.silent_accounts.contains(address) {
                return Fate::Lost;
            }
            if let Some(left) = state.drops.get_mut(address) {
                *left -= 1;
                if *left == 0 {
                    state.drops.remove(address);
                }
                return Fate::Lost;
            }
        }
        Fate::Sent { copies: 1 + state.duplicates }
    }

    /// By how much the slot that is told next on a side is too high.
    pub(crate) fn ahead(&self, side: Side) -> u64 {
        let of = |state: &mut State| match side {
            Side::Rpc => state.rpc_ahead.take(),
            _ => state.notifications_ahead.take(),
        };
        of(&mut self.state.write())
    }

    /// The refusal that meets the next WebSocket handshake, if one does.
    pub(crate) fn refuse_handshake(&self) -> Option<Refusal> {
        take(&mut self.state.write().ws_refusal)
    }

    /// The refusal that meets the next RPC request, if one does.
    pub(crate) fn refuse_request(&self) -> Option<Refusal> {
        take(&mut self.state.write().rpc_refusal)
    }
}

/// Uses a refusal up by one.
fn take(refusal: &mut Option<Refusal>) -> Option<Refusal> {
    let current = refusal.as_mut()?;
    if let Some(times) = &mut current.times {
        *times = times.checked_sub(1)?;
    }
    Some(current.clone())
}
