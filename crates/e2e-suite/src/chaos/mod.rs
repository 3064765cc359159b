//! Chaos over real sockets: every kind of fault, many times, in an order and of a size drawn from a
//! seed, while wallets trade and readers never stop.
//!
//! The faults are dealt out to lanes, each with a mirror, a load, readers and proxies of its own.
//! In a lane one fault follows the other: it begins, lasts, ends, and then every account must be
//! live again and tell the truth within the mirror's own bounds. All that was served meanwhile is
//! held against the contract and the transactions.

mod bot;
mod judge;
mod kinds;
mod lane;
mod load;
pub(crate) mod random;
mod table;
mod truth;

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use crate::{
    chaos::{
        judge::Tally,
        kinds::Kind,
        lane::{Fault, Lane},
        random::{Draw, Random},
        table::Table,
    },
    cluster::Cluster,
    logs,
    outcome::Outcome,
};

/// How often each kind of fault occurs where nothing else is asked for.
const ROUNDS: usize = 3;
const SEED: u64 = 20_261_122;
/// One node alone, two in failover, two in a race.
const WAYS: usize = 3;

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each kind of fault occurs.
    pub rounds: usize,
    /// What the order and the sizes are drawn from.
    pub seed: u64,
}

impl Plan {
    /// As `CHAOS_ROUNDS` and `CHAOS_SEED` say; 3 rounds, and always the same seed, without them.
    ///
    /// # Errors
    /// One of them is not a number.
    pub fn from_env() -> Outcome<Self> {
        let number = |name: &str| match std::env::var(name) {
            Ok(text) => text.parse().map(Some).map_err(|error| format!("{name}={text}: {error}")),
            Err(_) => Ok(None),
        };
        let rounds = number("CHAOS_ROUNDS")?.map(usize::try_from).transpose()?;
        Ok(Self { rounds: rounds.unwrap_or(ROUNDS), seed: number("CHAOS_SEED")?.unwrap_or(SEED) })
    }
}

/// Plays as many lanes as there are clusters, of which several may be the same one, and prints the
/// table. Kinds that need the local cluster are played where all are local.
///
/// # Errors
/// A violation, or a mirror that is not whole in time: with the seed, the fault and the mirror's
/// health.
pub fn run(clusters: &[&dyn Cluster], plan: Plan) -> Outcome {
    logs::listen();
    let began = Instant::now();
    let kinds = kinds(clusters);
    let name = clusters.first().ok_or("no cluster")?.name();
    let Plan { rounds, seed } = plan;
    say(&format!(
        "chaos on {name}: {} kinds of faults, {rounds} times each, in {} lanes, seed {seed}",
        kinds.len(),
        clusters.len()
    ))?;
    let mut random = Random::new(seed);
    let hands = deal(&kinds, rounds, clusters.len(), &mut random);
    let outcomes: Vec<Outcome<Lane>> = thread::scope(|scope| {
        let lanes: Vec<_> = clusters
            .iter()
            .zip(&hands)
            .enumerate()
            .filter(|(_, (_, faults))| !faults.is_empty())
            .map(|(lane, (cluster, faults))| {
                let random = Random::new(random.next());
                scope.spawn(move || lane::play(lane, *cluster, faults, random))
            })
            .collect();
        let join =
            |lane: thread::ScopedJoinHandle<'_, _>| lane.join().unwrap_or(Err("a lane panicked".into()));
        lanes.into_iter().map(join).collect()
    });
    let (lanes, failures): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let lanes: Vec<Lane> = lanes.into_iter().flatten().collect();
    say(&Table { names: kinds.iter().map(|kind| kind.name).collect(), lanes: &lanes }.to_string())?;
    say(&summary(&lanes, began.elapsed()))?;
    let leaks = logs::leaks();
    let failures: Vec<_> =
        failures.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    if failures.is_empty() && leaks.is_empty() {
        return Ok(());
    }
    let warnings = logs::warnings();
    Err(format!(
        "chaos on {name} with CHAOS_SEED={seed} CHAOS_ROUNDS={rounds}: {}\nlog lines with the secret: {leaks:#?}\nthe \
         latest warnings in this process: {warnings:#?}",
        failures.join("\n\n")
    )
    .into())
}

/// How many kinds of faults there are: those for every cluster, and those for the local one alone.
pub fn kinds_played() -> [usize; 2] {
    [kinds::everywhere().len(), kinds::local_only().len()]
}

fn kinds(clusters: &[&dyn Cluster]) -> Vec<Kind> {
    let mut kinds = kinds::everywhere();
    if clusters.iter().all(|cluster| cluster.local().is_some()) {
        kinds.extend(kinds::local_only());
    }
    // For who looks into one: not what the gate plays.
    if let Ok(part) = std::env::var("CHAOS_ONLY") {
        kinds.retain(|kind| kind.name.contains(&part));
    }
    kinds
}

/// Every kind so many times, in an order of the seed, dealt out to the lanes: in each round a kind
/// to another of the three ways in which lanes are set up, and in each round all of the ways as
/// many kinds.
fn deal(kinds: &[Kind], rounds: usize, lanes: usize, random: &mut Random) -> Vec<Vec<Fault>> {
    let mut deck: Vec<_> = (0..rounds).flat_map(|round| (round..).zip(kinds.iter().copied())).collect();
    random.shuffle(&mut deck);
    let mut hands = vec![Vec::new(); lanes];
    for (number, (way, kind)) in deck.into_iter().enumerate() {
        let mine = (0..lanes).filter(|lane| lanes < WAYS || lane % WAYS == way % WAYS);
        let lane = mine.min_by_key(|lane| hands[*lane].len()).unwrap_or_default();
        hands[lane].push(Fault { number: number + 1, kind, draw: Draw::new(random) });
    }
    hands
}

fn summary(lanes: &[Lane], took: Duration) -> String {
    let mut tally = Tally::default();
    lanes.iter().for_each(|lane| tally.add(lane.tally));
    let sum = |of: fn(&Lane) -> u64| lanes.iter().map(of).sum::<u64>();
    let youngest = lanes.iter().map(|lane| lane.youngest).max().unwrap_or_default();
    format!(
        "{} faults, {} readings ({} from memory, {} by RPC, {} refused), {} claims about slots, {} transactions, {} \
         reconnects; 0 violations in the lanes that ended well; proofs too young by {youngest:?} at most; {took:.0?}",
        lanes.iter().map(|lane| lane.played.len()).sum::<usize>(),
        tally.readings(),
        tally.memory,
        tally.rpc,
        tally.refused,
        sum(|lane| lane.claims),
        sum(|lane| lane.transactions),
        sum(|lane| lane.reconnects),
    )
}

/// Prints past the test harness, which else swallows what a test that passes prints.
fn say(what: &str) -> Outcome {
    writeln!(std::io::stdout(), "{what}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(seed: u64, rounds: usize) -> Vec<Vec<String>> {
        let mut kinds = kinds::everywhere();
        kinds.extend(kinds::local_only());
        let hands = deal(&kinds, rounds, 6, &mut Random::new(seed));
        let words = |fault: &Fault| format!("{} {} {:?}", fault.number, fault.kind.name, fault.draw);
        hands.iter().map(|hand| hand.iter().map(words).collect()).collect()
    }

    #[test]
    fn every_kind_is_dealt_as_often_as_asked_for_and_the_seed_decides() {
        let hands = dealt(7, 3);
        let all: Vec<_> = hands.iter().flatten().collect();
        for kind in kinds::everywhere().iter().chain(&kinds::local_only()) {
            let times = all.iter().filter(|words| words.contains(&format!(" {} Draw", kind.name))).count();
            assert_eq!(times, 3, "{}", kind.name);
        }
        assert_eq!(hands, dealt(7, 3));
        assert_ne!(hands, dealt(8, 3));
    }

    #[test]
    fn one_round_has_something_for_every_lane() {
        let sizes: Vec<_> = dealt(7, 1).iter().map(Vec::len).collect();
        let (least, most) = (sizes.iter().min(), sizes.iter().max());
        assert!(least > Some(&10) && most < Some(&15), "{sizes:?}");
    }
}
