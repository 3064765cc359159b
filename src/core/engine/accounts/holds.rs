//! What is held of the accounts' tokens, kept in step with their records.

use solana_pubkey::Pubkey;

use super::Accounts;
use crate::core::{
    base::{ids::Slot, time::Tick},
    trade::holds::Holds,
};

impl Accounts {
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Changes the holds of one account and updates its record. `change` names the account, which
    /// is returned.
    pub fn change_holds(&mut self, change: impl FnOnce(&mut Holds) -> Option<Pubkey>) -> Option<Pubkey> {
        let address = change(&mut self.holds)?;
        self.settle_holds(&address);
        Some(address)
    }

    /// Drops the holds that the record shows to be over, and writes the remaining amount into the
    /// record.
    pub(super) fn settle_holds(&mut self, address: &Pubkey) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        if let Some(record) = watched.ledger.record() {
            let as_of = record.proved(&self.evidence, self.rules.verify_every).0;
            self.holds.see(address, record.slot, as_of);
        }
        if watched.ledger.set_held(self.holds.held(address)) {
            self.touched.insert(*address);
        }
    }

    /// Settles the waiting holds after the links have proved a later slot.
    pub(super) fn settle_all_holds(&mut self, now: Tick) {
        for address in self.holds.waiting().clone() {
            self.settle_holds(&address);
            let record = self.watched.get(&address).and_then(|watched| watched.ledger.record());
            if let Some(as_of) = record.map(|record| record.as_of(&self.evidence))
                && let Some(slot) = self.holds.untold(now, &address, as_of)
            {
                self.untold.insert(address, slot);
            }
        }
    }

    /// The accounts to read by RPC, and at which slot, since the last call.
    pub fn take_untold(&mut self) -> std::collections::BTreeMap<Pubkey, Slot> {
        std::mem::take(&mut self.untold)
    }
}
