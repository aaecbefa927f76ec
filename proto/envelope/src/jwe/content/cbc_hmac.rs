//! AES-CBC with PKCS #7 padding, then HMAC over it (RFC 7518 section 5.2). Read, never written.
//!
//! The tag is compared, in constant time, before anything is decrypted: the padding of a ciphertext that
//! somebody altered is never looked at, so there is no padding oracle.

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use aws_lc_rs::iv::FixedLength;
use holdfast_wire::Secret;
use zeroize::Zeroizing;

use super::{Content, Enc};

/// Bytes of a block of AES, and of the iv.
pub(super) const BLOCK_LEN: usize = 16;

pub(super) fn open(content: &Content, cek: &[u8]) -> Option<Secret> {
    let (hmac, aes) = match content.enc {
        Enc::A128CbcHs256 => (HMAC_SHA256, &AES_128),
        Enc::A192CbcHs384 => (HMAC_SHA384, &AES_192),
        Enc::A256CbcHs512 => (HMAC_SHA512, &AES_256),
        Enc::A256Gcm | Enc::A192Gcm | Enc::A128Gcm => return None,
    };
    let (mac_key, aes_key) = cek.split_at_checked(cek.len() / 2)?;
    verify_slices_are_equal(&tag(content, hmac, mac_key)?, &content.tag).ok()?;

    let iv: [u8; BLOCK_LEN] = content.iv.as_slice().try_into().ok()?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(aes, aes_key).ok()?).ok()?;
    let mut buffer = Zeroizing::new(content.ciphertext.clone());
    let len = key.decrypt(&mut buffer, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?.len();
    buffer.truncate(len);
    Some(Secret::new(std::mem::take(&mut *buffer)))
}

/// The first half of the HMAC over additional data, iv, ciphertext, and the length of the additional data
/// in bits as 64 of them (section 5.2.2.1).
fn tag(content: &Content, algorithm: hmac::Algorithm, mac_key: &[u8]) -> Option<Vec<u8>> {
    let aad = content.aad.as_bytes();
    let aad_bits = u64::try_from(aad.len()).ok()?.checked_mul(8)?;
    let mut mac = hmac::Context::with_key(&hmac::Key::new(algorithm, mac_key));
    for part in [aad, &content.iv, &content.ciphertext, &aad_bits.to_be_bytes()] {
        mac.update(part);
    }
    Some(mac.sign().as_ref().get(..mac_key.len())?.to_vec())
}
