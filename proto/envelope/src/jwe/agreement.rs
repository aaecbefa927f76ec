//! ECDH-ES (RFC 7518 section 4.6): from the shared secret Z by Concat KDF to the content encryption key
//! (CEK), or to a key encryption key (KEK) that unwraps it.

use aws_lc_rs::kdf::{
    SskdfDigestAlgorithm, SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest,
};
use holdfast_wire::{Algorithm, Curve};
use zeroize::Zeroizing;

use super::content::Enc;
use crate::key_wrap;

/// What turns Z into the content encryption key, but for Z itself.
#[derive(Debug, Clone)]
pub(super) struct Agreement {
    pub(super) curve: Curve,
    /// Agreement PartyUInfo, decoded; empty if there is none.
    pub(super) apu: Vec<u8>,
    /// Agreement PartyVInfo, decoded; empty if there is none.
    pub(super) apv: Vec<u8>,
    pub(super) goal: Goal,
}

/// What is agreed upon.
#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// ECDH-ES: the content encryption key itself.
    Cek(Enc),
    /// ECDH-ES+A…KW: the key that it is wrapped with.
    Kek { algorithm: Algorithm, wrapped: Vec<u8> },
}

impl Agreement {
    /// The content encryption key. None for a Z of the wrong length as for one that does not fit.
    pub(super) fn cek(&self, z: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match &self.goal {
            // The name in the key derivation is that of what the key is for (section 4.6.2).
            Goal::Cek(enc) => self.derive(z, enc.name(), enc.cek_len()),
            Goal::Kek { algorithm, wrapped } => {
                let kek = self.derive(z, algorithm.name(), kek_len(*algorithm)?)?;
                key_wrap::unwrap(&kek, wrapped)
            }
        }
    }

    fn derive(&self, z: &[u8], name: &str, len: usize) -> Option<Zeroizing<Vec<u8>>> {
        derive(self.curve, z, name, (&self.apu, &self.apv), len)
    }
}

/// Wraps a content encryption key for the holder of Z by ECDH-ES+A256KW, without party information.
pub(super) fn wrap(curve: Curve, z: &[u8], cek: &[u8]) -> Option<Vec<u8>> {
    let algorithm = Algorithm::EcdhEsA256Kw;
    let kek = derive(curve, z, algorithm.name(), (&[], &[]), kek_len(algorithm)?)?;
    key_wrap::wrap(&kek, cek)
}

fn kek_len(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::EcdhEsA128Kw => Some(16),
        Algorithm::EcdhEsA192Kw => Some(24),
        Algorithm::EcdhEsA256Kw => Some(32),
        _ => None,
    }
}

fn derive(
    curve: Curve,
    z: &[u8],
    name: &str,
    (apu, apv): (&[u8], &[u8]),
    len: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    if z.len() != curve.coordinate_len() {
        return None;
    }
    let mut key = Zeroizing::new(vec![0; len]);
    concat_kdf(z, name, apu, apv, &mut key)?;
    Some(key)
}

/// Concat KDF with SHA-256 (SP 800-56A section 5.8.1; the single-step KDF of SP 800-56C) with the
/// OtherInfo of RFC 7518 section 4.6.2: each part has its length before it, 32 bits big-endian, and
/// SuppPubInfo is the length of the key in bits.
pub(super) fn concat_kdf(z: &[u8], algorithm: &str, apu: &[u8], apv: &[u8], key: &mut [u8]) -> Option<()> {
    let sha256: &'static SskdfDigestAlgorithm = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256)?;
    let mut other_info = Vec::with_capacity(16 + algorithm.len() + apu.len() + apv.len());
    for part in [algorithm.as_bytes(), apu, apv] {
        other_info.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
        other_info.extend_from_slice(part);
    }
    other_info.extend_from_slice(&u32::try_from(key.len() * 8).ok()?.to_be_bytes());
    sskdf_digest(sha256, z, &other_info, key).ok()
}
