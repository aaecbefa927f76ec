//! The contract suite on kryoptic, a token that shares no code with SoftHSM: what is a habit of one token
//! and what is PKCS#11. `make test-kryoptic` builds the module and runs this; a plain `cargo test` does not.
//!
//! As with SoftHSM, the module reads its configuration from the environment of its process, so this program
//! starts itself again with the variable set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod life;
mod promises;
mod token;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

/// Set in the process that runs the trials, to its directory.
const HOME: &str = "HOLDFAST_TEST_KRYOPTIC_HOME";

fn main() -> ExitCode {
    match std::env::var_os(HOME) {
        Some(home) => {
            token::enter(home.into());
            run()
        }
        None => start_again(),
    }
}

fn run() -> ExitCode {
    let mut trials = promises::trials();
    let named: &[(&str, fn())] = &[
        ("after_a_logout_the_probe_fails_and_a_new_connection_opens", life::logged_out),
        ("after_a_foreign_finalization_a_new_connection_opens", life::finalized),
    ];
    trials.extend(named.iter().map(|(name, promise)| {
        Trial::test(*name, move || {
            promise();
            Ok(())
        })
    }));
    let mut arguments = Arguments::from_args();
    // A logout and a finalization are the whole process's.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn start_again() -> ExitCode {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(std::env::args_os().skip(1))
        .env(HOME, scratch.path())
        .env("KRYOPTIC_CONF", token::configuration(scratch.path()))
        .status()
        .expect("this program again");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
