//! What a child writes: read by a thread, so that a full pipe never stops it, or left in a file.

use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// More than any test reads; a daemon that logs without end keeps its latest lines.
const KEPT: usize = 16 << 20;

/// After a process group was killed its pipes close at once, unless something left the group.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) enum Output {
    Collected(Arc<Shared>),
    /// Of a child that may outlive us: a pipe would be the end of it.
    File(PathBuf),
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Output {
    /// Reads `pipe` to its end in a thread of its own.
    pub(super) fn collect(pipe: Option<impl Read + Send + 'static>) -> Output {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            if let Some(mut pipe) = pipe {
                while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                    let mut state = writer.lock();
                    state.bytes.extend(&chunk[..read]);
                    let excess = state.bytes.len().saturating_sub(KEPT);
                    state.bytes.drain(..excess);
                }
            }
            writer.lock().ended = true;
            writer.ended.notify_all();
        });
        Output::Collected(shared)
    }

    pub(super) fn in_file(path: &Path) -> Output {
        Output::File(path.to_owned())
    }

    /// Waits until the last byte is in, but not long.
    pub(super) fn settle(&self) {
        if let Output::Collected(shared) = self {
            let state = shared.lock();
            drop(shared.ended.wait_timeout_while(state, SETTLE, |state| !state.ended));
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Output::Collected(shared) => shared.lock().bytes.iter().copied().collect(),
            // It is for error messages: one that is gone says nothing.
            Output::File(path) => std::fs::read(path).unwrap_or_default(),
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The thread that holds it only moves bytes; after a panic there the bytes are still bytes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
