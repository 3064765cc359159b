//! The chain goes on, the nodes follow it, and their notifiers tell.

use crate::{
    agenda::{MS, Nanos},
    chain::Chain,
    node::{Job, View},
    run::{Event, World},
    wire::Message,
};

impl World {
    pub(crate) fn produce(&mut self) {
        let forks = self.chain.abandoned.len();
        let made = self.chain.produce(self.now, &mut self.rng);
        let level = if self.plan.finalized { 2 } else { 1 };
        for node in 0..self.nodes.len() {
            let lag = self.nodes[node].lag + self.nodes[node].extra_lag + self.rng.below(40 * MS);
            if let Some(bank) = made {
                let at = self.chain.banks[bank].since[level] + lag;
                self.plan_hold(node, View::Bank(bank), false, at);
            }
            if self.plan.processed {
                let fork = (self.chain.abandoned.len() > forks).then_some(View::Abandoned(forks));
                if let Some(view) = made.map(View::Bank).or(fork) {
                    self.plan_hold(node, view, true, self.now + lag);
                }
            }
        }
        let pace = Chain::pace(&mut self.rng);
        self.agenda.plan(self.now + pace, Event::Produce);
    }

    pub(crate) fn plan_hold(&mut self, node: usize, view: View, processed: bool, at: Nanos) {
        let last = &mut self.nodes[node].last_hold[usize::from(processed)];
        *last = at.max(*last);
        self.agenda.plan(*last, Event::Hold { node, view, processed });
    }

    pub(crate) fn hold(&mut self, place: usize, view: View, processed: bool) {
        let node = &mut self.nodes[place];
        if self.now < node.stalled_until {
            self.agenda.plan(node.stalled_until, Event::Hold { node: place, view, processed });
            return;
        }
        match view {
            View::Bank(bank) if !processed => node.hold(self.now, bank),
            _ => node.processed = Some(view),
        }
        // Some banks are never checked: deferred, pruned, or between two roots.
        let skipped = if self.plan.finalized && !processed { 400 } else { 40 };
        if node.mute || self.rng.chance(skipped) {
            return;
        }
        self.enqueue(place, Job::Check { view, processed });
    }

    pub(crate) fn enqueue(&mut self, node: usize, job: Job) {
        self.nodes[node].enqueue(job);
        self.start_notifier(node);
    }

    pub(crate) fn start_notifier(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if !node.busy && node.has_jobs() {
            node.busy = true;
            self.agenda.plan(self.now + node.pace, Event::Notify { node: place });
        }
    }

    pub(crate) fn notify(&mut self, place: usize) {
        let mut out = Vec::new();
        let node = &mut self.nodes[place];
        node.busy = false;
        let mut since = self.now;
        match node.next_job() {
            Some(Job::Baseline(key)) => node.baseline(key, &self.chain),
            Some(Job::Check { view, processed }) => {
                if let View::Bank(bank) = view {
                    since = node.holds_since(bank).unwrap_or(self.now);
                }
                node.check(view, processed, &self.chain, &mut self.rng, &mut out);
            }
            None => {}
        }
        self.start_notifier(place);
        for (wire, notice) in out {
            let garbled = self.now < self.moods[place].garbled_until && self.rng.chance(200);
            let message = Message::Notice(if garbled { notice.garbled() } else { notice });
            self.send(wire, message, since);
            let wire_ = &mut self.wires[wire];
            if self.now < wire_.doubles_until {
                let again = if self.rng.chance(500) { Some(notice) } else { wire_.last_notice };
                wire_.last_notice = Some(notice);
                if let Some(again) = again {
                    self.send(wire, Message::Notice(again), since);
                }
            }
        }
    }
}
