//! The shape of the crate, kept by a test: the core decides and knows nothing of the world.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Whether `word` stands in the line, not as the beginning of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(place, _)| {
        let behind = line[place + word.len()..].chars().next();
        !behind.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

#[test]
fn the_core_has_no_task_no_socket_and_no_clock() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core");
    let files = sources(&core);
    assert!(files.len() >= 10, "the core is where it was: {files:?}");
    let worldly = [
        "tokio",
        "futures",
        "async",
        ".await",
        "std::net",
        "std::thread",
        "std::sync",
        "std::fs",
        "Instant",
        "SystemTime",
        "reqwest",
        "arc_swap",
        "solana_rpc_client",
        "solana_pubsub_client",
        "tracing",
        "RandomState",
    ];
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for word in worldly {
                assert!(!has_word(line, word), "{}:{}: {word} in the core", file.display(), number + 1);
            }
            let outside = line.contains("crate::") && !line.contains("crate::core");
            assert!(!outside, "{}:{}: the core imports from outside it", file.display(), number + 1);
        }
    }
}
