//! Content encryption (RFC 7518 section 5): all six algorithms are read, A256GCM is written.
//!
//! Both families are authenticated with the protected header as additional data. The header holds
//! `enc`, so that a content key cannot be taken from one algorithm to another.

mod cbc_hmac;

use holdfast_wire::{OptsData, Secret};

use crate::aes_gcm;

/// A content encryption algorithm, by its JOSE name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enc {
    A256Gcm,
    A192Gcm,
    A128Gcm,
    A256CbcHs512,
    A192CbcHs384,
    A128CbcHs256,
}

impl Enc {
    pub(super) const ALL: [Enc; 6] =
        [Enc::A256Gcm, Enc::A192Gcm, Enc::A128Gcm, Enc::A256CbcHs512, Enc::A192CbcHs384, Enc::A128CbcHs256];

    /// What we write.
    pub(super) const OURS: Enc = Enc::A256Gcm;

    /// Bytes of the content encryption key (CEK) of what we write.
    pub(super) const OUR_CEK_LEN: usize = 32;

    pub(super) fn of_name(name: &str) -> Option<Enc> {
        Enc::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The JOSE name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Enc::A256Gcm => "A256GCM",
            Enc::A192Gcm => "A192GCM",
            Enc::A128Gcm => "A128GCM",
            Enc::A256CbcHs512 => "A256CBC-HS512",
            Enc::A192CbcHs384 => "A192CBC-HS384",
            Enc::A128CbcHs256 => "A128CBC-HS256",
        }
    }

    /// Bytes of the content encryption key. For AES-CBC with HMAC these are two keys, one behind the other.
    pub(super) fn cek_len(self) -> usize {
        match self {
            Enc::A128Gcm => 16,
            Enc::A192Gcm => 24,
            Enc::A256Gcm | Enc::A128CbcHs256 => 32,
            Enc::A192CbcHs384 => 48,
            Enc::A256CbcHs512 => 64,
        }
    }

    /// Bytes of the iv.
    pub(super) fn iv_len(self) -> usize {
        if self.is_gcm() { aes_gcm::IV_LEN } else { cbc_hmac::BLOCK_LEN }
    }

    /// Bytes of the tag.
    pub(super) fn tag_len(self) -> usize {
        if self.is_gcm() { aes_gcm::TAG_LEN } else { self.cek_len() / 2 }
    }

    /// Most bytes of ciphertext that optsdata can give.
    pub(super) fn max_ciphertext_len(self) -> usize {
        if self.is_gcm() { OptsData::MAX_LEN } else { OptsData::MAX_LEN + cbc_hmac::BLOCK_LEN }
    }

    /// Whether any plaintext gives a ciphertext of this length. AES-CBC pads to whole blocks.
    pub(super) fn is_ciphertext_len(self, len: usize) -> bool {
        self.is_gcm() || (len > 0 && len.is_multiple_of(cbc_hmac::BLOCK_LEN))
    }

    fn is_gcm(self) -> bool {
        matches!(self, Enc::A256Gcm | Enc::A192Gcm | Enc::A128Gcm)
    }
}

/// The encrypted content, and what its tag covers. Its lengths are those of its algorithm.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) enc: Enc,
    pub(super) iv: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: Vec<u8>,
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
        if cek.len() != self.enc.cek_len() {
            return None;
        }
        if !self.enc.is_gcm() {
            return cbc_hmac::open(self, cek);
        }
        let Content { iv, ciphertext, tag, aad, .. } = self;
        aes_gcm::open(cek, &aes_gcm::Sealed { iv, aad: aad.as_bytes(), ciphertext, tag })
    }

    /// Seals `plaintext` under a key that is used for nothing else, with [`Enc::OURS`].
    pub(super) fn seal(cek: &[u8], protected: &str, plaintext: &Secret) -> Option<Content> {
        let aad = additional_data(protected, None);
        let (iv, ciphertext, tag) = aes_gcm::seal(cek, aad.as_bytes(), plaintext)?;
        Some(Content { enc: Enc::OURS, iv, ciphertext, tag, aad })
    }
}

#[cfg(test)]
mod tests;
