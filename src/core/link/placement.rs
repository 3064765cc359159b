//! Decides which of an endpoint's connections carries which account.
//!
//! A new account goes to the least loaded of the connections in use (the lowest id if several are
//! equal). Another connection is used only when all those in use are full. So the number of
//! connections never exceeds what was once needed: each new one fills up while the others stay as
//! they are, and after that new accounts go to the connection that has lost most. Accounts are
//! never moved to even out the load: a move costs a new subscription, and brings nothing below the
//! limit.
//!
//! 1. No connection carries more accounts than its limit.
//! 2. While a connection has room, every account has a place. Freed room goes to the account that
//!    has waited longest.

use std::collections::BTreeMap;

use solana_pubkey::Pubkey;

use crate::core::base::ids::LinkId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    On(LinkId),
    /// In the queue, under this number.
    Waiting(u64),
}

/// Where the accounts of one endpoint are placed on its connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    max_per_link: usize,
    loads: BTreeMap<LinkId, usize>,
    places: BTreeMap<Pubkey, Place>,
    queue: BTreeMap<u64, Pubkey>,
    queued: u64,
}

impl Placement {
    /// Memory held for each account, in bytes.
    pub const BYTES_EACH: usize = size_of::<(Pubkey, Place)>();

    /// Creates an empty placement on `links`, each for up to `max_per_link` accounts.
    pub fn new(links: Vec<LinkId>, max_per_link: usize) -> Self {
        Self {
            max_per_link: max_per_link.max(1),
            loads: links.into_iter().map(|link| (link, 0)).collect(),
            places: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
        }
    }

    /// Returns the account's connection, and gives it one if it has none. `None` means that all
    /// connections are full, and that the account waits for room.
    pub fn place(&mut self, address: Pubkey) -> Option<LinkId> {
        if self.places.contains_key(&address) {
            return self.link_of(&address);
        }
        let link = self.roomiest();
        match link {
            Some(link) => self.assign(address, link),
            None => {
                self.queued += 1;
                self.queue.insert(self.queued, address);
                self.places.insert(address, Place::Waiting(self.queued));
            }
        }
        link
    }

    fn roomiest(&self) -> Option<LinkId> {
        let in_use = self.loads.iter().filter(|(_, load)| (1..self.max_per_link).contains(*load));
        let unused = self.loads.iter().find(|(_, load)| **load == 0);
        in_use.min_by_key(|(_, load)| **load).or(unused).map(|(link, _)| *link)
    }

    fn assign(&mut self, address: Pubkey, link: LinkId) {
        *self.loads.entry(link).or_default() += 1;
        self.places.insert(address, Place::On(link));
    }

    /// Gives up the account's place. If an account was waiting, the one that has waited longest
    /// takes the place, and is returned with its connection.
    pub fn release(&mut self, address: &Pubkey) -> Option<(Pubkey, LinkId)> {
        match self.places.remove(address)? {
            Place::Waiting(number) => {
                self.queue.remove(&number);
                None
            }
            Place::On(link) => {
                if let Some(load) = self.loads.get_mut(&link) {
                    *load -= 1;
                }
                let (_, next) = self.queue.pop_first()?;
                self.assign(next, link);
                Some((next, link))
            }
        }
    }

    /// The connection that carries the account, if any.
    pub fn link_of(&self, address: &Pubkey) -> Option<LinkId> {
        match self.places.get(address)? {
            Place::On(link) => Some(*link),
            Place::Waiting(_) => None,
        }
    }

    /// The accounts on a connection, in the order of their addresses.
    #[cfg(test)]
    pub fn on(&self, link: LinkId) -> impl Iterator<Item = Pubkey> {
        self.places.iter().filter(move |(_, place)| **place == Place::On(link)).map(|(address, _)| *address)
    }

    /// The connections that carry accounts.
    pub fn in_use(&self) -> impl Iterator<Item = LinkId> {
        self.loads.iter().filter(|(_, load)| **load > 0).map(|(link, _)| *link)
    }

    /// How many accounts a connection carries.
    pub fn load(&self, link: LinkId) -> usize {
        self.loads.get(&link).copied().unwrap_or(0)
    }

    /// How many accounts have a place.
    #[cfg(test)]
    pub fn placed(&self) -> usize {
        self.places.len() - self.queue.len()
    }

    /// The accounts without a place, the longest-waiting first.
    pub fn unplaced(&self) -> impl ExactSizeIterator<Item = Pubkey> {
        self.queue.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: [LinkId; 3] = [LinkId(4), LinkId(5), LinkId(6)];

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn placement(max_per_link: usize, accounts: u8) -> Placement {
        let mut placement = Placement::new(LINKS.to_vec(), max_per_link);
        for n in 1..=accounts {
            placement.place(key(n));
        }
        placement
    }

    fn loads(placement: &Placement) -> [usize; 3] {
        LINKS.map(|link| placement.load(link))
    }

    #[test]
    fn a_connection_is_put_to_use_only_when_those_in_use_are_full() {
        let mut placement = placement(3, 3);
        assert_eq!(loads(&placement), [3, 0, 0]);
        assert_eq!(placement.in_use().collect::<Vec<_>>(), [LINKS[0]]);
        assert_eq!(placement.place(key(4)), Some(LINKS[1]));
        placement.release(&key(1));
        placement.release(&key(2));
        // One on each: the lowest id, and then the least loaded.
        assert_eq!(loads(&placement), [1, 1, 0]);
        let next: Vec<_> = (5..=9).map(|n| placement.place(key(n))).collect();
        assert_eq!(next, [0, 1, 0, 1, 2].map(|n| Some(LINKS[n])));
        assert_eq!(placement.on(LINKS[1]).collect::<Vec<_>>(), [key(4), key(6), key(8)]);
    }

    #[test]
    fn a_connection_left_by_all_is_no_longer_in_use() {
        let mut placement = placement(1, 2);
        placement.release(&key(1));
        assert_eq!(placement.in_use().collect::<Vec<_>>(), [LINKS[1]]);
        assert_eq!(placement.place(key(3)), Some(LINKS[0]));
    }

    #[test]
    fn who_has_no_place_gets_one_in_the_order_of_waiting() {
        let mut placement = placement(1, 3);
        assert_eq!([9, 8, 7].map(|n| placement.place(key(n))), [None; 3]);
        assert_eq!(placement.unplaced().collect::<Vec<_>>(), [key(9), key(8), key(7)]);
        assert_eq!((placement.placed(), placement.link_of(&key(9))), (3, None));
        assert_eq!(placement.release(&key(9)), None, "it had no place to give");
        assert_eq!(placement.release(&key(2)), Some((key(8), LINKS[1])));
        assert_eq!(placement.link_of(&key(8)), Some(LINKS[1]));
        assert_eq!(placement.unplaced().collect::<Vec<_>>(), [key(7)]);
        assert_eq!(loads(&placement), [1, 1, 1]);
    }

    #[test]
    fn to_place_or_release_twice_changes_nothing() {
        let mut placement = placement(1, 3);
        placement.place(key(4));
        let before = placement.clone();
        assert_eq!(placement.place(key(2)), Some(LINKS[1]));
        assert_eq!(placement.place(key(4)), None);
        assert_eq!(placement.release(&key(77)), None);
        assert_eq!(placement, before);
    }

    #[test]
    fn no_limit_is_passed_and_no_room_is_left_empty_whatever_happens() {
        let mut placement = placement(7, 0);
        let mut random = 5;
        for step in 0..20_000 {
            let number = crate::core::base::backoff::next_random(&mut random);
            let address = key((number >> 8) as u8 % 40);
            // It fills up and empties in turns.
            if number % 8 < if step / 500 % 2 == 0 { 6 } else { 2 } {
                placement.place(address);
            } else {
                placement.release(&address);
            }
            let counted = LINKS.map(|link| placement.on(link).count());
            assert_eq!(counted, loads(&placement), "step {step}");
            let (most, all) = (counted.into_iter().max(), counted.iter().sum::<usize>());
            assert!(most <= Some(7), "step {step}: {counted:?}");
            assert_eq!(all, placement.placed());
            assert!(placement.unplaced().len() == 0 || all == 21, "step {step}: {counted:?}");
        }
    }
}
