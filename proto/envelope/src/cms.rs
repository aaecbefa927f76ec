//! CMS EnvelopedData (RFC 5652), PKCS#7 to ocicrypt: scheme `pkcs7`.
//!
//! What is read is what ocicrypt writes, of either of its PKCS#7 libraries, and its valid form: content by
//! AES-128, AES-192 or AES-256 in GCM (RFC 5084), the content encryption key (CEK) by RSA PKCS#1 v1.5. A recipient
//! with anything else (RSA-OAEP, EC, a password) is kept, as one that nobody here can open; any other content, such
//! as AES-CBC, which nothing authenticates, is refused.
//!
//! ocicrypt's DER is invalid: the content's parameters stand in a SEQUENCE whose tag says that it is primitive
//! (0x10), with the nonce as `[4]`, and one of its libraries writes the encrypted content as a constructed `[0]`
//! around an OCTET STRING. `der` and the crates on it (`cms`) refuse both in their lowest layer, where a tag is
//! read, and nothing above can undo that: hence the reader of our own in `der.rs`, strict in all else. What
//! [`seal()`] writes is DER, and as near to RFC 5084 as ocicrypt's readers allow.
//!
//! PKCS#1 v1.5 tells, to whoever may ask often, what a ciphertext opens to, by whether its padding was good
//! (Bleichenbacher, CRYPTO 1998). A CEK of the wrong length is therefore replaced by a random one, as is one that a
//! token refused ([`Packet::decoy`](crate::Packet::decoy)), and both end where a wrong key ends (RFC 3218 section
//! 2.3.2). That is as much as can be done outside the token.

pub(crate) mod der;
mod parse;
mod seal;

use aws_lc_rs::rand;
use holdfast_wire::{Malformed, OptsData, Secret};

pub use seal::{To, seal};

use crate::{FinishError, Recipient, aes_gcm};

/// Longest packet taken, in bytes. 64 recipients with RSA-8192 keys and long issuers stay under it.
pub const MAX_LEN: usize = 256 * 1024;
/// Most recipients a packet may have.
pub const MAX_RECIPIENTS: usize = 64;

/// A parsed packet. Nothing of it is authenticated until [`EnvelopedData::finish`] succeeds, and its recipients not
/// even then.
#[derive(Debug, Clone)]
pub struct EnvelopedData {
    recipients: Vec<Recipient>,
    content: Content,
}

/// The encrypted content: AES-GCM without additional data.
#[derive(Debug, Clone)]
struct Content {
    /// 16, 24 or 32.
    cek_len: usize,
    iv: [u8; aes_gcm::IV_LEN],
    ciphertext: Vec<u8>,
    tag: [u8; aes_gcm::TAG_LEN],
}

impl EnvelopedData {
    /// Parses a packet.
    ///
    /// Refused: more than [`MAX_LEN`] bytes, lengths that are not DER, anything left over anywhere, originator
    /// certificates and unprotected attributes, no recipient or more than [`MAX_RECIPIENTS`], an RSA recipient
    /// whose parameters are neither absent nor NULL or whose wrapped key has no length of an RSA key's, content
    /// that is not AES-GCM with a nonce of 12 and a tag of 16 bytes.
    pub fn parse(bytes: &[u8]) -> Result<EnvelopedData, Malformed> {
        parse::parse(bytes)
    }

    /// The recipients in the packet's order; at least one. Their hints are issuer and serial number of the
    /// certificates that the packet was made with.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Finishes what a token began. `opened` is what it gave for `recipients()[index].sealed()`: the CEK, of 16 to
    /// 32 bytes. A recipient that does not exist or that has no known algorithm is [`FinishError::Rejected`] too.
    pub fn finish(&self, index: usize, opened: Secret) -> Result<OptsData, FinishError> {
        let plaintext = self.open(index, opened).ok_or(FinishError::Rejected)?;
        OptsData::parse(plaintext).map_err(FinishError::Malformed)
    }

    /// Random bytes of a CEK's length: [`Packet::decoy`](crate::Packet::decoy).
    pub(crate) fn decoy(&self) -> Option<Secret> {
        let mut cek = Secret::new(vec![0; self.content.cek_len]);
        rand::fill(cek.expose_mut()).ok()?;
        Some(cek)
    }

    /// The plaintext. Never public: only optsdata leaves this crate.
    fn open(&self, index: usize, opened: Secret) -> Option<Secret> {
        self.recipients.get(index)?.algorithm()?;
        let cek = if opened.len() == self.content.cek_len { opened } else { self.decoy()? };
        let Content { iv, ciphertext, tag, .. } = &self.content;
        aes_gcm::open(cek.expose(), &aes_gcm::Sealed { iv, aad: &[], ciphertext, tag })
    }
}
