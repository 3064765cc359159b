//! The faults in force, as the servers see them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::{RwLock, RwLockReadGuard};
use solana_pubkey::Pubkey;
use tokio::sync::watch;

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

/// What all faults come to. The default is a faultless cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
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
    pub(crate) notifications_ahead: u64,
    pub(crate) rpc_ahead: u64,

    pub(crate) ws_down: bool,
    pub(crate) ws_half_open: bool,
    pub(crate) ws_refusal: Option<Refusal>,
    pub(crate) refuse_subscriptions: Option<RefusedCall>,
    pub(crate) refuse_accounts: HashMap<Pubkey, RefusedCall>,
    pub(crate) ignore_subscriptions: bool,
    pub(crate) ignore_accounts: HashSet<Pubkey>,
    pub(crate) acknowledgement_delay: Duration,

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
