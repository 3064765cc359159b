//! What goes over the connections, and what their drivers make of it.

use balance_mirror::core::{
    base::ids::LinkId,
    engine::events::LinkEvent,
    link::websocket::{LinkCommand, SessionEvent, Subject, order_turn},
};

use crate::{
    agenda::{MS, Nanos, SECOND},
    chain::lag_ms,
    links::SERVED,
    node::{Key, Thing, Told},
    plan::{CONNECT_TIMEOUT, VERIFY_EVERY},
    rpc::presence,
    run::{Event, World},
    skin::{account_of, tick},
    wire::{Arrival, Message, Request},
};

impl World {
    pub(crate) fn carry_out(&mut self, link: LinkId, command: LinkCommand) {
        let place = usize::from(link.0);
        match command {
            LinkCommand::Connect => {
                self.skin.lives += 1;
                let life = self.skin.lives;
                self.skin.connecting[place] = Some(life);
                self.report.connects += 1;
                let mood = &self.moods[self.node_of(place)];
                let hangs = self.now < mood.hang_connect_until;
                let wait = if hangs { 2 * CONNECT_TIMEOUT } else { self.rng.between(20, 300) * MS };
                self.agenda.plan(self.now + wait, Event::Connect { link: link.0, life });
            }
            LinkCommand::Disconnect { .. } => {
                self.skin.connecting[place] = None;
                if let Some(wire) = self.skin.open[place].take() {
                    self.wires[wire].held = false;
                    self.links.lost(place, self.now);
                    self.request(wire, Request::Close);
                }
            }
            LinkCommand::Subscribe(subject) => {
                if let Some(wire) = self.skin.open[place] {
                    self.request(wire, Request::Subscribe(subject));
                }
            }
            LinkCommand::Unsubscribe(subject) => {
                if let Some(wire) = self.skin.open[place]
                    && let Some(id) = self.wires[wire].stop(subject)
                {
                    self.request(wire, Request::Unsubscribe(id, Some(subject)));
                }
            }
        }
    }

    fn request(&mut self, place: usize, request: Request) {
        let wire = &mut self.wires[place];
        let at = (self.now + wire.delay).max(wire.last_to_server);
        wire.last_to_server = at;
        self.agenda.plan(at, Event::ToServer { wire: place, request });
    }

    pub(crate) fn reach_server(&mut self, place: usize, request: Request) {
        let wire = &self.wires[place];
        let node = wire.node;
        if !wire.served {
            return;
        }
        if wire.half_open {
            // The server's own timeouts end what nobody reads.
            if matches!(request, Request::Close) {
                self.drop_server_side(place);
            }
            return;
        }
        match request {
            Request::Close => self.drop_server_side(place),
            Request::Unsubscribe(id, subject) => {
                self.nodes[node].unsubscribe(id, place);
                self.bury(place);
                if let Some(subject) = subject {
                    self.send(place, Message::Unsubscribed(subject), self.now);
                }
            }
            Request::Subscribe(subject) => {
                let mood = &self.moods[node];
                let barrier = matches!(subject, Subject::Barrier { .. });
                if self.now < mood.deaf_until && self.rng.chance(300) {
                    return;
                }
                if self.now < mood.refuse_subscribe_until && self.rng.chance(if barrier { 800 } else { 400 })
                {
                    return self.send(place, Message::Refused(subject), self.now);
                }
                let key = Key { processed: wire.processed, ..key_of(subject) };
                let id = self.nodes[node].subscribe(key, place);
                self.bury(place);
                self.send(place, Message::Acknowledged { subject, id }, self.now);
                self.start_notifier(node);
            }
        }
    }

    /// Puts something on its way to the client, behind all that is on its way already.
    pub(crate) fn send(&mut self, place: usize, message: Message, since: Nanos) {
        let jitter = self.rng.below(15 * MS);
        let wire = &mut self.wires[place];
        if wire.half_open || !wire.held {
            return;
        }
        let at = (self.now + wire.delay + jitter).max(wire.last_to_client).max(wire.stalled_until);
        wire.last_to_client = at;
        self.agenda.plan(at, Event::ToClient { wire: place, message, since });
    }

    pub(crate) fn reach_client(&mut self, place: usize, message: Message, since: Nanos) {
        let wire = &mut self.wires[place];
        if !wire.held || wire.half_open {
            return;
        }
        // What was on its way when the rest was stalled comes with the rest.
        if self.now < wire.stalled_until {
            let at = wire.stalled_until;
            wire.last_to_client = wire.last_to_client.max(at);
            self.agenda.plan(at, Event::ToClient { wire: place, message, since });
            return;
        }
        if wire.cut && !matches!(message, Message::End) {
            return;
        }
        if let Message::Notice(notice) = &message
            && let Told::Account(_) = notice.told
            && self.lose_next == Some(place)
            && let Some(account) = wire.account_of(notice.id)
        {
            self.lose_next = None;
            self.checker.lost(account, self.now + VERIFY_EVERY + SERVED);
            return;
        }
        if let Some(stray) = wire.arrive(message, since) {
            return self.request(place, Request::Unsubscribe(stray, None));
        }
        if wire.has_news() && !wire.turning {
            wire.turning = true;
            let soon = if self.rng.chance(900) { self.rng.below(2 * MS) } else { self.rng.below(30 * MS) };
            self.agenda.plan(self.now + soon, Event::Turn { wire: place });
        }
    }

    pub(crate) fn turn(&mut self, place: usize) {
        if self.now < self.starved_until {
            self.agenda.plan(self.starved_until, Event::Turn { wire: place });
            return;
        }
        let canaries = self.wires[place].canaries.len();
        let drained = if self.rng.chance(700) { 0 } else { self.rng.below(3 * MS) };
        self.agenda.plan(self.now + drained, Event::Drain { wire: place, canaries });
    }

    /// The rest of a turn: every other channel, then everything in the order in which it can be
    /// applied.
    pub(crate) fn drain(&mut self, place: usize, canaries: usize) {
        let wire = &mut self.wires[place];
        wire.turning = false;
        if !wire.held {
            return;
        }
        let link = LinkId(wire.link);
        let mut events: Vec<(Subject, Arrival)> = Vec::with_capacity(canaries + wire.others.len());
        let taken = canaries.min(wire.canaries.len());
        events.extend(wire.canaries.drain(..taken).map(|arrival| (Subject::Canary, arrival)));
        let mut others = std::mem::take(&mut wire.others);
        // Channel by channel.
        others.sort_by_key(|(subject, _)| *subject);
        events.append(&mut others);
        let replaced = std::mem::take(&mut wire.canary_replaced);
        let ended = wire.ended && wire.canaries.is_empty();
        order_turn(&mut events, |arrival| !matches!(arrival, Arrival::Told { .. }));
        // The turn is one step: what it changes is published together.
        for (subject, arrival) in events {
            self.deliver(place, link, subject, arrival);
        }
        let wire = &self.wires[place];
        if wire.held && ended {
            self.report.observations += 1;
            self.skin.engine.handle(tick(self.now), link, LinkEvent::Lost);
        } else if wire.held && replaced {
            self.skin.engine.handle(tick(self.now), link, SessionEvent::CanaryReplaced);
        }
        self.take_commands(usize::from(link.0));
        self.settle();
        let wire = &mut self.wires[place];
        if wire.held && (!wire.canaries.is_empty() || !wire.others.is_empty()) && !wire.turning {
            wire.turning = true;
            self.agenda.plan(self.now + MS / 10, Event::Turn { wire: place });
        }
    }

    fn deliver(&mut self, place: usize, link: LinkId, subject: Subject, arrival: Arrival) {
        self.report.observations += 1;
        let event = match (arrival, subject) {
            (Arrival::Acknowledged, _) => SessionEvent::Acknowledged(subject),
            (Arrival::Refused, _) => SessionEvent::Refused(subject),
            (Arrival::Unsubscribed, _) => SessionEvent::Unsubscribed(subject),
            (Arrival::Told { slot, told: Told::Clock(clock), since }, Subject::Canary) => {
                let wire = &self.wires[place];
                if !wire.processed && wire.held {
                    self.links.canary(usize::from(link.0), self.now, self.now - since);
                }
                SessionEvent::Canary { slot, lag_ms: lag_ms(self.now, clock) }
            }
            (Arrival::Told { slot, .. }, Subject::Barrier { length }) => {
                SessionEvent::Barrier { length, slot }
            }
            (Arrival::Told { slot, told, .. }, Subject::Account { .. }) => {
                let presence = match told {
                    Told::Account(held) => Some(presence(held)),
                    _ => None,
                };
                SessionEvent::Account { subject, slot, presence }
            }
            // A canary that does not hold a Clock is no tick, and what never changes has nothing to
            // tell.
            (Arrival::Told { .. }, Subject::Canary | Subject::Keepalive { .. }) => return,
        };
        self.trace(|| format!("  {link:?} {event:?}"));
        self.skin.engine.handle(tick(self.now), link, event);
    }

    /// The server ends a connection; with `loses`, what is on its way is lost.
    pub(crate) fn end_wire(&mut self, place: usize, loses: bool) {
        self.drop_server_side(place);
        if loses {
            self.wires[place].cut = true;
        }
        self.send(place, Message::End, self.now);
    }

    fn drop_server_side(&mut self, place: usize) {
        let node = self.wires[place].node;
        self.wires[place].served = false;
        self.nodes[node].drop_connection(place);
        self.bury(place);
    }

    /// Subscriptions that died in silence and are now gone are no excuse for long.
    fn bury(&mut self, place: usize) {
        let node = &self.nodes[self.wires[place].node];
        let (still, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.dead)
            .into_iter()
            .partition(|(account, wire)| *wire != place || node.is_silenced(*account, place));
        self.dead = still;
        for (account, _) in gone {
            if !self.dead.iter().any(|(other, _)| *other == account) {
                self.checker.buried(account, self.now + SERVED + 2 * SECOND);
            }
        }
    }

    fn node_of(&self, link: usize) -> usize {
        self.roles[link].0
    }
}

/// The parameters that the client sends.
fn key_of(subject: Subject) -> Key {
    let (thing, slice) = match subject {
        Subject::Canary => (Thing::Clock, None),
        Subject::Keepalive { .. } => (Thing::Rent, None),
        Subject::Barrier { length } => (Thing::Clock, Some(length)),
        Subject::Account { address, attempt, own_parameters } => {
            (Thing::Account(account_of(&address)), own_parameters.then_some((1 << 24) + u64::from(attempt)))
        }
    };
    Key { thing, slice, processed: false }
}
