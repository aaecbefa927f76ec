//! The cause reaches the caller: while the decoder's exit has not been fetched its stdout stays open, and
//! nothing else does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Read as _;
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::Opens;
use support::decoding::{Decoding, feed};
use tonic::Status;

/// Whether stdout ends within the time; nothing is ever written to it here.
fn ends_within(stdout: &ChildStdout, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&time)).unwrap() > 0
}

/// A decoder that fails at once or hangs.
fn start(scene: &Decoding) -> Child {
    let mut child = scene.command(Some(&scene.payload()), &[]).spawn().unwrap();
    // Ends with the decoder.
    drop(feed(&mut child, &scene.image.blobs[0]));
    child
}

/// As containerd sees it: stderr and stdin are let go of at once, so its wait ends with the exit; stdout only
/// after that, with a grace.
fn kept_until_fetched(mut child: Child, line: &str) {
    let (mut stderr, mut stdout) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
    let mut err = String::new();
    // Ends only when nobody has it open any more: the exit has not been fetched yet.
    stderr.read_to_string(&mut err).unwrap();
    assert_eq!(err, format!("holdfast: {line}\n"));
    assert!(!ends_within(&stdout, Duration::from_millis(50)), "stdout ended before the exit was fetched");
    child.wait().unwrap();
    let fetched = Instant::now();
    let mut plain = Vec::new();
    stdout.read_to_end(&mut plain).unwrap();
    assert!(plain.is_empty());
    assert!(fetched.elapsed() < Duration::from_secs(4), "it was not the fetching that ended it");
}

#[test]
fn after_a_failure_stdout_stays_open_until_the_exit_is_fetched() {
    let scene = Decoding::with(100, Opens::Refuses(Status::permission_denied("no (request 42)")));
    kept_until_fetched(start(&scene), "no (request 42)");
}

#[test]
fn after_a_kill_stdout_stays_open_too_and_a_line_is_written_in_its_place() {
    let scene = Decoding::with(300_000, Opens::Hangs);
    let mut child = start(&scene);
    let server = scene.server.as_ref().unwrap();
    server.calls.recv_timeout(Duration::from_secs(20)).expect("the daemon is asked");
    child.kill().unwrap();
    kept_until_fetched(
        child,
        "decode was killed before it was done; see the kernel's log, it may have been out of memory",
    );
}

#[test]
fn nobody_who_never_fetches_is_waited_for_for_long() {
    let scene = Decoding::with(100, Opens::Refuses(Status::permission_denied("no")));
    let mut child = start(&scene);
    let mut plain = Vec::new();
    // The exit is fetched after that.
    child.stdout.take().unwrap().read_to_end(&mut plain).unwrap();
    assert!(plain.is_empty());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn after_a_success_nothing_is_left_open() {
    for len in [100, 300_000] {
        succeeds(len);
    }
}

fn succeeds(len: usize) {
    let scene = Decoding::of(len);
    let mut child = start(&scene);
    let mut plain = Vec::new();
    // Without the exit being fetched, which a holder would wait for.
    let begun = Instant::now();
    child.stdout.take().unwrap().read_to_end(&mut plain).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "stdout was held");
    assert!(plain == scene.plain);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
