//! Every connection that is open, so that all of them end when an interposer does, whoever waits on them.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Error;

#[derive(Debug, Default)]
pub(crate) struct Lines {
    state: Mutex<State>,
    closing: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    next: u64,
    open: HashMap<u64, TcpStream>,
    listeners: Vec<TcpListener>,
}

/// A connection that will be closed with the others, until this is dropped.
pub(crate) struct Held<'a> {
    lines: &'a Lines,
    number: u64,
}

impl Lines {
    /// An error when all are closed already.
    pub(crate) fn hold(&self, stream: &TcpStream) -> io::Result<Held<'_>> {
        let stream = stream.try_clone()?;
        let mut state = self.lock();
        if state.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let number = state.next;
        state.next += 1;
        state.open.insert(number, stream);
        Ok(Held { lines: self, number })
    }

    pub(crate) fn hold_listener(&self, listener: &TcpListener) -> Result<(), Error> {
        let failed = |source| Error::Io { what: "watching a listener".to_owned(), source };
        self.lock().listeners.push(listener.try_clone().map_err(failed)?);
        Ok(())
    }

    /// Closes all of them, and whatever would be opened later.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for stream in state.open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for listener in state.listeners.drain(..) {
            // Linux ends an accept(2) that waits on it.
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        }
        self.closing.notify_all();
    }

    /// Closes those that are open now, and no other.
    pub(crate) fn cut(&self) {
        for stream in self.lock().open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits that long, or until all are closed.
    pub(crate) fn rest(&self, time: Duration) {
        drop(self.closing.wait_timeout_while(self.lock(), time, |state| !state.closed));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lines.lock().open.remove(&self.number);
    }
}
