//! A state of a small world: the engine, the chain, the nodes, what is under way, and what may
//! still happen.

use std::collections::BTreeSet;

use balance_mirror::core::{
    account::{evidence::Evidence, record::Record},
    base::ids::{AskId, LinkId},
    engine::Engine,
};

use crate::{
    action::Action,
    chain::{Chain, Millis, Slot, Value, address, expected, tick},
    flights::Flight,
    judge::{self, Check},
    plan::{Budget, Plan},
    wire::Connection,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    Down,
    Connecting,
    Open(Connection),
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
    pub(crate) flights: Vec<Flight>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) look: Option<Look>,
    pub(crate) asked: u64,
    /// Floors of the asks under way.
    pub(crate) floors: Vec<(AskId, u8, Slot)>,
    pub(crate) written: u8,
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

    pub(crate) fn links(&self) -> std::ops::Range<u8> {
        0..self.wires.len() as u8
    }

    pub(crate) fn connection(&mut self, link: u8) -> Option<&mut Connection> {
        match &mut self.wires[usize::from(link)] {
            Wire::Open(connection) => Some(connection),
            _ => None,
        }
    }

    /// The nodes that an endpoint's name may lead to.
    pub(crate) fn behind(&self, plan: &Plan, endpoint: u8) -> std::ops::Range<u8> {
        if plan.endpoints < plan.nodes { 0..plan.nodes } else { endpoint..endpoint + 1 }
    }

    pub(crate) fn endpoint_of(&self, link: u8) -> u8 {
        self.engine.endpoint_of(LinkId(u16::from(link))).0
    }

    /// The world after an action; `None` where it has no effect.
    pub(crate) fn after(&self, plan: &Plan, action: Action) -> Option<Self> {
        let mut world = self.clone();
        world.act(plan, action)?;
        world.settle(plan);
        let broken = world.broken;
        world.broken = broken.or_else(|| judge::step(plan, self, &mut world));
        Some(world)
    }
}
