//! After the last trouble: everything watched must come to be live and true, and stay so.

use balance_mirror::core::{account::reading::ReadQuery, internals::satisfies};

use crate::{
    agenda::SECOND,
    callers::facts,
    checker::{Asked, Check, Served, Violation},
    plan,
    run::{Event, World},
    skin::tick,
};

impl World {
    /// One probe of the quiet: everything watched that has a place must be live and true, from the
    /// bound on.
    pub(crate) fn probe(&mut self) -> Result<(), Violation> {
        let since = self.now - self.plan.quiet_from;
        let mut wrong = None;
        for account in 0..self.plan.accounts {
            let Some(place) = self.skin.watched.get(&account) else { continue };
            let born = place.since;
            let Some(look) = self.skin.read(account, self.now, &mut self.rng) else { continue };
            let query = ReadQuery::max_age(plan::duration(40 * SECOND));
            let state = satisfies(&look.reading, &query, tick(self.now)).ok();
            let max_age = 40 * SECOND;
            let asked = state.map(|state| Asked { state, at: self.now, max_age, floor: None });
            let served =
                Served { reading: &look.reading, watch: look.watch, begun: look.begun, now: self.now, asked };
            let fresh = served.asked.is_some();
            self.checker.judge(facts(&self.chain, &self.nodes, &self.links), &served)?;
            let excused = self.checker.is_excused(account, self.now);
            let live = look.reading.is_live() || self.plan.places() < self.plan.accounts;
            let near = look.reading.as_of().is_some_and(|as_of| self.is_recent(as_of)) || !live;
            let right = excused || fresh && live && near;
            if !right && born < self.plan.quiet_from {
                wrong = Some((account, format!("{:?}", look.reading)));
            }
        }
        let bound = self.plan.convergence();
        if let Some((account, reading)) = wrong {
            self.last_wrong = since;
            if since > bound {
                let links: Vec<_> = self.skin.engine.links().collect();
                let seconds = since / SECOND;
                let text = format!("account {account} after {seconds} s of quiet: {reading}; {links:?}");
                return Err(self.violation(Check::Convergence, text));
            }
        }
        // A while beyond, to see that it lasts.
        if since >= self.last_wrong + 25 * SECOND {
            self.report.converged_after = self.last_wrong;
            self.over = true;
        }
        self.agenda.plan(self.now + SECOND, Event::Probe);
        Ok(())
    }

    /// Near the newest that the slowest node holds.
    pub(crate) fn is_recent(&self, as_of: u64) -> bool {
        let margin = if self.plan.finalized { 70 } else { 25 };
        let held = self.nodes[..self.plan.endpoints].iter().filter_map(|node| node.holds).min();
        held.is_none_or(|bank| as_of + margin >= self.chain.banks[bank].slot)
    }
}
