//! Writes lines to stdout through a thread of its own, so that a slow consumer delays only its own
//! output.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use balance_mirror::{Health, Mirror, Pubkey};
use tokio::sync::{mpsc, oneshot};

use crate::{
    events::{Change, Moment, Preview, Read, Registry},
    human::Human,
    lines::Line,
};

/// How many lines may wait for stdout. When the queue is full, balances wait too, and the mirror
/// counts the updates that they miss.
const QUEUE: usize = 256;
/// How long to wait for a slow consumer at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The source of a line that is not from the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Market,
    Fault,
    Watcher,
}

/// The output that all lines go through.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None` prints JSON.
    human: Option<Mutex<Human>>,
    lines: mpsc::Sender<String>,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    done: oneshot::Receiver<()>,
}

/// Whether a stream is coloured: a terminal, unless the user wants none (<https://no-color.org>).
pub(crate) fn coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Output {
    /// Starts the thread that writes.
    pub(crate) fn open(json: bool, registry: Arc<Registry>) -> io::Result<(Self, Writer)> {
        let (lines, mut queue) = mpsc::channel::<String>(QUEUE);
        let (end, done) = oneshot::channel();
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let mut stdout = io::stdout();
            while let Some(line) = queue.blocking_recv() {
                // Stdout is closed: closing the queue reports that.
                if writeln!(stdout, "{line}").is_err() {
                    break;
                }
            }
            drop(queue);
            // If the end came from outside, the other side no longer waits for this.
            let _ = end.send(());
        })?;
        let human = (!json).then(|| Mutex::new(Human::new(coloured(&io::stdout()), registry)));
        Ok((Self { human, lines }, Writer { done }))
    }

    /// Returns when stdout is closed.
    pub(crate) async fn closed(&self) {
        self.lines.closed().await;
    }

    pub(crate) async fn change(&self, change: &Change) {
        self.show(|human| Some(human.change(change)), || Some(Line::from(change))).await;
    }

    pub(crate) async fn preview(&self, preview: &Preview) {
        self.show(|human| Some(human.preview(preview)), || Some(Line::from(preview))).await;
    }

    pub(crate) async fn reverted(&self, account: &Pubkey) {
        let at = Moment::now();
        self.show(|human| Some(human.reverted(at, account)), || Some(Line::reverted(at, account))).await;
    }

    pub(crate) async fn reset(&self, epoch: u32) {
        let at = Moment::now();
        let line = || Some(Line::Reset { ts: at.rfc3339(), epoch });
        self.show(|human| Some(human.reset(at)), line).await;
    }

    pub(crate) async fn missed(&self, count: u64) {
        self.show(|human| Some(human.missed(count)), || Some(Line::Missed { count })).await;
    }

    /// Prints one reading: a line in JSON.
    pub(crate) async fn read(&self, read: &Read) {
        self.show(|_| None, || Some(Line::from(read))).await;
    }

    /// Prints one reading of every account: a line for people, if it has news.
    pub(crate) async fn sweep(&self, reads: &[Read], mirror: &Mirror) {
        self.show(|human| human.sweep(reads, |mint| mirror.mint(mint)), || None).await;
    }

    pub(crate) async fn health(&self, health: &Health) {
        let at = Moment::now();
        self.show(|human| Some(human.health(at, health)), || Some(Line::health(at, health.clone()))).await;
    }

    /// Prints a message that is none of the lines above. With JSON output, it goes to the log.
    pub(crate) async fn tell(&self, voice: Voice, text: &str) {
        if self.human.is_some() {
            return self.show(|human| Some(human.tell(voice, text)), || None).await;
        }
        match voice {
            Voice::Market => tracing::info!(target: "watcher", "market: {text}"),
            Voice::Fault => tracing::info!(target: "watcher", "fault: {text}"),
            Voice::Watcher => tracing::info!(target: "watcher", "{text}"),
        }
    }

    async fn show(
        &self,
        words: impl FnOnce(&mut Human) -> Option<String>,
        line: impl FnOnce() -> Option<Line>,
    ) {
        let text = match &self.human {
            Some(human) => words(&mut human.lock().unwrap_or_else(PoisonError::into_inner)),
            None => line().and_then(|line| match serde_json::to_string(&line) {
                Ok(text) => Some(text),
                Err(error) => {
                    tracing::error!(target: "watcher", %error, "a line cannot be written as JSON");
                    None
                }
            }),
        };
        if let Some(text) = text {
            // If stdout is closed, `closed` ends the run.
            let _ = self.lines.send(text).await;
        }
    }
}

impl Writer {
    /// Waits, for a limited time, until the last line is written, once the [`Output`] is gone.
    pub(crate) async fn finish(self) {
        if tokio::time::timeout(LAST_LINES, self.done).await.is_err() {
            tracing::warn!(target: "watcher", "stdout takes no more lines; the last ones are lost");
        }
    }
}
