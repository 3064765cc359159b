//! Faults around the making of subscriptions.

use std::time::Duration;

use solana_pubkey::Pubkey;

use super::{Faults, refused};
use crate::hostile::forged::Forged;

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

    /// Acknowledgements come this late. The subscription counts from the request on; what it
    /// notifies meanwhile comes behind its acknowledgement, while others' notifications are not
    /// held up.
    pub fn delay_acknowledgements(&self, by: Duration) {
        self.set(|state| state.acknowledgement_delay = by);
    }

    /// New subscriptions are acknowledged at once but take effect this many slots later: what is
    /// written until then is their baseline, and never told.
    pub fn delay_baselines(&self, slots: u64) {
        self.set(|state| state.baseline_delay = slots);
    }

    /// The present subscriptions to this account die without a word; new ones live. Returns how
    /// many died.
    pub fn kill_subscriptions_to(&self, address: &Pubkey) -> usize {
        self.face.hub.lock().kill_subscriptions(address)
    }

    /// The acknowledgements of new subscriptions are forged.
    pub fn forge_acknowledgements(&self, how: Option<Forged>) {
        self.set(|state| state.forged = how);
    }

    /// New subscriptions with a `dataSlice` are refused.
    pub fn refuse_slices(&self, on: bool) {
        self.set(|state| state.refuse_slices = on);
    }

    /// New subscriptions that differ by their `dataSlice` alone are one: they get the same id.
    pub fn ignore_slices(&self, on: bool) {
        self.set(|state| state.ignore_slices = on);
    }

    /// A connection that holds so many subscriptions is refused a further one with this JSON-RPC
    /// error.
    pub fn limit_subscriptions(&self, per_connection: Option<usize>, code: i64, message: &str) {
        let refused = refused(code, message);
        self.set(|state| state.subscription_limit = per_connection.map(|limit| (limit, refused)));
    }
}
