//! What several test files share.

use std::process::{Command, Stdio};

/// The watcher, to be run as a process of its own.
pub(crate) fn watcher(arguments: &[&str], log: Option<&str>) -> Command {
    let test = std::env::current_exe().expect("this test's path");
    let name = format!("examples/watcher{}", std::env::consts::EXE_SUFFIX);
    let watcher = test.ancestors().nth(2).expect("the target directory").join(name);
    assert!(watcher.exists(), "{watcher:?} is built by `cargo test`, or `cargo build --example watcher`");
    let mut command = Command::new(watcher);
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    if let Some(log) = log {
        command.env("RUST_LOG", log);
    }
    command
}
