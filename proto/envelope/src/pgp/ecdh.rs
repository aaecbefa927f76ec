//! ECDH (RFC 9580 section 11.5, before it RFC 6637 section 8): from the shared secret Z to the key encryption
//! key, and with it to the session key. What goes into the derivation stands in the recipient's certificate
//! and nowhere in the message.

use aws_lc_rs::kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest};
use holdfast_wire::Curve;
use zeroize::Zeroizing;

use super::certificate::{FINGERPRINT_LEN, RecipientKey};
use super::parse::ECDH;
use crate::key_wrap;

/// The KDF parameters of a public key (section 5.5.5.6): which hash derives, and which AES wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kdf {
    hash: u8,
    cipher: u8,
}

impl Kdf {
    /// Reads the field: its length, a reserved octet, and the two. None for an algorithm that is not known.
    pub(super) fn parse(field: &[u8]) -> Option<Kdf> {
        match field {
            [3, 1, hash, cipher] => {
                let kdf = Kdf { hash: *hash, cipher: *cipher };
                kdf.digest().and(kdf.kek_len()).map(|_| kdf)
            }
            _ => None,
        }
    }

    /// Hash algorithms (section 9.5).
    fn digest(self) -> Option<SskdfDigestAlgorithmId> {
        match self.hash {
            8 => Some(SskdfDigestAlgorithmId::Sha256),
            9 => Some(SskdfDigestAlgorithmId::Sha384),
            10 => Some(SskdfDigestAlgorithmId::Sha512),
            _ => None,
        }
    }

    /// Symmetric algorithms (section 9.3).
    fn kek_len(self) -> Option<usize> {
        match self.cipher {
            7 => Some(16),
            8 => Some(24),
            9 => Some(32),
            _ => None,
        }
    }
}

/// The octets of a curve's OID (section 9.2).
pub(super) fn oid(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        Curve::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
        Curve::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
    }
}

/// The octets of Curve25519's OID (section 9.2).
pub(super) const CURVE25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01];

/// The padded session key. None for a Z of the wrong length as for one that does not fit.
pub(super) fn unwrap(z: &[u8], key: &RecipientKey, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (curve, kdf) = key.agreement()?;
    if z.len() != curve.coordinate_len() {
        return None;
    }
    let context = Context { oid: oid(curve), kdf, fingerprint: key.fingerprint() };
    key_wrap::unwrap(&context.kek(z)?, wrapped)
}

/// What the key encryption key (KEK) is derived from besides Z.
pub(super) struct Context<'a> {
    /// The curve's.
    pub(super) oid: &'a [u8],
    pub(super) kdf: Kdf,
    /// The recipient's key's.
    pub(super) fingerprint: &'a [u8; FINGERPRINT_LEN],
}

impl Context<'_> {
    /// Wraps a padded session key for the holder of Z.
    pub(super) fn wrap(&self, z: &[u8], padded: &[u8]) -> Option<Vec<u8>> {
        key_wrap::wrap(&self.kek(z)?, padded)
    }

    /// The single-step KDF of SP 800-56C with one round: the hash of 00 00 00 01, Z and the parameters, cut.
    fn kek(&self, z: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut kek = Zeroizing::new(vec![0; self.kdf.kek_len()?]);
        let digest = get_sskdf_digest_algorithm(self.kdf.digest()?)?;
        sskdf_digest(digest, z, &self.parameters(), &mut kek).ok()?;
        Some(kek)
    }

    fn parameters(&self) -> Vec<u8> {
        let mut parameters = Vec::with_capacity(64);
        parameters.extend(u8::try_from(self.oid.len()));
        parameters.extend_from_slice(self.oid);
        parameters.extend_from_slice(&[ECDH, 3, 1, self.kdf.hash, self.kdf.cipher]);
        parameters.extend_from_slice(b"Anonymous Sender    ");
        parameters.extend_from_slice(self.fingerprint);
        parameters
    }
}
