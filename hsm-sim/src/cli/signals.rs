//! SIGINT, SIGTERM, SIGHUP and SIGQUIT as bytes in pipes, so that they can be waited for together
//! with a child, and none of them leaves a simulation behind.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use hsm_sim::Error;
use rustix::process::Signal;
use rustix::termios::tcgetpgrp;

use super::Stopped;

const CAUGHT: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// From here on these signals do not end the process.
pub(super) struct Signals(Vec<(Signal, UnixStream)>);

impl Signals {
    pub(super) fn catch() -> Result<Signals, Error> {
        let pipe = |signal: Signal| -> io::Result<(Signal, UnixStream)> {
            let (ours, handlers) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), handlers)?;
            Ok((signal, ours))
        };
        let pipes = CAUGHT.into_iter().map(pipe).collect::<io::Result<_>>();
        pipes.map(Signals).map_err(|source| Error::Io { what: "catching signals".to_owned(), source })
    }

    /// A signal that came since the last call. The same one several times counts once.
    pub(super) fn take(&self) -> Option<Signal> {
        self.0.iter().find_map(|(signal, pipe)| {
            let mut pipe = pipe;
            let arrived = matches!(pipe.read(&mut [0; 64]), Ok(1..));
            arrived.then_some(*signal)
        })
    }

    /// An error when a signal came: for the time before there is a child to pass it on to.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        match self.take() {
            Some(signal) => Err(Stopped::Signal(signal.as_raw())),
            None => Ok(()),
        }
    }

    /// What to wait for.
    pub(super) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, pipe)| pipe.as_fd())
    }
}

/// Whether a terminal has sent this signal to the child as well as to us: a key press goes to its
/// whole foreground group, and to be told twice means "at once" to many programs.
pub(super) fn came_from_terminal(signal: Signal) -> bool {
    let ours = rustix::process::getpgrp();
    matches!(signal, Signal::INT | Signal::QUIT)
        && std::fs::File::open(Path::new("/dev/tty"))
            .is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|foreground| foreground == ours))
}

/// 128 + n, as shells have it.
pub(super) fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}
