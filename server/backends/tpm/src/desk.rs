//! Turns at the TPM.
//!
//! A TPM's slots are shared by all who speak to it. Through the kernel's resource manager everybody seems to
//! have a TPM of his own; without one, two connections at once would take each other's slots. The commands of
//! one operation are therefore one turn, after which nothing of it is left inside.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the connections of one token.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<()>);

/// While it lives, nobody else of this token speaks to the TPM.
pub(crate) struct Turn<'a> {
    _guard: MutexGuard<'a, ()>,
}

impl Desk {
    pub(crate) fn turn(&self) -> Turn<'_> {
        // Nothing lies in the mutex that a panic could have left half done.
        Turn { _guard: self.0.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}
