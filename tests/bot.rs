//! The bot as a newcomer runs it: the built example, judged by its exit code and by its summary.

mod support;

use std::{collections::BTreeMap, process::Output};

fn run(arguments: &[&str]) -> (Output, String) {
    let output = support::example("bot", arguments, None).output().expect("a bot");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

/// The number before a word, on the line of the summary that begins so and those indented below it.
fn count(text: &str, title: &str, word: &str) -> Option<u64> {
    let begins = text.lines().skip_while(|line| !line.starts_with(title));
    let lines: Vec<&str> = begins
        .enumerate()
        .take_while(|(at, line)| *at == 0 || line.starts_with(' '))
        .map(|it| it.1)
        .collect();
    let section = lines.join(" ");
    let before = &section[..section.find(word)?];
    before.split_whitespace().next_back()?.parse().ok()
}

/// How many durations a line tells the spread of, if its durations are some, and in order.
fn spread(line: &str) -> Option<u64> {
    let (durations, count) = line.strip_suffix(')')?.split_once(" (of ")?;
    // Of few durations, the median and 99 % are left out.
    let parts: Vec<&str> = durations.split(", ").collect();
    let told = |begins: &str| parts.iter().find_map(|part| part.strip_prefix(begins));
    let told = [told("median "), told("99 % within "), Some(told("worst ")?)];
    let durations: Vec<f64> = told.into_iter().flatten().map(duration).collect::<Option<_>>()?;
    if durations.len() < parts.len() {
        return None;
    }
    durations.is_sorted().then_some(count.parse().ok()?)
}

/// A duration, however long, in microseconds.
fn duration(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = match unit {
        "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[test]
fn every_balance_that_a_trade_used_was_the_chains() {
    // On a busy machine it plays longer.
    let (output, text) = run(&["--seed", "7", "--trades", "12"]);
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("WRONG") && !text.contains('\x1b'), "{text}");

    let counts: BTreeMap<&str, u64> = [
        ("settled", "buys", " settled:"),
        ("landed", "sells", " landed,"),
        ("failed", "sells", " failed on chain"),
        ("taken", "sells", " because others hold or sell the tokens"),
        ("frozen", "sells", " because none can be sold"),
        ("reconnects", "mirror", " reconnect"),
        ("found", "mirror", " accounts found in the wallet"),
        ("balances", "truth", " balances that trades used"),
        ("ends", "truth", " sells' ends"),
        ("positions", "truth", " positions at the end"),
    ]
    .into_iter()
    .map(|(name, title, word)| {
        (name, count(&text, title, word).unwrap_or_else(|| panic!("no {name}: {text}")))
    })
    .collect();
    // Every kind of trouble was met, and trade went on.
    for (name, least) in [
        ("settled", 12),
        ("landed", 12),
        ("failed", 1),
        ("taken", 1),
        ("frozen", 1),
        ("reconnects", 1),
        ("found", 2),
        ("balances", 25),
        ("ends", 13),
        ("positions", 2),
    ] {
        assert!(counts[name] >= least, "{name}: {} of {least}: {text}", counts[name]);
    }
    let lost = count(&text, "sells", " never landed").zip(count(&text, "buys", " never landed"));
    assert!(lost.is_some_and(|(sells, buys)| sells + buys > 0), "nothing was lost on the way: {text}");
    let wrong = text.lines().filter(|line| line.ends_with(": 0 wrong")).count();
    assert_eq!(wrong, 3, "balances, ends and positions: {text}");

    // What was measured: how long buys took to be there, and sells to be held; and sells were, out
    // of memory.
    let line = |begins: &str| text.lines().find_map(|line| line.strip_prefix(begins)).unwrap_or_default();
    let bought = spread(line("  until there  "));
    assert_eq!(bought, Some(counts["settled"]), "{text}");
    let held = spread(line("sell path      held, from memory: "));
    assert!(held.is_some_and(|held| held >= 5), "from memory: {text}");
}

#[test]
fn help_is_printed_and_wrong_arguments_are_named() {
    let (help, text) = run(&["--help"]);
    assert!(help.status.success() && text.contains("--duration SECS"), "{text}");
    let (wrong, text) = run(&["--nonsense"]);
    assert_eq!(wrong.status.code(), Some(2), "{text}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--nonsense"));
}
