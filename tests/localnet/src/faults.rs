//! What can go wrong, at will.

use std::{sync::Arc, time::Duration};

use solana_commitment_config::CommitmentLevel;
use solana_pubkey::Pubkey;

pub(crate) use crate::conditions::Fate;
use crate::{
    cluster::Cluster,
    conditions::{Refusal, RefusedCall, State},
    hub::Cut,
};

/// The faults of a cluster. Each call takes effect at once; those that last do so until [`clear`](Self::clear), or until
/// the same call undoes them.
#[derive(Clone, Debug)]
pub struct Faults {
    cluster: Arc<Cluster>,
}

impl Faults {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Ends every lasting fault. Connections that were held half open are reset, RPC requests that were stalled end
    /// without an answer; what was lost stays lost. A block that was reverted stays so.
    pub fn clear(&self) {
        self.cluster.faults.change(|state| *state = State::default());
        let mut chain = self.cluster.chain.lock();
        chain.clock_frozen = false;
        chain.clock_behind = 0;
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        self.cluster.faults.change(change);
    }
}

/// The connection.
impl Faults {
    /// Resets every WebSocket connection (TCP RST). Returns how many.
    pub fn cut_with_reset(&self) -> usize {
        self.cluster.hub.lock().cut_all(&Cut::Reset)
    }

    /// Ends the stream of every WebSocket connection (TCP FIN) without a Close frame. Returns how many.
    pub fn cut_with_fin(&self) -> usize {
        self.cluster.hub.lock().cut_all(&Cut::Fin)
    }

    /// Closes every WebSocket connection politely, with a Close frame. Returns how many.
    pub fn cut_with_close_frame(&self) -> usize {
        self.cluster.hub.lock().cut_all(&Cut::Close)
    }

    /// WebSocket connections are accepted and closed at once, before the handshake; those that exist are reset.
    pub fn ws_down(&self, on: bool) {
        self.set(|state| state.ws_down = on);
        if on {
            self.cut_with_reset();
        }
    }

    /// WebSocket connections, old and new ones, take bytes and answer nothing: no handshake, no acknowledgement, no
    /// notification, no pong. When it is over they are reset.
    pub fn ws_half_open(&self, on: bool) {
        self.set(|state| state.ws_half_open = on);
    }

    /// New WebSocket connections are refused with this HTTP status (429, 503), so many `times` or until cleared.
    pub fn refuse_connections(&self, status: u16, retry_after: Option<u64>, times: Option<u64>) {
        let refusal = Refusal { status, retry_after, times };
        self.set(|state| state.ws_refusal = Some(refusal));
    }

    /// Sends a text to every WebSocket connection, as it is.
    pub fn inject(&self, text: &str) {
        self.cluster.hub.lock().broadcast(text);
    }
}

/// Subscribing.
impl Faults {
    /// Every new subscription is refused with this JSON-RPC error.
    pub fn refuse_subscriptions(&self, code: i64, message: &str) {
        let refused = refused(code, message);
        self.set(|state| state.refuse_subscriptions = Some(refused));
    }

    /// New subscriptions to this account are refused with this JSON-RPC error.
    pub fn refuse_subscriptions_to(&self, address: &Pubkey, code: i64, message: &str) {
        let refused = refused(code, message);
        self.set(|state| {
            state.refuse_accounts.insert(*address, refused);
        });
    }

    /// New subscriptions are never answered (and never made).
    pub fn ignore_subscriptions(&self, on: bool) {
        self.set(|state| state.ignore_subscriptions = on);
    }

    /// New subscriptions to this account are never answered (and never made).
    pub fn ignore_subscriptions_to(&self, address: &Pubkey) {
        self.set(|state| {
            state.ignore_accounts.insert(*address);
        });
    }

    /// Acknowledgements come this late. The subscription counts from the request on; what it notifies meanwhile comes
    /// behind its acknowledgement, while others' notifications are not held up.
    pub fn delay_acknowledgements(&self, by: Duration) {
        self.set(|state| state.acknowledgement_delay = by);
    }

    /// New subscriptions are acknowledged at once but take effect this many slots later: what is written until then is
    /// their baseline, and never told.
    pub fn delay_baselines(&self, slots: u64) {
        self.set(|state| state.baseline_delay = slots);
    }

    /// The present subscriptions to this account die without a word; new ones live. Returns how many died.
    pub fn kill_subscriptions_to(&self, address: &Pubkey) -> usize {
        self.cluster.hub.lock().kill_subscriptions(address)
    }
}

/// Notifying.
impl Faults {
    /// Nothing is notified any more, on sockets that live. Notifications of this time are lost.
    pub fn silence(&self, on: bool) {
        self.set(|state| state.silent = on);
    }

    /// Nothing is notified about this account any more, whoever subscribes.
    pub fn silence_account(&self, address: &Pubkey) {
        self.set(|state| {
            state.silent_accounts.insert(*address);
        });
    }

    /// The next notifications about this account are lost, one for each subscription with parameters of its own.
    pub fn drop_notifications(&self, address: &Pubkey, count: u64) {
        self.set(|state| match count {
            0 => drop(state.drops.remove(address)),
            count => drop(state.drops.insert(*address, count)),
        });
    }

    /// Notifications come this much later, in order.
    pub fn delay_notifications(&self, by: Duration) {
        self.set(|state| state.notification_delay = by);
    }

    /// Every notification comes this many times more than once.
    pub fn duplicate_notifications(&self, more: u64) {
        self.set(|state| state.duplicates = more);
    }

    /// Notifications leave out of order, across slots: up to `window` are held back, and any of the subscriptions
    /// among them may go first. Each subscription alone stays in order. Zero ends it.
    ///
    /// What is held back leaves as others come behind it.
    pub fn reorder_notifications(&self, window: usize) {
        self.set(|state| state.reorder_window = window);
    }

    /// The WebSocket side works this many blocks behind the chain, with the context slots and the Clock of then.
    pub fn lag_notifications(&self, blocks: u64) {
        self.set(|state| state.notifications_behind = blocks);
    }

    /// Only the banks of slots that `every` divides are checked at `processed` and `confirmed`; what was written in those
    /// between is told by the next check. One ends it.
    pub fn check_every(&self, every: u64) {
        self.set(|state| state.check_every = every);
    }

    /// The context slots of account notifications are told this much too high. The Clock's data stays true.
    pub fn notifications_ahead(&self, slots: u64) {
        self.set(|state| state.notifications_ahead = slots);
    }

    /// Accounts are notified with a `rentEpoch` that no client can decode.
    pub fn undecodable_rent_epoch(&self, on: bool) {
        self.set(|state| state.undecodable_rent_epoch = on);
    }
}

/// RPC.
impl Faults {
    /// Confines the RPC faults below to requests of these methods; none means all. What slots RPC knows and tells is not
    /// confined, nor is being down.
    pub fn rpc_only(&self, methods: &[&str]) {
        let methods = methods.iter().map(ToString::to_string).collect();
        self.set(|state| state.rpc_methods = methods);
    }

    /// RPC connections are accepted and closed at once, before any answer.
    pub fn rpc_down(&self, on: bool) {
        self.set(|state| state.rpc_down = on);
    }

    /// RPC requests are taken and never answered. When it is over, they end without an answer.
    pub fn rpc_stall(&self, on: bool) {
        self.set(|state| state.rpc_stalled = on);
    }

    /// RPC answers leave this late: each tells the state at the time of its request.
    pub fn rpc_delay(&self, by: Duration) {
        self.set(|state| state.rpc_delay = by);
    }

    /// RPC answers with this HTTP status (429, 500, 503), so many `times` or until cleared.
    pub fn rpc_refuse(&self, status: u16, retry_after: Option<u64>, times: Option<u64>) {
        let refusal = Refusal { status, retry_after, times };
        self.set(|state| state.rpc_refusal = Some(refusal));
    }

    /// RPC answers with this JSON-RPC error.
    pub fn rpc_error(&self, code: i64, message: &str) {
        let refused = refused(code, message);
        self.set(|state| state.rpc_error = Some(refused));
    }

    /// RPC knows the chain only up to so many blocks before each commitment's slot.
    pub fn hold_rpc(&self, blocks: u64) {
        self.set(|state| state.rpc_behind = blocks);
    }

    /// RPC knows nothing newer than the present tip, and says that it is healthy: a node cut off from its cluster.
    pub fn freeze_rpc(&self, on: bool) {
        let tip = self.cluster.chain.lock().slot(CommitmentLevel::Processed);
        self.set(|state| state.rpc_frozen_at = on.then_some(tip));
    }

    /// The context slots of RPC answers are told this much too high.
    pub fn rpc_ahead(&self, slots: u64) {
        self.set(|state| state.rpc_ahead = slots);
    }

    /// `getMultipleAccounts` answers with one account too few.
    pub fn short_answers(&self, on: bool) {
        self.set(|state| state.short_answers = on);
    }

    /// A `minContextSlot` ahead of the node is refused as some providers do: -32603, with the reason in the text.
    pub fn min_context_slot_as_internal_error(&self, on: bool) {
        self.set(|state| state.min_context_slot_as_internal_error = on);
    }
}

/// The chain.
impl Faults {
    /// The Clock sysvar stands still while slots go on.
    pub fn freeze_clock(&self, on: bool) {
        self.cluster.chain.lock().clock_frozen = on;
    }

    /// The Clock sysvar tells a time this much in the past, as that of a node that lags.
    pub fn clock_behind(&self, by: Duration) {
        self.cluster.chain.lock().clock_behind = by.as_secs() as i64;
    }

    /// Reverts a fork: the newest `blocks` unconfirmed blocks are abandoned, with the transactions in them and in the
    /// open bank, and a new block on their parent becomes the tip in the same moment. Processed subscribers are told
    /// the reverted states; slot numbers go on. Returns the abandoned slots: fewer than asked for where confirmed
    /// blocks begin (see [`Builder::confirmed_depth`](crate::Builder::confirmed_depth)).
    pub fn revert(&self, blocks: u64) -> Vec<u64> {
        self.cluster.settle();
        let abandoned = self.cluster.revert(blocks);
        self.cluster.settle();
        abandoned
    }
}

fn refused(code: i64, message: &str) -> RefusedCall {
    RefusedCall { code, message: message.into() }
}
