//! AES-GCM with a 96-bit iv and a 128-bit tag (RFC 7518 section 5.3).

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use holdfast_wire::Secret;
use zeroize::Zeroizing;

use super::Content;

/// Bytes of the iv.
pub(super) const IV_LEN: usize = 12;
/// Bytes of the tag.
pub(super) const TAG_LEN: usize = 16;

pub(super) fn open(content: &Content, cek: &[u8]) -> Option<Secret> {
    // Wiped on the error path too: the buffer may hold plaintext whose tag was wrong.
    let mut plaintext = Zeroizing::new(vec![0; content.ciphertext.len()]);
    key(cek)?
        .open_separate_gather(
            Nonce::try_assume_unique_for_key(&content.iv).ok()?,
            Aad::from(content.aad.as_bytes()),
            &content.ciphertext,
            &content.tag,
            &mut plaintext,
        )
        .ok()?;
    Some(Secret::new(std::mem::take(&mut *plaintext)))
}

/// The iv, the ciphertext and the tag, in this order.
pub(super) fn seal(cek: &[u8], aad: &[u8], plaintext: &Secret) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut iv = [0; IV_LEN];
    rand::fill(&mut iv).ok()?;
    let mut buffer = Zeroizing::new(plaintext.expose().to_vec());
    let tag = key(cek)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(aad), &mut buffer)
        .ok()?;
    // From here on these bytes are ciphertext.
    let ciphertext = std::mem::take(&mut *buffer);
    Some((iv.to_vec(), ciphertext, tag.as_ref().to_vec()))
}

/// A key of 16, 24 or 32 bytes, which also says which AES it is for.
fn key(cek: &[u8]) -> Option<LessSafeKey> {
    let algorithm = match cek.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    Some(LessSafeKey::new(UnboundKey::new(algorithm, cek).ok()?))
}
