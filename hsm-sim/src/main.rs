//! `hsm-sim`: real HSM simulators for one command (`run`), or until `down` (`up`).
//!
//! The work is the library's; here are the command line, the signals, and the exit codes.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
