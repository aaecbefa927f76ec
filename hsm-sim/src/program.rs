//! Programs of other people: found by name, run to their end.

use std::process::Command;
use std::time::Duration;

use crate::{Error, Process};

/// No call of these tools takes longer than an RSA-4096 key pair on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command for `program`, looked for on the `PATH`. When it is not there, the error names the Debian
/// `package` to install: a test that needs a program fails without it, it does not skip.
pub fn command(program: &str, package: &str) -> Result<Command, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
        .map(Command::new)
        .ok_or_else(|| Error::Missing { program: program.to_owned(), package: package.to_owned() })
}

/// Runs a program to its end and gives back what it wrote to stdout. `doing` names it in errors.
pub(crate) fn run(mut command: Command, doing: &str) -> Result<Vec<u8>, Error> {
    // Their answers are read below, so they shall not be translated.
    command.env("LC_ALL", "C");
    let mut process = Process::spawn(command, doing)?;
    let status = process.wait(PATIENCE)?;
    if status.success() {
        Ok(process.stdout_bytes())
    } else {
        Err(Error::Ended { name: doing.to_owned(), status, stderr: process.stderr_text() })
    }
}

fn is_executable(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = command("hsm-sim-no-such-program", "nosuch").unwrap_err();
        assert_eq!(error.to_string(), "hsm-sim-no-such-program is not installed: apt-get install nosuch");
    }

    #[test]
    fn a_program_that_fails_is_quoted_and_its_arguments_are_not() {
        let mut shell = command("sh", "dash").unwrap();
        shell.args(["-c", "echo no such slot >&2; exit 3", "8642"]);
        let error = run(shell, "softhsm2-util --init-token").unwrap_err().to_string();
        assert_eq!(error, "softhsm2-util --init-token ended with exit status: 3; it wrote: no such slot");
    }
}
