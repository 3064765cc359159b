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
        // A backlog may bring a later slot whose time is less well known. That time may count again
        // for accounts for which an earlier slot's did not, so that all are looked at before the next
        // proof.
        if self.evidence.of(proof.generation).is_some_and(|before| proof.proof < before.proof) {
            self.verified_until = Tick::NEVER;
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::{
        account::{ledger::Rules, observation::Observation},
        chain::{state::Expected, token::Presence},
    };

    #[test]
    fn as_of_does_not_go_back_when_the_time_of_a_proof_does() {
        let verify_every = Duration::from_secs(3);
        let (address, endpoint) = (Pubkey::new_from_array([1; 32]), EndpointId(0));
        let at = |ms: u64| Tick::from_nanos(ms * 1_000_000);
        let mut accounts = Accounts::new(Rules { absence_twice: false, verify_every }, 1, 1, false);
        let watch = accounts.watch(&[(address, Expected::default())]).expect("room")[0].1;
        let source = ObservedVia::Rpc(endpoint);
        let seen = Observation { presence: Presence::Absent, slot: 10, source, proof: at(1_000) };
        accounts.apply(at(1_000), &address, &seen);
        let generation = Generation::default();
        assert!(accounts.cover(&address, watch, endpoint, generation));
        let mut as_of = 0;
        // The account is verified until 4.0 s: the second proof does not count for it, the third does.
        for (slot, proof) in [(11, 3_900), (12, 4_100), (13, 3_950), (14, 4_200), (15, 4_300)] {
            let (proof, arrived) = (at(proof), at(5_000 + slot));
            accounts.prove(LinkEvidence { generation, ticking: true, slot, proof, arrived });
            let record = accounts.record(&address).expect("seen");
            let now = record.proved(accounts.evidence(), verify_every).0;
            assert!(now >= as_of, "as of {now} after {as_of}");
            as_of = now;
        }
        assert_eq!(as_of, 13);
    }
}
