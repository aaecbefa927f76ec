//! Signatures in a certificate (RFC 9580 section 5.2), of version 4, by its own primary key. What others say of it is
//! passed by.

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512, digest};
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, RsaParameters, UnparsedPublicKey};
use holdfast_wire::{Curve, Malformed};

use super::ecdh;
use super::framing::Reader;
use super::parse::RSA;
use crate::cms::der;

/// Public key algorithms (section 9.1): RSA that only signs, ECDSA, and EdDSA as gpg has it.
const RSA_SIGN_ONLY: u8 = 3;
const ECDSA: u8 = 19;
const EDDSA: u8 = 22;
/// The OID of Ed25519 (section 9.2).
const ED25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
/// What stands before a point in its native form (section 11.2.2).
const NATIVE: u8 = 0x40;

/// Types of signatures (section 5.2.1).
pub(super) mod kind {
    /// The four that certify a user ID.
    pub(in super::super) const CERTIFICATIONS: std::ops::RangeInclusive<u8> = 0x10..=0x13;
    pub(in super::super) const SUBKEY_BINDING: u8 = 0x18;
    pub(in super::super) const DIRECT: u8 = 0x1f;
    pub(in super::super) const KEY_REVOCATION: u8 = 0x20;
    pub(in super::super) const SUBKEY_REVOCATION: u8 = 0x28;
    pub(in super::super) const CERTIFICATION_REVOCATION: u8 = 0x30;
}

/// A signature, not yet verified.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) kind: u8,
    /// When it was made, in seconds since 1970.
    pub(super) created: u32,
    /// How many seconds after that it ends to be true; 0: never.
    pub(super) lasts: u32,
    /// How many seconds after its creation the key expires; 0: never.
    pub(super) key_lasts: u32,
    /// What the key is for, if it is said.
    pub(super) flags: Option<u8>,
    algorithm: u8,
    hash: u8,
    /// From the version to the end of the hashed subpackets.
    hashed: Vec<u8>,
    /// One or two numbers.
    numbers: Vec<Vec<u8>>,
}

impl Signature {
    /// A signature packet. None for one of another version, without a time, or with something critical that is not
    /// known (section 5.2.3.7).
    pub(super) fn parse(body: &[u8]) -> Result<Option<Signature>, Malformed> {
        let mut reader = Reader(body);
        if reader.octet()? != 4 {
            return Ok(None);
        }
        let (kind, algorithm, hash) = (reader.octet()?, reader.octet()?, reader.octet()?);
        let len = reader.number(2)?;
        let subpackets = reader.take(len)?;
        let hashed = body.get(..body.len() - reader.0.len()).unwrap_or_default().to_vec();
        // What is not hashed anyone can have put there; nor are two octets of the hash needed.
        let len = reader.number(2)?;
        reader.take(len)?;
        reader.take(2)?;
        let mut numbers = Vec::new();
        while known_algorithm(algorithm) && !reader.0.is_empty() && numbers.len() < 2 {
            numbers.push(reader.mpi()?.to_vec());
        }
        let mut signature = Signature {
            kind,
            created: 0,
            lasts: 0,
            key_lasts: 0,
            flags: None,
            algorithm,
            hash,
            hashed,
            numbers,
        };
        let known = signature.read(subpackets)?;
        Ok((known && signature.created > 0).then_some(signature))
    }

    /// Gives whether all that is critical is known.
    fn read(&mut self, subpackets: &[u8]) -> Result<bool, Malformed> {
        let mut reader = Reader(subpackets);
        let mut known = true;
        while !reader.0.is_empty() {
            let len = match reader.octet()? {
                short @ 0..192 => usize::from(short),
                high @ 192..255 => ((usize::from(high) - 192) << 8) + usize::from(reader.octet()?) + 192,
                255 => reader.number(4)?,
            };
            let mut subpacket = Reader(reader.take(len)?);
            let kind = subpacket.octet()?;
            let seconds = |mut from: Reader<'_>| from.number(4).map(|number| number as u32);
            match kind & 0x7f {
                2 => self.created = seconds(subpacket)?,
                3 => self.lasts = seconds(subpacket)?,
                9 => self.key_lasts = seconds(subpacket)?,
                27 => self.flags = Some(subpacket.0.first().copied().unwrap_or_default()),
                // Those of RFC 9580 that say nothing of whether a key may be encrypted to.
                4..=7 | 11 | 12 | 16 | 20..=26 | 28..=35 | 39 => {}
                _ => known &= kind & 0x80 == 0,
            }
        }
        Ok(known)
    }

    /// Whether it is true at this time, in seconds since 1970.
    pub(super) fn holds_at(&self, now: u64) -> bool {
        let (created, lasts) = (u64::from(self.created), u64::from(self.lasts));
        created <= now && (lasts == 0 || now < created + lasts)
    }

    /// What is signed, behind which stands what the signature says (section 5.2.4).
    fn covered(&self, data: &[u8]) -> Vec<u8> {
        let len = (self.hashed.len() as u32).to_be_bytes();
        [data, &self.hashed, &[4, 0xff], &len].concat()
    }
}

/// The key that a certificate's own signatures are by.
#[derive(Debug)]
pub(super) enum Signer {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ecdsa { curve: Curve, point: Vec<u8> },
    Ed25519(Vec<u8>),
}

impl Signer {
    /// The body of a primary key's packet, of version 4. None for a key of another type.
    pub(super) fn parse(body: &[u8]) -> Result<Option<Signer>, Malformed> {
        let mut reader = Reader(body);
        reader.take(5)?;
        let algorithm = reader.octet()?;
        if matches!(algorithm, RSA | RSA_SIGN_ONLY) {
            let (modulus, exponent) = (reader.mpi()?.to_vec(), reader.mpi()?.to_vec());
            return Ok(Some(Signer::Rsa { modulus, exponent }));
        }
        if !matches!(algorithm, ECDSA | EDDSA) {
            return Ok(None);
        }
        let len = reader.octet()?;
        let oid = reader.take(usize::from(len))?;
        let point = reader.mpi()?;
        if algorithm == EDDSA {
            let native = point.strip_prefix(&[NATIVE]).filter(|_| oid == ED25519);
            return Ok(native.map(|point| Signer::Ed25519(point.to_vec())));
        }
        let curve = Curve::ALL.into_iter().find(|curve| ecdh::oid(*curve) == oid);
        Ok(curve.map(|curve| Signer::Ecdsa { curve, point: point.to_vec() }))
    }

    /// Whether the signature over this data is by this key. SHA-1 and older hashes vouch for nothing any more.
    pub(super) fn made(&self, signature: &Signature, data: &[u8]) -> bool {
        let covered = signature.covered(data);
        let numbers = &signature.numbers;
        match (self, signature.algorithm, numbers.as_slice()) {
            (Signer::Rsa { modulus, exponent }, RSA | RSA_SIGN_ONLY, [number]) => {
                let key = signature::RsaPublicKeyComponents { n: modulus, e: exponent };
                let Some(number) = padded(number, modulus.len()) else { return false };
                rsa(signature.hash).is_some_and(|rsa| key.verify(rsa, &covered, &number).is_ok())
            }
            (Signer::Ecdsa { curve, point }, ECDSA, [r, s]) => {
                let Some(ecdsa) = ecdsa(*curve, signature.hash) else { return false };
                let numbers = der::value(der::SEQUENCE, &[integer(r), integer(s)].concat());
                UnparsedPublicKey::new(ecdsa, point).verify(&covered, &numbers).is_ok()
            }
            // Over the hash, as if that were the message.
            (Signer::Ed25519(point), EDDSA, [r, s]) => {
                let (Some(r), Some(s), Some(hash)) = (padded(r, 32), padded(s, 32), hash(signature.hash))
                else {
                    return false;
                };
                let hash = digest(hash, &covered);
                let key = UnparsedPublicKey::new(&signature::ED25519, point);
                key.verify(hash.as_ref(), &[r, s].concat()).is_ok()
            }
            _ => false,
        }
    }
}

/// Whether a signature by this algorithm ends in numbers, and somebody here may have made it.
fn known_algorithm(id: u8) -> bool {
    matches!(id, RSA | RSA_SIGN_ONLY | ECDSA | EDDSA)
}

/// Hash algorithms (section 9.5).
fn hash(id: u8) -> Option<&'static digest::Algorithm> {
    match id {
        8 => Some(&SHA256),
        9 => Some(&SHA384),
        10 => Some(&SHA512),
        _ => None,
    }
}

fn rsa(hash: u8) -> Option<&'static RsaParameters> {
    match hash {
        8 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        9 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        10 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

fn ecdsa(curve: Curve, hash: u8) -> Option<&'static EcdsaVerificationAlgorithm> {
    match (curve, hash) {
        (Curve::P256, 8) => Some(&signature::ECDSA_P256_SHA256_ASN1),
        (Curve::P256, 9) => Some(&signature::ECDSA_P256_SHA384_ASN1),
        (Curve::P256, 10) => Some(&signature::ECDSA_P256_SHA512_ASN1),
        (Curve::P384, 8) => Some(&signature::ECDSA_P384_SHA256_ASN1),
        (Curve::P384, 9) => Some(&signature::ECDSA_P384_SHA384_ASN1),
        (Curve::P384, 10) => Some(&signature::ECDSA_P384_SHA512_ASN1),
        (Curve::P521, 8) => Some(&signature::ECDSA_P521_SHA256_ASN1),
        (Curve::P521, 9) => Some(&signature::ECDSA_P521_SHA384_ASN1),
        (Curve::P521, 10) => Some(&signature::ECDSA_P521_SHA512_ASN1),
        _ => None,
    }
}

fn padded(number: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut padded = vec![0; len.checked_sub(number.len())?];
    padded.extend_from_slice(number);
    Some(padded)
}

/// An INTEGER that is not negative, of a number without leading zeros.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if number.first().is_none_or(|first| *first & 0x80 != 0) { &[0] } else { &[] };
    der::value(der::INTEGER, &[sign, number].concat())
}
