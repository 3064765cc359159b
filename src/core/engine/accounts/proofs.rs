//! What the links prove of the accounts.

use solana_pubkey::Pubkey;

use super::{Accounts, Watched};
use crate::core::{
    account::{
        evidence::{Evidence, LinkEvidence},
        observation::ObservedVia,
    },
    base::{
        ids::{EndpointId, Generation, WatchId},
        time::Tick,
    },
    engine::events::{EngineEvent, Suspects},
};

impl Accounts {
    /// Covers an account with a link's canaries. Returns `false` if its record is disputed or
    /// missing.
    pub fn cover(
        &mut self,
        address: &Pubkey,
        watch: WatchId,
        endpoint: EndpointId,
        generation: Generation,
    ) -> bool {
        // The account was unwatched, or watched anew: the link is about to be informed.
        let Some(watched) = self.watched.get_mut(address).filter(|watched| watched.watch == watch) else {
            return true;
        };
        let covered = watched.ledger.cover(endpoint, generation);
        self.verified_until = Tick::NEVER;
        self.touched.insert(*address);
        covered
    }

    pub fn uncover(&mut self, address: &Pubkey, endpoint: EndpointId) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        if watched.ledger.uncover(endpoint, &self.evidence) {
            self.touched.insert(*address);
        }
        if !watched.ledger.is_awaiting() {
            self.awaiting.remove(address);
        }
    }

    /// Ends a connection's cover of all its accounts.
    pub fn uncover_all(&mut self, endpoint: EndpointId, generation: Generation) {
        let covered = |watched: &Watched| {
            watched.ledger.record().is_some_and(|record| record.covers.iter().any(|one| one == generation))
        };
        let addresses: Vec<Pubkey> = self
            .watched
            .iter()
            .filter(|(_, watched)| covered(watched))
            .map(|(address, _)| *address)
            .collect();
        for address in addresses {
            self.uncover(&address, endpoint);
        }
    }

    /// Takes in a link's proof, which brings every record that it covers up to date.
    pub fn prove(&mut self, proof: LinkEvidence) {
        let link = usize::from(proof.generation.link.0);
        let mut evidence = self.evidence.clone();
        let Some(place) = evidence.links.get_mut(link) else { return };
        *place = proof;
        for address in self.awaiting.clone() {
            self.find_missed(&address, &evidence);
        }
        self.keep_what_ends(proof.proof);
        self.evidence = evidence;
        self.settle_all_holds(proof.arrived);
        for address in self.overlaid.clone() {
            self.settle_overlay(&address);
        }
    }

    /// Prepares for a proof of the moment `next`: it does not count for accounts that have gone too
    /// long without a notification or check, so their current proof is saved in the record.
    fn keep_what_ends(&mut self, next: Tick) {
        if next <= self.verified_until {
            return;
        }
        let mut until = Tick::from_nanos(u64::MAX);
        for (address, watched) in &mut self.watched {
            let (changed, over) = watched.ledger.outlive(next, &self.evidence);
            if changed {
                self.touched.insert(*address);
            }
            until = until.min(over.unwrap_or(until));
        }
        self.verified_until = until;
    }

    /// Finds the links that, by `evidence`, sent no notification of what another source had shown.
    fn find_missed(&mut self, address: &Pubkey, evidence: &Evidence) {
        let Some(watched) = self.watched.get_mut(address) else { return };
        let missed: Vec<EndpointId> = watched.ledger.missed(evidence).collect();
        let source = watched.ledger.record().map(|record| record.source);
        for endpoint in missed {
            self.events.push_back(EngineEvent::Missed { address: *address, endpoint });
            match source {
                // Two nodes report different states at one slot, and neither outranks the other.
                Some(source @ ObservedVia::Subscription(_)) => {
                    let against = ObservedVia::Rpc(endpoint);
                    self.events.push_back(EngineEvent::Disputed { address: *address, by: source, against });
                    watched.ledger.dispute(&self.evidence);
                    self.accused.insert((*address, Suspects::All));
                }
                _ => {
                    // The RPC of one node contradicts the notifications of another. It is unknown
                    // which is wrong, so the event names both.
                    if let Some(by @ ObservedVia::Rpc(other)) = source
                        && other != endpoint
                    {
                        let against = ObservedVia::Rpc(endpoint);
                        self.events.push_back(EngineEvent::Disputed { address: *address, by, against });
                    }
                    watched.ledger.uncover(endpoint, &self.evidence);
                    self.accused.insert((*address, Suspects::One(endpoint)));
                }
            }
            self.touched.insert(*address);
        }
        if !watched.ledger.is_awaiting() {
            self.awaiting.remove(address);
        }
    }
}
