//! One `[[token]]` of the configuration.

use std::sync::Arc;

use holdfast_custody::{Custodian, Error, Keysmith, PcrSelection, PcrValues};

use crate::connection::Connection;
use crate::desk::Desk;
use crate::keysmith::Smith;
use crate::{StorageKey, Tcti, import, pcrs};

/// The way to one TPM.
#[derive(Debug, Clone)]
pub struct Token {
    tcti: Tcti,
    desk: Arc<Desk>,
}

impl Token {
    /// Nothing is opened or asked yet.
    pub fn new(tcti: Tcti) -> Token {
        Token { tcti, desk: Arc::default() }
    }

    /// A new connection, to be used on the thread that made it. Connections of one token take turns.
    pub fn connect(&self) -> Result<Box<dyn Custodian>, Error> {
        Ok(Box::new(self.open()?))
    }

    /// A connection that makes keys.
    pub fn keysmith(&self) -> Result<Box<dyn Keysmith>, Error> {
        Ok(Box::new(Smith::new(self.open()?)))
    }

    /// The values that PCRs have now.
    pub fn pcr_values(&self, pcrs: &PcrSelection) -> Result<PcrValues, Error> {
        self.open()?.turn(|device| pcrs::current(device, pcrs))
    }

    /// The storage key under which keys of this TPM are: what is sealed to it, this TPM alone imports.
    pub fn storage_key(&self) -> Result<StorageKey, Error> {
        self.open()?.turn(|device| {
            let parent = device.usual_parent()?;
            let handle = device.parent(parent)?;
            import::storage_key(device, handle)
        })
    }

    fn open(&self) -> Result<Connection, Error> {
        Connection::open(&self.tcti, self.desk.clone())
    }
}
