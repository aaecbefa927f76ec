//! The shape of the house, held by tests: who may import whom, what a release is linked from, and what no
//! file may hold. `deny.toml` says the same of other people's crates.
//!
//! Each test fails with what to do about it. Every exception stands in a list here with its reason, and an
//! exception that nothing needs any more fails too.

#![allow(clippy::expect_used, clippy::panic)] // what fails here fails the test

mod arrows;
mod files;
mod release;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The project's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project's root")
}

/// What a program prints, run in the project's root.
fn output_of(program: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be started ({error}); install {package}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {errors}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The cargo that runs this test, else the one in the path.
fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    output_of(&cargo, "Rust (rustup.rs)", arguments)
}

/// A file of ours as text; what is not UTF-8 in it does not matter here.
fn text_of(file: &Path) -> String {
    let bytes =
        std::fs::read(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every file of the project, committed or not yet, from its root; what git ignores is none.
fn files() -> Vec<PathBuf> {
    let listed = output_of(
        "git",
        "Debian's package git",
        &["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    );
    let files: Vec<PathBuf> =
        listed.split_terminator('\0').map(PathBuf::from).filter(|file| root().join(file).is_file()).collect();
    assert!(files.contains(&PathBuf::from("Cargo.toml")), "git does not list the project; run it in a clone");
    files
}

/// Fails with all lines at once, each of which says where and what to do.
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
