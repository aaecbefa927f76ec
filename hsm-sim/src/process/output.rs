//! What a child writes, read by a thread so that a full pipe never stops it.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// More than any test reads; a daemon that logs without end keeps its latest lines.
const KEPT: usize = 16 << 20;

/// After a process group was killed its pipes close at once, unless something left the group.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Output(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
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
        Output(shared)
    }

    /// Waits until the last byte is in, but not long.
    pub(super) fn settle(&self) {
        let state = self.0.lock();
        drop(self.0.ended.wait_timeout_while(state, SETTLE, |state| !state.ended));
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().bytes.iter().copied().collect()
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
