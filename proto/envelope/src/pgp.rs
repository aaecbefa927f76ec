//! OpenPGP messages (RFC 9580): scheme `pgp`.

use holdfast_wire::{Malformed, OptsData, Secret};

use crate::{FinishError, Recipient};

/// A parsed packet.
#[derive(Debug, Clone)]
pub struct Pgp {
    recipients: Vec<Recipient>,
}

impl Pgp {
    /// Parses a packet.
    pub fn parse(_bytes: &[u8]) -> Result<Pgp, Malformed> {
        Err(Malformed::new("this version does not open packets of the scheme pgp yet"))
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
