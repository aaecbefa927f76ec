//! JSON Web Encryption (RFC 7516): compact, flattened and general serialization are read, the two in JSON
//! are written.
//!
//! What is read is what ocicrypt (go-jose) writes, whatever JWK it is given: content by AES-GCM or AES-CBC
//! with HMAC, the content encryption key (CEK) by RSA-OAEP, ECDH-ES with and without AES key wrap, or
//! A256GCMKW. What [`seal()`] and [`Sealing`] write is the best of these: content by A256GCM, the key by
//! RSA-OAEP, RSA-OAEP-256, ECDH-ES+A256KW or A256GCMKW. A recipient with another algorithm is kept, as one
//! that nobody here can open; anything else that is not understood is refused.
//!
//! A recipient's `alg` and, in a packet for several, its whole header are not authenticated: the caller
//! must let a key be used only with algorithms that are configured for it.

mod agreement;
mod content;
mod parse;
mod seal;

use holdfast_wire::{Labels, Malformed, OptsData, Secret};

pub use seal::{Sealing, To, seal};

use crate::{FinishError, Recipient};

/// Longest packet taken, in bytes. 64 recipients with RSA-8192 keys and 16 labels stay under 128 KiB.
pub const MAX_LEN: usize = 256 * 1024;
/// Most recipients a packet may have.
pub const MAX_RECIPIENTS: usize = 64;
/// The protected header that holds the labels. It is never `crit`: readers that do not know it pass it by.
pub const LABELS_HEADER: &str = "holdfast.labels";

/// A parsed packet: well-formed, every ephemeral key on its curve. Nothing of it is authenticated until
/// [`Jwe::finish`] succeeds.
#[derive(Debug, Clone)]
pub struct Jwe {
    recipients: Vec<Recipient>,
    /// What is left to do, recipient by recipient, with what a token opened. None: it is the CEK.
    agreements: Vec<Option<agreement::Agreement>>,
    labels: Labels,
    content: content::Content,
}

impl Jwe {
    /// Parses a packet in any serialization. One that begins with a letter or a digit is compact.
    ///
    /// Refused: more than [`MAX_LEN`] bytes, duplicate members anywhere, members nested deeper than 8
    /// levels, header names that stand in two headers, `zip`, `crit`, an unknown `enc` or one outside the
    /// protected header, bad base64url, an `iv`, `tag` or `ciphertext` of a length that `enc` does not
    /// have, more than [`MAX_RECIPIENTS`] recipients, a wrapped key or `epk` that does not fit its
    /// algorithm, a point off its curve. An `encrypted_key` beside `recipients` is ignored: go-jose writes
    /// one.
    pub fn parse(bytes: &[u8]) -> Result<Jwe, Malformed> {
        parse::parse(bytes)
    }

    /// The recipients in the packet's order; at least one.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The labels in the protected header, which the content's tag covers: authentic once
    /// [`Jwe::finish`] has succeeded. Labels anywhere else are not read.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Finishes what a token began. `opened` is what it gave for `recipients()[index].sealed()`: the CEK
    /// (16 to 64 bytes, as the packet's `enc` has it) for RSA-OAEP and A256GCMKW, the shared secret Z for
    /// ECDH. A recipient that does not exist or that has no known algorithm is
    /// [`FinishError::Rejected`] too.
    pub fn finish(&self, index: usize, opened: Secret) -> Result<OptsData, FinishError> {
        let plaintext = self.open(index, &opened).ok_or(FinishError::Rejected)?;
        OptsData::parse(plaintext).map_err(FinishError::Malformed)
    }

    /// The plaintext. Never public: only optsdata leaves this crate.
    fn open(&self, index: usize, opened: &Secret) -> Option<Secret> {
        self.recipients.get(index)?.algorithm()?;
        match self.agreements.get(index)? {
            None => self.content.open(opened.expose()),
            Some(agreement) => self.content.open(&agreement.cek(opened.expose())?),
        }
    }
}

#[cfg(test)]
mod tests;
