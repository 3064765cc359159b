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
    /// long without a notification or check, so their current proof is saved in the record. As long
    /// as there are such accounts, all are looked at for each proof: one of another link, or one whose
    /// time is less well known, may be of an earlier moment, and count for them once more.
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
            until = over.map_or(until, |over| until.min(over));
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
        account::{ledger::Rules, observation::Observation, record::Record},
        base::ids::{LinkId, Slot},
        chain::{state::Expected, token::Presence},
    };

    const VERIFY_EVERY: Duration = Duration::from_secs(3);
    const ADDRESS: Pubkey = Pubkey::new_from_array([1; 32]);

    fn at(ms: u64) -> Tick {
        Tick::from_nanos(ms * 1_000_000)
    }

    fn link(link: u16) -> Generation {
        Generation { link: LinkId(link), ..Generation::default() }
    }

    /// An account that nodes 0 and 1 may cover, and what a reader has seen of it.
    struct Seen {
        accounts: Accounts,
        published: Option<Record>,
        as_of: Slot,
    }

    impl Seen {
        /// Seen by RPC at slot 10 and the first second: it is verified until 4.0 s.
        fn new(covered_by: &[u8]) -> Self {
            let rules = Rules { absence_twice: false, verify_every: VERIFY_EVERY };
            let mut accounts = Accounts::new(rules, 1, 2, false);
            let watch = accounts.watch(&[(ADDRESS, Expected::default())]).expect("room")[0].1;
            let mut seen = Self { accounts, published: None, as_of: 0 };
            seen.answer(10, 1_000);
            for node in covered_by {
                assert!(seen.accounts.cover(&ADDRESS, watch, EndpointId(*node), link(u16::from(*node))));
            }
            seen.read();
            seen
        }

        fn answer(&mut self, slot: Slot, sent: u64) {
            let source = ObservedVia::Rpc(EndpointId(0));
            let seen = Observation { presence: Presence::Absent, slot, source, proof: at(sent) };
            self.accounts.apply(at(sent), &ADDRESS, &seen);
            self.read();
        }

        fn prove(&mut self, node: u16, slot: Slot, proof: u64) {
            let (generation, proof, arrived) = (link(node), at(proof), at(9_000 + slot));
            self.accounts.prove(LinkEvidence { generation, ticking: true, slot, proof, arrived });
            self.read();
        }

        /// As the writer publishes, and a reader joins what is published.
        fn read(&mut self) {
            if self.accounts.take_touched().contains(&ADDRESS) {
                self.published = self.accounts.record(&ADDRESS).copied();
            }
            let Some(record) = self.published else { return };
            let as_of = record.proved(self.accounts.evidence(), VERIFY_EVERY).0;
            assert!(as_of >= self.as_of, "as of {as_of} after {}", self.as_of);
            self.as_of = as_of;
        }
    }

    #[test]
    fn as_of_does_not_go_back_when_the_time_of_a_proof_does() {
        let mut seen = Seen::new(&[0]);
        // The second proof does not count, the third does.
        for (slot, proof) in [(11, 3_900), (12, 4_100), (13, 3_950), (14, 4_200), (15, 4_300)] {
            seen.prove(0, slot, proof);
        }
        assert_eq!(seen.as_of, 13);
    }

    #[test]
    fn as_of_does_not_go_back_when_an_account_goes_unverified_for_the_second_time() {
        let mut seen = Seen::new(&[0]);
        seen.prove(0, 11, 3_900);
        seen.prove(0, 12, 4_100);
        // Verified until 7.15 s.
        seen.answer(13, 4_150);
        for (slot, proof) in [(14, 5_000), (20, 7_100), (21, 7_200), (22, 7_300)] {
            seen.prove(0, slot, proof);
        }
        assert_eq!(seen.as_of, 20);
    }

    #[test]
    fn as_of_does_not_go_back_when_two_links_prove_an_account_in_turn() {
        let mut seen = Seen::new(&[0, 1]);
        for (node, slot, proof) in
            [(0, 10, 3_500), (1, 11, 3_400), (0, 11, 4_100), (1, 12, 3_900), (1, 13, 4_200), (0, 14, 4_300)]
        {
            seen.prove(node, slot, proof);
        }
        assert_eq!(seen.as_of, 12);
    }

    #[test]
    fn as_of_does_not_go_back_when_a_node_that_covers_nothing_takes_its_cover_back() {
        let mut seen = Seen::new(&[1]);
        seen.prove(1, 20, 3_900);
        seen.accounts.uncover(&ADDRESS, EndpointId(0));
        seen.prove(1, 21, 4_100);
        assert_eq!(seen.as_of, 20);
    }
}
