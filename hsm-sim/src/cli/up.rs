use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hsm_sim::{Error, Home, Simulation};

use super::signals::Signals;
use super::{Plan, Stopped};

/// Start simulators and leave them there, until `hsm-sim down`.
///
/// Prints what to set in a shell: eval "$(hsm-sim up --dir D --with softhsm)".
#[derive(Debug, Args)]
pub(super) struct Up {
    /// The directory to make; it must not exist yet.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    plan: Plan,
}

impl Up {
    pub(super) fn run(&self) -> ExitCode {
        match self.start() {
            Ok(()) => ExitCode::SUCCESS,
            Err(stopped) => stopped.exit(1),
        }
    }

    fn start(&self) -> Result<(), Stopped> {
        let signals = Signals::catch()?;
        let simulation = self.plan.start(|| Home::create(&self.dir), &signals)?;
        // Kept only when the caller has heard of it.
        std::io::stdout().lock().write_all(&exports(&simulation)).map_err(|source| Error::Io {
            what: format!("writing to stdout, so {} was removed again", self.dir.display()),
            source,
        })?;
        signals.check()?;
        simulation.keep();
        Ok(())
    }
}

fn exports(simulation: &Simulation) -> Vec<u8> {
    simulation
        .env()
        .iter()
        .flat_map(|(name, value)| [b"export ", name.as_bytes(), b"=", &quoted(value), b"\n"].concat())
        .collect()
}

/// In single quotes, where a POSIX shell finds nothing to interpret.
fn quoted(value: &OsStr) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in value.as_bytes() {
        match byte {
            b'\'' => out.extend(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let value = "a b'c\"$(exit 1)`x`\\\n!";
        let script = [b"printf %s ", quoted(OsStr::new(value)).as_slice()].concat();
        let output =
            std::process::Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), value);
    }
}
