//! Faults of RPC.

use std::time::Duration;

use solana_commitment_config::CommitmentLevel;

use super::{Faults, refused};
use crate::{
    conditions::{Refusal, TooMany},
    hostile::answers::BadAnswer,
    lies::Side,
};

/// RPC.
impl Faults {
    /// Confines the RPC faults below to requests of these methods; none means all. What slots RPC
    /// knows and tells is not confined, nor is being down.
    pub fn rpc_only(&self, methods: &[&str]) {
        let methods = methods.iter().map(ToString::to_string).collect();
        self.set(|state| state.rpc_methods = methods);
    }

    /// Closes every RPC connection: an idle one at once, one with a request under way after its
    /// answer. Returns how many were open.
    pub fn hang_up_rpc(&self) -> usize {
        self.face.hang_up()
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

    /// RPC knows nothing newer than the present tip, and says that it is healthy: a node cut off
    /// from its cluster.
    pub fn freeze_rpc(&self, on: bool) {
        let tip = self.face.chain().slot(CommitmentLevel::Processed);
        self.set(|state| state.rpc_frozen_at = on.then_some(tip));
    }

    /// The context slots of RPC answers are told this much too high.
    pub fn rpc_ahead(&self, slots: u64) {
        self.slots_ahead(Side::Rpc, slots, None);
    }

    /// `getMultipleAccounts` answers with one account too few.
    pub fn short_answers(&self, on: bool) {
        self.set(|state| state.short_answers = on);
    }

    /// A `minContextSlot` ahead of the node is refused as some providers do: -32603, with the
    /// reason in the text.
    pub fn min_context_slot_as_internal_error(&self, on: bool) {
        self.set(|state| state.min_context_slot_as_internal_error = on);
    }

    /// Answers are wrong in form, or come in the wrong way.
    pub fn bad_answers(&self, how: Option<BadAnswer>) {
        self.set(|state| state.bad_answers = how);
    }

    /// `getMultipleAccounts` takes at most so many accounts.
    pub fn limit_keys(&self, keys: Option<usize>, how: TooMany) {
        self.set(|state| state.key_limit = keys.map(|keys| (keys, how)));
    }

    /// `getHealth` says that the node is so many slots behind.
    pub fn unhealthy(&self, slots_behind: Option<u64>) {
        self.set(|state| state.unhealthy = slots_behind);
    }
}
