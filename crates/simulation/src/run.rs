//! A world from its seed to its end.

use std::collections::{BTreeMap, HashMap, VecDeque};

use balance_mirror::core::{
    base::{
        failure::RpcFailure,
        ids::{AskId, Slot},
    },
    engine::events::Role,
};

use crate::{
    agenda::{Agenda, MS, Nanos, SECOND},
    callers::Pending,
    chain::Chain,
    checker::{Checker, Promise, Violation},
    faults::Mood,
    links::Links,
    node::{Node, View},
    plan::{CANARY_DEADLINE, Plan, Trouble, VERIFY_EVERY},
    report::Report,
    rng::Rng,
    rpc::Flight,
    settings,
    skin::Skin,
    wire::{Message, Request, Wire},
};

/// What happens in virtual time.
#[derive(Debug)]
pub(crate) enum Event {
    /// The next slot.
    Produce,
    /// A node comes to hold a bank, at the mirror's commitment or processed.
    Hold {
        node: usize,
        view: View,
        processed: bool,
    },
    /// A notifier takes its next job.
    Notify {
        node: usize,
    },
    /// A connect is answered.
    Connect {
        link: u16,
        life: u64,
    },
    ToServer {
        wire: usize,
        request: Request,
    },
    ToClient {
        wire: usize,
        message: Message,
        since: Nanos,
    },
    /// The link's driver looks at its canaries, and then, a little later, at everything else.
    Turn {
        wire: usize,
    },
    Drain {
        wire: usize,
        canaries: usize,
    },
    RpcArrives {
        number: u64,
    },
    RpcAnswers {
        number: u64,
    },
    RpcTimesOut {
        number: u64,
    },
    /// A deadline of a link's driver, or of the engine itself, unless another was planned since.
    Wake {
        who: usize,
        planned: Nanos,
    },
    /// A link's driver takes the commands that another's step gave it.
    Commands {
        link: usize,
    },
    Act,
    AskAgain {
        number: u64,
    },
    GiveUp {
        number: u64,
    },
    Trouble,
    Recover {
        node: usize,
        trouble: Trouble,
    },
    /// In the quiet: is everything live and true?
    Probe,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) now: Nanos,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) chain: Chain,
    pub(crate) nodes: Vec<Node>,
    pub(crate) moods: Vec<Mood>,
    /// Which node's last word on its chain was another one, and which said the right one.
    pub(crate) foreign_shown: Vec<bool>,
    pub(crate) chain_told: Vec<bool>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) links: Links,
    pub(crate) skin: Skin,
    pub(crate) checker: Checker,
    pub(crate) flights: HashMap<u64, Flight>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) asks: u64,
    pub(crate) replies: VecDeque<(AskId, Result<Slot, RpcFailure>)>,
    pub(crate) published: bool,
    pub(crate) starved_until: Nanos,
    /// No node lies before.
    pub(crate) truth_until: Nanos,
    /// The connection whose next account notice is lost in the client.
    pub(crate) lose_next: Option<usize>,
    /// Subscriptions that died in silence, by account and connection.
    pub(crate) dead: Vec<(usize, usize)>,
    /// When it was last seen that not everything was live and true.
    pub(crate) last_wrong: Nanos,
    pub(crate) report: Report,
    /// Of each link: its endpoint, and whether it is a twin at processed.
    pub(crate) roles: Vec<(usize, bool)>,
    pub(crate) over: bool,
    /// From when on everything is told.
    pub(crate) trace_from: Nanos,
}

impl World {
    /// Tells what happens, where a trace is wanted.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.now >= self.trace_from {
            println!("{:11.4} {}", self.now as f64 / SECOND as f64, what());
        }
    }

    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        Self::of(plan, seed, rng)
    }

    /// A world whose troubles last so long.
    pub(crate) fn lasting(seed: u64, time: Nanos) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan { quiet_from: time, ..Plan::new(&mut rng) };
        Self::of(plan, seed, rng)
    }

    fn of(plan: Plan, seed: u64, mut rng: Rng) -> Self {
        let chain = Chain::new(plan.accounts, &mut rng);
        let nodes: Vec<Node> = (0..plan.nodes())
            .map(|node| {
                let slices = plan.ignores_slices && node < plan.endpoints;
                let mut node = Node::new(rng.between(0, 600) * MS, slices);
                node.pace = MS;
                node
            })
            .collect();
        let engine = settings::engine(&plan, seed);
        let roles =
            engine.links().map(|(_, endpoint, role, _)| (usize::from(endpoint.0), role == Role::Processed));
        let roles: Vec<_> = roles.collect();
        let promise =
            Promise { max_lag: plan.max_lag, canary_deadline: CANARY_DEADLINE, verify_every: VERIFY_EVERY };
        let mut world = Self {
            moods: nodes.iter().map(|_| Mood::default()).collect(),
            foreign_shown: vec![false; nodes.len()],
            chain_told: vec![false; nodes.len()],
            links: Links::new(roles.len()),
            skin: Skin::new(engine, settings::policy()),
            checker: Checker::new(promise, plan.accounts),
            report: Report::new(seed),
            plan,
            rng,
            now: 1,
            agenda: Agenda::new(),
            chain,
            nodes,
            wires: Vec::new(),
            flights: HashMap::new(),
            pending: Vec::new(),
            asks: 0,
            replies: VecDeque::new(),
            published: false,
            starved_until: 0,
            // Nobody can tell a first word from a lie.
            truth_until: 60 * SECOND,
            lose_next: None,
            dead: Vec::new(),
            last_wrong: 0,
            roles,
            over: false,
            trace_from: Nanos::MAX,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.agenda.plan(1, Event::Produce);
        self.agenda.plan(2 * SECOND, Event::Act);
        self.agenda.plan(self.plan.gap, Event::Trouble);
        self.agenda.plan(self.plan.quiet_from, Event::Probe);
        for account in 0..self.plan.accounts {
            if self.rng.chance(800) {
                self.watch(account);
            }
        }
        self.settle();
    }

    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        self.run_seen(&mut |_| {})
    }

    /// As [`run`](Self::run), and shows the world after each event.
    pub(crate) fn run_seen(&mut self, see: &mut dyn FnMut(&Self)) -> Result<(), Violation> {
        while !self.over
            && let Some((at, event)) = self.agenda.next()
        {
            self.now = at.max(self.now);
            self.report.note(self.now, &event);
            self.trace(|| format!("{event:?}"));
            self.step(event)?;
            self.after()?;
            see(self);
        }
        Ok(())
    }

    /// Puts together what it came to.
    pub(crate) fn tally(&mut self) {
        self.report.judged = self.checker.judged;
        self.report.live = self.checker.live;
        self.report.excused = self.checker.excused;
        self.report.seconds = self.now / SECOND;
        self.report.published = self.skin.digest;
    }

    fn step(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Produce => self.produce(),
            Event::Hold { node, view, processed } => self.hold(node, view, processed),
            Event::Notify { node } => self.notify(node),
            Event::Connect { link, life } => self.connect(link, life),
            Event::ToServer { wire, request } => self.reach_server(wire, request),
            Event::ToClient { wire, message, since } => self.reach_client(wire, message, since),
            Event::Turn { wire } => self.turn(wire),
            Event::Drain { wire, canaries } => self.drain(wire, canaries),
            Event::RpcArrives { number } => self.rpc_arrives(number),
            Event::RpcAnswers { number } => self.rpc_answers(number),
            Event::RpcTimesOut { number } => self.rpc_times_out(number),
            Event::Wake { who, planned } => self.expire(who, planned),
            Event::Commands { link } => self.take_commands(link),
            Event::Act => {
                self.act()?;
                let pause = self.rng.between(4, 120) * MS;
                self.agenda.plan(self.now + pause, Event::Act);
            }
            Event::AskAgain { number } => self.ask_again(number)?,
            Event::GiveUp { number } => self.give_up(number)?,
            Event::Trouble => {
                if self.now < self.plan.quiet_from {
                    self.trouble();
                    let gap = self.rng.between(self.plan.gap / 4, self.plan.gap * 2);
                    self.agenda.plan(self.now + gap, Event::Trouble);
                }
            }
            Event::Recover { node, trouble } => self.recover(node, trouble),
            Event::Probe => self.probe()?,
        }
        Ok(())
    }
}

pub(crate) type Counts<K> = BTreeMap<K, u64>;
