//! A state of a small world: the engine, the chain, the nodes, what is under way, and what may still happen.

use std::collections::BTreeSet;

use crate::{
    chain::{Chain, Millis, SLOT_TIME, Slot, Value, account_of, address, expected, tick},
    core::{
        accounts::Note,
        desk::{Ask, AskId, Call, Reply},
        engine::{Answer, Engine, LinkEvent, Order, Role},
        evidence::Evidence,
        failure::RpcFailure,
        ledger::Record,
        mint::Mint,
        observation::LinkId,
        session::{Subject, order_turn},
        token::TokenProgram,
    },
    judge::{self, Check},
    plan::{Budget, Plan},
    wire::{Connection, Event, Request, confirmed},
};

/// Something that happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The chain makes a slot, with its next write in it or without.
    Slot {
        /// With its next write.
        write: bool,
    },
    /// The time of a slot passes without one.
    Idle,
    /// A node comes nearer to the chain's newest slot; by more than one it skips.
    Follow {
        /// The node.
        node: u8,
        /// By so many slots.
        by: u8,
    },
    /// A connect succeeds, to that node.
    Open {
        /// The link.
        link: u8,
        /// The node.
        node: u8,
    },
    /// The server takes the oldest request of a connection.
    Take(u8),
    /// The oldest subscription that waits for it takes effect.
    Effect(u8),
    /// The driver takes one notification or answer.
    Deliver(u8),
    /// The driver takes all that there is in one turn.
    DeliverAll(u8),
    /// The driver takes the oldest, and of the other subscriptions all that they have.
    DeliverAhead(u8),
    /// A call leaves for RPC.
    Depart,
    /// A node answers the call of that number.
    Answer {
        /// The call.
        call: u64,
        /// The node.
        node: u8,
    },
    /// The answer arrives.
    Land(u64),
    /// The call fails.
    Refuse(u64),
    /// A connection is cut, or a connect fails.
    Cut(u8),
    /// A connection turns half-open.
    Freeze(u8),
    /// A canary or a barrier is lost.
    Lose(u8),
    /// The next notification is told again, behind all others.
    Repeat(u8),
    /// The server forgets an account's subscription.
    Kill(u8, u8),
    /// A caller doubts what is known, and reads by RPC.
    Doubt(u8),
    /// An account is unwatched and watched anew.
    Rewatch(u8),
    /// A caller reads by RPC, as of the newest slot.
    Ask(u8),
    /// A reader does the first of its two loads.
    Load(u8),
    /// And the second.
    Join,
    /// The nodes show a processed bank so many slots ahead.
    Bank {
        /// Slots ahead of the confirmed chain.
        ahead: u8,
        /// It shows what will never be confirmed.
        fork: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    Down,
    Connecting,
    Open(Connection),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    call: Call,
    sent: Millis,
    /// The slot that it is answered at, once it is.
    slot: Option<Slot>,
}

/// What is known of a watched account beside the engine, for the sake of judging it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    pub(crate) number: u8,
    /// Tokens were shown in this watch.
    pub(crate) shown: bool,
    /// A subscription of it was forgotten by the server.
    pub(crate) killed: bool,
    /// When it was doubted, and from which slot on an answer ends that; while none has come.
    pub(crate) doubt: Option<(Millis, Slot)>,
}

/// What a reader between its two loads could have loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) account: u8,
    pub(crate) watch: u8,
    pub(crate) evidence: Evidence,
    pub(crate) record: Option<Record>,
    /// What a reader that was done at once would have been told.
    pub(crate) as_of: Option<Slot>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Millis,
    pub(crate) chain: Chain,
    /// The newest confirmed slot of each node.
    pub(crate) heads: Vec<Slot>,
    /// By link.
    pub(crate) wires: Vec<Wire>,
    flights: Vec<Flight>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) look: Option<Look>,
    asked: u64,
    /// Floors of the asks under way.
    floors: Vec<(AskId, u8, Slot)>,
    written: u8,
    /// Processed banks that were shown.
    pub(crate) banks: BTreeSet<(Slot, Value)>,
    pub(crate) left: Budget,
    /// The promise that the last step broke.
    pub(crate) broken: Option<Check>,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let chain = Chain::new(plan.begins);
        let now = chain.made(chain.head(), 0);
        let engine = Engine::new(plan.settings(), 1, tick(now));
        let links = engine.links().count();
        let mut world = Self {
            engine,
            now,
            heads: vec![chain.head(); usize::from(plan.nodes)],
            chain,
            wires: vec![Wire::Down; links],
            flights: Vec::new(),
            watches: vec![Watch::default(); plan.begins.len()],
            look: None,
            asked: 0,
            floors: Vec::new(),
            written: 0,
            banks: BTreeSet::new(),
            left: Budget::default(),
            broken: None,
        };
        let targets: Vec<_> = (0..world.accounts()).map(|account| (address(account), expected())).collect();
        world.engine.watch(tick(now), &targets).expect("within the limits");
        world.settle(plan);
        if plan.live {
            let broken = world.play_fair(plan);
            assert_eq!(broken, None, "{}: it does not come live", plan.name);
        }
        world.left = plan.budget;
        world
    }

    pub(crate) fn accounts(&self) -> u8 {
        self.watches.len() as u8
    }

    fn links(&self) -> std::ops::Range<u8> {
        0..self.wires.len() as u8
    }

    fn connection(&mut self, link: u8) -> Option<&mut Connection> {
        match &mut self.wires[usize::from(link)] {
            Wire::Open(connection) => Some(connection),
            _ => None,
        }
    }

    /// The nodes that an endpoint's name may lead to.
    fn behind(&self, plan: &Plan, endpoint: u8) -> std::ops::Range<u8> {
        if plan.endpoints < plan.nodes { 0..plan.nodes } else { endpoint..endpoint + 1 }
    }

    fn endpoint_of(&self, link: u8) -> u8 {
        self.engine.endpoint_of(LinkId(u16::from(link))).0
    }

    // What can happen.

    pub(crate) fn actions(&self, plan: &Plan, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        let left = &self.left;
        let head = self.chain.head();
        if left.slots > 0 {
            actions.push(Action::Slot { write: false });
            if left.writes > 0 && usize::from(self.written) < plan.writes.len() {
                actions.push(Action::Slot { write: true });
            }
        }
        if left.idles > 0 {
            actions.push(Action::Idle);
        }
        for (node, at) in (0u8..).zip(&self.heads) {
            actions.extend((1..=(head - at) as u8).map(|by| Action::Follow { node, by }));
        }
        for (link, wire) in (0u8..).zip(&self.wires) {
            self.link_actions(plan, link, wire, actions);
        }
        if self.engine.next_deadline().is_some_and(|due| due <= tick(self.now + 3)) {
            actions.push(Action::Depart);
        }
        for flight in &self.flights {
            let call = flight.call.number;
            let answered = flight.slot.is_some();
            if answered {
                actions.push(Action::Land(call));
            } else {
                let nodes = self.behind(plan, flight.call.endpoint.0);
                actions.extend(nodes.map(|node| Action::Answer { call, node }));
                if left.refusals > 0 {
                    actions.push(Action::Refuse(call));
                }
            }
        }
        for account in 0..self.accounts() {
            let callers = [
                (left.doubts, Action::Doubt(account)),
                (left.rewatches, Action::Rewatch(account)),
                (left.asks, Action::Ask(account)),
                (if self.look.is_none() { left.looks } else { 0 }, Action::Load(account)),
            ];
            actions.extend(callers.into_iter().filter(|(left, _)| *left > 0).map(|(_, action)| action));
        }
        if self.look.is_some() {
            actions.push(Action::Join);
        }
        if left.banks > 0 {
            for (ahead, fork) in [(1, false), (1, true), (2, false), (2, true)] {
                actions.push(Action::Bank { ahead, fork });
            }
        }
    }

    fn link_actions(&self, plan: &Plan, link: u8, wire: &Wire, actions: &mut Vec<Action>) {
        let left = &self.left;
        if *wire != Wire::Down && left.cuts > 0 {
            actions.push(Action::Cut(link));
        }
        let connection = match wire {
            Wire::Down => return,
            Wire::Connecting => {
                let nodes = self.behind(plan, self.endpoint_of(link));
                return actions.extend(nodes.map(|node| Action::Open { link, node }));
            }
            Wire::Open(connection) if connection.frozen => return,
            Wire::Open(connection) => connection,
        };
        if !connection.requests.is_empty() {
            actions.push(Action::Take(link));
        }
        if connection.has_backlog() {
            actions.push(Action::Effect(link));
        }
        if left.freezes > 0 {
            actions.push(Action::Freeze(link));
        }
        if left.kills > 0 {
            let held = (0..self.accounts()).filter(|account| connection.holds(*account));
            actions.extend(held.map(|account| Action::Kill(link, account)));
        }
        let Some((_, next)) = connection.queue.front() else { return };
        actions.push(Action::Deliver(link));
        if plan.turns && connection.queue.len() > 1 {
            actions.push(Action::DeliverAll(link));
            actions.push(Action::DeliverAhead(link));
        }
        if left.losses > 0 && matches!(next, Event::Clock(_)) {
            actions.push(Action::Lose(link));
        }
        if left.repeats > 0 && !next.is_answer() {
            actions.push(Action::Repeat(link));
        }
    }

    // What it does.

    /// The world after an action; `None` where it has no effect.
    pub(crate) fn after(&self, plan: &Plan, action: Action) -> Option<Self> {
        let mut world = self.clone();
        world.act(plan, action)?;
        world.settle(plan);
        let broken = world.broken;
        world.broken = broken.or_else(|| judge::step(plan, self, &mut world));
        Some(world)
    }

    fn act(&mut self, plan: &Plan, action: Action) -> Option<()> {
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

    fn ask(&mut self, account: u8, min_slot: Slot) {
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
    fn pass(&mut self, to: Millis) {
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

    fn follow(&mut self, node: u8, slot: Slot) {
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
    fn bank(&mut self, plan: &Plan, ahead: Slot, fork: bool) {
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

    fn effect(&mut self, link: u8) {
        let Wire::Open(connection) = &mut self.wires[usize::from(link)] else { return };
        let shown = confirmed(&self.chain, self.heads[usize::from(connection.node)]);
        let processed = connection.processed;
        connection.take_effect(|account| {
            let (value, slot) = shown(account);
            (value, if processed { 0 } else { slot })
        });
    }

    fn tell(&mut self, link: u8, event: LinkEvent) {
        self.engine.handle(tick(self.now), LinkId(u16::from(link)), event);
    }

    /// One turn of a connection's driver.
    fn turn(&mut self, link: u8, mut events: Vec<(Subject, Event)>) {
        order_turn(&mut events, |event| event.is_answer());
        for (subject, event) in events {
            // What an earlier event of the turn ended is heard no more.
            if self.connection(link).is_none() {
                return;
            }
            let event = self.as_heard(link, subject, event);
            self.tell(link, event);
            self.carry_out();
        }
    }

    fn as_heard(&mut self, link: u8, subject: Subject, event: Event) -> LinkEvent {
        let now = self.now;
        match (subject, event) {
            (_, Event::Acknowledged) => LinkEvent::Acknowledged(subject),
            (_, Event::Unsubscribed) => LinkEvent::Unsubscribed(subject),
            (Subject::Barrier { length }, Event::Clock(slot)) => LinkEvent::Barrier { length, slot },
            (_, Event::Clock(slot)) => {
                if let Some(connection) = self.connection(link) {
                    connection.ticked = now;
                }
                let lag_ms = (now - self.chain.made(slot, now)) as i64;
                LinkEvent::Canary { slot, lag_ms }
            }
            (_, Event::Account(slot, value)) => {
                if let Subject::Account { address, .. } = subject
                    && let Some(connection) = self.connection(link)
                {
                    connection.heard[usize::from(account_of(&address))] = Some((slot, value));
                }
                LinkEvent::Account { subject, slot, presence: Some(value.presence()) }
            }
        }
    }

    // RPC.

    fn depart(&mut self) -> Option<()> {
        let mut departed = self.next_calls();
        if !departed {
            self.pass(self.now + 3);
            departed = self.next_calls();
        }
        departed.then_some(())
    }

    fn next_calls(&mut self) -> bool {
        let mut departed = false;
        while let Some(call) = self.engine.next_call(tick(self.now)) {
            departed = true;
            let number = call.number;
            let only_mints = call.accounts.is_empty();
            self.flights.push(Flight { call, sent: self.now, slot: None });
            if only_mints {
                // Nothing of an account depends on it.
                let newest = self.heads.iter().copied().min();
                self.flights.iter_mut().for_each(|flight| {
                    if flight.call.number == number {
                        flight.slot = newest;
                    }
                });
                self.land(number);
            }
        }
        departed
    }

    fn land(&mut self, number: u64) {
        let Some(place) = self.flights.iter().position(|flight| flight.call.number == number) else { return };
        let Flight { call, sent, slot } = self.flights.remove(place);
        let Some(slot) = slot else { return };
        let now = tick(self.now);
        if slot < call.min_slot {
            return self.engine.answered(now, number, Err(RpcFailure::Behind { min_slot: call.min_slot }));
        }
        let accounts = call.accounts.iter().map(account_of);
        let presences = accounts.clone().filter_map(|account| self.chain.value(account, slot));
        let mint = Mint::plain(TokenProgram::Token, 6);
        let answer = Answer {
            slot,
            sent: tick(sent),
            lag_ms: (self.now - self.chain.made(slot, self.now)) as i64,
            accounts: presences.map(|value| Ok(value.presence())).collect(),
            mints: call.mints.iter().map(|_| Some(mint)).collect(),
        };
        for account in accounts {
            let watch = &mut self.watches[usize::from(account)];
            if watch.doubt.is_some_and(|(at, min_slot)| sent >= at && slot >= min_slot) {
                watch.doubt = None;
            }
        }
        self.engine.answered(now, number, Ok(answer));
    }

    // What follows of itself.

    /// Carries out what the engine ordered, and what the plan leaves no choice about.
    fn settle(&mut self, plan: &Plan) {
        loop {
            self.carry_out();
            let mut moved = false;
            for link in self.links() {
                if !plan.slow_requests
                    && let Some(connection) = self.connection(link)
                    && !connection.frozen
                {
                    while !connection.requests.is_empty() {
                        connection.take();
                        moved = true;
                    }
                }
                while !plan.late_effect
                    && self.connection(link).is_some_and(|open| !open.frozen && open.has_backlog())
                {
                    self.effect(link);
                    moved = true;
                }
            }
            if !plan.late_calls
                && self.engine.next_deadline().is_some_and(|due| due <= tick(self.now + 3))
                && self.depart().is_some()
            {
                moved = true;
            }
            if !moved {
                break;
            }
        }
    }

    fn carry_out(&mut self) {
        for link in self.links() {
            while let Some(order) = self.engine.next_order(LinkId(u16::from(link))) {
                match order {
                    Order::Connect => self.wires[usize::from(link)] = Wire::Connecting,
                    Order::Disconnect { .. } => self.wires[usize::from(link)] = Wire::Down,
                    Order::Subscribe(subject) => self.request(link, Request::Subscribe(subject)),
                    Order::Unsubscribe(subject) => self.request(link, Request::Unsubscribe(subject)),
                }
            }
        }
        self.engine.take_touched();
        self.engine.take_mints();
        while let Some(note) = self.engine.next_note() {
            self.note(&note);
        }
        while let Some((id, answer)) = self.engine.next_reply() {
            let Some(place) = self.floors.iter().position(|(asked, ..)| *asked == id) else { continue };
            let (_, account, floor) = self.floors.remove(place);
            if let Ok(slot) = answer
                && !judge::reaches(self, account, slot, floor)
            {
                self.broken.get_or_insert(Check::Floor);
            }
        }
    }

    fn request(&mut self, link: u8, request: Request) {
        if let Some(connection) = self.connection(link)
            && !connection.frozen
        {
            connection.requests.push_back(request);
        }
    }

    /// Honest nodes that miss nothing give no cause for alarm.
    fn note(&mut self, note: &Note) {
        if let Note::Disputed { address, .. } | Note::Missed { address, .. } = note
            && !self.watches[usize::from(account_of(address))].killed
        {
            self.broken.get_or_insert(Check::Calm);
        }
        if matches!(note, Note::Quarantined { .. } | Note::Foreign { .. } | Note::Reset { .. }) {
            self.broken.get_or_insert(Check::Calm);
        }
    }

    // Liveness.

    /// Plays on without faults, everything delivered and nothing written, until every account is live and true:
    /// what was broken on the way, or that it did not come to that.
    pub(crate) fn play_fair(&mut self, plan: &Plan) -> Option<Check> {
        const ENOUGH_SLOTS: u32 = 40;
        self.left = Budget::default();
        self.look = None;
        for _ in 0..ENOUGH_SLOTS {
            let mut actions = Vec::new();
            for _ in 0..200 {
                actions.clear();
                self.actions(plan, &mut actions);
                // Calls, connects and deliveries, the oldest link's first; nodes come up as they can.
                let next = actions.iter().find_map(|action| self.after(plan, *action));
                let Some(next) = next else { break };
                *self = next;
                if self.broken.is_some() {
                    return self.broken;
                }
            }
            if (0..self.accounts()).all(|account| judge::is_settled(plan, self, account)) {
                return None;
            }
            self.left.slots = 1;
            let next = self.after(plan, Action::Slot { write: false })?;
            *self = next;
        }
        Some(Check::Liveness)
    }
}
