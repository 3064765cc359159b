//! The tables of the docs name tests: each of those exists, so that no table outlives its tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the tables of a page whose header has a column of tests: each row's first cell, and
/// what it names in backticks in that column.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let text = read(&root().join("docs").join(page));
    let (mut column, mut rows) = (None, Vec::new());
    for line in text.lines() {
        let Some(line) = line.strip_prefix('|') else {
            column = None;
            continue;
        };
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        if let Some(tests) = cells.iter().position(|cell| matches!(*cell, "Test" | "Tests")) {
            column = Some(tests);
        } else if let Some(column) = column.filter(|_| !line.starts_with("---")) {
            let cell = cells.get(column).unwrap_or_else(|| panic!("{page}: a row without tests: {line}"));
            let names = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            rows.push((cells[0].to_owned(), names));
        }
    }
    rows
}

/// Whether a source has a test of that name, and not merely a function.
fn has_test(source: &str, name: &str) -> bool {
    source.match_indices(&format!("fn {name}(")).any(|(place, _)| {
        let before = source[..place].trim_end().trim_end_matches("async").trim_end();
        before.lines().rev().take(3).any(|line| {
            let line = line.trim();
            line.starts_with("#[test]") || line.starts_with("#[tokio::test")
        })
    })
}

/// Whether a unit test stands where its path says: in the file of its module, or in that of one
/// around it.
fn is_unit_test(path: &str) -> bool {
    let mut modules: Vec<&str> = path.split("::").collect();
    let Some(name) = modules.pop() else { return false };
    while !modules.is_empty() {
        let file = root().join("src").join(modules.join("/"));
        let files = [file.with_extension("rs"), file.join("mod.rs")];
        if let Some(file) = files.iter().find(|file| file.exists()) {
            return has_test(&read(file), name);
        }
        modules.pop();
    }
    false
}

/// Whether a scenario is in the list that its path says, under its module.
fn is_scenario(list: &str, module: &str, name: &str) -> bool {
    let scenarios = root().join("crates/e2e-suite/src/scenarios");
    let lists = read(&scenarios.join("mod.rs"));
    let Some((_, list)) = lists.split_once(&format!("macro_rules! {list} {{")) else { return false };
    let list = list.split_once("macro_rules!").map_or(list, |(list, _)| list);
    let Some((_, listed)) = list.split_once(&format!("{module}: [")) else { return false };
    let listed = listed.split_once(']').map_or(listed, |(listed, _)| listed);
    let played = read(&scenarios.join(module).with_extension("rs")).contains(&format!("fn {name}("));
    played && listed.split(',').any(|one| one.trim() == name)
}

fn exists(path: &str) -> bool {
    match path.split("::").collect::<Vec<_>>()[..] {
        [list @ ("everywhere" | "local_only"), module, name] => is_scenario(list, module, name),
        _ => is_unit_test(path),
    }
}

#[test]
fn every_race_has_tests_and_they_exist() {
    let rows = rows("races.md");
    let numbers: Vec<_> = rows.iter().map(|(number, _)| number.clone()).collect();
    assert_eq!(numbers, (1..=36).map(|number| number.to_string()).collect::<Vec<_>>());
    for (number, tests) in rows {
        assert!(!tests.is_empty(), "row {number}");
        for test in tests {
            assert!(exists(&test), "row {number} names {test}, which is not there");
        }
    }
}

#[test]
fn every_fact_has_a_test_and_it_exists() {
    let folder = root().join("crates/validator/tests/facts");
    let sources: String = fs::read_dir(&folder)
        .expect("the facts")
        .map(|entry| read(&entry.expect("an entry").path()))
        .collect();
    let rows = rows("facts.md");
    assert!(rows.len() > 45, "{} rows", rows.len());
    let named: Vec<_> =
        rows.iter().flat_map(|(fact, tests)| tests.iter().map(move |test| (fact, test))).collect();
    assert!(named.len() >= rows.len() - 1, "one row says `the same`");
    for (fact, test) in named {
        assert!(sources.contains(&format!("fn {test}(")), "{fact:?} names {test}, which is not there");
    }
}

/// A number as the README shows it: groups of three digits, with a space between them.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{} {:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// The number between a text and the next one, in a source.
fn number_in(source: &str, before: &str, after: &str) -> usize {
    let number = source.split_once(before).and_then(|(_, rest)| rest.split_once(after)).map(|it| it.0);
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number after {before:?}"))
}

#[test]
fn the_counts_in_the_readme_are_those_of_the_lists() {
    let crates = root().join("crates");
    let (everywhere, local) = (e2e_suite::everywhere().len(), e2e_suite::local_only().len());
    let [kinds, local_kinds] = e2e_suite::chaos::kinds_played();
    let all_kinds = kinds + local_kinds;
    let troubles = number_in(&read(&crates.join("simulation/src/plan.rs")), "ALL: [Trouble; ", "]");
    let worlds = read(&crates.join("model-check/src/plan.rs"));
    // One of them is the plan that the others begin with.
    let worlds = worlds.matches(" name: \"").count() - worlds.matches(" name: \"\"").count();
    let mutants = fs::read_dir(crates.join("simulation/mutants")).expect("the mutants").count();
    let claims = [
        ("README.md", format!("{} scenarios on the local cluster, {everywhere} of them", everywhere + local)),
        (
            "README.md",
            format!("{all_kinds} kinds of faults 20 times each, {} faults", grouped(all_kinds * 20)),
        ),
        ("README.md", format!("{kinds} kinds 20 times each, {} faults", grouped(kinds * 20))),
        ("README.md", format!("{troubles} kinds of faults; a checker")),
        ("README.md", format!("{worlds} small worlds under a model checker")),
        ("CONTRIBUTING.md", format!("{mutants} patches")),
    ];
    for (page, claim) in claims {
        assert!(read(&root().join(page)).contains(&claim), "{page} does not say: {claim}");
    }
}

#[test]
fn what_does_not_exist_is_told_from_what_does() {
    assert!(exists("core::rpc::audit::tests::nobody_twice_in_a_batch_and_no_batch_of_nobody"));
    assert!(!exists("core::rpc::audit::tests::nobody_twice_in_a_batch"), "a part of a name");
    assert!(
        !exists("core::base::backoff::tests::nobody_twice_in_a_batch_and_no_batch_of_nobody"),
        "elsewhere"
    );
    assert!(!exists("core::rpc::audit::tests::key"), "no test");
    assert!(exists("everywhere::outage::ended_and_healed"));
    assert!(!exists("local_only::outage::ended_and_healed"), "in the other list");
    assert!(!exists("everywhere::outage::cut_and_healed"), "not listed");
}
