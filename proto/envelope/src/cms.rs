//! CMS EnvelopedData (RFC 5652), PKCS#7 to ocicrypt: scheme `pkcs7`.

use holdfast_wire::{Malformed, OptsData, Secret};

use crate::{FinishError, Recipient};

/// A parsed packet.
#[derive(Debug, Clone)]
pub struct EnvelopedData {
    recipients: Vec<Recipient>,
}

impl EnvelopedData {
    /// Parses a packet.
    pub fn parse(_bytes: &[u8]) -> Result<EnvelopedData, Malformed> {
        Err(Malformed::new("this version does not open packets of the scheme pkcs7 yet"))
    }

    /// The recipients in the packet's order; at least one.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Finishes what a token began.
    pub fn finish(&self, _index: usize, _opened: Secret) -> Result<OptsData, FinishError> {
        Err(FinishError::Rejected)
    }

    /// Random bytes of the form that a token opens: [`Packet::decoy`](crate::Packet::decoy).
    pub(crate) fn decoy(&self) -> Option<Secret> {
        None
    }
}
