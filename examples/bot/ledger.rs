//! Records what the strategies did: line by line, and in total.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    io::{IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use balance_mirror::{
    AccountState, HoldError, Position, Pubkey, Reading, SellObstacle, SellOutcome, ServedFrom,
    SettledThrough, Signature, Unsellable,
};
use tokio::time::Instant;

use crate::trade::{Bought, NotBought, NotSold, Sale};

/// A balance that a trade was based on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) account: Pubkey,
    /// The slot as of which the mirror reported it.
    pub(crate) as_of: Option<u64>,
    pub(crate) held: Option<u64>,
}

/// A sell, and the outcome that the mirror reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) signature: Signature,
    pub(crate) outcome: SellOutcome,
}

#[derive(Debug, Default)]
struct Pages {
    settled: [usize; 3],
    settled_in: Vec<Duration>,
    buys_failed: usize,
    buys_expired: usize,
    buys_unknown: usize,
    not_sent: usize,
    landed: usize,
    failed: usize,
    expired: usize,
    pending: usize,
    taken: usize,
    unsellable: usize,
    unread: usize,
    from_memory: Vec<Duration>,
    from_rpc: Vec<Duration>,
    used: Vec<Used>,
    ended: Vec<Ended>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    began: Instant,
    coloured: bool,
    symbols: HashMap<Pubkey, &'static str>,
    pages: Mutex<Pages>,
}

impl Ledger {
    pub(crate) fn open(symbols: HashMap<Pubkey, &'static str>) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = std::io::stdout().is_terminal() && !plain;
        Self { began: Instant::now(), coloured, symbols, pages: Mutex::default() }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records to compare with the chain.
    pub(crate) fn claims(&self) -> (Vec<Used>, Vec<Ended>) {
        let pages = self.pages();
        (pages.used.clone(), pages.ended.clone())
    }

    pub(crate) fn note(&self, who: &str, text: &str) {
        let colour = match who {
            "fault" => "33",
            "market" => "36",
            _ => "1",
        };
        self.line(who, text, colour);
    }

    pub(crate) fn bought(&self, who: &str, mint: &Pubkey, amount: u64, bought: &Result<Bought, NotBought>) {
        use balance_mirror::SettleError;
        let mut pages = self.pages();
        let (text, colour) = match bought {
            Ok(Bought { settled, took, .. }) => {
                let (place, how) = match settled.through {
                    SettledThrough::Notification => (0, "its notification"),
                    SettledThrough::Landing => (1, "its landing"),
                    _ => (2, "an RPC probe"),
                };
                pages.settled[place] += 1;
                pages.settled_in.push(*took);
                pages.used.push(used(&settled.balance.reading));
                let received = whole(settled.received);
                (format!("buys {received}: there after {}, told by {how}", Short(*took)), "32")
            }
            Err(error) => {
                match error {
                    NotBought::NotSettled(SettleError::Failed { .. }) => pages.buys_failed += 1,
                    NotBought::NotSettled(SettleError::Expired { .. }) => pages.buys_expired += 1,
                    NotBought::NotSettled(_) => pages.buys_unknown += 1,
                    _ => pages.not_sent += 1,
                }
                (format!("would buy {}: {}", whole(amount), chain(error)), "31")
            }
        };
        drop(pages);
        self.line(who, &format!("{:<5}{text}", self.symbol(mint)), colour);
    }

    pub(crate) fn sold(&self, who: &str, position: &Position, sold: &Result<Sale, NotSold>) {
        let mut pages = self.pages();
        let (text, colour) = match sold {
            Ok(Sale { reading, served_from, amount, signature, outcome, held, took }) => {
                pages.used.push(used(reading));
                pages.ended.push(Ended { signature: *signature, outcome: *outcome });
                match served_from {
                    ServedFrom::Cache => pages.from_memory.push(*held),
                    _ => pages.from_rpc.push(*held),
                }
                let (how, colour) = match outcome {
                    SellOutcome::Landed { .. } => {
                        pages.landed += 1;
                        ("sold", "0")
                    }
                    SellOutcome::Failed { .. } => {
                        pages.failed += 1;
                        ("failed on chain", "31")
                    }
                    _ => {
                        pages.expired += 1;
                        ("never landed", "31")
                    }
                };
                let amount = whole(*amount);
                (format!("sells {amount}: held after {}, {how} after {}", Short(*held), Short(*took)), colour)
            }
            Err(error) => {
                match error {
                    NotSold::Pending(_) => pages.pending += 1,
                    NotSold::Unsellable(Unsellable::Blocked(why)) if why.iter().eq([SellObstacle::Held]) => {
                        pages.taken += 1;
                    }
                    NotSold::NotHeld(HoldError::TooMuch { .. } | HoldError::Nothing { .. }) => {
                        pages.taken += 1
                    }
                    NotSold::Unsellable(_) | NotSold::NotHeld(_) => pages.unsellable += 1,
                    NotSold::Unread(_) | NotSold::NoBlockhash(_) => pages.unread += 1,
                }
                (format!("sells nothing: {}", chain(error)), "2")
            }
        };
        drop(pages);
        self.line(who, &format!("{:<5}{text}", self.symbol(&position.mint())), colour);
    }

    fn symbol(&self, mint: &Pubkey) -> &str {
        self.symbols.get(mint).copied().unwrap_or("?")
    }

    fn line(&self, who: &str, text: &str, colour: &str) {
        let at = self.began.elapsed().as_secs_f64();
        let text = match self.coloured {
            true => format!("\x1b[2m{at:7.3}s\x1b[0m  {who:<9} \x1b[{colour}m{text}\x1b[0m\n"),
            false => format!("{at:7.3}s  {who:<9} {text}\n"),
        };
        write(&text);
    }

    /// Returns whether so many buys brought tokens and so many sells landed, and trades met every
    /// kind of trouble.
    pub(crate) fn met_all(&self, trades: usize) -> bool {
        let (bought, sold) = self.trades();
        let pages = self.pages();
        let lost = pages.buys_expired + pages.expired;
        let troubles = [pages.failed, pages.taken, pages.unsellable, lost];
        bought.min(sold) >= trades && troubles.iter().all(|met| *met > 0)
    }

    /// Counts buys that brought tokens, and sells that landed.
    pub(crate) fn trades(&self) -> (usize, usize) {
        let pages = self.pages();
        (pages.settled.iter().sum(), pages.landed)
    }
}

/// The totals of the run.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.pages();
        let [notified, landed, probed] = pages.settled;
        let bought = notified + landed + probed;
        writeln!(
            f,
            "buys           {bought} settled: {notified} by notification, {landed} by landing, {probed} by probe"
        )?;
        let Pages { buys_failed, buys_expired, buys_unknown, not_sent, .. } = *pages;
        writeln!(
            f,
            "               {buys_expired} never landed, {buys_failed} failed, {buys_unknown} not settled in time, \
             {not_sent} not sent"
        )?;
        writeln!(f, "  until there  {}", Spread(&pages.settled_in))?;
        let Pages { landed, failed, expired, pending, taken, unsellable, unread, .. } = *pages;
        writeln!(
            f,
            "sells          {landed} landed, {failed} failed on chain, {expired} never landed, {pending} unknown"
        )?;
        writeln!(
            f,
            "  not sent     {taken} because others hold or sell the tokens, {unsellable} because none can be sold, \
             {unread} without a balance"
        )?;
        writeln!(f, "sell path      held, from memory: {}", Spread(&pages.from_memory))?;
        write!(f, "               held, by RPC:      {}", Spread(&pages.from_rpc))
    }
}

fn used(reading: &Reading) -> Used {
    let held = reading.last_known().and_then(AccountState::token_amount);
    Used { account: reading.address(), as_of: reading.as_of(), held }
}

/// Stdout is closed; the exit code still reports the result.
pub(crate) fn write(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A raw amount as whole tokens of six decimals.
fn whole(raw: u64) -> String {
    let digits = (raw / 1_000_000).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An error and its causes, with signatures short enough for a line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let words: Vec<String> = text.split(' ').map(shortened).collect();
    words.join(" ")
}

/// A signature by its two ends; any other word as it is.
fn shortened(word: &str) -> String {
    match word.parse::<Signature>() {
        Ok(_) => format!("{}…{}", &word[..4], &word[word.len() - 4..]),
        Err(_) => word.to_owned(),
    }
}

/// A duration, short enough to read.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_micros() {
            micros @ ..1_000 => write!(f, "{micros} µs"),
            micros @ ..1_000_000 => write!(f, "{:.1} ms", micros as f64 / 1e3),
            micros => write!(f, "{:.1} s", micros as f64 / 1e6),
        }
    }
}

/// Of fewer durations, the median says little.
const MEDIAN_OF: usize = 5;
/// Of fewer durations, 99 % are all of them.
const SHARE_OF: usize = 100;

/// The spread of several durations.
struct Spread<'a>(&'a [Duration]);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.to_vec();
        sorted.sort_unstable();
        let count = sorted.len();
        // The least of them that so many percent of them do not exceed.
        let within = |share: usize| sorted.get((count * share).div_ceil(100).saturating_sub(1)).copied();
        let (Some(median), Some(most), Some(worst)) = (within(50), within(99), within(100)) else {
            return f.write_str("never");
        };
        if count >= MEDIAN_OF {
            write!(f, "median {}, ", Short(median))?;
        }
        if count >= SHARE_OF {
            write!(f, "99 % within {}, ", Short(most))?;
        }
        write!(f, "worst {} (of {count})", Short(worst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_told_by_its_ends() {
        assert_eq!(shortened(&Signature::default().to_string()), "1111…1111");
        assert_eq!(shortened("expired;"), "expired;");
    }

    #[test]
    fn a_spread_says_what_so_many_durations_allow() {
        let spread = |count| Spread(&(1..=count).map(Duration::from_millis).collect::<Vec<_>>()).to_string();
        assert_eq!(spread(0), "never");
        assert_eq!(spread(2), "worst 2.0 ms (of 2)");
        assert_eq!(spread(5), "median 3.0 ms, worst 5.0 ms (of 5)");
        assert_eq!(spread(200), "median 100.0 ms, 99 % within 198.0 ms, worst 200.0 ms (of 200)");
    }
}
