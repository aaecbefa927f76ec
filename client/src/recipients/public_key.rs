//! A recipient's file: SubjectPublicKeyInfo in PEM or DER, an X.509 certificate in PEM, or a JWK. What it
//! holds is told by its content, as ocicrypt does. A private key is refused, not read: whoever gives one
//! has mixed up the files, and should hear of it.

use std::path::Path;

use holdfast_envelope::{check_point, jwk};
use holdfast_image::printable;
use holdfast_wire::{Algorithm, Malformed, PublicKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};

use super::source;
use super::typed::Scheme;
use crate::failure::Failure;

/// Longest file read, in bytes.
const MAX_LEN: usize = 64 * 1024;
const CERTIFICATE: (&str, &str) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");

/// The key, and how keys are sealed to it in a JWE.
pub(super) fn read(scheme: Scheme, file: &Path) -> Result<(PublicKey, Algorithm), Failure> {
    let bytes = source::read(scheme, file, MAX_LEN)?;
    key_in(&bytes).map_err(|error| Failure::line(format!("{}: {error}", printable(&file.to_string_lossy()))))
}

fn key_in(bytes: &[u8]) -> Result<(PublicKey, Algorithm), Malformed> {
    let (key, wanted) = match std::str::from_utf8(bytes) {
        Ok(text) if text.trim_start().starts_with('{') => {
            let json = text.trim().as_bytes();
            (jwk::from_json(json)?, jwk::algorithm(json)?)
        }
        Ok(text) => (from_pem(text)?, None),
        Err(_) => (from_der(bytes)?, None),
    };
    if let PublicKey::Ec(key) = &key {
        check_point(key)?;
    }
    let algorithm = match wanted {
        Some(wanted) => asked_for(&key, wanted)?,
        None => usual(&key)?,
    };
    Ok((key, algorithm))
}

/// What a JWK is for (RFC 7517 section 4.4), if that is written here.
fn asked_for(key: &PublicKey, wanted: Algorithm) -> Result<Algorithm, Malformed> {
    match (key, wanted) {
        (PublicKey::Rsa(_), Algorithm::RsaOaep | Algorithm::RsaOaep256)
        | (PublicKey::Ec(_), Algorithm::EcdhEsA256Kw) => Ok(wanted),
        _ => Err(Malformed::new(format!(
            "the JWK asks for {wanted} (alg), which is not written to a key of type {}; if it may be used otherwise, give it as PEM",
            key.type_name()
        ))),
    }
}

/// What ocicrypt chooses too, and every token can open.
fn usual(key: &PublicKey) -> Result<Algorithm, Malformed> {
    match key {
        PublicKey::Rsa(_) => Ok(Algorithm::RsaOaep),
        PublicKey::Ec(_) => Ok(Algorithm::EcdhEsA256Kw),
        _ => Err(Malformed::new("a type of key that this version cannot encrypt to")),
    }
}

fn from_pem(text: &str) -> Result<PublicKey, Malformed> {
    if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return Err(private("ssh-keygen -e -m PKCS8 -f FILE"));
    }
    if text.contains("PRIVATE KEY-----") {
        return Err(private("openssl pkey -pubout -in FILE"));
    }
    if text.contains("-----BEGIN RSA PUBLIC KEY-----") {
        return Err(Malformed::new(
            "an RSA PUBLIC KEY block; make it a PUBLIC KEY: openssl rsa -RSAPublicKey_in -pubout -in FILE",
        ));
    }
    if text.contains("-----BEGIN PUBLIC KEY-----") {
        return PublicKey::from_pem(text);
    }
    let certificate = text.find(CERTIFICATE.0).ok_or_else(|| {
        Malformed::new("neither a PEM block PUBLIC KEY or CERTIFICATE, nor a JWK, nor a DER public key; give a public key")
    })?;
    // The first is the one that the others vouch for.
    let first = text[certificate..].split_inclusive(CERTIFICATE.1).next().unwrap_or_default();
    let damaged = |_| Malformed::new("a damaged PEM block CERTIFICATE");
    let certificate = Certificate::from_pem(first).map_err(damaged)?;
    PublicKey::from_der(&certificate.tbs_certificate.subject_public_key_info.to_der().map_err(damaged)?)
}

fn from_der(bytes: &[u8]) -> Result<PublicKey, Malformed> {
    PublicKey::from_der(bytes).map_err(|error| {
        if is_private_der(bytes) {
            private("openssl pkey -inform DER -pubout -in FILE")
        } else if Certificate::from_der(bytes).is_ok() {
            Malformed::new("a certificate in DER; it is taken in PEM: openssl x509 -inform DER -in FILE")
        } else {
            error
        }
    })
}

/// A SEQUENCE that begins with a version number of one byte: PKCS#8, PKCS#1 and SEC 1 private keys do,
/// public keys and certificates do not.
fn is_private_der(bytes: &[u8]) -> bool {
    let content = match bytes {
        [0x30, short, rest @ ..] if *short < 0x80 => rest,
        [0x30, 0x81, _, rest @ ..] => rest,
        [0x30, 0x82, _, _, rest @ ..] => rest,
        _ => return false,
    };
    matches!(content, [0x02, 0x01, 0 | 1, ..])
}

fn private(command: &str) -> Malformed {
    Malformed::new(format!(
        "this is a private key, and an image is encrypted to the public half; make that with: {command}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_in_der_is_known_by_its_version() {
        assert!(is_private_der(&[0x30, 0x82, 4, 0xbc, 0x02, 0x01, 0x00, 0x30]));
        assert!(is_private_der(&[0x30, 0x77, 0x02, 0x01, 0x01, 0x04]));
        // A public key begins with its algorithm, a bare RSAPublicKey with its long modulus.
        assert!(!is_private_der(&[0x30, 0x59, 0x30, 0x13]));
        assert!(!is_private_der(&[0x30, 0x82, 1, 0x0a, 0x02, 0x82, 1, 1]));
        assert!(!is_private_der(&[]));
    }
}
