//! From optsdata to a packet.
//!
//! Public keys need no token. A symmetric key never leaves its token, so that token has to seal the
//! content encryption key: [`Sealing`] hands it out and takes back what came of it, and nothing here waits
//! for anything.
//!
//! Written so that go-jose, and so ocicrypt, reads it: no `crit`, no `zip`, no top-level member of our own.
//! For one recipient everything stands in the protected header, under the content's tag; for several,
//! `alg`, `kid` and `epk` must stand with the recipient, where nothing covers them.

mod form;
mod public_key;

use aws_lc_rs::rand;
use holdfast_wire::{Algorithm, Labels, OptsData, PublicKey, Sealed, Secret};

use self::form::{Header, Packet, Recipient, json};
use super::MAX_RECIPIENTS;
use super::content::{Content, Enc};
use crate::{SealError, base64url, jwk};

/// One key to seal to, and how.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The public key.
    pub key: &'a PublicKey,
    /// The key management algorithm; it must be one for this type of key.
    pub algorithm: Algorithm,
}

/// Seals optsdata to 1 to [`MAX_RECIPIENTS`] public keys, each of which can open the packet alone.
pub fn seal(optsdata: &OptsData, to: &[To<'_>], labels: &Labels) -> Result<Vec<u8>, SealError> {
    let mut sealing = Sealing::begin(optsdata, labels)?;
    for to in to {
        sealing.add_public_key(to)?;
    }
    sealing.finish()
}

/// A packet in the making, for keys of any kind. Every packet has a fresh content encryption key (CEK).
///
/// ```
/// use holdfast_envelope::jwe::Sealing;
/// # use holdfast_wire::{Labels, OptsData, Sealed, Secret};
/// # let digest = format!("sha256:{}", "00".repeat(32));
/// # let optsdata = OptsData::new(Secret::new(vec![0; 32]), [0; 16], &digest)?;
/// # let token_seals = |_: &Secret| Sealed::AesGcm { iv: [0; 12], ciphertext: vec![0; 32], tag: [0; 16] };
/// let labels = Labels::default();
/// let mut sealing = Sealing::begin(&optsdata, &labels)?;
/// let sealed = token_seals(sealing.cek());
/// sealing.add_sealed("backup-2026", sealed)?;
/// let packet = sealing.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sealing<'a> {
    optsdata: &'a OptsData,
    labels: &'a Labels,
    cek: Secret,
    recipients: Vec<Recipient<'a>>,
}

impl<'a> Sealing<'a> {
    /// Begins a packet that holds `optsdata`, with `labels` under the content's tag.
    pub fn begin(optsdata: &'a OptsData, labels: &'a Labels) -> Result<Sealing<'a>, SealError> {
        let mut cek = vec![0; Enc::OUR_CEK_LEN];
        rand::fill(&mut cek).map_err(|_| SealError::Library("the random generator"))?;
        Ok(Sealing { optsdata, labels, cek: Secret::new(cek), recipients: Vec::new() })
    }

    /// The content encryption key of this packet, 32 bytes, for a token to seal. Whoever has it can read
    /// the packet.
    pub fn cek(&self) -> &Secret {
        &self.cek
    }

    /// Adds a recipient that has a private key. Its `kid` is its [thumbprint](jwk::thumbprint).
    pub fn add_public_key(&mut self, to: &To<'_>) -> Result<(), SealError> {
        let number = self.next_number()?;
        let (encrypted_key, epk) = public_key::seal(number, to, self.cek.expose())?;
        let header = Header {
            alg: Some(to.algorithm.name()),
            kid: Some(jwk::thumbprint(to.key)),
            epk,
            ..Header::default()
        };
        self.recipients.push(Recipient { header, encrypted_key: base64url::encode(encrypted_key) });
        Ok(())
    }

    /// Adds a recipient that has a symmetric key, by A256GCMKW: `sealed` is what its token made of
    /// [`Sealing::cek`]. `kid` is the name that its key is configured with: of a symmetric key there is no
    /// thumbprint that one might show.
    pub fn add_sealed(&mut self, kid: &str, sealed: Sealed) -> Result<(), SealError> {
        let number = self.next_number()?;
        let Sealed::AesGcm { iv, ciphertext, tag } = sealed else {
            return Err(SealError::NotSealed { recipient: number });
        };
        // As long, and not itself: a token that gives back what it was given would publish the key.
        if ciphertext.len() != self.cek.len() || ciphertext == self.cek.expose() {
            return Err(SealError::NotSealed { recipient: number });
        }
        let header = Header {
            alg: Some(Algorithm::A256GcmKw.name()),
            kid: Some(kid.to_owned()),
            iv: Some(base64url::encode(iv)),
            tag: Some(base64url::encode(tag)),
            ..Header::default()
        };
        self.recipients.push(Recipient { header, encrypted_key: base64url::encode(ciphertext) });
        Ok(())
    }

    /// The packet: flattened serialization for one recipient, general for several, in the order in which
    /// they were added.
    pub fn finish(self) -> Result<Vec<u8>, SealError> {
        let mut packet = Packet::default();
        let mut protected = Header {
            enc: Some(Enc::OURS.name()),
            labels: Some(self.labels).filter(|labels| !labels.is_empty()),
            ..Header::default()
        };
        let mut recipients = self.recipients;
        match recipients.as_mut_slice() {
            [] => return Err(SealError::NoRecipient),
            [only] => {
                let own = std::mem::take(&mut only.header);
                protected = Header { enc: protected.enc, labels: protected.labels, ..own };
                packet.encrypted_key = Some(std::mem::take(&mut only.encrypted_key));
            }
            _ => packet.recipients = Some(recipients),
        }
        let protected = base64url::encode(json(&protected)?);
        let content = Content::seal(self.cek.expose(), &protected, self.optsdata.raw())
            .ok_or(SealError::Library("AES-GCM"))?;
        packet.protected = protected;
        packet.iv = base64url::encode(&content.iv);
        packet.ciphertext = base64url::encode(&content.ciphertext);
        packet.tag = base64url::encode(&content.tag);
        json(&packet)
    }

    /// The number of the recipient that comes next, from 1.
    fn next_number(&self) -> Result<usize, SealError> {
        match self.recipients.len() {
            MAX_RECIPIENTS.. => Err(SealError::TooManyRecipients { max: MAX_RECIPIENTS }),
            count => Ok(count + 1),
        }
    }
}
