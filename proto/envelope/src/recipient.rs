//! Those a packet was sealed to, the same for every scheme.

use std::ops::RangeInclusive;

use holdfast_wire::{Algorithm, Malformed, Sealed};

/// Bytes an RSA ciphertext may have: moduli of 2048 to 8192 bits.
const RSA_CIPHERTEXT_LEN: RangeInclusive<usize> = 256..=1024;

/// One of those a packet was sealed to. Nothing of it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    hint: Option<Hint>,
    way: Option<(Algorithm, Sealed)>,
}

/// What a packet calls a recipient's key: anyone could have written it, and it may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// JOSE's `kid`, any text. Holdfast's own is the key's [thumbprint](crate::jwk::thumbprint).
    Kid(String),
    /// The certificate that a CMS packet was sealed with (RFC 5652 section 10.2.4).
    IssuerAndSerial {
        /// The issuer's Name, DER.
        issuer: Vec<u8>,
        /// The serial number, the content of its INTEGER.
        serial: Vec<u8>,
    },
    /// An OpenPGP key ID; all zeros where the writer gave none (RFC 9580 section 5.1.8).
    KeyId([u8; 8]),
}

impl Hint {
    /// The key ID of an OpenPGP recipient that the writer hid.
    pub const HIDDEN: Hint = Hint::KeyId([0; 8]);
}

impl Recipient {
    /// `way` is what a token has to open, and by which algorithm; none for a recipient that nobody here can open.
    pub(crate) fn new(hint: Option<Hint>, way: Option<(Algorithm, Sealed)>) -> Recipient {
        Recipient { hint, way }
    }

    /// The key management algorithm. None: one that this version does not know or refuses, such as RSA1_5 in a
    /// JWE, or an ephemeral key of a type it does not know, such as X25519, or ECDH-ES beside other recipients;
    /// nothing can be done with this recipient.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.way.as_ref().map(|(algorithm, _)| *algorithm)
    }

    /// What a token has to open. There exactly if [`Recipient::algorithm`] is.
    pub fn sealed(&self) -> Option<&Sealed> {
        self.way.as_ref().map(|(_, sealed)| sealed)
    }

    /// What the packet calls the key.
    pub fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }

    /// The hint of a JWE.
    pub fn kid(&self) -> Option<&str> {
        match &self.hint {
            Some(Hint::Kid(kid)) => Some(kid),
            _ => None,
        }
    }
}

/// A wrapped key that has a length of an RSA key's. `what` is what an error calls it: "blob of recipient 1".
pub(crate) fn rsa_ciphertext(what: &str, algorithm: Algorithm, bytes: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    if RSA_CIPHERTEXT_LEN.contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(Malformed::new(format!(
        "{what} has {} bytes; for {algorithm} it has {} to {}",
        bytes.len(),
        RSA_CIPHERTEXT_LEN.start(),
        RSA_CIPHERTEXT_LEN.end()
    )))
}
