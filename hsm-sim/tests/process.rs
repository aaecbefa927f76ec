//! What the library promises about the processes it starts.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests; these helpers belong to them")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use hsm_sim::{Error, Process};
use rustix::process::{Pid, test_kill_process};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Command {
    let mut command = hsm_sim::command("sh", "dash").unwrap();
    command.args(["-c", script]);
    command
}

fn start(script: &str) -> Process {
    Process::spawn(shell(script), "script").unwrap()
}

/// Started, and past its first line of output.
fn started(script: &str) -> Process {
    start(script).ready_when(SOON, |process| process.stdout_text().contains('\n')).unwrap()
}

/// A zombie counts as gone: its parent is init by now, whose time we do not command.
fn is_gone(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

#[test]
fn it_is_ready_when_the_probe_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("ready");
    let script = format!("sleep 0.1; touch {}; exec sleep 600", file.display());
    let mut process = start(&script).ready_when(SOON, |_| file.exists()).unwrap();
    assert_eq!(process.try_wait().unwrap(), None);
    process.kill().unwrap();
}

#[test]
fn one_that_ends_instead_is_told_at_once_with_its_stderr() {
    let begun = Instant::now();
    let error = start("echo bind: address in use >&2; exit 7")
        .ready_when(Duration::from_secs(600), |_| false)
        .unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(error.to_string(), "script ended with exit status: 7; it wrote: bind: address in use");
}

#[test]
fn one_that_is_not_ready_in_time_is_ended() {
    let mut pid = 0;
    let error = start("echo still thinking >&2; exec sleep 600")
        .ready_when(Duration::from_millis(300), |process| {
            pid = process.id();
            false
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "script was not ready within 300ms; it wrote: still thinking");
    assert!(matches!(error, Error::TimedOut { .. }));
    assert!(is_gone(&pid.to_string()));
}

#[test]
fn dropping_it_ends_what_it_started_too() {
    let process = started("sleep 600 & echo $!; wait");
    let (leader, child) = (process.id(), process.stdout_text().trim().to_owned());
    assert!(!is_gone(&child));
    drop(process);
    let leader = Pid::from_raw(i32::try_from(leader).unwrap()).unwrap();
    assert!(test_kill_process(leader).is_err(), "reaped");
    // SIGKILL is sent when drop returns; the kernel may still be at it.
    started("echo up; exec sleep 600").ready_when(SOON, |_| is_gone(&child)).unwrap();
}

#[test]
fn what_outlives_its_leader_is_ended() {
    let mut process = start("sleep 600 & echo $!; exit 0");
    assert!(process.wait(SOON).unwrap().success());
    let child = process.stdout_text().trim().to_owned();
    started("echo up; exec sleep 600").ready_when(SOON, |_| is_gone(&child)).unwrap();
}

#[test]
fn terminate_asks_first() {
    let mut polite = started("trap 'echo bye >&2; exit 3' TERM; echo up; while :; do sleep 0.05; done");
    assert_eq!(polite.terminate(SOON).unwrap().code(), Some(3));
    let said = polite.stderr_text();
    assert!(said.ends_with("bye\n"), "{said}");
    assert_eq!(polite.terminate(SOON).unwrap().code(), Some(3), "asked again");
}

#[test]
fn terminate_kills_one_that_does_not_listen() {
    let mut deaf = started("trap '' TERM; echo up; while :; do sleep 0.05; done");
    let status = deaf.terminate(Duration::from_millis(200)).unwrap();
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn a_wait_has_a_deadline() {
    let mut process = start("exec sleep 600");
    let error = process.wait(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), "script did not end within 50ms");
    assert_eq!(process.kill().unwrap().signal(), Some(9));
    assert_eq!(process.try_wait().unwrap().unwrap().signal(), Some(9));
}

#[test]
fn a_signal_goes_to_the_process() {
    // Not SIGHUP: under nohup a shell cannot trap it.
    let mut process = started("trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done");
    process.signal(rustix::process::Signal::USR1).unwrap();
    assert_eq!(process.wait(SOON).unwrap().code(), Some(5));
    process.signal(rustix::process::Signal::USR1).unwrap();
}

#[test]
fn a_full_pipe_never_stops_it() {
    let mut process = start("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2");
    assert!(process.wait(SOON).unwrap().success());
    assert_eq!(process.stdout_bytes().len(), 3_000_000);
    assert_eq!(process.stderr_text().len(), 2_000_000);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Process::spawn(Command::new("/nonexistent/holdfastd"), "holdfastd").unwrap_err();
    assert_eq!(error.to_string(), "holdfastd cannot be started: No such file or directory (os error 2)");
}
