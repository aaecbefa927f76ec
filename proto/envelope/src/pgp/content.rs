//! The content (RFC 9580 section 5.13.1): AES in CFB mode over packets, with their SHA-1 behind them.
//!
//! The modification detection code is older than authenticated encryption and no tag under a key of its own.
//! It holds because SHA-1 is taken over plaintext that an attacker does not know; what breaks SHA-1 are
//! collisions, which do not help here. What it must not be is optional, or checked after the plaintext
//! was looked at: that was EFAIL.

use aws_lc_rs::cipher::{
    DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, digest};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand;
use holdfast_wire::{Malformed, OptsData, Secret};
use zeroize::Zeroizing;

use super::session_key::SessionKey;

/// A block of AES.
const BLOCK_LEN: usize = 16;
/// Octets before the packets: a block of random ones, and its last two again.
const PREFIX_LEN: usize = BLOCK_LEN + 2;
/// The header of the packet with the modification detection code (RFC 4880 section 5.14).
const MDC_HEADER: [u8; 2] = [0xd3, 0x14];
/// Octets behind the packets.
const MDC_LEN: usize = MDC_HEADER.len() + SHA1_OUTPUT_LEN;
/// Most bytes of a literal packet around optsdata: headers, a file name, lengths of parts.
const MAX_LITERAL_OVERHEAD: usize = 1024;
/// Most bytes of ciphertext.
const MAX_LEN: usize = PREFIX_LEN + OptsData::MAX_LEN + MAX_LITERAL_OVERHEAD + MDC_LEN;

/// The encrypted content: prefix, packets and modification detection code, at least the first and the last.
#[derive(Debug, Clone)]
pub(super) struct Content {
    ciphertext: Vec<u8>,
}

impl Content {
    /// A SEIPD packet.
    pub(super) fn parse(body: &[u8]) -> Result<Content, Malformed> {
        let ciphertext = match body.split_first() {
            Some((1, ciphertext)) => ciphertext,
            Some((2, _)) => {
                return Err(Malformed::new(
                    "the message's content is encrypted by AEAD (version 2 of OpenPGP packet 18), which this version \
                     does not open; encrypt to a key that does not ask for it",
                ));
            }
            _ => return Err(Malformed::new("the message's content is of an unknown version")),
        };
        match ciphertext.len() {
            len if len < PREFIX_LEN + MDC_LEN => {
                Err(Malformed::new(format!("the message's content has only {len} bytes")))
            }
            len if len > MAX_LEN => Err(Malformed::new(format!(
                "the message's content has {len} bytes; at most {MAX_LEN} are taken"
            ))),
            _ => Ok(Content { ciphertext: ciphertext.to_vec() }),
        }
    }

    /// Encrypts packets.
    pub(super) fn seal(key: &SessionKey, packets: &Secret) -> Option<Content> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(PREFIX_LEN + packets.len() + MDC_LEN));
        let mut random = [0; BLOCK_LEN];
        rand::fill(&mut random).ok()?;
        plaintext.extend_from_slice(&random);
        plaintext.extend_from_slice(&random[BLOCK_LEN - 2..]);
        plaintext.extend_from_slice(packets.expose());
        plaintext.extend_from_slice(&MDC_HEADER);
        let mdc = digest(&SHA1_FOR_LEGACY_USE_ONLY, &plaintext);
        plaintext.extend_from_slice(mdc.as_ref());
        let aes = UnboundCipherKey::new(key.algorithm(), key.expose()).ok()?;
        let iv = EncryptionContext::Iv128(FixedLength::from([0; BLOCK_LEN]));
        EncryptingKey::cfb128(aes).ok()?.less_safe_encrypt(&mut plaintext, iv).ok()?;
        // From here on these bytes are ciphertext.
        Some(Content { ciphertext: std::mem::take(&mut *plaintext) })
    }

    /// The body of a SEIPD packet.
    pub(super) fn body(&self) -> Vec<u8> {
        [&[1], &self.ciphertext[..]].concat()
    }

    /// The packets inside. None if they were altered, or encrypted with another key.
    pub(super) fn open(&self, key: &SessionKey) -> Option<Secret> {
        let mut plaintext = Zeroizing::new(self.ciphertext.clone());
        // The iv is all zeros: the random block at the beginning does its work.
        let iv = DecryptionContext::Iv128(FixedLength::from([0; BLOCK_LEN]));
        let aes = UnboundCipherKey::new(key.algorithm(), key.expose()).ok()?;
        DecryptingKey::cfb128(aes).ok()?.decrypt(&mut plaintext, iv).ok()?;

        let end = plaintext.len().checked_sub(MDC_LEN)?;
        let covered = plaintext.get(..end + MDC_HEADER.len())?;
        let mut wanted = [0; MDC_LEN];
        wanted[..MDC_HEADER.len()].copy_from_slice(&MDC_HEADER);
        wanted[MDC_HEADER.len()..].copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, covered).as_ref());
        verify_slices_are_equal(plaintext.get(end..)?, &wanted).ok()?;
        Some(Secret::copy_of(plaintext.get(PREFIX_LEN..end)?))
    }
}
