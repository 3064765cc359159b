//! What a step of the mirror leads to: what the skin publishes, carries out, and is woken for.

use balance_mirror::core::base::ids::LinkId;

use crate::{
    agenda::{MS, Nanos, SECOND},
    checker::{Check, Violation},
    run::{Event, World},
    skin::{nanos, tick},
};

impl World {
    /// A link's driver, or the engine itself, is woken when it wants to be, or a little later.
    pub(crate) fn expire(&mut self, who: usize, planned: Nanos) {
        if planned != self.skin.wakes[who] {
            return;
        }
        if self.now < self.starved_until {
            return self.agenda.plan(self.starved_until, Event::Wake { who, planned });
        }
        self.skin.wakes[who] = Nanos::MAX;
        self.report.wakes += 1;
        if who < self.roles.len() {
            self.skin.engine.expire_link(tick(self.now), LinkId(who as u16));
            self.take_commands(who);
        } else {
            self.skin.engine.expire(tick(self.now));
        }
        self.settle();
    }

    /// A link's driver carries out what the engine wants of it.
    pub(crate) fn take_commands(&mut self, place: usize) {
        let link = LinkId(place as u16);
        self.published |= self.skin.publish(self.now);
        while let Some(command) = self.skin.engine.next_command(link) {
            self.trace(|| format!("  {link:?} {command:?}"));
            self.carry_out(link, command);
        }
    }

    /// The host's clocks jump against each other, as the skin notices it.
    pub(crate) fn jump(&mut self) {
        self.skin.engine.clock_jumped(tick(self.now));
        self.links.forget();
        self.checker.jumped(self.now);
        self.settle();
    }

    /// Publishes, and carries out what the engine wants.
    pub(crate) fn settle(&mut self) {
        self.published |= self.skin.publish(self.now);
        for link in self.skin.links() {
            // Its driver is another task, which comes to them when it is given time.
            if self.skin.engine.has_commands(link) {
                let link = usize::from(link.0);
                let soon = (self.now + self.rng.below(2 * MS)).max(self.starved_until);
                self.agenda.plan(soon, Event::Commands { link });
            }
        }
        while let Some(call) = self.skin.engine.next_call(tick(self.now)) {
            self.trace(|| format!("  {call:?}"));
            self.call(call);
        }
        while let Some(reply) = self.skin.engine.next_reply() {
            self.replies.push_back(reply);
        }
        while let Some(event) = self.skin.engine.next_event() {
            self.trace(|| format!("  {event:?}"));
            self.report.decided(&event);
        }
        self.published |= self.skin.publish(self.now);
        for who in 0..self.skin.wakes.len() {
            let due = match self.roles.len() {
                links if who < links => self.skin.engine.link_deadline(LinkId(who as u16)),
                _ => self.skin.engine.next_deadline(),
            };
            let Some(due) = due else { continue };
            // Never at once again: what is due and not done must not stop the world.
            let due = nanos(due).max(self.now + MS / 10);
            if due < self.skin.wakes[who] {
                self.skin.wakes[who] = due;
                let late = self.rng.below(2 * MS);
                self.agenda.plan(due + late, Event::Wake { who, planned: due });
            }
        }
    }

    /// Wakes those who wait for what a step brought.
    pub(crate) fn after(&mut self) -> Result<(), Violation> {
        let mut rounds = 0;
        while self.published || !self.replies.is_empty() {
            if std::mem::take(&mut self.published) {
                self.wake()?;
            }
            while let Some((id, answer)) = self.replies.pop_front() {
                self.replied(id, answer)?;
            }
            rounds += 1;
            if rounds > 1_000 {
                return Err(self.violation(Check::Bounds, "steps that lead to steps without end".to_owned()));
            }
        }
        Ok(())
    }

    pub(crate) fn violation(&self, check: Check, text: String) -> Violation {
        Violation { check, at: self.now as f64 / SECOND as f64, text }
    }
}
