//! ocicrypt's JSON around RSA-OAEP with keys of PKCS#11 tokens: scheme `pkcs11`.

use holdfast_wire::{Malformed, OptsData, Secret};

use crate::{FinishError, Recipient};

/// A parsed packet.
#[derive(Debug, Clone)]
pub struct Pkcs11 {
    recipients: Vec<Recipient>,
}

impl Pkcs11 {
    /// Parses a packet.
    pub fn parse(_bytes: &[u8]) -> Result<Pkcs11, Malformed> {
        Err(Malformed::new("this version does not open packets of the scheme pkcs11 yet"))
    }

    /// The recipients in the packet's order; at least one.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Finishes what a token began.
    pub fn finish(&self, _index: usize, _opened: Secret) -> Result<OptsData, FinishError> {
        Err(FinishError::Rejected)
    }
}
