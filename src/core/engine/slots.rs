//! RPC answers that are not about a single account: which endpoints to ask, and whether to believe
//! their answers.

use std::time::Duration;

use super::{Engine, events::EngineEvent};
use crate::core::{
    base::{
        failure::RpcFailure,
        ids::{EndpointId, Slot},
        time::Tick,
    },
    nodes::slot_guard::SlotVerdict,
};

impl Engine {
    /// The endpoints in the order in which to ask them: those in use first, without those that are
    /// paused or not believed.
    pub fn to_ask(&self, now: Tick) -> Vec<EndpointId> {
        let (enabled, paused) = self.endpoints();
        let all = (0u8..).take(self.settings.endpoints.len()).map(EndpointId);
        let may = |id: &EndpointId| {
            !paused.contains(id)
                && !self.links.slot_guard.is_foreign(*id)
                && !self.links.slot_guard.quarantined(*id, now)
        };
        let mut asked: Vec<EndpointId> = all.filter(may).collect();
        asked.sort_by_key(|id| !enabled.contains(id));
        asked
    }

    /// The newest slot at the mirror's commitment that a trusted node has shown.
    pub fn newest_slot(&self) -> Slot {
        // If the chain was set back since, a slot that a link proved before cannot be compared with
        // the new ones.
        let evidence = self.evidence();
        let valid = evidence.links.iter().filter(|link| link.proof > evidence.valid_from);
        valid.map(|link| link.slot).max().unwrap_or(0).max(self.rpc.scheduler.newest())
    }

    /// Takes in an answer's slot, and how far the Clock that came with it is behind wall time.
    pub fn hear_bank(
        &mut self,
        now: Tick,
        endpoint: EndpointId,
        slot: Slot,
        lag_ms: i64,
    ) -> Result<(), RpcFailure> {
        self.links.note_lag(endpoint, lag_ms);
        self.hear_slot(now, endpoint, slot)?;
        self.near_wall_time(lag_ms)
    }

    /// Takes in the slot of an answer that carries no Clock.
    pub fn hear_slot(&mut self, now: Tick, endpoint: EndpointId, slot: Slot) -> Result<(), RpcFailure> {
        let believed = self.believe_slot(now, endpoint, slot);
        self.follow(now);
        believed
    }

    /// Whether an answer of that slot may be believed.
    pub(super) fn believe_slot(
        &mut self,
        now: Tick,
        endpoint: EndpointId,
        slot: Slot,
    ) -> Result<(), RpcFailure> {
        if self.is_plausible(now, endpoint, slot) { Ok(()) } else { Err(RpcFailure::Implausible { slot }) }
    }

    /// Fails if a Clock is so far behind wall time, or ahead of it, that the answer proves nothing
    /// about the present.
    pub(super) fn near_wall_time(&self, lag_ms: i64) -> Result<(), RpcFailure> {
        let lag = Duration::from_millis(lag_ms.unsigned_abs());
        if lag > self.settings.max_lag { Err(RpcFailure::Lagging { lag }) } else { Ok(()) }
    }

    /// Whether an endpoint's claim of this slot may be believed.
    pub(super) fn is_plausible(&mut self, now: Tick, endpoint: EndpointId, slot: Slot) -> bool {
        if self.links.slot_guard.is_foreign(endpoint) {
            return false;
        }
        let lag = self.links.lag(endpoint);
        let before = self.links.slot_guard.quarantined(endpoint, now);
        match self.links.slot_guard.check(now, endpoint, slot, lag) {
            SlotVerdict::Plausible => true,
            SlotVerdict::Ahead { .. } => {
                if !before {
                    self.accounts.emit(EngineEvent::Quarantined { endpoint, slot });
                    self.lose_live(now, endpoint);
                }
                false
            }
            SlotVerdict::Quarantined => false,
            SlotVerdict::Reset => {
                self.reset(now);
                false
            }
        }
    }
}
