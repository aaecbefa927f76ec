//! What a token can do with a key, asked of the token and not believed of its mechanism list alone.
//!
//! A mechanism list says CKM_RSA_PKCS_OAEP, not with which hash: SoftHSM has it with SHA-1 only. That is
//! tried with a C_DecryptInit, on a session thrown away right after, because PKCS#11 before 3.0 has no
//! other way to end an operation that was begun.

use std::sync::OnceLock;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use holdfast_custody::Error;
use holdfast_wire::{OaepHash, Operation};

use crate::attributes::{flag, read};
use crate::errors::failed;
use crate::module::TokenState;
use crate::{gcm, oaep};

/// Where to ask.
pub(crate) struct Place<'a> {
    pub(crate) context: &'a Pkcs11,
    pub(crate) slot: Slot,
    pub(crate) session: &'a Session,
    pub(crate) state: &'a TokenState,
}

/// RSA, EC or AES; no other type of key can be used.
pub(crate) fn key_type(session: &Session, key: ObjectHandle) -> Result<KeyType, Error> {
    match read(session, key, AttributeType::KeyType)? {
        Some(Attribute::KeyType(kind)) if [KeyType::RSA, KeyType::EC, KeyType::AES].contains(&kind) => {
            Ok(kind)
        }
        Some(Attribute::KeyType(kind)) => Err(Error::KeyUnfit(format!(
            "it is a key of type {kind}; only RSA, EC (NIST curves) and AES with 256 bits can be used"
        ))),
        _ => Err(Error::KeyUnfit("the token does not tell what type of key it is".into())),
    }
}

/// What the token does with a key.
pub(crate) struct Ability {
    /// By one native command, in the order of [`Operation::ALL`]; at least one.
    pub(crate) operations: Vec<Operation>,
    /// OAEP with SHA-256 is among them, but the token does RSA alone and the padding is taken off here.
    pub(crate) unpads_sha256: bool,
}

/// What the token does with this key, or why it is unfit. `unpad_sha256` is the operator's leave to take
/// OAEP with SHA-256 off outside a token that does not do it.
pub(crate) fn of(
    place: &Place<'_>,
    key: ObjectHandle,
    kind: KeyType,
    unpad_sha256: bool,
) -> Result<Ability, Error> {
    if flag(place.session, key, AttributeType::AlwaysAuthenticate)? == Some(true) {
        return Err(Error::KeyUnfit(
            "the key wants its PIN for every use (CKA_ALWAYS_AUTHENTICATE), which this version does not support".into(),
        ));
    }
    if unpad_sha256 && kind != KeyType::RSA {
        return Err(Error::KeyUnfit(
            "oaep_sha256_in_daemon is for RSA keys; take it out of its [[key]]".into(),
        ));
    }
    // Whether an AES key may also seal (CKA_ENCRYPT) is asked when it shall: a retired one need not.
    let usage = if kind == KeyType::EC { AttributeType::Derive } else { AttributeType::Decrypt };
    if flag(place.session, key, usage)? != Some(true) {
        return Err(Error::KeyUnfit(format!(
            "the key may not do it: {usage} is not true; make a key with it"
        )));
    }
    let native = |operations| Ability { operations, unpads_sha256: false };
    match kind {
        KeyType::EC => {
            may(place, key, MechanismType::ECDH1_DERIVE)?;
            Ok(native(vec![Operation::Ecdh]))
        }
        KeyType::AES => {
            may(place, key, MechanismType::AES_GCM)?;
            aes_gcm(place, key).map(native)
        }
        _ => rsa(place, key, unpad_sha256),
    }
}

fn aes_gcm(place: &Place<'_>, key: ObjectHandle) -> Result<Vec<Operation>, Error> {
    match read(place.session, key, AttributeType::ValueLen)? {
        Some(Attribute::ValueLen(len)) if *len == gcm::KEY_LEN => {}
        Some(Attribute::ValueLen(len)) => {
            return Err(Error::KeyUnfit(format!(
                "it is an AES key of {} bits; only those of 256 can be used",
                len.saturating_mul(8)
            )));
        }
        _ => return Err(Error::KeyUnfit("the token does not tell how long this AES key is".into())),
    }
    let mut no_iv = [0; gcm::IV_LEN];
    if takes(place, key, &place.state.gcm, &gcm::mechanism(&mut no_iv)?, Operation::AesGcm)? {
        Ok(vec![Operation::AesGcm])
    } else {
        Err(Error::KeyUnfit(
            "the token lists CKM_AES_GCM, but does not take it with an iv of 96 and a tag of 128 bits".into(),
        ))
    }
}

fn rsa(place: &Place<'_>, key: ObjectHandle, unpad_sha256: bool) -> Result<Ability, Error> {
    const SHA256: Operation = Operation::RsaOaep(OaepHash::Sha256);
    let mut operations = Vec::new();
    let native = match may(place, key, MechanismType::RSA_PKCS_OAEP) {
        // Not an answer: a key that is found without OAEP would be kept so as long as the connection lasts.
        Err(error) if error.is_transient() => return Err(error),
        answer => answer,
    };
    for operation in Operation::ALL {
        let Operation::RsaOaep(hash) = operation else { continue };
        let known = match hash {
            OaepHash::Sha1 => &place.state.oaep[0],
            OaepHash::Sha256 => &place.state.oaep[1],
        };
        if native.is_ok() && takes(place, key, known, &oaep::mechanism(hash), operation)? {
            operations.push(operation);
        }
    }
    let unpads_sha256 = unpad_sha256 && !operations.contains(&SHA256);
    if unpads_sha256 {
        may(place, key, MechanismType::RSA_X_509)?;
        if !takes(place, key, &place.state.raw_rsa, &Mechanism::RsaX509, SHA256)? {
            return Err(Error::KeyUnfit(
                "oaep_sha256_in_daemon is set, but the token does not take CKM_RSA_X_509 either; take it out of its [[key]]".into(),
            ));
        }
        operations.push(SHA256);
    }
    if may_pkcs1_v1_5(place, key)? {
        operations.push(Operation::RsaPkcs1v15);
    }
    if operations.is_empty() {
        native?;
        return Err(Error::KeyUnfit(
            "the token takes RSA with neither OAEP (SHA-1 or SHA-256) nor PKCS#1 v1.5".into(),
        ));
    }
    Ok(Ability { operations, unpads_sha256 })
}

/// CKM_RSA_PKCS is for signing too: that it is listed says nothing of decryption.
fn may_pkcs1_v1_5(place: &Place<'_>, key: ObjectHandle) -> Result<bool, Error> {
    match may(place, key, MechanismType::RSA_PKCS) {
        Ok(()) => {}
        Err(error) if error.is_transient() => return Err(error),
        Err(_) => return Ok(false),
    }
    takes(place, key, &place.state.pkcs1_v1_5, &Mechanism::RsaPkcs, Operation::RsaPkcs1v15)
}

/// Whether the token has a mechanism and the key is allowed it.
fn may(place: &Place<'_>, key: ObjectHandle, mechanism: MechanismType) -> Result<(), Error> {
    if !has_mechanism(place, mechanism)? {
        return Err(Error::KeyUnfit(format!("the token has no {mechanism}")));
    }
    if !is_allowed(place.session, key, mechanism)? {
        return Err(Error::KeyUnfit(format!("the key's CKA_ALLOWED_MECHANISMS are without {mechanism}")));
    }
    Ok(())
}

fn has_mechanism(place: &Place<'_>, mechanism: MechanismType) -> Result<bool, Error> {
    let has = place
        .context
        .get_mechanism_list(place.slot)
        .map_err(|error| failed(error, "listing the token's mechanisms"))?;
    Ok(has.contains(&mechanism))
}

/// CKA_ALLOWED_MECHANISMS, absent or empty, restricts nothing. One that cannot be read is left to the
/// token, which enforces it in any case.
fn is_allowed(session: &Session, key: ObjectHandle, mechanism: MechanismType) -> Result<bool, Error> {
    Ok(match read(session, key, AttributeType::AllowedMechanisms)? {
        Some(Attribute::AllowedMechanisms(allowed)) => allowed.is_empty() || allowed.contains(&mechanism),
        _ => true,
    })
}

/// Whether the token takes a mechanism with its parameters; asked once per token and process.
fn takes(
    place: &Place<'_>,
    key: ObjectHandle,
    known: &OnceLock<bool>,
    mechanism: &Mechanism<'_>,
    operation: Operation,
) -> Result<bool, Error> {
    if let Some(takes) = known.get() {
        return Ok(*takes);
    }
    let thrown_away =
        place.context.open_ro_session(place.slot).map_err(|error| failed(error, "opening a session"))?;
    let takes = match thrown_away.decrypt_init(mechanism, key) {
        Ok(()) => true,
        Err(error) => match failed(error, operation.name()) {
            Error::Unsupported(_) => false,
            // Of the key or of the connection, not of the token: nothing to remember.
            other => return Err(other),
        },
    };
    Ok(*known.get_or_init(|| takes))
}
