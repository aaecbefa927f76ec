//! OpenPGP messages (RFC 9580, before it RFC 4880), as ocicrypt's scheme `pgp` and gpg write them.
//!
//! Read and written is the form that both write: the session key for each recipient by RSA or by ECDH on a NIST curve
//! (a version 3 public key encrypted session key packet, PKESK), then one packet with the content, by AES in
//! CFB mode with a modification detection code (version 1 of packet 18, SEIPD), and in it one literal packet.
//! Written is ECDH on Curve25519 as well, gpg's default. A recipient of it, or of another kind (Elgamal, a password), is
//! kept when it is read, as one that nobody here can open.
//! Content without integrity protection is refused, and so is what needs more than this: compression,
//! signatures, AEAD.
//!
//! The parser is our own because those three packets are all that is needed. The libraries that know the
//! whole format bring cryptography of their own: rPGP the crate `rsa`, whose private key operations leak by
//! timing (RUSTSEC-2023-0071) and which `deny.toml` bans, with some dozens of crates more; Sequoia a second
//! cryptographic library, under the LGPL. Here a token does the private key operation and AWS-LC the rest.
//!
//! What a token opened of a damaged or foreign message is bytes that nobody vouches for, and PKCS#1 v1.5 and
//! CFB both have their oracles. So nothing after the token's call is told apart: a session key that has not
//! the right form is replaced by a random one and the content is decrypted all the same, and the two repeated
//! octets with which CFB begins are not looked at before the modification detection code
//! (RFC 9580 section 13.4, RFC 3218 section 2.3.2).

mod armor;
mod certificate;
mod content;
mod ecdh;
mod encryption_key;
mod framing;
mod literal;
mod parse;
mod seal;
mod session_key;
mod signature;

use holdfast_wire::{Malformed, OptsData, Secret};

pub use certificate::{Certificate, NoSuchKey, RecipientKey};
pub use encryption_key::EncryptionKey;
pub use seal::seal;

use crate::{FinishError, Recipient};
use session_key::SessionKey;

/// Longest message taken, in bytes. 64 recipients with RSA-8192 keys stay under 72 KiB.
pub const MAX_LEN: usize = 256 * 1024;
/// Most recipients a message may have.
pub const MAX_RECIPIENTS: usize = 64;

/// A parsed message: well-formed, every ephemeral key on its curve. Nothing of it is authenticated until
/// [`Pgp::finish`] succeeds.
#[derive(Debug, Clone)]
pub struct Pgp {
    recipients: Vec<Recipient>,
    /// Recipient by recipient, the session key under the key encryption key that ECDH agrees upon. RSA has none.
    wrapped: Vec<Option<Vec<u8>>>,
    content: content::Content,
}

impl Pgp {
    /// Parses a message in binary form.
    ///
    /// Refused: more than [`MAX_LEN`] bytes, packets whose lengths do not add up, more than
    /// [`MAX_RECIPIENTS`] recipients or none, content without integrity protection or with AEAD, content that
    /// is longer than optsdata can be, anything before, between or behind these packets, a PKESK packet of a
    /// known algorithm that is not well-formed.
    pub fn parse(bytes: &[u8]) -> Result<Pgp, Malformed> {
        parse::parse(bytes)
    }

    /// The recipients in the message's order; at least one. Their [hint](Recipient::hint) is the key ID. An RSA
    /// ciphertext is a number here, without leading zeros: the message does not tell how long the modulus is.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Finishes what a token began. `opened` is what it gave for `recipients()[index].sealed()`: for RSA the
    /// session key with its algorithm and checksum (19, 27 or 35 bytes), for ECDH the shared secret Z. `key`
    /// is what the certificate says of the key that was used; ECDH needs it, RSA does not. A recipient that
    /// does not exist or that has no known algorithm is [`FinishError::Rejected`] too.
    pub fn finish(
        &self,
        index: usize,
        opened: Secret,
        key: Option<&RecipientKey>,
    ) -> Result<OptsData, FinishError> {
        let packets = self.open(index, opened.expose(), key).ok_or(FinishError::Rejected)?;
        literal::data(packets.expose()).and_then(OptsData::parse).map_err(FinishError::Malformed)
    }

    /// Random bytes of the form that a token opens for RSA: [`Packet::decoy`](crate::Packet::decoy).
    pub(crate) fn decoy(&self) -> Option<Secret> {
        SessionKey::random().map(|key| key.written())
    }

    /// The packets inside. Never public: only optsdata leaves this crate.
    fn open(&self, index: usize, opened: &[u8], key: Option<&RecipientKey>) -> Option<Secret> {
        self.recipients.get(index)?.algorithm()?;
        // Made before it is known whether it is needed.
        let substitute = SessionKey::random()?;
        let session_key = self.session_key(index, opened, key);
        let packets = self.content.open(session_key.as_ref().unwrap_or(&substitute));
        packets.filter(|_| session_key.is_some())
    }

    fn session_key(&self, index: usize, opened: &[u8], key: Option<&RecipientKey>) -> Option<SessionKey> {
        match self.wrapped.get(index)? {
            None => SessionKey::read(opened),
            Some(wrapped) => SessionKey::read_padded(&ecdh::unwrap(opened, key?, wrapped)?),
        }
    }
}
