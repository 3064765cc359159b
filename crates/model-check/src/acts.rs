//! What each action does.

use balance_mirror::core::{
    base::{
        failure::RpcFailure,
        ids::{AskId, LinkId},
    },
    engine::events::{LinkEvent, Role},
    link::websocket::Subject,
    rpc::scheduler::{Ask, Reply},
};

use crate::{
    action::Action,
    chain::{Millis, SLOT_TIME, Slot, Value, address, expected, tick},
    judge,
    plan::Plan,
    wire::{Connection, Event, confirmed},
    world::{Look, Watch, Wire, World},
};

impl World {
    pub(crate) fn act(&mut self, plan: &Plan, action: Action) -> Option<()> {
        match action {
            Action::Slot { write } => {
                self.left.slots -= 1;
                let write = write.then(|| plan.writes[usize::from(self.written)]);
                self.left.writes -= u8::from(write.is_some());
                self.written += u8::from(write.is_some());
                self.pass((self.now / SLOT_TIME + 1) * SLOT_TIME);
                self.chain.grow(self.now, write);
                // Nobody is further behind than the plan allows.
                let least = self.chain.head() - plan.lag;
                for node in 0..plan.nodes {
                    if self.heads[usize::from(node)] < least {
                        self.follow(node, least);
                    }
                }
            }
            Action::Idle => {
                self.left.idles -= 1;
                self.pass((self.now / SLOT_TIME + 1) * SLOT_TIME);
            }
            Action::Follow { node, by } => {
                let slot = self.heads[usize::from(node)] + Slot::from(by);
                self.follow(node, slot);
            }
            Action::Open { link, node } => {
                let processed = self
                    .engine
                    .links()
                    .any(|(id, _, role, _)| id == LinkId(u16::from(link)) && role == Role::Processed);
                let connection = Connection::open(node, processed, self.accounts());
                self.wires[usize::from(link)] = Wire::Open(connection);
                self.tell(link, LinkEvent::Connected { genesis: None });
            }
            Action::Take(link) => self.connection(link)?.take(),
            Action::Effect(link) => self.effect(link),
            Action::Deliver(link) => {
                let event = self.connection(link)?.queue.pop_front()?;
                self.turn(link, vec![event]);
            }
            Action::DeliverAll(link) => {
                let events = self.connection(link)?.queue.drain(..).collect();
                self.turn(link, events);
            }
            Action::DeliverAhead(link) => {
                let queue = &mut self.connection(link)?.queue;
                let mut events = vec![queue.pop_front()?];
                let is_ahead = |(subject, event): &(Subject, Event)| {
                    let acknowledged = !queue.contains(&(*subject, Event::Acknowledged));
                    *subject != Subject::Canary && !event.is_answer() && acknowledged
                };
                let (ahead, rest): (Vec<_>, Vec<_>) = queue.iter().copied().partition(is_ahead);
                if ahead.is_empty() {
                    return None;
                }
                events.extend(ahead);
                *queue = rest.into();
                self.turn(link, events);
            }
            Action::Depart => self.depart()?,
            Action::Answer { call, node } => {
                let head = self.heads[usize::from(node)];
                let flight = self.flights.iter_mut().find(|flight| flight.call.number == call)?;
                flight.slot = Some(head);
                if !plan.old_answers {
                    self.land(call);
                }
            }
            Action::Land(call) => self.land(call),
            Action::Refuse(call) => {
                self.left.refusals -= 1;
                self.flights.retain(|flight| flight.call.number != call);
                let failure = RpcFailure::Timeout { after: crate::plan::CANARY_DEADLINE };
                self.engine.answered(tick(self.now), call, Err(failure));
            }
            Action::Cut(link) => {
                self.left.cuts -= 1;
                self.wires[usize::from(link)] = Wire::Down;
                self.tell(link, LinkEvent::Lost);
            }
            Action::Freeze(link) => {
                self.left.freezes -= 1;
                let connection = self.connection(link)?;
                connection.frozen = true;
                connection.queue.clear();
            }
            Action::Lose(link) => {
                self.left.losses -= 1;
                self.connection(link)?.queue.pop_front();
            }
            Action::Repeat(link) => {
                self.left.repeats -= 1;
                let queue = &mut self.connection(link)?.queue;
                let event = *queue.front()?;
                queue.push_back(event);
            }
            Action::Kill(link, account) => {
                self.left.kills -= 1;
                self.watches[usize::from(account)].killed = true;
                self.connection(link)?.kill(account);
            }
            Action::Doubt(account) => {
                self.left.doubts -= 1;
                // No two things happen at one moment: what was asked before was asked earlier.
                self.pass(self.now + 1);
                let known = judge::reading(plan, self, account).and_then(|reading| reading.as_of());
                let min_slot = self.chain.head();
                self.engine.invalidate(tick(self.now), &address(account), min_slot);
                self.watches[usize::from(account)].doubt = Some((self.now, min_slot.max(known.unwrap_or(0))));
                self.ask(account, min_slot);
            }
            Action::Rewatch(account) => {
                self.left.rewatches -= 1;
                self.engine.unwatch(tick(self.now), &address(account));
                self.engine
                    .watch(tick(self.now), &[(address(account), expected())])
                    .expect("within the limits");
                let watch = &mut self.watches[usize::from(account)];
                *watch = Watch { number: watch.number + 1, killed: watch.killed, ..Watch::default() };
            }
            Action::Ask(account) => {
                self.left.asks -= 1;
                self.ask(account, self.chain.head());
            }
            Action::Load(account) => {
                self.left.looks -= 1;
                self.look = Some(Look {
                    account,
                    watch: self.watches[usize::from(account)].number,
                    evidence: self.engine.evidence().clone(),
                    record: self.engine.record(&address(account)).copied(),
                    as_of: judge::reading(plan, self, account).and_then(|reading| reading.as_of()),
                });
            }
            Action::Join => {
                let look = self.look.take()?;
                self.broken = judge::joined(plan, self, &look);
            }
            Action::Bank { ahead, fork } => {
                self.left.banks -= 1;
                self.bank(plan, Slot::from(ahead), fork);
            }
        }
        Some(())
    }

    pub(crate) fn ask(&mut self, account: u8, min_slot: Slot) {
        self.asked += 1;
        let id = AskId(self.asked);
        self.floors.push((id, account, min_slot));
        let now = tick(self.now);
        let ask = Ask {
            address: address(account),
            min_slot,
            not_before: now,
            urgent: true,
            reply: Reply::Caller(id),
            patience: tick(self.now + 4_000),
            avoid: None,
        };
        assert!(self.engine.ask(now, ask).is_ok(), "within the limits");
    }

    /// Time passes, and what is due is done.
    pub(crate) fn pass(&mut self, to: Millis) {
        self.now = to;
        let now = tick(to);
        for link in self.links() {
            let id = LinkId(u16::from(link));
            if self.engine.link_deadline(id).is_some_and(|due| due <= now) {
                self.engine.expire_link(now, id);
            }
        }
        if self.engine.next_deadline().is_some_and(|due| due <= now) {
            self.engine.expire(now);
        }
    }

    pub(crate) fn follow(&mut self, node: u8, slot: Slot) {
        self.heads[usize::from(node)] = slot;
        let shown = confirmed(&self.chain, slot);
        for wire in &mut self.wires {
            if let Wire::Open(connection) = wire
                && connection.node == node
                && !connection.processed
            {
                connection.notify(slot, &shown);
            }
        }
    }

    /// Every processed connection sees a bank of that slot: with the chain's state, or of a fork.
    pub(crate) fn bank(&mut self, plan: &Plan, ahead: Slot, fork: bool) {
        let head = self.chain.head();
        let slot = head + ahead;
        let next = plan.writes.get(usize::from(self.written)).map_or(Value::Absent, |(_, value)| *value);
        let value = if fork { next } else { self.chain.value(0, head).unwrap_or(Value::Absent) };
        self.banks.insert((slot, value));
        for wire in &mut self.wires {
            if let Wire::Open(connection) = wire
                && connection.processed
            {
                connection.notify(slot, |_| (value, 0));
            }
        }
    }

    pub(crate) fn effect(&mut self, link: u8) {
        let Wire::Open(connection) = &mut self.wires[usize::from(link)] else { return };
        let shown = confirmed(&self.chain, self.heads[usize::from(connection.node)]);
        let processed = connection.processed;
        connection.take_effect(|account| {
            let (value, slot) = shown(account);
            (value, if processed { 0 } else { slot })
        });
    }
}
