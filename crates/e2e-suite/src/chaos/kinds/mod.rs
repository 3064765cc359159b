//! The kinds of faults, each a few lines: begin, last, end.

mod hostile;
mod link;
mod node;
mod rpc;

use std::{future::Future, pin::Pin, time::Duration};

use super::{bot::Bot, random::Draw};
use crate::{outcome::Outcome, world::World};

/// What a fault is played on.
pub(super) struct Stage<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) bot: &'a Bot,
}

impl Stage<'_> {
    /// So long, counted in canary deadlines: less than one passes unnoticed, more does not.
    async fn last(&self, draw: &Draw, from: f64, to: f64) {
        self.world.pass(draw.length(self.bot.bounds.canary, from, to)).await;
    }

    fn canary(&self) -> Duration {
        self.bot.bounds.canary
    }
}

type Play = for<'a> fn(&'a Stage<'a>, Draw) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A kind of fault.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) play: Play,
}

macro_rules! kinds {
    ($($module:ident::$play:ident: $name:literal,)*) => {
        vec![$(Kind { name: $name, play: |stage, draw| Box::pin($module::$play(stage, draw)) }),*]
    };
}

/// What the network and the process of the bot can do, before any node.
pub(super) fn everywhere() -> Vec<Kind> {
    kinds! {
        link::reset: "link: reset",
        link::closed: "link: closed",
        link::silent: "link: half-open, both ways",
        link::deaf: "link: half-open, nothing comes",
        link::unheard: "link: half-open, nothing leaves",
        link::refused: "link: cut, and refused a while",
        link::turned_away: "link: cut, and handshakes answered by 429 or 503",
        link::delayed: "link: delayed",
        link::trickling: "link: throttled to a trickle",
        link::stalled: "link: stalled, then its backlog at once",
        link::cut_while_subscribing: "link: cut whenever it has resubscribed some",
        link::cut_in_a_message: "link: cut in the middle of a message",
        link::storm: "link: a storm of cuts",
        rpc::silent: "RPC: half-open",
        rpc::refused: "RPC: refused",
        rpc::delayed: "RPC: delayed",
        rpc::trickling: "RPC: throttled to a trickle",
        rpc::cut_in_an_answer: "RPC: cut in the middle of an answer",
        rpc::limited: "RPC: 429",
        rpc::failing: "RPC: 500 or 503",
        rpc::storm: "RPC: a storm of cuts",
        link::both_reset: "both: reset",
        link::both_refused: "both: cut, and refused a while",
        link::both_silent: "both: half-open",
        link::reset_while_rpc_is_slow: "both: link reset while RPC is slow",
        link::reset_while_rpc_is_limited: "both: link reset while RPC says 429",
        link::reset_while_rpc_is_refused: "both: link reset while RPC is refused",
        link::starved: "bot: runtime starved",
        link::starved_while_cut: "bot: runtime starved while the link is cut",
    }
}

/// What only a node can do that is told to.
pub(super) fn local_only() -> Vec<Kind> {
    kinds! {
        node::close_frame: "node: closes politely",
        node::junk: "node: sends junk",
        node::silent: "node: stops notifying",
        node::lags: "node: notifies blocks late",
        node::slow: "node: notifies late",
        node::stands_still: "node: stands still, slots and all",
        node::clock_stands_still: "node: its Clock stands still",
        node::clock_behind: "node: its Clock is behind",
        node::skips: "node: skips banks",
        node::duplicates: "node: notifies twice and more",
        node::undecodable: "node: notifies what nobody can read",
        node::drops_one_subscription: "node: drops one subscription in silence",
        node::drops_notifications: "node: drops notifications of one account",
        node::refuses_all: "node: refuses subscriptions",
        node::refuses_one: "node: refuses one account's subscription",
        node::answers_none: "node: answers no subscribe",
        node::answers_all_but_one: "node: answers all subscribes but one",
        node::acknowledges_late: "node: acknowledges late",
        node::takes_effect_late: "node: subscriptions take effect late",
        node::rpc_unanswered: "node: RPC does not answer",
        node::rpc_unhealthy: "node: RPC says it is unhealthy",
        node::rpc_behind: "node: RPC is behind",
        node::rpc_frozen: "node: RPC is cut off from its cluster",
        node::rpc_short: "node: RPC answers an account too few",
        node::reverts: "chain: blocks are reverted",
        node::begins_anew: "chain: begins anew with the same accounts",
        hostile::lags_whole: "node: lags, RPC and all",
        hostile::reorders: "node: notifies out of order",
        hostile::drops_the_clock: "node: drops the Clock's subscription in silence",
        hostile::never_ticks: "provider: never notifies the Clock",
        hostile::refuses_the_clock: "provider: refuses the Clock",
        hostile::refuses_slices: "provider: refuses slices",
        hostile::ignores_slices: "provider: ignores slices",
        hostile::limits_subscriptions: "provider: limits subscriptions",
        hostile::closes_idle: "provider: closes idle connections",
        hostile::limits_keys: "provider: limits the accounts of a call",
        hostile::junk_frames: "hostile: junk frames",
        hostile::huge_frame: "hostile: a huge frame",
        hostile::flood: "hostile: a flood",
        hostile::forged_acknowledgements: "hostile: forged acknowledgements",
        hostile::malformed_notifications: "hostile: malformed notifications",
        hostile::bad_answers: "hostile: bad RPC answers",
        hostile::slots_ahead: "hostile: slots that are not yet",
        hostile::lies: "hostile: lies about an account",
        hostile::tells_another: "hostile: tells another account's contents",
    }
}
