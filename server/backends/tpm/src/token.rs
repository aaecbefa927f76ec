//! One `[[token]]` of the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_custody::{Custodian, Error, Keysmith, PcrSelection, PcrValues};

use crate::connection::Connection;
use crate::desk::Desk;
use crate::guesses::Guesses;
use crate::keysmith::Smith;
use crate::{Name, SignedPolicies, StorageKey, Tcti, import, pcrs};

/// The way to one TPM.
#[derive(Debug, Clone)]
pub struct Token(Arc<Desk>);

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) tcti: Tcti,
    pub(crate) storage_key_name: Option<Name>,
    pub(crate) exclusive: bool,
    pub(crate) signed_policies: Arc<SignedPolicies>,
    pub(crate) patience: Duration,
    pub(crate) guesses: Arc<Guesses>,
}

impl Token {
    /// Nothing is opened or asked yet.
    pub fn new(tcti: Tcti) -> Token {
        let settings = Settings {
            tcti,
            storage_key_name: None,
            exclusive: false,
            signed_policies: Arc::default(),
            patience: Duration::from_secs(5),
            guesses: Arc::default(),
        };
        Token(Arc::new(Desk::new(settings)))
    }

    /// Only the TPM whose storage key has this Name is the one that is meant. Sessions are salted to that key, so
    /// that no other TPM can answer in them.
    #[must_use]
    pub fn with_storage_key(self, name: Name) -> Token {
        self.with(|settings| settings.storage_key_name = Some(name))
    }

    /// Nobody else uses the TPM: whatever is in it when a connection is made was left by one that died, and is
    /// flushed. For ways to a TPM without a resource manager.
    #[must_use]
    pub fn exclusive(self) -> Token {
        self.with(|settings| settings.exclusive = true)
    }

    /// Where signed PCR policies are looked for: files, and directories of `*.json`.
    #[must_use]
    pub fn with_signed_policies(self, paths: Vec<PathBuf>) -> Token {
        self.with(|settings| settings.signed_policies = Arc::new(SignedPolicies::new(paths)))
    }

    /// How long the TPM may go on asking to be asked again.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Token {
        self.with(|settings| settings.patience = patience)
    }

    /// Where it is remembered, across restarts, that a key was refused without its password.
    #[must_use]
    pub fn with_state_dir(self, dir: PathBuf) -> Token {
        self.with(|settings| settings.guesses = Arc::new(Guesses::new(Some(dir))))
    }

    /// A way of its own: what is open already was opened under other settings.
    fn with(self, change: impl FnOnce(&mut Settings)) -> Token {
        let mut settings = self.0.settings().clone();
        change(&mut settings);
        Token(Arc::new(Desk::new(settings)))
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
            let handle = device.storage_key()?;
            import::storage_key(device, handle)
        })
    }

    fn open(&self) -> Result<Connection, Error> {
        Connection::open(self.0.clone())
    }
}
