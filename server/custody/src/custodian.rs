use holdfast_wire::{Algorithm, KeyUri, Operation, PublicKey, Sealed, Secret};

use crate::{Custody, Error};

/// One authenticated connection to one place that holds keys. May block; may be neither `Send` nor
/// `Sync`: it is made, called and dropped on its own thread. It keeps no queue, deadline, policy or log.
pub trait Custodian {
    /// Finds the key and says what it can do, its public half, and the evidence of custody its token
    /// gives. [`Error::KeyNotFound`], [`Error::KeyAmbiguous`]; never the first of several.
    fn describe(&mut self, uri: &KeyUri) -> Result<KeyInfo, Error>;

    /// Opens `sealed` inside the token: one native command. [`Error::Unsupported`] rather than
    /// emulated. Whatever is wrong with the ciphertext is [`Error::Rejected`].
    fn open(&mut self, uri: &KeyUri, sealed: &Sealed) -> Result<Secret, Error>;

    /// Would the token answer? Cheap, touches no key.
    fn probe(&mut self) -> Result<Health, Error>;

    /// Nothing was asked for some seconds: puts away what others may need, such as a TPM's few slots. What comes
    /// next finds everything as before, if a little later.
    fn rest(&mut self) {}

    /// Seals `secret`, 16 to 64 bytes, inside the token, so that [`Custodian::open`] opens it; never twice
    /// with the same iv. Symmetric keys only, which are those with [`Operation::AesGcm`]: to RSA and EC
    /// keys one seals offline, by their public half.
    fn seal(&mut self, uri: &KeyUri, secret: &Secret) -> Result<Sealed, Error> {
        let _ = (uri, secret);
        Err(Error::Unsupported("sealing"))
    }
}

/// A token that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What it says it is, for the log: "SoftHSM v2, serial 1a2b…, firmware 2.6".
    pub token: String,
}

/// What a token says of one of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The public half; symmetric keys have none.
    pub public: Option<PublicKey>,
    /// What the token can do with it by a native command, in the order of [`Operation::ALL`].
    pub operations: Vec<Operation>,
    /// Where it came from and whether it can leave.
    pub custody: Custody,
}

impl KeyInfo {
    /// What the key is used with where nothing else is configured, in the order of [`Algorithm::ALL`]: what
    /// its token can do, without what a configuration must ask for by name.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        Algorithm::ALL.into_iter().filter(|known| known.by_default() && self.serves(*known)).collect()
    }

    /// Whether the token can do with the key what the algorithm needs.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        self.operations.contains(&algorithm.operation())
    }
}
