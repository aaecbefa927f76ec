use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use clap::Args;
use hsm_sim::Home;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::signals::{self, Signals};
use super::{Plan, complain};

/// As env(1), timeout(1) and nohup(1) have it: the wrapper itself failed, not the command.
const OURS: u8 = 125;

/// Run a command with simulators; end and remove them with it.
///
/// The command finds them by HSM_SIM_DIR and, with softhsm, HSM_SIM_PKCS11_MODULE, HSM_SIM_TOKEN, HSM_SIM_PIN_FILE and
/// SOFTHSM2_CONF; with swtpm, HSM_SIM_TCTI, TPM2TOOLS_TCTI and TPM2OPENSSL_TCTI; with pykmip, HSM_SIM_KMIP_ADDRESS,
/// HSM_SIM_KMIP_CA, HSM_SIM_KMIP_CERT and HSM_SIM_KMIP_KEY. The exit code is the command's, or 128+n when signal n
/// ended it; 125 when no simulator could be started, 126 or 127 when the command could not be.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    plan: Plan,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run {
    pub(super) fn run(&self) -> ExitCode {
        let signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => return super::Stopped::from(error).exit(OURS),
        };
        let simulation = match self.plan.start(Home::temporary, &signals) {
            Ok(simulation) => simulation,
            Err(stopped) => return stopped.exit(OURS),
        };
        let code = match self.attend(simulation.env(), &signals) {
            Ok(status) => exit_code(status),
            Err((error, code)) => {
                complain(&error);
                code
            }
        };
        match simulation.remove() {
            Ok(()) => ExitCode::from(code),
            Err(error) => {
                complain(&error);
                ExitCode::from(if code == 0 { OURS } else { code })
            }
        }
    }

    /// Starts the command on our own terminal and in our process group, so that it can read from
    /// the terminal, and stays until it ends.
    fn attend(
        &self,
        env: Vec<(&'static str, OsString)>,
        signals: &Signals,
    ) -> Result<ExitStatus, (String, u8)> {
        let Some((program, args)) = self.command.split_first() else {
            return Err(("give a command after --".to_owned(), OURS));
        };
        let name = program.to_string_lossy();
        let mut child = Command::new(program).args(args).envs(env).spawn().map_err(|error| {
            let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
            (format!("{name} cannot be started: {error}"), code)
        })?;
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|pidfd| pass_on_until_end(&pidfd, signals));
        if ended.is_err() {
            // Without the handle there is no attending to it.
            let _ = child.kill();
        }
        let status = child.wait();
        ended.and(status).map_err(|error| (format!("waiting for {name}: {error}"), OURS))
    }
}

fn pass_on_until_end(pidfd: &impl AsFd, signals: &Signals) -> io::Result<()> {
    loop {
        let mut fds: Vec<_> = std::iter::once(pidfd.as_fd())
            .chain(signals.pipes())
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        while let Some(signal) = signals.take() {
            if !signals::came_from_terminal(signal) {
                match pidfd_send_signal(pidfd, signal) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => signals::exit_code(signal),
        (None, None) => OURS,
    }
}
