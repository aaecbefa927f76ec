//! AES-256-GCM inside the token, for [`Sealed::AesGcm`]: SP 800-38D with an iv of 96 bits, a tag of 128
//! and no additional data, as RFC 7518 section 4.7 has it.
//!
//! PKCS#11 before 3.0 leaves the iv to the caller, and two uses of one iv with one key give everything
//! away. So it is 96 random bits for every call, good for 2^32 calls with one key (SP 800-38D section 8.3),
//! from this process or, where a token takes none but its own, from the token.

use aws_lc_rs::rand;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use holdfast_custody::Error;
use holdfast_wire::{Operation, Sealed, Secret};

use crate::errors::failed;
use crate::login;

/// Bytes of a key.
pub(crate) const KEY_LEN: u64 = 32;
/// Bytes of an iv.
pub(crate) const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Bytes of a content encryption key (RFC 7518 section 5.1): nothing else is sealed.
const SECRET_LENS: std::ops::RangeInclusive<usize> = 16..=64;

/// CKM_AES_GCM. A token that makes the iv itself writes it into `iv`.
pub(crate) fn mechanism(iv: &mut [u8; IV_LEN]) -> Result<Mechanism<'_>, Error> {
    let tag_bits = 8 * TAG_LEN as u64;
    GcmParams::new(iv, &[], tag_bits.into())
        .map(Mechanism::AesGcm)
        .map_err(|error| Error::Internal(format!("the parameters of CKM_AES_GCM: {error}")))
}

/// Opens what [`seal`] gave.
pub(crate) fn open(
    session: &Session,
    key: ObjectHandle,
    mut iv: [u8; IV_LEN],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
) -> Result<Secret, Error> {
    // Its length is no secret, and a token need not be asked.
    if !SECRET_LENS.contains(&ciphertext.len()) {
        return Err(Error::Rejected);
    }
    let both = [ciphertext, tag].concat();
    session
        .decrypt(&mechanism(&mut iv)?, key, &both)
        .map(Secret::new)
        .map_err(|error| failed(error, Operation::AesGcm.name()))
}

/// Seals a secret, and has the token open it again before anybody relies on it: modules differ in where
/// they put iv and tag, and an image whose key cannot be opened is lost.
pub(crate) fn seal(session: &Session, key: ObjectHandle, secret: &Secret) -> Result<Sealed, Error> {
    let mut iv = [0; IV_LEN];
    rand::fill(&mut iv).map_err(|_| Error::Internal("no random iv can be made".into()))?;
    let mut sealed = encrypt(session, key, &mut iv, secret);
    if matches!(sealed, Err(Error::Unsupported(_))) {
        // Some take no iv but their own, and write it over zeros (AWS CloudHSM).
        iv = [0; IV_LEN];
        sealed = encrypt(session, key, &mut iv, secret).and_then(|sealed| told(iv).map(|()| sealed));
    }
    let mut ciphertext = sealed?;
    let tag = ciphertext.split_off(ciphertext.len().saturating_sub(TAG_LEN));
    let tag = tag.try_into().map_err(|_| not_as_wanted())?;
    // Both are ours, and so is the key: time tells nothing.
    match open(session, key, iv, &ciphertext, &tag) {
        Ok(opened) if opened.expose() == secret.expose() => Ok(Sealed::AesGcm { iv, ciphertext, tag }),
        // Some tokens that are logged out say that the ciphertext is bad.
        Err(Error::Rejected) if !login::is_user(session)? => Err(login::lost()),
        Ok(_) | Err(Error::Rejected) => Err(not_as_wanted()),
        Err(error) => Err(error),
    }
}

fn encrypt(
    session: &Session,
    key: ObjectHandle,
    iv: &mut [u8; IV_LEN],
    secret: &Secret,
) -> Result<Vec<u8>, Error> {
    session
        .encrypt(&mechanism(iv)?, key, secret.expose())
        .map_err(|error| failed(error, Operation::AesGcm.name()))
}

/// A token that left the zeros there keeps its iv to itself, or has used zeros: neither is of any use.
fn told(iv: [u8; IV_LEN]) -> Result<(), Error> {
    if iv == [0; IV_LEN] { Err(Error::Unsupported("AES-256-GCM with an iv that it tells")) } else { Ok(()) }
}

fn not_as_wanted() -> Error {
    Error::KeyUnfit(
        "the token does not open by CKM_AES_GCM what it sealed by it, so nothing may be sealed to this key"
            .into(),
    )
}
