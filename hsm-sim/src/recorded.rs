//! Ending a process that an earlier hsm-sim started, and never one that came to have its id since.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::process::{open_pidfd, pidfd_ended};

/// How long a process has after SIGTERM, and then after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process by what no other process shares: its id, the tick at which it started, and the boot in
/// which that tick was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    name: String,
    pid: i32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot (proc(5)).
    started: u64,
    boot: String,
    /// Whether it leads a process group that goes with it.
    #[serde(default)]
    group: bool,
}

impl Recorded {
    /// Takes down a process that runs now and will outlive us. `name` is for error messages.
    pub fn of(name: &str, pid: u32) -> Result<Recorded, Error> {
        let pid = i32::try_from(pid).unwrap_or_default();
        let started = start_tick(pid)
            .map_err(|source| Error::Io { what: format!("reading when {name} was started"), source })?;
        Ok(Recorded { name: name.to_owned(), pid, started, boot: boot_id()?, group: false })
    }

    /// As [`Recorded::of`], of a process that leads a group and would leave its members behind.
    pub fn group_of(name: &str, pid: u32) -> Result<Recorded, Error> {
        Ok(Recorded { group: true, ..Recorded::of(name, pid)? })
    }

    /// Ends it: SIGTERM, and SIGKILL when that does not help; a group is killed at once. False when it had ended
    /// before; a process that has its id by now is left alone.
    pub fn end(&self) -> Result<bool, Error> {
        self.try_end().map_err(|source| Error::Io {
            what: format!("ending {} (process {})", self.name, self.pid),
            source,
        })
    }

    fn try_end(&self) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        };
        // First the handle, then the proof: the handle stays with the process that was proved.
        let pidfd = match open_pidfd(pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(false),
            Err(error) => return Err(error),
        };
        let same = boot_id().is_ok_and(|boot| boot == self.boot)
            && start_tick(self.pid).is_ok_and(|tick| tick == self.started);
        if !same || pidfd_ended(&pidfd, Instant::now())? {
            return Ok(false);
        }
        if self.group {
            // Stopped first: it cannot end, and its id, which is the group's, cannot become somebody else's.
            send(&pidfd, Signal::STOP)?;
            match kill_process_group(pid, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        for signal in [Signal::TERM, Signal::KILL] {
            send(&pidfd, signal)?;
            if pidfd_ended(&pidfd, Instant::now() + PATIENCE)? {
                return Ok(true);
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end even when killed; end it by hand"))
    }
}

/// One that has ended needs none any more.
fn send(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn boot_id() -> Result<String, Error> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let id = std::fs::read_to_string(path).map_err(Error::io("reading", path))?;
    Ok(id.trim().to_owned())
}

fn start_tick(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Field 2, the name, may hold spaces and parentheses: count from its last one. Field 3 follows.
    stat.rsplit_once(')')
        .and_then(|(_, fields)| fields.split_whitespace().nth(22 - 3)?.parse().ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;
    use std::os::unix::process::ExitStatusExt;

    fn sleeper() -> Process {
        let mut command = crate::command("sleep", "coreutils").unwrap();
        command.arg("600");
        Process::spawn(command, "sleep").unwrap()
    }

    #[test]
    fn the_recorded_process_is_ended() {
        let mut process = sleeper();
        let recorded = Recorded::of("sleep", process.id()).unwrap();
        assert!(recorded.end().unwrap());
        assert_eq!(process.wait(Duration::from_secs(5)).unwrap().signal(), Some(15));
        assert!(!recorded.end().unwrap(), "and only once");
    }

    #[test]
    fn what_a_group_leader_has_started_is_ended_with_it() {
        let mut shell = crate::command("sh", "dash").unwrap();
        shell.args(["-c", "trap '' TERM; sleep 600 & echo $!; wait"]);
        let within = Duration::from_secs(5);
        let mut process = Process::spawn(shell, "sh")
            .unwrap()
            .ready_when(within, |process| process.stdout_text().contains('\n'))
            .unwrap();
        let child = Pid::from_raw(process.stdout_text().trim().parse().unwrap()).unwrap();
        let child = open_pidfd(child).unwrap();
        assert!(Recorded::group_of("sh", process.id()).unwrap().end().unwrap());
        assert!(pidfd_ended(&child, Instant::now() + within).unwrap());
        assert_eq!(process.wait(within).unwrap().signal(), Some(9));
    }

    #[test]
    fn a_recycled_process_id_is_never_signalled() {
        let mut process = sleeper();
        let recorded = Recorded::of("sleep", process.id()).unwrap();
        let earlier = Recorded { started: recorded.started - 1, ..recorded.clone() };
        assert!(!earlier.end().unwrap());
        let other_boot = Recorded { boot: "another".to_owned(), ..recorded };
        assert!(!other_boot.end().unwrap());
        assert_eq!(process.try_wait().unwrap(), None);
    }
}
