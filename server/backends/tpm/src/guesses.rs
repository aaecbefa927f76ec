//! Keys whose TPM has refused the empty password.
//!
//! A key without noDA counts each wrong password towards the lockout of the whole TPM (dictionary attack protection; TPM
//! 2.0 Library Part 1, section 19.8), and whether it has a password shows only when it is used. So the empty one is
//! tried once, and what was refused is remembered, across restarts too: otherwise a caller who asks often enough
//! would lock the TPM for everybody.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_custody::{Error, PinLatch};
use holdfast_wire::Secret;
use tss_esapi::structures::Public;

use crate::Name;
use crate::evidence::name;

/// Of all keys of a token.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    /// Where refusals are remembered across restarts.
    dir: Option<PathBuf>,
    /// What is known already. To read it from the disk takes as long as to guess a PIN.
    refused: Mutex<HashMap<Name, bool>>,
}

impl Guesses {
    pub(crate) fn new(dir: Option<PathBuf>) -> Guesses {
        Guesses { dir, refused: Mutex::default() }
    }

    /// Before a key, or a storage key, is used with the empty password.
    pub(crate) fn check(&self, key: &Public) -> Result<(), Error> {
        let Some(name) = guarded(key) else { return Ok(()) };
        let mut refused = self.refused();
        let latch = self.latch(name);
        let is_refused = match (refused.get(&name), &latch) {
            (Some(false), _) => false,
            // An operator who removes the file wants it tried again.
            (Some(true), Some(latch)) if latch.file().exists() => true,
            (Some(true), None) => true,
            (_, None) => false,
            (_, Some(latch)) => {
                // What could not be remembered must not be tried.
                latch.check_writable().map_err(|error| unreadable(&error))?;
                latch.is_latched(&empty()).map_err(|error| unreadable(&error))?
            }
        };
        refused.insert(name, is_refused);
        if is_refused { Err(self.not_again(name)) } else { Ok(()) }
    }

    /// After its TPM has refused that.
    pub(crate) fn remember(&self, key: &Public) -> Result<(), Error> {
        let Some(name) = guarded(key) else { return Ok(()) };
        self.refused().insert(name, true);
        match self.latch(name) {
            Some(latch) => latch.latch(&empty()).map_err(|error| unreadable(&error)),
            None => Ok(()),
        }
    }

    fn not_again(&self, name: Name) -> Error {
        let file = self.latch(name).map_or(String::new(), |latch| {
            format!("; when it has none any more, remove {}", latch.file().display())
        });
        Error::KeyUnfit(format!(
            "the TPM has refused the key without its password, which holdfastd does not have; it is not tried again, because wrong passwords lock the TPM: use a key without a password{file}"
        ))
    }

    fn latch(&self, name: Name) -> Option<PinLatch> {
        self.dir.as_ref().map(|dir| PinLatch::new(dir, &format!("tpm-key-{name}")))
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<Name, bool>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Name of a key whose wrong passwords count.
fn guarded(key: &Public) -> Option<Name> {
    if key.object_attributes().no_da() { None } else { name(key) }
}

fn empty() -> Secret {
    Secret::new(Vec::new())
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::KeyUnfit(format!(
        "whether the key was refused before cannot be remembered ({error}): mend the state directory, [state] dir"
    ))
}
