//! The processed views of accounts, kept beside their records.

use solana_pubkey::Pubkey;

use super::Accounts;
use crate::core::{
    account::{
        evidence::Evidence,
        ledger::Ledger,
        overlay::{Confirmed, Dropped, OverlayChange},
    },
    base::ids::{Generation, Slot},
    chain::token::Presence,
    engine::events::EngineEvent,
};

impl Accounts {
    /// Takes in what the processed view of a connection shows of an account.
    pub fn apply_processed(
        &mut self,
        address: &Pubkey,
        generation: Generation,
        slot: Slot,
        presence: &Presence,
    ) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        let state = watched.ledger.classify(presence);
        let confirmed = confirmed(&watched.ledger, &self.evidence);
        let reverted = match watched.overlay.see(generation, slot, state, &confirmed) {
            OverlayChange::Changed | OverlayChange::Renewed => false,
            OverlayChange::Reverted => true,
            OverlayChange::Dropped(Dropped { reverted }) => reverted,
            OverlayChange::Superseded => return,
        };
        if reverted {
            self.events.push_back(EngineEvent::Reverted { address: *address });
        }
        if let Some(shown) = watched.overlay.shown() {
            self.events.push_back(EngineEvent::Overlaid { address: *address, shown: *shown });
            self.overlaid.insert(*address);
        } else {
            self.overlaid.remove(address);
        }
        self.touched.insert(*address);
    }

    /// Drops what a processed connection showed, because that connection ended.
    pub fn drop_overlays(&mut self, generation: Generation) {
        for address in self.overlaid.clone() {
            let Some(watched) = self.watched.get_mut(&address) else { continue };
            if watched.overlay.ended(generation).is_some() {
                self.overlaid.remove(&address);
                self.touched.insert(address);
            }
        }
    }

    /// Drops an account's overlay once the confirmed state has reached its slot.
    pub(super) fn settle_overlay(&mut self, address: &Pubkey) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        let confirmed = confirmed(&watched.ledger, &self.evidence);
        let Some(Dropped { reverted }) = watched.overlay.confirmed(&confirmed) else { return };
        self.overlaid.remove(address);
        self.touched.insert(*address);
        if reverted {
            self.events.push_back(EngineEvent::Reverted { address: *address });
        }
    }
}

/// The confirmed state of an account, and the slot as of which the links prove it.
fn confirmed(ledger: &Ledger, evidence: &Evidence) -> Confirmed {
    let record = ledger.record();
    Confirmed {
        as_of: record.map_or(0, |record| record.as_of(evidence)),
        state: record.map(|record| record.state),
    }
}
