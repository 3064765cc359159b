//! What several test files share.

use std::process::{Command, Stdio};

/// An example, to be run as a process of its own.
pub(crate) fn example(name: &str, arguments: &[&str], log: Option<&str>) -> Command {
    let test = std::env::current_exe().expect("this test's path");
    let file = format!("examples/{name}{}", std::env::consts::EXE_SUFFIX);
    let example = test.ancestors().nth(2).expect("the target directory").join(file);
    assert!(example.exists(), "{example:?} is built by `cargo test`, or `cargo build --example {name}`");
    let mut command = Command::new(example);
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    if let Some(log) = log {
        command.env("RUST_LOG", log);
    }
    command
}
