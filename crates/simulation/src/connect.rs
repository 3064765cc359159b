//! Connects, and what an endpoint tells of its chain.

use balance_mirror::core::{base::ids::LinkId, engine::events::LinkEvent};

use crate::{
    agenda::MS,
    node::Lie,
    plan,
    run::{Event, World},
    skin::tick,
    wire::Wire,
};

impl World {
    pub(crate) fn connect(&mut self, link: u16, life: u64) {
        let place = usize::from(link);
        if self.skin.connecting[place] != Some(life) {
            return;
        }
        if self.now < self.starved_until {
            self.agenda.plan(self.starved_until, Event::Connect { link, life });
            return;
        }
        let (node, processed) = self.roles[place];
        let mood = &self.moods[node];
        self.skin.connecting[place] = None;
        if self.now < mood.refuse_connect_until {
            self.skin.engine.handle(tick(self.now), LinkId(link), LinkEvent::Lost);
            self.take_commands(place);
            return self.settle();
        }
        let slow = if self.now < mood.slow_links_until { self.rng.between(500, 7_000) * MS } else { 0 };
        let delay = plan::way(&mut self.rng) + slow;
        self.wires.push(Wire::new(node, link, processed, delay));
        let wire = self.wires.len() - 1;
        self.skin.open[place] = Some(wire);
        if !processed {
            self.links.up(place, self.now);
        }
        let genesis = self.genesis(node);
        self.report.observations += 1;
        self.skin.engine.handle(tick(self.now), LinkId(link), LinkEvent::Connected { genesis });
        self.take_commands(place);
        self.settle();
    }

    /// What the endpoint's RPC tells of its chain, if it does.
    pub(crate) fn genesis(&mut self, node: usize) -> Option<[u8; 32]> {
        let mood = &self.moods[node];
        if self.nodes[node].lie == Some(Lie::OtherChain) {
            (self.foreign_shown[node], self.chain_told[node]) = (true, false);
            return Some([9; 32]);
        }
        self.foreign_shown[node] = false;
        let silent = self.now < mood.rpc_down_until.max(mood.rpc_hang_until).max(mood.rpc_limited_until);
        self.chain_told[node] |= !silent;
        (!silent).then_some([1; 32])
    }
}
