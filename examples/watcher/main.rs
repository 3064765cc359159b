//! Watches token balances as a trading bot would, and shows what it sees: without arguments on a
//! market of its own, with them on a real cluster. `--help` lists the options.

mod args;
mod check;
mod client;
mod demo;
mod events;
mod human;
mod lines;
mod log;
mod market;
mod output;
mod remote;
mod trouble;
mod watch;

use std::{io, process::ExitCode, sync::Arc};

use crate::{
    args::{Args, Command},
    events::Registry,
    output::Output,
};
use balance_mirror::{ConfigError, WatchError};

/// Why the watcher could not continue.
#[derive(Debug)]
enum Failure {
    /// The request cannot be carried out. Exit code 2.
    Wrong(String),
    /// Any other failure. Exit code 1.
    Fatal(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Wrong(match error {
            // The library's text names its setting, not this option.
            ConfigError::NoWsUrl => {
                "the RPC URL has the highest port, so there is no next one for WebSockets: give --ws-url"
                    .to_owned()
            }
            error => error.to_string(),
        })
    }
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        Self::Fatal(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Fatal(error.to_string())
    }
}

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(wrong) => return fail(&Failure::Wrong(wrong.to_string())),
    };
    let args = match command {
        Command::Help => {
            // Stderr is closed; there is no other place to report this.
            let _ = io::Write::write_all(&mut io::stdout(), args::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Command::Run(args) => args,
    };
    log::start(&args);
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    let (code, text) = match failure {
        Failure::Wrong(text) => (2, format!("{text}\nTry --help.")),
        Failure::Fatal(text) => (1, text.clone()),
    };
    // Stderr may be closed; the exit code reports the failure as well.
    let _ = io::Write::write_all(&mut io::stderr(), format!("watcher: {text}\n").as_bytes());
    ExitCode::from(code)
}

#[tokio::main]
async fn run(args: &Args) -> Result<(), Failure> {
    match &args.cluster {
        Some(cluster) => {
            let registry = Arc::new(Registry::default());
            let (output, writer) = Output::open(args.json, registry.clone())?;
            let output = Arc::new(output);
            let ended = remote::run(cluster, args, &output, &registry).await;
            drop(output);
            writer.finish().await;
            ended
        }
        None => demo::run(args).await,
    }
}
