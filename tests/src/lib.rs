//! What the end-to-end tests and the benchmarks share: a daemon with a real token, its peers, an image.
//!
//! The binaries are the ones that `make build` puts beside the test's own executable.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)] // what fails here fails the test

pub mod counted;
pub mod gpg;
pub mod house;
pub mod image;
pub mod kmip;
pub mod memory;
pub mod node;
pub mod peers;
pub mod rpc;
pub mod stall;
pub mod terminal;
pub mod tpm;

use std::path::PathBuf;
use std::process::{Command, Output};

/// A binary of this workspace, from the directory the test itself was built into.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let path = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join(name);
    assert!(path.exists(), "{} is not built; run: make build", path.display());
    path
}

/// Asks until the answer is yes, for at most [`house::PATIENCE`]; between two questions others may run.
pub async fn eventually(what: &str, mut asked: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + house::PATIENCE;
    while !asked().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {:?}", house::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Runs a command that must succeed, and gives its standard output.
pub fn must(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?} failed:\n{}", text(&output));
    String::from_utf8(output.stdout).expect("UTF-8 output")
}

/// Runs a command that must fail, and gives all it printed.
pub fn must_fail(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?} succeeded:\n{}", text(&output));
    text(&output)
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
