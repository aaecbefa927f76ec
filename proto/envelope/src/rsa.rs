//! Sealing to RSA keys: the way that no token is asked for. Each function takes the recipient's number, from 1, for
//! its errors.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
    PublicEncryptingKey,
};
use holdfast_wire::{Algorithm, Malformed, OaepHash, PublicKey};

use crate::SealError;

/// RSAES-OAEP with an empty label (RFC 8017 section 7.1), MGF1 with the same hash.
pub(crate) fn oaep(
    number: usize,
    key: &PublicKey,
    hash: OaepHash,
    message: &[u8],
) -> Result<Vec<u8>, SealError> {
    let algorithm = match hash {
        OaepHash::Sha1 => Algorithm::RsaOaep,
        OaepHash::Sha256 => Algorithm::RsaOaep256,
    };
    let failed = |_| SealError::Library("RSA-OAEP");
    let key = OaepPublicEncryptingKey::new(encrypting(number, key, algorithm)?).map_err(failed)?;
    let parameters = match hash {
        OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
    };
    let most = key.max_plaintext_size(parameters);
    if message.len() > most {
        return Err(SealError::Key {
            recipient: number,
            why: Malformed::new(format!(
                "{algorithm} has room for {most} bytes in an RSA key of {} bits, and {} are to be sealed",
                key.key_size_bits(),
                message.len()
            )),
        });
    }
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let len = key.encrypt(parameters, message, &mut ciphertext, None).map_err(failed)?.len();
    ciphertext.truncate(len);
    Ok(ciphertext)
}

/// RSAES-PKCS1-v1_5 (section 7.2).
pub(crate) fn pkcs1(number: usize, key: &PublicKey, message: &[u8]) -> Result<Vec<u8>, SealError> {
    let failed = |_| SealError::Library("RSA PKCS#1 v1.5");
    let key = Pkcs1PublicEncryptingKey::new(encrypting(number, key, Algorithm::Rsa1_5)?).map_err(failed)?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let len = key.encrypt(message, &mut ciphertext).map_err(failed)?.len();
    ciphertext.truncate(len);
    Ok(ciphertext)
}

fn encrypting(
    number: usize,
    key: &PublicKey,
    algorithm: Algorithm,
) -> Result<PublicEncryptingKey, SealError> {
    if !matches!(key, PublicKey::Rsa(_)) {
        return Err(SealError::Unfit { recipient: number, algorithm, key_type: key.type_name() });
    }
    let unusable = |why| SealError::Key { recipient: number, why };
    PublicEncryptingKey::from_der(&key.to_der().map_err(unusable)?)
        .map_err(|_| unusable(Malformed::new("an RSA key that the cryptographic library refuses")))
}
