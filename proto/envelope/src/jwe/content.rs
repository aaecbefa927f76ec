//! Content encryption: AES-256-GCM with a 96-bit iv and a 128-bit tag (RFC 7518 section 5.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use holdfast_wire::Secret;

use crate::base64url;

/// Bytes of the content encryption key.
pub(super) const CEK_LEN: usize = 32;
/// Bytes of the iv.
pub(super) const IV_LEN: usize = 12;
/// Bytes of the tag.
pub(super) const TAG_LEN: usize = 16;
/// The `enc` of all this.
pub(super) const ENC: &str = "A256GCM";

/// The encrypted content, and what its tag covers.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) iv: [u8; IV_LEN],
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: [u8; TAG_LEN],
    pub(super) aad: String,
}

/// What the tag covers beside the content (RFC 7516 section 5.1 step 14): the protected header as it is
/// written, and the `aad` member as it is written.
pub(super) fn additional_data(protected: &str, aad: Option<&str>) -> String {
    match aad {
        None => protected.to_owned(),
        Some(aad) => format!("{protected}.{aad}"),
    }
}

impl Content {
    /// Opens the content. None for a key of the wrong length as for one that does not fit.
    pub(super) fn open(&self, cek: &[u8]) -> Option<Secret> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, cek).ok()?);
        // Wiped on the error path too: the buffer may hold plaintext whose tag was wrong.
        let mut plaintext = SecretBuffer::new(vec![0; self.ciphertext.len()]);
        key.open_separate_gather(
            Nonce::assume_unique_for_key(self.iv),
            Aad::from(self.aad.as_bytes()),
            &self.ciphertext,
            &self.tag,
            &mut plaintext,
        )
        .ok()?;
        Some(Secret::new(std::mem::take(&mut *plaintext)))
    }

    /// Seals `plaintext` under a key and an iv that are used for nothing else.
    pub(super) fn seal(
        cek: &[u8; CEK_LEN],
        iv: [u8; IV_LEN],
        protected: &str,
        plaintext: &Secret,
    ) -> Option<Content> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, cek).ok()?);
        let aad = additional_data(protected, None);
        let mut buffer = SecretBuffer::new(plaintext.expose().to_vec());
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(iv),
                Aad::from(aad.as_bytes()),
                &mut buffer,
            )
            .ok()?;
        Some(Content {
            iv,
            // From here on these bytes are ciphertext.
            ciphertext: std::mem::take(&mut *buffer),
            tag: tag.as_ref().try_into().ok()?,
            aad,
        })
    }

    pub(super) fn iv_text(&self) -> String {
        base64url::encode(self.iv)
    }

    pub(super) fn ciphertext_text(&self) -> String {
        base64url::encode(&self.ciphertext)
    }

    pub(super) fn tag_text(&self) -> String {
        base64url::encode(self.tag)
    }
}

type SecretBuffer = zeroize::Zeroizing<Vec<u8>>;
