//! The other side: the same command of the same token with nothing before it, as a child process.
//! Only a backend may name its library, so the loop itself is an example of that crate.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use holdfast_e2e::house::House;
use holdfast_e2e::{binary, must};
use hsm_sim::Pykmip;
use serde::Deserialize;

/// Which loop, and how it finds token and key.
pub(crate) struct Way {
    program: &'static str,
    arguments: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
}

/// What to run.
pub(crate) struct Asked<'a> {
    pub(crate) way: &'a Way,
    /// "oaep", "ecdh" or "gcm".
    pub(crate) operation: &'a str,
    /// Records of `record` bytes.
    pub(crate) input: &'a Path,
    pub(crate) record: usize,
    pub(crate) threads: usize,
    pub(crate) time: Duration,
    /// Nothing is kept from one call to the next.
    pub(crate) fresh: bool,
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

impl Way {
    /// To a key on the house's PKCS#11 token.
    pub(crate) fn pkcs11(house: &House, key: &str) -> Way {
        let arguments = [
            ("--module", house.hsm.module().into()),
            ("--pin-file", house.token.pin_file().into()),
            ("--token", house.token.label().into()),
            ("--key", key.into()),
        ];
        Way { program: "examples/bare", arguments: flat(arguments), env: house.hsm.env() }
    }

    /// To a key file of a TPM, bound to one PCR.
    pub(crate) fn tpm(tcti: &str, key: &Path, pcr: u8) -> Way {
        let pcr = pcr.to_string();
        let arguments = [("--tcti", tcti.into()), ("--key", key.into()), ("--pcr", pcr.into())];
        // The library complains on stderr of what the TPM refuses, and nothing is refused here.
        Way { program: "examples/bare-tpm", arguments: flat(arguments), env: Vec::new() }
    }

    /// To a key in a KMIP server, as the client whose it is.
    pub(crate) fn kmip(server: &Pykmip, id: &str) -> Way {
        let client = server.client();
        let arguments = [
            ("--address", server.address().into()),
            ("--ca", server.authority().certificate().into()),
            ("--cert", (&client.certificate).into()),
            ("--key", (&client.key).into()),
            ("--id", id.into()),
        ];
        Way { program: "examples/bare-kmip", arguments: flat(arguments), env: Vec::new() }
    }
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
    let mut command = Command::new(binary(asked.way.program));
    command.envs(asked.way.env.iter().cloned()).args(&asked.way.arguments);
    command.arg("--input").arg(asked.input).args(["--operation", asked.operation]);
    command.args(["--record", &asked.record.to_string(), "--threads", &asked.threads.to_string()]);
    command.args(["--seconds", &asked.time.as_secs_f64().to_string()]);
    if asked.fresh {
        command.arg("--fresh");
    }
    serde_json::from_str(&must(&mut command)).expect("the bare loop's line")
}

fn flat<const N: usize>(arguments: [(&str, OsString); N]) -> Vec<OsString> {
    arguments.into_iter().flat_map(|(name, value)| [name.into(), value]).collect()
}
