//! Keys in files, standing in for a token: opens what a packet says a token has to open.
//!
//! With the shared test vectors, which lie in `tests/vectors` of the workspace. Also part of the unit tests.
#![allow(dead_code, unreachable_pub, reason = "each of the test binaries uses its part")]

use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey,
    PrivateDecryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use holdfast_wire::{Curve, OaepHash, PublicKey, Sealed, Secret};

/// The names of the keys in `tests/vectors/keys`.
pub const KEYS: [&str; 6] = ["rsa2048", "rsa3072", "rsa4096", "ec-P-256", "ec-P-384", "ec-P-521"];

/// The name of the symmetric key, [`AES_KEY`].
pub const AES: &str = "aes-256";
/// Like the keys in files: known to everybody.
pub const AES_KEY: [u8; 32] = *b"known to all: for tests and only";

/// A file of `tests/vectors`.
pub fn vector(path: &str) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub fn text_vector(path: &str) -> String {
    String::from_utf8(vector(path)).unwrap()
}

pub fn public_key(name: &str) -> PublicKey {
    PublicKey::from_pem(&text_vector(&format!("keys/{name}.pub.pem"))).unwrap()
}

/// What the named key makes of `sealed`; None if it is not for this key.
pub fn open(name: &str, sealed: &Sealed) -> Option<Secret> {
    if name == AES {
        return open_with_aes(&AES_KEY, sealed);
    }
    open_with(&text_vector(&format!("keys/{name}.pem")), sealed)
}

/// The same with a PKCS#8 PEM.
pub fn open_with(pem: &str, sealed: &Sealed) -> Option<Secret> {
    let der =
        STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap();
    match sealed {
        Sealed::RsaOaep { hash, ciphertext } => {
            let key = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&der).ok()?).ok()?;
            let algorithm = match hash {
                OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
                OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
            };
            let mut plaintext = vec![0; key.min_output_size()];
            let opened = key.decrypt(algorithm, ciphertext, &mut plaintext, None).ok()?;
            Some(Secret::copy_of(opened))
        }
        Sealed::RsaPkcs1v15 { ciphertext } => {
            let key = Pkcs1PrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&der).ok()?).ok()?;
            let mut plaintext = vec![0; key.min_output_size()];
            Some(Secret::copy_of(key.decrypt(ciphertext, &mut plaintext).ok()?))
        }
        Sealed::Ecdh { curve, ephemeral } => {
            let key = PrivateKey::from_private_key_der(ecdh(*curve), &der).ok()?;
            diffie_hellman(&key, ephemeral)
        }
        _ => None,
    }
}

/// The same with a JWK of kty EC or oct.
pub fn open_with_jwk(jwk: &[u8], sealed: &Sealed) -> Option<Secret> {
    let jwk: serde_json::Value = serde_json::from_slice(jwk).unwrap();
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    match sealed {
        Sealed::Ecdh { curve, ephemeral } if jwk["crv"] == curve.name() => {
            open_with_scalar(*curve, &text("d"), ephemeral)
        }
        _ => open_with_aes(&URL_SAFE_NO_PAD.decode(text("k")).unwrap(), sealed),
    }
}

/// What a token makes of a secret with [`AES_KEY`].
pub fn seal(secret: &Secret) -> Sealed {
    let mut iv = [0; 12];
    aws_lc_rs::rand::fill(&mut iv).unwrap();
    let mut ciphertext = secret.expose().to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag = aes(&AES_KEY).seal_in_place_separate_tag(nonce, Aad::empty(), &mut ciphertext).unwrap();
    Sealed::AesGcm { iv, ciphertext, tag: tag.as_ref().try_into().unwrap() }
}

fn open_with_aes(key: &[u8], sealed: &Sealed) -> Option<Secret> {
    let Sealed::AesGcm { iv, ciphertext, tag } = sealed else { return None };
    let mut opened = vec![0; ciphertext.len()];
    let nonce = Nonce::assume_unique_for_key(*iv);
    aes(key).open_separate_gather(nonce, Aad::empty(), ciphertext, tag, &mut opened).ok()?;
    Some(Secret::new(opened))
}

fn aes(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap())
}

/// Z of a raw private key, in base64url as a JWK has it, and a point.
pub fn open_with_scalar(curve: Curve, d: &str, ephemeral: &[u8]) -> Option<Secret> {
    let d = URL_SAFE_NO_PAD.decode(d).unwrap();
    diffie_hellman(&PrivateKey::from_private_key(ecdh(curve), &d).ok()?, ephemeral)
}

fn diffie_hellman(key: &PrivateKey, point: &[u8]) -> Option<Secret> {
    agree(key, UnparsedPublicKey::new(key.algorithm(), point), (), |z| Ok(Secret::copy_of(z))).ok()
}

fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &ECDH_P256,
        Curve::P384 => &ECDH_P384,
        Curve::P521 => &ECDH_P521,
    }
}
