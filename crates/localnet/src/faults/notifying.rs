//! Faults of what is notified, and of what is told on both sides.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::Faults;
use crate::{
    conditions::Ahead,
    hostile::malformed::Malformed,
    lies::{Lie, Side},
};

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

    /// The next notifications about this account are lost, one for each subscription with
    /// parameters of its own.
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

    /// Notifications leave out of order, across slots: up to `window` are held back, and any of the
    /// subscriptions among them may go first. Each subscription alone stays in order. Zero ends it.
    ///
    /// What is held back leaves as others come behind it.
    pub fn reorder_notifications(&self, window: usize) {
        self.set(|state| state.reorder_window = window);
    }

    /// The WebSocket side works this many blocks behind the chain, with the context slots and the
    /// Clock of then.
    pub fn lag_notifications(&self, blocks: u64) {
        self.set(|state| state.notifications_behind = blocks);
    }

    /// Only the banks of slots that `every` divides are checked at `processed` and `confirmed`;
    /// what was written in those between is told by the next check. One ends it.
    pub fn check_every(&self, every: u64) {
        self.set(|state| state.check_every = every);
    }

    /// The context slots of account notifications are told this much too high. The Clock's data
    /// stays true.
    pub fn notifications_ahead(&self, slots: u64) {
        self.slots_ahead(Side::Notifications, slots, None);
    }

    /// Accounts are notified with a `rentEpoch` that no client can decode.
    pub fn undecodable_rent_epoch(&self, on: bool) {
        self.set(|state| state.undecodable_rent_epoch = on);
    }

    /// The context slots of account notifications, of RPC answers or of both are told this much too
    /// high, up to 2^64 - 1: so many `times` on each side, or until cleared. Zero ends it.
    pub fn slots_ahead(&self, side: Side, by: u64, times: Option<u64>) {
        let ahead = Ahead { by, times };
        self.set(|state| {
            if side.covers(Side::Notifications) {
                state.notifications_ahead = ahead;
            }
            if side.covers(Side::Rpc) {
                state.rpc_ahead = ahead;
            }
        });
    }

    /// This amount is told of a token account, whatever it holds, or these lamports of any other
    /// account; slots are right. A notification still takes a change.
    pub fn lie(&self, account: &Pubkey, amount: u64, side: Side) {
        self.set(|state| {
            state.lies.insert(*account, (Lie::Amount(amount), side));
        });
    }

    /// The contents of another account are told in place of this one's, at right slots, when this
    /// one changes.
    pub fn tell_instead(&self, account: &Pubkey, other: &Pubkey, side: Side) {
        self.set(|state| {
            state.lies.insert(*account, (Lie::Other(*other), side));
        });
    }

    /// The truth is told of every account again. Whoever was notified of a lie learns it with the
    /// next change.
    pub fn stop_lying(&self) {
        self.set(|state| state.lies.clear());
    }

    /// Account notifications are malformed; those about one account only, if one is named.
    pub fn malform(&self, how: Option<Malformed>, only: Option<&Pubkey>) {
        self.set(|state| state.malformed = how.map(|how| (how, only.copied())));
    }

    /// When a fork is reverted, processed subscribers are not told the reverted states. What is
    /// written afterwards is notified.
    pub fn silent_reverts(&self, on: bool) {
        self.set(|state| state.silent_reverts = on);
    }
}
