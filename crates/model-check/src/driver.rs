//! The mirror's skin in a world: a turn of a connection's driver, and the commands of the engine,
//! carried out.

use balance_mirror::core::{
    base::ids::LinkId,
    engine::events::{EngineEvent, LinkEvent},
    link::websocket::{LinkCommand, SessionEvent, Subject, order_turn},
};

use crate::{
    chain::{account_of, tick},
    judge::{self, Check},
    plan::Plan,
    wire::{Event, Request},
    world::{Wire, World},
};

impl World {
    pub(crate) fn tell(&mut self, link: u8, event: impl Into<LinkEvent>) {
        self.engine.handle(tick(self.now), LinkId(u16::from(link)), event);
    }

    /// One turn of a connection's driver.
    pub(crate) fn turn(&mut self, link: u8, mut events: Vec<(Subject, Event)>) {
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

    pub(crate) fn as_heard(&mut self, link: u8, subject: Subject, event: Event) -> SessionEvent {
        let now = self.now;
        match (subject, event) {
            (_, Event::Acknowledged) => SessionEvent::Acknowledged(subject),
            (_, Event::Unsubscribed) => SessionEvent::Unsubscribed(subject),
            (Subject::Barrier { length }, Event::Clock(slot)) => SessionEvent::Barrier { length, slot },
            (_, Event::Clock(slot)) => {
                if let Some(connection) = self.connection(link) {
                    connection.ticked = now;
                }
                let lag_ms = (now - self.chain.made(slot, now)) as i64;
                SessionEvent::Canary { slot, lag_ms }
            }
            (_, Event::Account(slot, value)) => {
                if let Subject::Account { address, .. } = subject
                    && let Some(connection) = self.connection(link)
                {
                    connection.heard[usize::from(account_of(&address))] = Some((slot, value));
                }
                SessionEvent::Account { subject, slot, presence: Some(value.presence()) }
            }
        }
    }

    // What follows of itself.

    /// Carries out what the engine commands, and what the plan leaves no choice about.
    pub(crate) fn settle(&mut self, plan: &Plan) {
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

    pub(crate) fn carry_out(&mut self) {
        for link in self.links() {
            while let Some(command) = self.engine.next_command(LinkId(u16::from(link))) {
                match command {
                    LinkCommand::Connect => self.wires[usize::from(link)] = Wire::Connecting,
                    LinkCommand::Disconnect { .. } => self.wires[usize::from(link)] = Wire::Down,
                    LinkCommand::Subscribe(subject) => self.request(link, Request::Subscribe(subject)),
                    LinkCommand::Unsubscribe(subject) => self.request(link, Request::Unsubscribe(subject)),
                }
            }
        }
        self.engine.take_touched();
        self.engine.take_mints();
        while let Some(event) = self.engine.next_event() {
            self.decided(&event);
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

    pub(crate) fn request(&mut self, link: u8, request: Request) {
        if let Some(connection) = self.connection(link)
            && !connection.frozen
        {
            connection.requests.push_back(request);
        }
    }

    /// Honest nodes that miss nothing give no cause for alarm.
    pub(crate) fn decided(&mut self, event: &EngineEvent) {
        if let EngineEvent::Disputed { address, .. } | EngineEvent::Missed { address, .. } = event
            && !self.watches[usize::from(account_of(address))].killed
        {
            self.broken.get_or_insert(Check::Calm);
        }
        if matches!(
            event,
            EngineEvent::Quarantined { .. } | EngineEvent::Foreign { .. } | EngineEvent::Reset { .. }
        ) {
            self.broken.get_or_insert(Check::Calm);
        }
    }
}
