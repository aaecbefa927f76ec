//! `make bench`: what Holdfast costs, held against the same work without Holdfast.
//!
//! Machines are shared and noisy, so nothing here is a bound in seconds and nothing fails for being slow.
//! Ours and the other side take turns in short rounds of one run, each round gives a ratio, and the
//! median of those is told, with the least and the greatest beside it. `docs/benchmarks.md` says what
//! each row means.
//!
//! Every answer is checked: a wrong byte or an error ends the run.

// A benchmark that cannot go on says why and ends.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod audit;
mod bare;
mod cores;
mod decode;
mod encrypt;
mod kmip;
mod large;
mod load;
mod memory;
mod process;
mod report;
mod rewrap;
mod scene;
mod stock;
mod tpm;
mod unwrap;

use std::process::ExitCode;
use std::time::Duration;

use process::Machine;
use report::Report;

/// The part of the machine's CPU time that others may take before ratios of speed mean little.
const QUIET: f64 = 0.1;

/// How much is run.
struct Plan {
    /// Rows whose names begin with it.
    only: String,
    /// Rounds of each row.
    rounds: usize,
    /// How long one side of one round runs.
    time: Duration,
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        name.starts_with(&self.only)
    }

    /// For rows that are too long to be run with all others.
    fn names(&self, group: &str) -> bool {
        self.only.starts_with(group)
    }
}

fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        println!("benchmarks are run by: make bench, or make bench ONLY=unwrap/pkcs11");
        return ExitCode::SUCCESS;
    };
    let machine = Machine::watch();
    let mut report = Report::default();
    unwrap::run(&plan, &mut report);
    tpm::run(&plan, &mut report);
    kmip::run(&plan, &mut report);
    audit::run(&plan, &mut report);
    memory::run(&plan, &mut report);
    encrypt::run(&plan, &mut report);
    decode::run(&plan, &mut report);
    rewrap::run(&plan, &mut report);
    large::run(&plan, &mut report);
    if report.is_empty() {
        println!("no row's name begins with {:?}; docs/benchmarks.md has the names", plan.only);
        return ExitCode::FAILURE;
    }
    report.print();
    let others = machine.others();
    println!("of the machine's CPU time, {:.0} % went to others during this run", others * 100.0);
    if others > QUIET {
        println!("with that, only the rows in CPU µs say much: run again on a quiet machine");
    }
    println!("written: {}", report.write().display());
    ExitCode::SUCCESS
}

/// From cargo's arguments; `None` unless cargo runs benchmarks (`cargo test --benches` starts this too).
fn plan(arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let mut plan = Plan { only: String::new(), rounds: 5, time: Duration::from_secs(2) };
    let mut is_bench = false;
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--bench" => is_bench = true,
            "--only" => plan.only = value(),
            "--rounds" => plan.rounds = value().parse::<usize>().expect("a number of rounds").max(1),
            "--seconds" => {
                let seconds = value().parse().expect("seconds of a round");
                plan.time = Duration::from_secs_f64(seconds);
            }
            _ => panic!("{name}: there are --only PREFIX, --rounds N and --seconds S"),
        }
    }
    is_bench.then_some(plan)
}
