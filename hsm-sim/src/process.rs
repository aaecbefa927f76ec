//! A child process that is watched until it is ready and ended by its handle.
//!
//! It leads a process group of its own, so that what it starts ends with it. Everything waits on its
//! pidfd, with a deadline: there is no sleep, and no process id is ever signalled after it was reaped,
//! when the system may have given it to a stranger.

mod output;
mod pidfd;

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group};

use crate::Error;
use output::Output;
pub(crate) use pidfd::{open as open_pidfd, wait_until as pidfd_ended};

/// How long a probe that said no rests, unless the process ends before.
const BETWEEN_PROBES: Duration = Duration::from_millis(20);

/// A running program. Dropping it kills its whole process group and reaps it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pidfd: OwnedFd,
    stdout: Output,
    stderr: Output,
    status: Option<ExitStatus>,
    kept: bool,
}

impl Process {
    /// Starts a command in its own process group, with an empty stdin; stdout and stderr are collected
    /// (the last 16 MiB of each). `name` stands in errors in the place of the command line.
    pub fn spawn(mut command: Command, name: &str) -> Result<Process, Error> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::start(command, name, |child| {
            (Output::collect(child.stdout.take()), Output::collect(child.stderr.take()))
        })
    }

    /// As [`Process::spawn`], but both outputs go to the file `log`, made anew, so that the program may
    /// [outlive](Process::keep) us.
    pub(crate) fn spawn_lasting(mut command: Command, name: &str, log: &Path) -> Result<Process, Error> {
        let file = File::create(log).map_err(Error::io("making", log))?;
        let other = file.try_clone().map_err(Error::io("making", log))?;
        command.stdout(file).stderr(other);
        Process::start(command, name, |_| (Output::in_file(log), Output::in_file(log)))
    }

    fn start(
        mut command: Command,
        name: &str,
        outputs: impl FnOnce(&mut Child) -> (Output, Output),
    ) -> Result<Process, Error> {
        let failed = |source| Error::Spawn { name: name.to_owned(), source };
        command.stdin(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let pidfd = match open_pidfd(Pid::from_child(&child)) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // Not watched, so not kept. Both calls only fail when it has ended already.
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(error));
            }
        };
        let (stdout, stderr) = outputs(&mut child);
        Ok(Process { name: name.to_owned(), stdout, stderr, child, pidfd, status: None, kept: false })
    }

    /// Asks `probe` until it says yes. The probe shall speak the program's real protocol: connect,
    /// and ask something. A process that ends, or is not ready `within` that time, is an error that
    /// quotes its stderr, and is ended.
    pub fn ready_when(
        mut self,
        within: Duration,
        mut probe: impl FnMut(&Process) -> bool,
    ) -> Result<Process, Error> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.try_wait()? {
                return Err(Error::Ended { stderr: self.stderr_text(), name: self.name.clone(), status });
            }
            if probe(&self) {
                return Ok(self);
            }
            if Instant::now() >= deadline {
                self.kill()?;
                return Err(self.timed_out("was not ready", within));
            }
            self.ended_by(deadline.min(Instant::now() + BETWEEN_PROBES))?;
        }
    }

    /// The process id, also the id of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did. What it started and left behind is killed then.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        match self.status {
            None if self.ended_by(Instant::now())? => self.reap().map(Some),
            known => Ok(known),
        }
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        match self.status {
            Some(status) => Ok(status),
            None if self.ended_by(Instant::now() + within)? => self.reap(),
            None => Err(self.timed_out("did not end", within)),
        }
    }

    /// Asks it to end (SIGTERM to its group) and kills it when it has not `within` that time: then
    /// `ExitStatusExt::signal` of the status is 9.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        self.signal_group(Signal::TERM);
        self.ended_by(Instant::now() + within)?;
        self.reap()
    }

    /// Kills it and its group at once.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        match self.status {
            Some(status) => Ok(status),
            None => self.reap(),
        }
    }

    /// Sends one signal to the process alone: SIGHUP to reload, SIGSTOP to make it hang.
    /// Nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        if self.status.is_some() {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(self.io("signalling", errno.into())),
        }
    }

    /// Makes it hang, with all its threads: none of them does anything any more when this returns.
    pub fn stop(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let either = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), either) {
            // It has ended already.
            Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
            Err(errno) => Err(self.io("stopping", errno.into())),
        }
    }

    /// What it has written to stderr so far; all of it, once it has ended.
    pub fn stderr_text(&self) -> String {
        self.stderr.text()
    }

    /// What it has written to stdout so far; all of it, once it has ended.
    pub fn stdout_text(&self) -> String {
        self.stdout.text()
    }

    /// As [`stdout_text`](Self::stdout_text), unchanged.
    pub fn stdout_bytes(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// Leaves it running when this is dropped, for somebody who has [noted](crate::Recorded) it.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    fn ended_by(&self, deadline: Instant) -> Result<bool, Error> {
        pidfd_ended(&self.pidfd, deadline).map_err(|source| self.io("waiting for", source))
    }

    /// Kills what is left of the group, and only then reaps the leader: until then the group's id
    /// cannot belong to anybody else.
    fn reap(&mut self) -> Result<ExitStatus, Error> {
        self.signal_group(Signal::KILL);
        let status = self.child.wait().map_err(|source| self.io("waiting for", source))?;
        self.status = Some(status);
        self.stdout.settle();
        self.stderr.settle();
        Ok(status)
    }

    /// Fails only for a group without living members, which is what is wanted.
    fn signal_group(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    fn timed_out(&self, what: &'static str, within: Duration) -> Error {
        Error::TimedOut { name: self.name.clone(), what, within, stderr: self.stderr_text() }
    }

    fn io(&self, doing: &str, source: std::io::Error) -> Error {
        Error::Io { what: format!("{doing} {}", self.name), source }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.kept {
            // A failure has nobody to hear it.
            let _ = self.kill();
        }
    }
}
