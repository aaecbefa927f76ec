//! `holdfast`: encrypts container images, opens them through holdfastd, and shows what it keeps.
//!
//! Parsing, calling and printing only. Images are holdfast-image's business, keys and rules the
//! daemon's. Results go to stdout, as tables for people or, with `--json`, as one document; all else
//! goes to stderr. Exit codes: 0 done, 1 failed, 2 not understood.

mod cli;
mod daemon;
mod failure;
mod file;
mod interrupt;
mod output;
mod progress;
mod recipients;
mod verbs;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use holdfast_image::printable;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match keep_from_dumps().and_then(|()| verbs::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough of it (`| head`).
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let line = printable(&failure.to_string());
            // Nowhere is left to tell that stderr cannot be written.
            let _ = writeln!(std::io::stderr(), "holdfast: {line}");
            ExitCode::FAILURE
        }
    }
}

/// Layer keys pass through this process: no core dump of it, whatever the kernel does with them (a
/// pipe in core_pattern ignores the limit), and no debugger of the same user.
fn keep_from_dumps() -> Result<(), Failure> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| {
            Failure::line(format!(
                "cannot switch core dumps off: {error}; run it on a system that allows this"
            ))
        })
}
