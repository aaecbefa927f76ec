//! How a recipient's key is opened: what goes to a token, and what is left to do with its answer.

use holdfast_wire::{Algorithm, Malformed, OaepHash, Operation, Sealed};

use super::{Headers, Shared, of_length};
use crate::jwe::agreement::{Agreement, Goal};
use crate::key_wrap;
use crate::recipient::rsa_ciphertext;

/// How a recipient's key is opened; only for algorithms that are known.
pub(super) struct Way {
    pub(super) algorithm: Algorithm,
    pub(super) sealed: Sealed,
    /// What is left to do with what the token opened. None: it is the CEK.
    pub(super) agreement: Option<Agreement>,
}

impl Shared<'_> {
    /// None for a recipient that cannot be opened here and need not keep another from being opened.
    pub(super) fn way(
        &self,
        algorithm: Algorithm,
        encrypted_key: Option<Vec<u8>>,
        headers: &Headers<'_>,
    ) -> Result<Option<Way>, Malformed> {
        if !algorithm.in_jwe() {
            return Ok(None);
        }
        match algorithm.operation() {
            Operation::RsaOaep(hash) => rsa_oaep(algorithm, hash, encrypted_key, headers).map(Some),
            Operation::Ecdh => self.ecdh(algorithm, encrypted_key, headers),
            Operation::AesGcm => self.aes_gcm(algorithm, encrypted_key, headers).map(Some),
            _ => Ok(None),
        }
    }

    /// RFC 7518 section 4.6.
    fn ecdh(
        &self,
        algorithm: Algorithm,
        encrypted_key: Option<Vec<u8>>,
        headers: &Headers<'_>,
    ) -> Result<Option<Way>, Malformed> {
        let what = headers.what;
        let goal = if algorithm == Algorithm::EcdhEs {
            // What two agree upon cannot be the content key of a third.
            if !self.alone {
                return Ok(None);
            }
            of_length(&format!("encrypted_key of {what}"), encrypted_key.unwrap_or_default(), 0)?;
            Goal::Cek(self.enc)
        } else {
            let wrapped = self.encrypted_key(encrypted_key, key_wrap::OVERHEAD, headers)?;
            Goal::Kek { algorithm, wrapped }
        };
        let Some(epk) = headers.ephemeral_key()? else {
            return Ok(None);
        };
        let agreement = Agreement {
            curve: epk.curve,
            apu: headers.bytes("apu")?.unwrap_or_default(),
            apv: headers.bytes("apv")?.unwrap_or_default(),
            goal,
        };
        let sealed = Sealed::Ecdh { curve: epk.curve, ephemeral: epk.point };
        Ok(Some(Way { algorithm, sealed, agreement: Some(agreement) }))
    }

    /// RFC 7518 section 4.7: iv and tag stand in the headers.
    fn aes_gcm(
        &self,
        algorithm: Algorithm,
        encrypted_key: Option<Vec<u8>>,
        headers: &Headers<'_>,
    ) -> Result<Way, Malformed> {
        let ciphertext = self.encrypted_key(encrypted_key, 0, headers)?;
        let sealed =
            Sealed::AesGcm { iv: parameter(headers, "iv")?, ciphertext, tag: parameter(headers, "tag")? };
        Ok(Way { algorithm, sealed, agreement: None })
    }

    /// A wrapped content key, which is as long as the content's algorithm has it and what wrapping adds.
    fn encrypted_key(
        &self,
        encrypted_key: Option<Vec<u8>>,
        overhead: usize,
        headers: &Headers<'_>,
    ) -> Result<Vec<u8>, Malformed> {
        let wanted = self.enc.cek_len() + overhead;
        of_length(&format!("encrypted_key of {}", headers.what), required(encrypted_key, headers)?, wanted)
    }
}

/// RFC 7518 section 4.3.
fn rsa_oaep(
    algorithm: Algorithm,
    hash: OaepHash,
    encrypted_key: Option<Vec<u8>>,
    headers: &Headers<'_>,
) -> Result<Way, Malformed> {
    let what = format!("encrypted_key of {}", headers.what);
    let ciphertext = rsa_ciphertext(&what, algorithm, required(encrypted_key, headers)?)?;
    Ok(Way { algorithm, sealed: Sealed::RsaOaep { hash, ciphertext }, agreement: None })
}

fn required(encrypted_key: Option<Vec<u8>>, headers: &Headers<'_>) -> Result<Vec<u8>, Malformed> {
    encrypted_key.ok_or_else(|| Malformed::new(format!("{} has no encrypted_key", headers.what)))
}

/// A header parameter of LEN bytes.
fn parameter<const LEN: usize>(headers: &Headers<'_>, name: &str) -> Result<[u8; LEN], Malformed> {
    let what = headers.what;
    let bytes = headers.bytes(name)?.ok_or_else(|| Malformed::new(format!("{what} has no {name}")))?;
    let len = bytes.len();
    bytes
        .try_into()
        .map_err(|_| Malformed::new(format!("{name} of {what} has {len} bytes; it must have {LEN}")))
}
