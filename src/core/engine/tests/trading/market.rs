//! A seeded market: strategies that hold, sell, forget and hear late, on a chain whose news comes
//! late, out of step and sometimes not at all.
//!
//! The oracle is the chain itself: its true balance, and which sells it may still take in. It knows
//! nothing of how the mirror keeps its books. At each step:
//!
//! * what is available is at most the true balance, less all that may still be taken in, less what
//!   others have reserved;
//! * so a sell that lands finds its tokens there.
//!
//! And once everything has ended and been heard of, everything is available again, and nothing is
//! kept.

use std::{collections::VecDeque, time::Duration};

use super::*;
use crate::core::{
    base::{backoff::next_random, failure::RpcFailure, ids::TradeId},
    link::websocket::{SessionEvent, Subject},
    rpc::scheduler::Call,
    trade::signatures::TradeOutcome,
};

/// What the chain will do with a sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lands(u64),
    Fails(u64),
    /// No leader gets it.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Sell {
    id: TradeId,
    amount: u64,
    fate: Fate,
    last_valid: u64,
    /// The slot at which it landed or failed.
    over: Option<(Slot, bool)>,
    /// Whether its sender still has it in hand, and tells how it ended.
    sender: bool,
}

impl Sell {
    /// Whether the chain may still take it in.
    fn may_land(&self, height: u64) -> bool {
        self.over.is_none() && height <= self.last_valid && !matches!(self.fate, Fate::Fails(_))
    }
}

struct Market {
    world: World,
    random: u64,
    truth: u64,
    /// Blocks are fewer than slots.
    height: u64,
    heights: BTreeMap<Slot, u64>,
    sells: Vec<Sell>,
    reserved: Vec<(TradeId, u64)>,
    /// What is under way on each connection, with the moment at which it arrives.
    wires: BTreeMap<LinkId, VecDeque<(Tick, SessionEvent)>>,
    /// RPC calls and inquiries under way, and the bank that answers.
    calls: Vec<(Tick, Call)>,
    inquiries: Vec<(Tick, Inquiry)>,
    sold_in_all: u64,
    refused: u64,
    ends: [u32; 3],
}

impl Market {
    fn new(seed: u64) -> Self {
        let mut world = if seed.is_multiple_of(2) { World::failover(1) } else { World::race() };
        world.by_hand = true;
        let (height, heights) = (world.slot - 400, BTreeMap::from([(world.slot, world.slot - 400)]));
        Self {
            world,
            random: seed,
            truth: 100,
            height,
            heights,
            sells: Vec::new(),
            reserved: Vec::new(),
            wires: BTreeMap::new(),
            calls: Vec::new(),
            inquiries: Vec::new(),
            sold_in_all: 0,
            refused: 0,
            ends: [0; 3],
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        next_random(&mut self.random) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    /// See the module.
    fn check(&self) {
        let Some(available) = self.world.reading(1).available() else { return };
        let under_way = self.sells.iter().filter(|sell| sell.may_land(self.height)).map(|sell| sell.amount);
        let reserved: u64 = self.reserved.iter().map(|(_, amount)| amount).sum();
        let free = self.truth.checked_sub(under_way.sum::<u64>() + reserved);
        let free = free.unwrap_or_else(|| panic!("more is promised than is there: {:?}", self.sells));
        let record = self.world.engine.record(&key(1));
        assert!(available <= free, "{available} available, {free} free of {}: {record:?}", self.truth);
    }

    /// The chain goes on by one slot, and its news set out.
    fn slot(&mut self) {
        self.world.slot += 1;
        self.height += u64::from(!self.one_in(10));
        let (slot, height) = (self.world.slot, self.height);
        self.heights.insert(slot, height);
        let mut written = false;
        for sell in self.sells.iter_mut().filter(|sell| sell.over.is_none()) {
            match sell.fate {
                Fate::Lands(at) if at <= height => {
                    self.truth =
                        self.truth.checked_sub(sell.amount).expect("sold twice: the chain has no more");
                    self.sold_in_all += sell.amount;
                    sell.over = Some((slot, false));
                    written = true;
                }
                Fate::Fails(at) if at <= height => sell.over = Some((slot, true)),
                _ => {}
            }
        }
        // Somebody buys.
        if self.one_in(6) {
            self.truth += self.roll(40);
            written = true;
        }
        if written {
            self.world.chain.entry(key(1)).or_default().insert(slot, holding(self.truth));
        }
        let links: Vec<LinkId> = self.world.open.keys().copied().collect();
        for link in links {
            let late = Duration::from_millis(if self.one_in(8) { self.roll(3_000) } else { self.roll(300) });
            let wire = self.wires.entry(link).or_default();
            // One connection keeps its order.
            let due = wire.back().map_or(Tick::NEVER, |(due, _)| *due).max(self.world.now.plus(late));
            let subject = self.world.subject(link, 1);
            if let Some(subject) = subject.filter(|_| written && !self.world.dead.contains(&(link, key(1)))) {
                let presence = Some(holding(self.truth));
                wire.push_back((due, SessionEvent::Account { subject, slot, presence }));
            }
            for subject in self.world.open[&link].clone() {
                if let Subject::Barrier { length } = subject {
                    wire.push_back((due, SessionEvent::Barrier { length, slot }));
                }
            }
            if self.world.open[&link].contains(&Subject::Canary) {
                wire.push_back((due, SessionEvent::Canary { slot, lag_ms: 500 }));
            }
        }
    }

    /// Time passes, and what arrives meanwhile is taken in.
    fn pass(&mut self, time: Duration) {
        let end = self.world.now.plus(time);
        while self.world.now < end {
            self.world.pass(2 * STEP);
            let now = self.world.now;
            self.wires.retain(|link, _| self.world.open.contains_key(link));
            let links: Vec<LinkId> = self.wires.keys().copied().collect();
            for link in links {
                while let Some((_, event)) =
                    self.wires.get_mut(&link).and_then(|wire| wire.pop_front_if(|(due, _)| *due <= now))
                {
                    self.world.deliver(link, event);
                    self.world.settle();
                    self.check();
                }
            }
            for call in std::mem::take(&mut self.world.calls) {
                let due = now.plus(Duration::from_millis(self.roll(800)));
                self.calls.push((due, call));
            }
            if let Some(inquiry) = self.world.engine.next_inquiry(now) {
                let due = now.plus(Duration::from_millis(self.roll(1_200)));
                self.inquiries.push((due, inquiry));
            }
            self.answer();
            self.check();
        }
    }

    fn answer(&mut self) {
        let now = self.world.now;
        for (_, call) in self.calls.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>() {
            let slot = self.world.slot - if self.one_in(4) { self.roll(12) } else { 0 };
            let outcome = if self.one_in(12) {
                Err(RpcFailure::Timeout { after: SECOND })
            } else if slot < call.min_slot {
                Err(RpcFailure::Behind { min_slot: call.min_slot })
            } else {
                Ok(self.world.told(&call, slot, slot))
            };
            self.world.engine.answered(now, call.number, outcome);
            self.world.settle();
            self.check();
        }
        for (_, inquiry) in self.inquiries.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>() {
            let outcome = if self.one_in(12) {
                Err(RpcFailure::Timeout { after: SECOND })
            } else {
                Ok(self.inquired(&inquiry))
            };
            self.world.engine.inquired(now, inquiry.number, outcome);
            self.world.settle();
            for (_, outcome) in self.world.outcomes() {
                let kind = match outcome {
                    TradeOutcome::Landed { .. } => 0,
                    TradeOutcome::Failed { .. } => 1,
                    TradeOutcome::Expired { .. } => 2,
                };
                self.ends[kind] += 1;
            }
            self.check();
        }
    }

    /// A balancer's answer: the bank and the statuses may be of two nodes, each a little behind.
    fn inquired(&mut self, inquiry: &Inquiry) -> Inquired {
        let slot =
            self.world.slot - self.roll(8).min(self.world.slot - *self.heights.keys().next().expect("slots"));
        let statuses_slot = self.world.slot - self.roll(8);
        let height = self.heights.get(&slot).copied().unwrap_or(0);
        let status = |signature: &Signature| {
            let sell = self.sells.iter().find(|sell| super::signature(sell.id) == *signature)?;
            let (slot, failed) = sell.over.filter(|(slot, _)| *slot <= statuses_slot)?;
            // What two slots have not confirmed yet is not settled.
            Some(Status { slot, failed, settled: slot + 2 <= statuses_slot })
        };
        let statuses = inquiry.signatures.iter().map(status).collect();
        Inquired { slot, height, statuses_slot, statuses }
    }

    /// The strategies do something.
    fn act(&mut self) {
        match self.roll(10) {
            0..=3 => {
                let amount = if self.one_in(3) { None } else { Some(1 + self.roll(60)) };
                let age = SELLING_AGE;
                match self.world.engine.hold(self.world.now, &key(1), amount, age) {
                    Ok(held) => self.reserved.push(held),
                    Err(_) => self.refused += 1,
                }
            }
            4 if !self.reserved.is_empty() => {
                let place = self.roll(self.reserved.len() as u64) as usize;
                let (id, _) = self.reserved.swap_remove(place);
                self.world.engine.release(id);
            }
            5..=7 if !self.reserved.is_empty() => self.send(),
            8 => self.hear(),
            9 if self.one_in(20) => {
                let link = self.roll(4) as u16;
                self.wires.remove(&LinkId(link));
                self.world.cut(LinkId(link));
            }
            9 if self.one_in(10) => {
                self.world.dead.insert((FIRST, key(1)));
            }
            9 if self.one_in(20) => {
                self.world.unwatch(1);
                self.pass(SECOND);
                self.world.watch(1);
            }
            _ => {}
        }
        self.check();
    }

    fn send(&mut self) {
        let place = self.roll(self.reserved.len() as u64) as usize;
        let (id, amount) = self.reserved.swap_remove(place);
        let last_valid = self.height + 5 + self.roll(20);
        let at = self.height + 1 + self.roll(last_valid - self.height);
        let fate = match self.roll(4) {
            0 | 1 => Fate::Lands(at),
            2 => Fate::Fails(at),
            _ => Fate::Lost,
        };
        self.world.engine.sending(self.world.now, id, super::signature(id), last_valid);
        let sender = self.one_in(2);
        if !sender {
            // Its handle is dropped, and the hold's with it.
            self.world.engine.release(id);
        }
        self.sells.push(Sell { id, amount, fate, last_valid, over: None, sender });
    }

    /// A sender hears what became of its sell, and says so.
    fn hear(&mut self) {
        let Some(sell) = self.sells.iter_mut().find(|sell| sell.sender && sell.over.is_some()) else {
            return;
        };
        sell.sender = false;
        let (id, now) = (sell.id, self.world.now);
        match sell.over {
            Some((slot, false)) => self.world.engine.landed(now, id, &key(1), slot),
            Some((slot, true)) => self.world.engine.failed(now, id, &key(1), slot),
            None => {}
        }
    }

    fn play(seed: u64) -> Self {
        let mut market = Self::new(seed);
        for _ in 0..250 {
            for _ in 0..=market.roll(3) {
                market.act();
            }
            market.slot();
            market.pass(SLOT);
        }
        for (id, _) in std::mem::take(&mut market.reserved) {
            market.world.engine.release(id);
        }
        // The last of them can land no more, and that is asked for.
        for _ in 0..250 {
            market.slot();
            market.pass(SLOT);
        }
        market
    }
}

#[test]
fn nothing_is_sold_twice_and_everything_is_free_in_the_end() {
    let (mut sold, mut refused, mut ends) = (0, 0, [0; 3]);
    for seed in 1..=12 {
        println!("seed {seed}");
        let market = Market::play(seed);
        let world = &market.world;
        assert_eq!(world.held(1), Some(market.truth), "seed {seed}");
        assert_eq!(world.available(1), market.truth, "seed {seed}: {:?}", world.record(1).held);
        assert!(!world.engine.has_holds(&key(1)), "seed {seed}");
        assert_eq!(world.engine.trading.signatures.next_deadline(), None, "seed {seed}");
        sold += market.sold_in_all;
        refused += market.refused;
        ends.iter_mut().zip(market.ends).for_each(|(all, one)| *all += one);
    }
    println!("sold {sold}, refused {refused}, found landed, failed and expired {ends:?}");
    assert!(
        sold > 1_000 && refused > 100 && ends.iter().all(|count| *count > 20),
        "{sold} {refused} {ends:?}"
    );
}
