//! The other side: the same command of the same token with nothing before it, as a child process.
//! Only holdfast-pkcs11 may name a PKCS#11 library, so the loop itself is an example of that crate.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use holdfast_e2e::house::House;
use holdfast_e2e::{binary, must};
use serde::Deserialize;

/// What to run.
pub(crate) struct Asked<'a> {
    pub(crate) house: &'a House,
    pub(crate) key: &'a str,
    /// "oaep" or "ecdh".
    pub(crate) operation: &'a str,
    /// Records of `record` bytes.
    pub(crate) input: &'a Path,
    pub(crate) record: usize,
    pub(crate) threads: usize,
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Deserialize)]
pub(crate) struct Bare {
    calls: f64,
    seconds: f64,
    cpu_seconds: f64,
    /// Latency of one call, in milliseconds.
    pub(crate) p50_ms: f64,
    /// And of the slowest hundredth.
    pub(crate) p99_ms: f64,
}

impl Bare {
    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        self.calls / self.seconds
    }

    /// CPU time of one call, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.calls
    }
}

/// Runs the loop to its end.
pub(crate) fn run(asked: &Asked<'_>) -> Bare {
    let mut command = Command::new(binary("examples/bare"));
    command.envs(asked.house.hsm.env());
    command.arg("--module").arg(asked.house.hsm.module());
    command.arg("--pin-file").arg(asked.house.token.pin_file());
    command.arg("--input").arg(asked.input);
    command.args(["--token", asked.house.token.label(), "--key", asked.key]);
    command.args(["--operation", asked.operation]);
    command.args(["--record", &asked.record.to_string(), "--threads", &asked.threads.to_string()]);
    command.args(["--seconds", &asked.time.as_secs_f64().to_string()]);
    serde_json::from_str(&must(&mut command)).expect("the bare loop's line")
}
