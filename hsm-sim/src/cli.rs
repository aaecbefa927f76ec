//! The command line: one verb a file.

mod down;
mod run;
mod signals;
mod up;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use hsm_sim::{Error, Home, KeySpec, Simulation, Simulator};

use signals::Signals;

/// Starts real HSM simulators in a directory of their own.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Up(up::Up),
    Down(down::Down),
}

/// What to start.
#[derive(Debug, Args)]
struct Plan {
    /// A simulator to start: softhsm, swtpm or pykmip. May be repeated.
    #[arg(long = "with", value_name = "SIMULATOR", required = true)]
    simulators: Vec<Simulator>,
    /// Of softhsm: the label of the token, at most 32 bytes; hsm-sim where none is given.
    #[arg(long, value_name = "LABEL")]
    token: Option<String>,
    /// Of softhsm: a key on the token that cannot leave it. LABEL[:ID]=KIND, where KIND is rsa-2048, rsa-3072,
    /// rsa-4096, ecc-p256, ecc-p384, ecc-p521 or aes-256, and ID is in hex (by default 01, 02, …, in this
    /// order). Of pykmip: an active key whose Name is LABEL; no ID, and no ecc. A public half is written to
    /// keys/LABEL.pub.pem. May be repeated.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<KeySpec>,
    /// Of swtpm: an endorsement key and certificates in the TPM, signed by an authority made for it.
    #[arg(long)]
    certificates: bool,
}

/// What stands for the token's label where none is given.
const TOKEN: &str = "hsm-sim";

/// Why no simulation came to be.
#[derive(Debug)]
enum Stopped {
    Failed(Error),
    /// The number of the signal that ends us.
    Signal(i32),
}

/// Runs the verb that was typed.
pub(crate) fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(run) => run.run(),
        Verb::Up(up) => up.run(),
        Verb::Down(down) => down.run(),
    }
}

impl Plan {
    /// Starts everything, and looks between the steps whether it shall end: what was started until
    /// then is removed again.
    fn start(
        &self,
        home: impl FnOnce() -> Result<Home, Error>,
        signals: &Signals,
    ) -> Result<Simulation, Stopped> {
        let keys = KeySpec::number(&self.keys)?;
        let wants = |simulator| self.simulators.contains(&simulator);
        self.check(wants)?;
        let mut simulation = Simulation::new(home()?);
        if wants(Simulator::Swtpm) {
            simulation.start_swtpm(self.certificates)?;
            signals.check()?;
        }
        if wants(Simulator::SoftHsm) {
            simulation.start_softhsm(self.token.as_deref().unwrap_or(TOKEN))?;
        }
        if wants(Simulator::Pykmip) {
            signals.check()?;
            simulation.start_pykmip()?;
        }
        for (spec, id) in keys {
            signals.check()?;
            if wants(Simulator::Pykmip) {
                simulation.add_named_key(&spec.label, spec.kind)?;
            } else {
                simulation.add_key(&spec.label, &id, spec.kind)?;
            }
        }
        signals.check()?;
        Ok(simulation)
    }

    /// What is said of a simulator that is not started would be lost without a word.
    fn check(&self, wants: impl Fn(Simulator) -> bool) -> Result<(), Error> {
        let needs: [(bool, &str, &[Simulator]); 3] = [
            (self.token.is_some(), "--token", &[Simulator::SoftHsm]),
            (!self.keys.is_empty(), "--key", &[Simulator::SoftHsm, Simulator::Pykmip]),
            (self.certificates, "--certificates", &[Simulator::Swtpm]),
        ];
        for (_, option, of) in needs.into_iter().filter(|(given, ..)| *given) {
            if !of.iter().any(|simulator| wants(*simulator)) {
                let names = of.iter().map(|simulator| simulator.name()).collect::<Vec<_>>().join(" or ");
                return Err(Error::Invalid(format!("{option} is for {names}: add --with {names}")));
            }
        }
        if !wants(Simulator::Pykmip) || self.keys.is_empty() {
            return Ok(());
        }
        if wants(Simulator::SoftHsm) {
            return Err(Error::Invalid(
                "--key could be for softhsm or for pykmip: start them one by one, each in its own directory"
                    .to_owned(),
            ));
        }
        for KeySpec { label, id, kind } in &self.keys {
            Simulation::check_named_key(*kind)?;
            if id.is_some() {
                return Err(Error::Invalid(format!(
                    "--key {label} has an id, which pykmip gives itself: write {label}={kind}"
                )));
            }
        }
        Ok(())
    }
}

impl Stopped {
    /// Tells the user, and gives the exit code: `failed`, or 128 + n as a shell has it for signal n.
    fn exit(self, failed: u8) -> ExitCode {
        match self {
            Stopped::Failed(error) => {
                complain(&error);
                ExitCode::from(failed)
            }
            Stopped::Signal(number) => ExitCode::from(signals::exit_code(number)),
        }
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Failed(error)
    }
}

/// One line on stderr. Should that be closed, the exit code still tells.
fn complain(problem: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "hsm-sim: {problem}");
}
