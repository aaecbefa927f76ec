//! The outer wrapper by which TPM2_Import takes a key from outside (TPM 2.0 Library Part 1, section 23.3.2;
//! B.10.3 for RSA storage keys and C.6.3 for ECC ones), made without a TPM. There is no inner wrapper.
//!
//! ```text
//! seed       ECC: KDFe(Z, "DUPLICATE", ephemeral x, storage key's x); RSA: random, by OAEP, label "DUPLICATE"
//! encrypted  AES-CFB(KDFa(seed, "STORAGE", Name), iv 0, TPM2B_SENSITIVE)
//! integrity  HMAC(KDFa(seed, "INTEGRITY"), encrypted ‖ Name)
//! duplicate  TPM2B_DIGEST integrity ‖ encrypted
//! ```
//!
//! KDFa is SP 800-108's counter mode over HMAC, KDFe the one-step derivation of SP 800-56C; their labels end in
//! a zero byte. All hashes are the storage key's nameAlg, SHA-256.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::{FixedLength, IV_LEN_128_BIT};
use aws_lc_rs::kdf::{
    KbkdfCtrHmacAlgorithmId, SskdfDigestAlgorithmId, get_kbkdf_ctr_hmac_algorithm,
    get_sskdf_digest_algorithm, kbkdf_ctr_hmac, sskdf_digest,
};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::{agreement, hmac, rand};
use holdfast_wire::{Curve, EcPublicKey, PublicKey, Secret};

use crate::storage_key::{Name, StorageKey};
use crate::structures::{put_sized, sized};

/// Bytes of SHA-256, and so of the seed and of the HMAC's key.
const HASH_LEN: usize = 32;
const LABEL: &[u8] = b"DUPLICATE\0";

/// What TPM2_Import is given of a key, beside its public half.
pub(crate) struct Duplicate {
    /// TPM2B_PRIVATE.
    pub(crate) private: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET.
    pub(crate) seed: Vec<u8>,
}

/// Wraps a TPM2B_SENSITIVE, which is encrypted where it is, for the storage key `to`. `name` is of its object.
pub(crate) fn wrap(mut sensitive: Secret, name: &Name, to: &StorageKey) -> Result<Duplicate, Unspecified> {
    let (seed, sealed_seed) = match to.public() {
        PublicKey::Ec(public) => shared_seed(public, to.x())?,
        public => encrypted_seed(public)?,
    };
    let cipher = if to.aes_bits() == 256 { &AES_256 } else { &AES_128 };
    let key = kdfa(&seed, b"STORAGE\0", name.as_bytes(), usize::from(to.aes_bits()) / 8)?;
    let key = EncryptingKey::cfb128(UnboundCipherKey::new(cipher, key.expose())?)?;
    // The key is used once.
    let iv = EncryptionContext::Iv128(FixedLength::from([0; IV_LEN_128_BIT]));
    key.less_safe_encrypt(sensitive.expose_mut(), iv)?;
    let encrypted = sensitive.expose();

    let key = kdfa(&seed, b"INTEGRITY\0", &[], HASH_LEN)?;
    let mut integrity = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
    integrity.update(encrypted);
    integrity.update(name.as_bytes());
    let integrity = sized(&[integrity.sign().as_ref()]).ok_or(Unspecified)?;
    Ok(Duplicate { private: sized(&[&integrity, encrypted]).ok_or(Unspecified)?, seed: sealed_seed })
}

/// A seed agreed with an ECC storage key, and the ephemeral point by which its TPM agrees to the same:
/// TPM2B_ENCRYPTED_SECRET of a TPMS_ECC_POINT.
fn shared_seed(to: &EcPublicKey, to_x: &[u8]) -> Result<(Secret, Vec<u8>), Unspecified> {
    /// One in 128 ephemeral keys is thrown away.
    const TRIES: usize = 64;
    let algorithm = match to.curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => return Err(Unspecified),
    };
    let len = to.curve.coordinate_len();
    for _ in 0..TRIES {
        let ephemeral = agreement::PrivateKey::generate(algorithm)?;
        let point = ephemeral.compute_public_key()?;
        let (x, y) =
            point.as_ref().get(1..).and_then(|point| point.split_at_checked(len)).ok_or(Unspecified)?;
        let peer = agreement::UnparsedPublicKey::new(algorithm, &to.point);
        let z = agreement::agree(&ephemeral, peer, Unspecified, |z| Ok(Secret::copy_of(z)))?;
        // TPMs differ in whether leading zeros count in KDFe, so that there must be none.
        if [x, z.expose()].iter().any(|number| number.first() == Some(&0)) {
            continue;
        }
        let algorithm = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256).ok_or(Unspecified)?;
        let mut seed = Secret::new(vec![0; HASH_LEN]);
        sskdf_digest(algorithm, z.expose(), &[LABEL, x, to_x].concat(), seed.expose_mut())?;
        let mut structure = Vec::new();
        put_sized(&mut structure, x).and_then(|()| put_sized(&mut structure, y)).ok_or(Unspecified)?;
        return Ok((seed, sized(&[&structure]).ok_or(Unspecified)?));
    }
    Err(Unspecified)
}

/// A random seed, encrypted to an RSA storage key.
fn encrypted_seed(to: &PublicKey) -> Result<(Secret, Vec<u8>), Unspecified> {
    let spki = to.to_der().map_err(|_| Unspecified)?;
    let key = PublicEncryptingKey::from_der(&spki).map_err(|_| Unspecified)?;
    let key = OaepPublicEncryptingKey::new(key)?;
    let mut seed = Secret::new(vec![0; HASH_LEN]);
    rand::fill(seed.expose_mut())?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    let encrypted = key.encrypt(&OAEP_SHA256_MGF1SHA256, seed.expose(), &mut encrypted, Some(LABEL))?;
    Ok((seed, sized(&[encrypted]).ok_or(Unspecified)?))
}

/// KDFa with one context (Part 1, section 11.4.10.2), of whole bytes.
fn kdfa(key: &Secret, label: &[u8], context: &[u8], len: usize) -> Result<Secret, Unspecified> {
    let bits = u32::try_from(8 * len).map_err(|_| Unspecified)?;
    let info = [label, context, &bits.to_be_bytes()].concat();
    let algorithm = get_kbkdf_ctr_hmac_algorithm(KbkdfCtrHmacAlgorithmId::Sha256).ok_or(Unspecified)?;
    let mut derived = Secret::new(vec![0; len]);
    kbkdf_ctr_hmac(algorithm, key.expose(), &info, derived.expose_mut())?;
    Ok(derived)
}
