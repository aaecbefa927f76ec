//! ECDH-ES+A256KW (RFC 7518 section 4.6): from the shared secret Z by Concat KDF to the key encryption
//! key (KEK), and by AES key wrap (RFC 3394) to the content encryption key.

use aws_lc_rs::kdf::{
    SskdfDigestAlgorithm, SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest,
};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use holdfast_wire::{Algorithm, Curve};
use zeroize::Zeroizing;

use super::content::CEK_LEN;

/// Bytes of a wrapped content encryption key.
pub(super) const WRAPPED_LEN: usize = CEK_LEN + 8;
/// Bytes of the key encryption key.
const KEK_LEN: usize = 32;

/// What turns Z into the content encryption key, but for Z itself.
#[derive(Debug, Clone)]
pub(super) struct Agreement {
    pub(super) curve: Curve,
    /// Agreement PartyUInfo, decoded; empty if there is none.
    pub(super) apu: Vec<u8>,
    /// Agreement PartyVInfo, decoded; empty if there is none.
    pub(super) apv: Vec<u8>,
    pub(super) wrapped: [u8; WRAPPED_LEN],
}

impl Agreement {
    /// The content encryption key. None for a Z of the wrong length as for one that does not fit.
    pub(super) fn unwrap(&self, z: &[u8]) -> Option<Zeroizing<[u8; CEK_LEN]>> {
        let kek = kek(self.curve, z, &self.apu, &self.apv)?;
        let mut cek = Zeroizing::new([0; CEK_LEN]);
        let len = AesKek::new(&AES_256, &kek[..]).ok()?.unwrap(&self.wrapped, &mut cek[..]).ok()?.len();
        (len == CEK_LEN).then_some(cek)
    }
}

/// Wraps a content encryption key for the holder of Z, without party information.
pub(super) fn wrap(curve: Curve, z: &[u8], cek: &[u8; CEK_LEN]) -> Option<[u8; WRAPPED_LEN]> {
    let kek = kek(curve, z, &[], &[])?;
    let mut wrapped = [0; WRAPPED_LEN];
    AesKek::new(&AES_256, &kek[..]).ok()?.wrap(cek, &mut wrapped).ok()?;
    Some(wrapped)
}

fn kek(curve: Curve, z: &[u8], apu: &[u8], apv: &[u8]) -> Option<Zeroizing<[u8; KEK_LEN]>> {
    if z.len() != curve.coordinate_len() {
        return None;
    }
    let mut kek = Zeroizing::new([0; KEK_LEN]);
    concat_kdf(z, Algorithm::EcdhEsA256Kw.name(), apu, apv, &mut kek[..])?;
    Some(kek)
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
