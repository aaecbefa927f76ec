//! `holdfast`: encrypts container images, opens them through holdfastd, and shows what it keeps.
//!
//! Parsing, calling and printing only. Images are holdfast-image's business, keys and rules the
//! daemon's. Results go to stdout, as tables for people or, with `--json`, as one document; all else
//! goes to stderr. Exit codes: 0 done, 1 failed, 2 not understood; of `doctor` also 3 and 4.

mod cli;
mod containerd;
mod daemon;
mod decode;
mod failure;
mod file;
mod interrupt;
mod known_keys;
mod layer_key;
mod output;
mod owned;
mod place;
mod progress;
mod recipients;
mod rewrapper;
mod root;
mod verbs;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use holdfast_image::printable;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::decode::{Holder, Inherited};
use crate::failure::Failure;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == decode::HOLD) {
        decode::hold(&arguments.next().unwrap_or_default().to_string_lossy());
        return ExitCode::SUCCESS;
    }
    if verb().is_some_and(|verb| verb == DECODE) {
        // Before anything else is opened.
        return decoder(Inherited::look());
    }
    let cli = cli::Cli::parse();
    match keep_from_dumps().and_then(|()| verbs::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough of it (`| head`).
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Found(code)) => ExitCode::from(code),
        Err(failure) => {
            tell(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The first argument that is neither an option nor an option's value.
fn verb() -> Option<OsString> {
    let mut arguments = std::env::args_os().skip(1);
    loop {
        let argument = arguments.next()?;
        if argument == "--socket" || argument == "--timeout" {
            arguments.next();
        } else if !argument.as_encoded_bytes().starts_with(b"-") {
            return Some(argument);
        }
    }
}

/// The verb whose caller is told of every failure in one line, wrong arguments included.
const DECODE: &str = "decode";
/// Longest line it is told in, in characters: it ends up in a pod's event.
const LONGEST_LINE: usize = 1500;

fn decoder(inherited: Inherited) -> ExitCode {
    let mut holder = Holder::default();
    let done = match cli::Decoder::try_parse() {
        Ok(cli::Decoder { common, verb: cli::DecoderVerb::Decode(wanted) }) => {
            keep_from_dumps().and_then(|()| verbs::decode::run(&common, &wanted, inherited, &mut holder))
        }
        Err(asked) if !asked.use_stderr() => asked.print().map_err(Failure::Output),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            tell(&format!("{first}; see holdfast decode --help"));
            holder.keep();
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => {
            holder.release();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let line: String = failure.to_string().chars().take(LONGEST_LINE).collect();
            tell(&line);
            holder.keep();
            ExitCode::FAILURE
        }
    }
}

fn tell(line: &str) {
    // Nowhere is left to tell that stderr cannot be written.
    let _ = writeln!(std::io::stderr(), "holdfast: {}", printable(line));
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
