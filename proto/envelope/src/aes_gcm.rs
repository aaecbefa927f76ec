//! AES-GCM with a 96-bit iv and a 128-bit tag, around a packet's content (RFC 7518 section 5.3, RFC 5084).

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use holdfast_wire::Secret;
use zeroize::Zeroizing;

/// Bytes of the iv.
pub(crate) const IV_LEN: usize = 12;
/// Bytes of the tag.
pub(crate) const TAG_LEN: usize = 16;

/// Encrypted content, its tag beside it.
pub(crate) struct Sealed<'a> {
    pub(crate) iv: &'a [u8],
    pub(crate) aad: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8],
}

/// The content. `cek` has 16, 24 or 32 bytes, which also say which AES it is for.
pub(crate) fn open(cek: &[u8], sealed: &Sealed<'_>) -> Option<Secret> {
    // Wiped on the error path too: the buffer may hold plaintext whose tag was wrong.
    let mut plaintext = Zeroizing::new(vec![0; sealed.ciphertext.len()]);
    key(cek)?
        .open_separate_gather(
            Nonce::try_assume_unique_for_key(sealed.iv).ok()?,
            Aad::from(sealed.aad),
            sealed.ciphertext,
            sealed.tag,
            &mut plaintext,
        )
        .ok()?;
    Some(Secret::new(std::mem::take(&mut *plaintext)))
}

/// The iv, the ciphertext and the tag, in this order.
pub(crate) fn seal(cek: &[u8], aad: &[u8], plaintext: &Secret) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
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

fn key(cek: &[u8]) -> Option<LessSafeKey> {
    let algorithm = match cek.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    Some(LessSafeKey::new(UnboundKey::new(algorithm, cek).ok()?))
}
