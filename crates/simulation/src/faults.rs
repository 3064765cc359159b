//! Troubles begin, last a while, and end.

use crate::{
    agenda::{MS, Nanos, SECOND},
    node::Lie,
    plan::Trouble,
    run::{Event, World},
};

/// How a node treats those who come to it, beside what it holds. All of it passes.
#[derive(Debug, Default)]
pub(crate) struct Mood {
    pub(crate) refuse_connect_until: Nanos,
    pub(crate) hang_connect_until: Nanos,
    pub(crate) slow_links_until: Nanos,
    pub(crate) refuse_subscribe_until: Nanos,
    pub(crate) deaf_until: Nanos,
    pub(crate) garbled_until: Nanos,
    pub(crate) rpc_down_until: Nanos,
    pub(crate) rpc_hang_until: Nanos,
    pub(crate) rpc_late_until: Nanos,
    pub(crate) rpc_limited_until: Nanos,
    pub(crate) rpc_short_until: Nanos,
    pub(crate) rpc_garbled_until: Nanos,
    pub(crate) pooled_until: Nanos,
}

/// No lie lasts longer, and none follows sooner.
const LONGEST_LIE: Nanos = 40 * SECOND;
const TRUTH: Nanos = 70 * SECOND;

impl World {
    /// Begins one of the plan's troubles, unless what it would strike is not there.
    pub(crate) fn trouble(&mut self) {
        let kinds = self.plan.troubles.len();
        if kinds == 0 {
            return;
        }
        let trouble = self.plan.troubles[self.rng.index(kinds)];
        let endpoint = self.rng.index(self.plan.endpoints);
        let any = self.rng.index(self.nodes.len());
        let spell = match self.rng.below(3) {
            0 => self.rng.between(200, 3_000) * MS,
            1 => self.rng.between(3, 12) * SECOND,
            _ => self.rng.between(10, 70) * SECOND,
        };
        // Everything is over when the quiet begins.
        let until = (self.now + spell).min(self.plan.quiet_from);
        let wire = self.some_wire();
        let struck = match (trouble, wire) {
            (Trouble::Cut, Some(wire)) => self.cut(wire, false),
            (Trouble::Overflow, Some(wire)) => self.cut(wire, true),
            (Trouble::HalfOpen, Some(wire)) => {
                self.wires[wire].half_open = true;
                true
            }
            (Trouble::Stall, Some(wire)) => {
                // A shorter one within it does not end it early: what waits would be overtaken.
                let stalled = &mut self.wires[wire].stalled_until;
                *stalled = until.max(*stalled);
                true
            }
            (Trouble::Double, Some(wire)) => {
                self.wires[wire].doubles_until = until;
                true
            }
            (Trouble::SilentDeath, Some(wire)) => self.silent_death(wire),
            (Trouble::LostNotice, Some(wire)) => {
                self.lose_next = Some(wire);
                true
            }
            (
                Trouble::Cut
                | Trouble::Overflow
                | Trouble::HalfOpen
                | Trouble::Stall
                | Trouble::Double
                | Trouble::SilentDeath
                | Trouble::LostNotice,
                None,
            ) => false,
            (Trouble::NodeStall, _) => {
                let stalled = &mut self.nodes[any].stalled_until;
                *stalled = until.max(*stalled);
                true
            }
            (Trouble::NodeBehind, _) => {
                self.nodes[any].extra_lag = self.rng.between(500, 30_000) * MS;
                self.agenda.plan(until, Event::Recover { node: any, trouble });
                true
            }
            (Trouble::SlowNotifier, _) => {
                self.nodes[endpoint].pace = self.rng.between(20, 900) * MS;
                self.agenda.plan(until, Event::Recover { node: endpoint, trouble });
                true
            }
            (Trouble::Strained, _) => {
                self.nodes[endpoint].strained = self.plan.finalized;
                self.agenda.plan(until, Event::Recover { node: endpoint, trouble });
                self.plan.finalized
            }
            (Trouble::Mute, _) => {
                self.nodes[endpoint].mute = true;
                self.agenda.plan(until, Event::Recover { node: endpoint, trouble });
                true
            }
            (Trouble::LieAhead | Trouble::OtherChain, _) => {
                self.lie(trouble, endpoint, until.min(self.now + LONGEST_LIE))
            }
            (Trouble::ClockJump, _) => {
                self.jump();
                true
            }
            (Trouble::Starved, _) => {
                self.starved_until = until.min(self.now + 15 * SECOND);
                true
            }
            (Trouble::Burst, _) => {
                self.chain.burst_until = until;
                true
            }
            (
                Trouble::SlowLink
                | Trouble::RefuseConnect
                | Trouble::HangConnect
                | Trouble::RefuseSubscribe
                | Trouble::DeafSubscribe
                | Trouble::Garbled
                | Trouble::RpcDown
                | Trouble::RpcHang
                | Trouble::RpcLate
                | Trouble::RpcLimited
                | Trouble::RpcShort
                | Trouble::RpcGarbled
                | Trouble::RpcPool,
                _,
            ) => {
                let mood = &mut self.moods[if trouble < Trouble::RpcDown { endpoint } else { any }];
                *match trouble {
                    Trouble::SlowLink => &mut mood.slow_links_until,
                    Trouble::RefuseConnect => &mut mood.refuse_connect_until,
                    Trouble::HangConnect => &mut mood.hang_connect_until,
                    Trouble::RefuseSubscribe => &mut mood.refuse_subscribe_until,
                    Trouble::DeafSubscribe => &mut mood.deaf_until,
                    Trouble::Garbled => &mut mood.garbled_until,
                    Trouble::RpcDown => &mut mood.rpc_down_until,
                    Trouble::RpcHang => &mut mood.rpc_hang_until,
                    Trouble::RpcLate => &mut mood.rpc_late_until,
                    Trouble::RpcLimited => &mut mood.rpc_limited_until,
                    Trouble::RpcShort => &mut mood.rpc_short_until,
                    Trouble::RpcGarbled => &mut mood.rpc_garbled_until,
                    _ => &mut mood.pooled_until,
                } = until;
                true
            }
        };
        if struck {
            self.trace(|| format!("TROUBLE {trouble:?} until {}", until / SECOND));
            *self.report.troubles.entry(trouble).or_insert(0) += 1;
        }
        // What is met at a connect is only met where there is one.
        if matches!(trouble, Trouble::RefuseConnect | Trouble::HangConnect | Trouble::SlowLink)
            && let Some(wire) = wire.filter(|wire| self.wires[*wire].node == endpoint)
        {
            self.cut(wire, false);
        }
    }

    pub(crate) fn recover(&mut self, node: usize, trouble: Trouble) {
        let node = &mut self.nodes[node];
        match trouble {
            Trouble::NodeBehind => node.extra_lag = 0,
            Trouble::SlowNotifier => node.pace = MS,
            Trouble::Strained => node.strained = false,
            Trouble::Mute => node.mute = false,
            _ => node.lie = None,
        }
    }

    /// A connection that both sides hold.
    fn some_wire(&mut self) -> Option<usize> {
        let held: Vec<usize> = self.skin.wires().filter(|wire| self.wires[*wire].served).collect();
        (!held.is_empty()).then(|| held[self.rng.index(held.len())])
    }

    fn cut(&mut self, wire: usize, loses: bool) -> bool {
        self.end_wire(wire, loses);
        true
    }

    /// One watched account's subscription on that connection ends, and nobody is told.
    fn silent_death(&mut self, wire: usize) -> bool {
        let account = self.rng.index(self.plan.accounts);
        let node = self.wires[wire].node;
        let died = !self.wires[wire].processed && self.nodes[node].silence(account, wire);
        if died {
            self.checker.silenced(account);
            self.dead.push((account, wire));
        }
        died
    }

    /// One endpoint's node lies, and long after the last one: what all say, or one says alone for a
    /// minute, is no lie that anybody could tell.
    fn lie(&mut self, trouble: Trouble, endpoint: usize, until: Nanos) -> bool {
        // Only the others can tell that a node is on another chain: all that are in use, and have
        // said their own.
        let contradicted = self.plan.race
            && (0..self.plan.endpoints).all(|other| other == endpoint || self.chain_told[other]);
        if self.now < self.truth_until || trouble == Trouble::OtherChain && !contradicted {
            return false;
        }
        self.truth_until = until + TRUTH;
        if trouble == Trouble::LieAhead {
            // More than a chain at its fastest makes in the time of a world.
            let by = [u64::MAX, 1 << 40, 1 << 36, 200_000][self.rng.index(4)];
            self.nodes[endpoint].lie = Some(Lie::Ahead(by));
        } else {
            // Its connections end, as when a name is given to another node.
            for wire in self.skin.wires().collect::<Vec<_>>() {
                if self.wires[wire].node == endpoint {
                    self.end_wire(wire, true);
                }
            }
            self.nodes[endpoint].lie = Some(Lie::OtherChain);
        }
        self.agenda.plan(until, Event::Recover { node: endpoint, trouble });
        true
    }
}
