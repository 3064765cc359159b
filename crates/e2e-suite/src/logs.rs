//! Every log line of every mirror in the process, searched for the secret that all of them are
//! given.

use std::{
    collections::VecDeque,
    fmt::{self, Write},
    sync::{Mutex, Once, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// A key as hosted nodes want it, in the URLs' query and in a header.
pub(crate) const SECRET: &str = "s3cr3t-4f1d0c7e";

/// So many of the latest warnings are kept, of all scenarios that run in this process.
const KEPT: usize = 10_000;
/// So many of them are shown.
const SHOWN: usize = 20;

static LINES: Mutex<Lines> = Mutex::new(Lines { seen: 0, leaks: Vec::new(), warnings: VecDeque::new() });

#[derive(Debug)]
struct Lines {
    seen: usize,
    leaks: Vec<String>,
    warnings: VecDeque<String>,
}

/// Listens from now on, in the whole process. `SUITE_LOG=1` prints the lines as well.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::env::var_os("SUITE_LOG").is_some();
        let registry = tracing_subscriber::registry().with(Ear { print });
        // A process that listens already keeps its own ears; then the count of lines says so.
        let _ = tracing::subscriber::set_global_default(registry);
    });
}

/// How many lines were heard so far.
pub(crate) fn seen() -> usize {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).seen
}

/// The lines that hold the secret.
pub(crate) fn leaks() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).leaks.clone()
}

/// The latest warnings in the process: of this scenario, and of what ran beside it.
pub(crate) fn warnings() -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let hidden = lines.warnings.len().saturating_sub(SHOWN);
    lines.warnings.iter().skip(hidden).cloned().collect()
}

/// Whether a warning was logged that holds all of these words. Ports among them tell this
/// scenario's from others'.
pub(crate) fn warned(words: &[&str]) -> bool {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.warnings.iter().any(|line| words.iter().all(|word| line.contains(word)))
}

struct Ear {
    print: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ear {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("balance_mirror")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        if self.print {
            eprintln!("{} {}{}", event.metadata().level(), event.metadata().target(), line.0);
        }
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.seen += 1;
        if line.0.contains(SECRET) {
            lines.leaks.push(line.0.clone());
        }
        if *event.metadata().level() <= Level::WARN {
            lines.warnings.push_back(line.0);
            if lines.warnings.len() > KEPT {
                lines.warnings.pop_front();
            }
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
