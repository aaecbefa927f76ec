//! Turns at the TPM.
//!
//! All connections of one token share one way to the TPM, and with it what is kept in the TPM's few slots: two of
//! them would take each other's. The commands of one operation are one turn. The first turn opens the way, and so
//! does the next one after it was lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_custody::Error;

use crate::device::Device;
use crate::exclusive;
use crate::token::Settings;

/// Shared by the connections of one token.
pub(crate) struct Desk {
    settings: Settings,
    device: Mutex<Option<Device>>,
}

/// While it lives, nobody else of this token speaks to the TPM.
pub(crate) struct Turn<'a> {
    settings: &'a Settings,
    device: MutexGuard<'a, Option<Device>>,
}

impl Desk {
    pub(crate) fn new(settings: Settings) -> Desk {
        Desk { settings, device: Mutex::default() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn turn(&self) -> Turn<'_> {
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        if self.device.is_poisoned() {
            // What a panic left half done is not used any more.
            *device = None;
            self.device.clear_poison();
        }
        Turn { settings: &self.settings, device }
    }
}

impl Turn<'_> {
    /// The way to the TPM, opened if it is not.
    pub(crate) fn device(&mut self) -> Result<&mut Device, Error> {
        if self.device.as_ref().is_some_and(Device::is_spent) {
            self.close();
        }
        match &mut *self.device {
            Some(device) => Ok(device),
            none => {
                if self.settings.exclusive {
                    exclusive::clear(&self.settings.tcti)?;
                }
                Ok(none.insert(Device::open(self.settings)?))
            }
        }
    }

    /// The way, where it is open.
    pub(crate) fn opened(&mut self) -> Option<&mut Device> {
        self.device.as_mut()
    }

    /// Closes it, and puts away what is kept in the TPM.
    pub(crate) fn close(&mut self) {
        *self.device = None;
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("settings", &self.settings).finish_non_exhaustive()
    }
}
