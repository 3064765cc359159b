//! Formats the lines for people, for a terminal of 120 columns.

use std::{collections::HashMap, sync::Arc, time::Duration};

use balance_mirror::{AccountState, Health, LinkPhase, MintInfo, NodeHealth, Pubkey, ReadError, StateOrigin};
use tokio::time::Instant;

use crate::{
    events::{Change, Moment, Preview, Read, Registry, Short, chain},
    output::Voice,
};

/// How often a sweep that looks like the one before is shown again.
pub(crate) const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// What the columns of a balance are, after the account's name.
pub(crate) const COLUMNS: &str = "account, amount, change, state, origin, slot observed at";

/// Colours, as terminals number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "1;35",
            Self::Cyan => "36",
        }
    }
}

/// Where the readings of a sweep came from; a difference is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Live,
    Aging,
    Rpc,
    Error,
}

impl Kind {
    fn of(read: &Read) -> Self {
        match (read.served_from(), read.freshness()) {
            ("cache", "live") => Self::Live,
            ("cache", _) => Self::Aging,
            ("rpc", _) => Self::Rpc,
            _ => Self::Error,
        }
    }

    fn look(self) -> (Colour, &'static str) {
        match self {
            Self::Live => (Colour::Green, "from cache, live"),
            Self::Aging => (Colour::Yellow, "from cache, aging"),
            Self::Rpc => (Colour::Cyan, "from rpc"),
            Self::Error => (Colour::Red, "refused"),
        }
    }
}

/// Describes events in words. It remembers what it printed last, to describe changes.
#[derive(Debug)]
pub(crate) struct Human {
    colours: bool,
    registry: Arc<Registry>,
    amounts: HashMap<Pubkey, u64>,
    last_sweep: Option<(Instant, Vec<(Kind, usize)>)>,
}

impl Human {
    pub(crate) fn new(colours: bool, registry: Arc<Registry>) -> Self {
        Self { colours, registry, amounts: HashMap::new(), last_sweep: None }
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colours && colour != Colour::Plain {
            format!("\x1b[{}m{text}\x1b[0m", colour.code())
        } else {
            text.to_owned()
        }
    }

    fn line(&self, at: Moment, colour: Colour, kind: &str, text: &str) -> String {
        let time = self.paint(Colour::Dim, &at.time_of_day());
        format!("{time}  {}  {text}", self.paint(colour, &format!("{kind:<8}")))
    }

    /// A message from the watcher itself, beside the mirror's events.
    pub(crate) fn tell(&self, voice: Voice, text: &str) -> String {
        let (colour, kind) = match voice {
            Voice::Market => (Colour::Blue, "market"),
            Voice::Fault => (Colour::Magenta, "fault"),
            Voice::Watcher => (Colour::Bold, "watcher"),
        };
        let body = if voice == Voice::Fault { colour } else { Colour::Plain };
        self.line(Moment::now(), colour, kind, &self.paint(body, text))
    }

    pub(crate) fn missed(&self, count: u64) -> String {
        let text = format!("{count} updates were overwritten before they were shown; the mirror has them");
        self.line(Moment::now(), Colour::Red, "missed", &text)
    }

    pub(crate) fn change(&mut self, change: &Change) -> String {
        let held = change.state.token_amount();
        let ui = |raw| match &change.mint {
            Some(mint) => mint.ui_amount(raw).map_or_else(|| format!("raw {raw}"), |ui| grouped(&ui)),
            None => format!("raw {raw}"),
        };
        let exists = change.state.token().is_some();
        let amount = held.filter(|_| exists).map_or_else(|| "-".to_owned(), ui);
        let before = match held {
            Some(amount) => self.amounts.insert(change.account, amount),
            None => self.amounts.remove(&change.account),
        };
        let (colour, delta) = match (before, held) {
            (Some(before), Some(now)) if now > before => (Colour::Green, format!("+{}", ui(now - before))),
            (Some(before), Some(now)) if now < before => (Colour::Red, format!("-{}", ui(before - now))),
            _ => (Colour::Plain, String::new()),
        };
        let state = match &change.state {
            AccountState::Initialized(_) => Colour::Plain,
            AccountState::Absent | AccountState::Closed => Colour::Dim,
            _ => Colour::Yellow,
        };
        let by = match change.origin {
            StateOrigin::Subscription => Colour::Plain,
            _ => Colour::Cyan,
        };
        let text = format!(
            "{:<12} {}  {}  {} {} {} {}",
            self.registry.name(&change.account),
            self.paint(Colour::Dim, &Short(&change.account).to_string()),
            self.paint(Colour::Bold, &format!("{amount:>15}")),
            self.paint(colour, &format!("{delta:<12}")),
            self.paint(state, &format!("{:<13}", change.state.name())),
            self.paint(by, &format!("{:<12}", change.origin.name())),
            self.paint(Colour::Dim, &format!("slot {}", change.slot)),
        );
        self.line(change.at, Colour::Bold, "balance", &text)
    }

    /// A state at processed: do not trade on it yet.
    pub(crate) fn preview(&self, preview: &Preview) -> String {
        let held = preview.state.token_amount().filter(|_| preview.state.token().is_some());
        let shown = |raw| preview.mint.and_then(|mint| mint.ui_amount(raw)).map(|ui| grouped(&ui));
        let amount =
            held.map_or_else(|| "-".to_owned(), |raw| shown(raw).unwrap_or_else(|| format!("raw {raw}")));
        let text = format!(
            "{:<12} {}  {amount:>15}  {:<12} {:<13} {:<12} slot {}",
            self.registry.name(&preview.account),
            Short(&preview.account),
            "",
            preview.state.name(),
            "processed",
            preview.slot,
        );
        self.line(preview.at, Colour::Dim, "ahead", &self.paint(Colour::Dim, &text))
    }

    pub(crate) fn reverted(&self, at: Moment, account: &Pubkey) -> String {
        let text = format!(
            "{:<12} {}  what was shown ahead did not come to be; the last balance stands",
            self.registry.name(account),
            Short(account),
        );
        self.line(at, Colour::Yellow, "reverted", &text)
    }

    pub(crate) fn reset(&self, at: Moment) -> String {
        let text = "the chain began anew: nothing is served before each account is read anew";
        self.line(at, Colour::Red, "reset", text)
    }

    /// A line for a reading of all accounts, if it looks different from the one before, or if that
    /// was long ago.
    pub(crate) fn sweep(
        &mut self,
        reads: &[Read],
        mint_of: impl Fn(&Pubkey) -> Option<MintInfo>,
    ) -> Option<String> {
        let at = reads.iter().map(|read| read.at).next_back()?;
        let mut kinds = [Kind::Live, Kind::Aging, Kind::Rpc, Kind::Error].map(|kind| (kind, Vec::new()));
        for read in reads {
            let kind = Kind::of(read);
            kinds.iter_mut().filter(|(other, _)| *other == kind).for_each(|(_, group)| group.push(read));
        }
        let groups: Vec<_> = kinds.into_iter().filter(|(_, group)| !group.is_empty()).collect();
        let shape: Vec<_> = groups.iter().map(|(kind, group)| (*kind, group.len())).collect();
        let now = Instant::now();
        let seen = self.last_sweep.as_ref();
        if seen.is_some_and(|(shown, last)| *last == shape && now.duration_since(*shown) < REPEAT_AFTER) {
            return None;
        }
        self.last_sweep = Some((now, shape));
        let all = reads.len();
        let words = groups.iter().map(|(kind, group)| self.group(*kind, group, all, &mint_of));
        Some(self.line(at, Colour::Bold, "reading", &words.collect::<Vec<_>>().join("; ")))
    }

    fn group(
        &self,
        kind: Kind,
        group: &[&Read],
        all: usize,
        mint_of: impl Fn(&Pubkey) -> Option<MintInfo>,
    ) -> String {
        let (colour, words) = kind.look();
        let took = Range::of(group.iter().map(|read| Some(read.took)));
        let age = Range::of(group.iter().map(|read| read.age()));
        let head = self.paint(colour, &format!("{} of {all} {words}", group.len()));
        let example = group.first();
        match kind {
            Kind::Live | Kind::Aging => format!("{head}, proved {age} ago, in {took}"),
            Kind::Rpc => {
                let shown = example.and_then(|read| Some((read, read.answer.as_ref().ok()?)));
                let shown = shown.map(|(read, balance)| {
                    let mint = balance.state.token().and_then(|token| mint_of(&token.mint));
                    let held =
                        balance.state.token_amount().zip(mint).and_then(|(raw, mint)| mint.ui_amount(raw));
                    let held = held.map_or_else(|| balance.state.to_string(), |held| grouped(&held));
                    format!(" ({}: {held})", self.registry.name(&read.account))
                });
                format!("{head}{} in {took}: memory had nothing fresh", shown.unwrap_or_default())
            }
            Kind::Error => {
                let why = example.and_then(|read| read.answer.as_ref().err()).map(why);
                format!("{head}: {}", why.unwrap_or_default())
            }
        }
    }

    pub(crate) fn health(&self, at: Moment, health: &Health) -> String {
        let phase = self.phase(health.phase, health.phase_ms);
        let canary = health
            .canary_age_ms
            .map_or_else(|| "no canary yet".to_owned(), |age| format!("canary {} ago", millis(age)));
        let text = format!(
            "{}, {canary}, {}/{} live, {}, {}, {}, {}",
            phase,
            health.live,
            health.watched,
            counted(health.reconnects, "reconnect"),
            counted(health.hits, "hit"),
            counted(health.fallbacks, "fallback"),
            counted(health.rpc_failures, "RPC failure"),
        );
        let mut lines = vec![self.line(at, Colour::Bold, "health", &text)];
        if health.nodes.len() > 1 {
            lines.extend(health.nodes.iter().map(|node| self.node(at, node, health.watched)));
        }
        lines.join("\n")
    }

    /// Describes one of several nodes.
    fn node(&self, at: Moment, node: &NodeHealth, watched: usize) -> String {
        let phase = match (node.paused, node.enabled) {
            (true, _) => self.paint(Colour::Red, "not believed for now"),
            (false, false) => self.paint(Colour::Dim, "in reserve"),
            (false, true) => self.phase(node.phase, node.phase_ms),
        };
        let slot = node.slot.map(|slot| format!(", slot {slot}")).unwrap_or_default();
        let lag = node.chain_lag_ms.map(|lag| format!(", lag {:.1} s", lag as f64 / 1e3)).unwrap_or_default();
        let live = format!(", {}/{watched} live", node.live);
        let live = if node.enabled { live } else { String::new() };
        self.line(at, Colour::Bold, "  node", &format!("{}  {phase}{live}{slot}{lag}", node.url))
    }

    fn phase(&self, phase: LinkPhase, since_ms: u64) -> String {
        let colour = match phase {
            LinkPhase::Live => Colour::Green,
            LinkPhase::Connecting | LinkPhase::Probing => Colour::Yellow,
            _ => Colour::Red,
        };
        self.paint(colour, &format!("{} {}", phase.name(), millis(since_ms)))
    }
}

/// The error, without what the rest of the line already contains.
fn why(error: &ReadError) -> String {
    match error {
        ReadError::Rpc { stale, source } => format!("{}; RPC: {source}", old(stale.age)),
        ReadError::Deadline { stale, .. } => format!("{}; RPC gave no answer in time", old(stale.age)),
        other => chain(other),
    }
}

fn old(age: Option<Duration>) -> String {
    age.map_or_else(|| "memory has no proof".to_owned(), |age| format!("memory is {} old", Span(age)))
}

/// Groups the digits before the decimal point by three.
pub(crate) fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// So many of something, whose plural ends in s.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

/// A time span with two or three digits.
struct Span(Duration);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_micros() {
            micros @ 0..1_000 => write!(f, "{micros} µs"),
            micros @ 1_000..100_000 => write!(f, "{:.1} ms", micros as f64 / 1e3),
            micros => write!(f, "{:.1} s", micros as f64 / 1e6),
        }
    }
}

/// The longest of some spans.
struct Range(Option<Duration>);

impl Range {
    fn of(spans: impl Iterator<Item = Option<Duration>>) -> Self {
        Self(spans.flatten().max())
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(longest) => write!(f, "≤ {}", Span(longest)),
            None => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_before_the_point_alone() {
        assert_eq!(grouped("1234567.891011"), "1,234,567.891011");
        assert_eq!((grouped("123").as_str(), grouped("0.5").as_str()), ("123", "0.5"));
    }

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "fault")), ["0 faults", "1 fault", "2 faults"]);
    }

    #[test]
    fn without_colours_no_line_holds_an_escape() {
        let human = |colours| Human::new(colours, Arc::default()).tell(Voice::Fault, "gone");
        assert!(!human(false).contains('\x1b') && human(true).contains('\x1b'));
    }
}
