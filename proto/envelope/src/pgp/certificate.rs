//! OpenPGP certificates (RFC 9580 section 10.1), as far as a recipient needs them: what ECDH derives its key
//! from (the key's fingerprint, hash and cipher), and the key id by which messages name a key.
//!
//! No signature in it is checked, and none needs to be: whoever alters the file can only keep messages
//! from opening. Whether a key may be encrypted to is for those to decide who encrypt.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, digest};
use holdfast_wire::{Curve, EcPublicKey, Malformed, PublicKey};

use super::armor;
use super::ecdh::{self, Kdf};
use super::framing::{Packets, Reader, tag};
use super::parse::{ECDH, RSA, RSA_ENCRYPT_ONLY};

/// Octets of a version 4 fingerprint.
pub(super) const FINGERPRINT_LEN: usize = SHA1_OUTPUT_LEN;
/// The keys of a certificate that can be encrypted to: version 4, RSA or ECDH on a NIST curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    keys: Vec<RecipientKey>,
}

/// One key of a certificate: the primary one or a subkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientKey {
    public: PublicKey,
    fingerprint: [u8; FINGERPRINT_LEN],
    /// Of an ECDH key; None if its algorithms are not known.
    kdf: Option<Kdf>,
}

/// Why a certificate has no key for a public half.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchKey {
    /// It has others.
    #[error("it has no encryption key with this public half; it has {0}")]
    Foreign(String),
    /// It has the key, with a hash or cipher for ECDH that is not SHA-256, 384 or 512 and AES.
    #[error("{0} derives its keys with algorithms that this version does not know")]
    UnknownKdf(String),
    /// The same key material under several fingerprints.
    #[error("it has several keys with this public half, {0}: leave one in the file")]
    Several(String),
}

impl Certificate {
    /// Longest file taken, in bytes: a certificate with many signatures, or several.
    pub const MAX_LEN: usize = 1024 * 1024;

    /// Reads a certificate in armor or in binary form; also several, one behind the other.
    ///
    /// Refused: more than 1 MiB, private keys, packets whose lengths do not add up, and what has no version 4
    /// key for encryption that this version knows.
    pub fn parse(bytes: &[u8]) -> Result<Certificate, Malformed> {
        if bytes.len() > Certificate::MAX_LEN {
            return Err(Malformed::new(format!(
                "it has {} bytes; at most {} are taken",
                bytes.len(),
                Certificate::MAX_LEN
            )));
        }
        let octets = armor::remove(bytes)?;
        let mut packets = Packets::new(&octets);
        let mut keys: Vec<RecipientKey> = Vec::new();
        while let Some(packet) = packets.next()? {
            match packet.tag {
                tag::PUBLIC_KEY | tag::PUBLIC_SUBKEY => {
                    keys.extend(RecipientKey::parse(&packet.body)?.filter(|key| !keys.contains(key)));
                }
                tag::SECRET_KEY | tag::SECRET_SUBKEY => {
                    return Err(Malformed::new(
                        "it holds a private key; give the public part alone, as gpg --export writes it",
                    ));
                }
                _ => {}
            }
        }
        if keys.is_empty() {
            return Err(Malformed::new(
                "it has no OpenPGP key of version 4 for encryption by RSA, or by ECDH on P-256, P-384 or P-521",
            ));
        }
        Ok(Certificate { keys })
    }

    /// Its keys, each once; at least one.
    pub fn keys(&self) -> &[RecipientKey] {
        &self.keys
    }

    /// The key with this public half.
    pub fn key_of(&self, public: &PublicKey) -> Result<&RecipientKey, NoSuchKey> {
        let mut with = self.keys.iter().filter(|key| key.public == *public);
        match (with.next(), with.next()) {
            (None, _) => Err(NoSuchKey::Foreign(names(&mut self.keys.iter()))),
            (Some(key), None) => match (public, key.kdf) {
                (PublicKey::Ec(_), None) => Err(NoSuchKey::UnknownKdf(key.to_string())),
                _ => Ok(key),
            },
            (Some(_), Some(_)) => {
                Err(NoSuchKey::Several(names(&mut self.keys.iter().filter(|key| key.public == *public))))
            }
        }
    }
}

/// At most 8 of them, for an error.
fn names(keys: &mut dyn Iterator<Item = &RecipientKey>) -> String {
    let named: Vec<String> = keys.take(8).map(RecipientKey::to_string).collect();
    named.join(", ")
}

impl RecipientKey {
    /// A public key packet (section 5.5.2). None for a key that nobody here can use.
    pub(super) fn parse(body: &[u8]) -> Result<Option<RecipientKey>, Malformed> {
        let mut reader = Reader(body);
        if reader.octet()? != 4 {
            return Ok(None);
        }
        reader.take(size_of::<u32>())?;
        let read = match reader.octet()? {
            RSA | RSA_ENCRYPT_ONLY => {
                let (modulus, exponent) = (reader.mpi()?, reader.mpi()?);
                PublicKey::rsa(modulus, exponent).ok().map(|public| (public, None))
            }
            ECDH => ecdh_key(&mut reader)?,
            _ => return Ok(None),
        };
        reader.finish("a public key")?;
        let Ok(len) = u16::try_from(body.len()) else { return Ok(None) };
        Ok(read.map(|(public, kdf)| RecipientKey { public, fingerprint: fingerprint(len, body), kdf }))
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The fingerprint of this key: of the subkey, if it is one.
    pub fn fingerprint(&self) -> &[u8; FINGERPRINT_LEN] {
        &self.fingerprint
    }

    /// By what messages name it.
    pub fn key_id(&self) -> [u8; 8] {
        self.fingerprint.last_chunk().copied().unwrap_or_default()
    }

    /// What ECDH needs to know.
    pub(super) fn agreement(&self) -> Option<(Curve, Kdf)> {
        match &self.public {
            PublicKey::Ec(key) => Some((key.curve, self.kdf?)),
            _ => None,
        }
    }
}

/// The type and the fingerprint, as gpg writes it.
impl fmt::Display for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.public.type_name())?;
        self.fingerprint.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}

/// Section 5.5.5.6.
fn ecdh_key(reader: &mut Reader<'_>) -> Result<Option<(PublicKey, Option<Kdf>)>, Malformed> {
    let oid_len = reader.octet()?;
    let oid = reader.take(usize::from(oid_len))?;
    let point = reader.mpi()?;
    let kdf = std::mem::take(&mut reader.0);
    let curve = Curve::ALL.into_iter().find(|curve| ecdh::oid(*curve) == oid);
    let public = curve.map(|curve| EcPublicKey { curve, point: point.to_vec() });
    let public = public.filter(|key| crate::check_point(key).is_ok());
    Ok(public.map(|key| (PublicKey::Ec(key), Kdf::parse(kdf))))
}

/// Section 5.5.4.2.
pub(super) fn fingerprint(len: u16, body: &[u8]) -> [u8; FINGERPRINT_LEN] {
    let hashed = [&[0x99], &len.to_be_bytes()[..], body].concat();
    let mut fingerprint = [0; FINGERPRINT_LEN];
    fingerprint.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &hashed).as_ref());
    fingerprint
}
