//! What the suite gives a token to open, made outside it by public keys, and inside it by symmetric ones.

use aws_lc_rs::agreement;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
    PublicEncryptingKey,
};
use holdfast_wire::{Curve, OaepHash, Operation, PublicKey, Sealed, Secret};

use super::SubjectKey;
use crate::Custodian;

/// Something sealed to the key, and what it opens to: a fresh 32-byte key, or for ECDH the shared secret.
pub(super) fn sealed_to(
    token: &mut dyn Custodian,
    key: &SubjectKey,
    operation: Operation,
) -> (Sealed, Secret) {
    match (&key.public, operation) {
        (Some(public), operation) => sealed_for(public, operation),
        (None, Operation::AesGcm) => {
            let secret = random(32);
            (token.seal(&key.uri, &secret).expect("seal"), secret)
        }
        _ => panic!("{}: {operation} is not for this type of key", key.uri),
    }
}

/// Something sealed outside of any token, by a public half alone, and what its token opens it to: a fresh
/// 32-byte key, or for ECDH the shared secret.
pub fn sealed_for(public: &PublicKey, operation: Operation) -> (Sealed, Secret) {
    match (public, operation) {
        (PublicKey::Rsa(_), Operation::RsaOaep(hash)) => rsa_oaep(public, hash),
        (PublicKey::Rsa(_), Operation::RsaPkcs1v15) => rsa_pkcs1_v1_5(public),
        (PublicKey::Ec(public), Operation::Ecdh) => ecdh_with(public.curve, &public.point),
        _ => panic!("{operation} is not for {}", public.type_name()),
    }
}

/// Something of the right form for an operation, sealed to nobody on the token.
pub(super) fn foreign(operation: Operation) -> Sealed {
    match operation {
        Operation::RsaOaep(hash) => Sealed::RsaOaep { hash, ciphertext: vec![1; 256] },
        Operation::RsaPkcs1v15 => Sealed::RsaPkcs1v15 { ciphertext: vec![1; 256] },
        Operation::Ecdh => foreign_point(Curve::P256),
        Operation::AesGcm => Sealed::AesGcm { iv: [1; 12], ciphertext: vec![1; 32], tag: [1; 16] },
        _ => panic!("{operation}: the suite does not know it"),
    }
}

pub(super) fn foreign_point(curve: Curve) -> Sealed {
    let key = agreement::PrivateKey::generate(ecdh(curve)).expect("ephemeral key");
    let ephemeral = key.compute_public_key().expect("public").as_ref().to_vec();
    Sealed::Ecdh { curve, ephemeral }
}

pub(super) fn rsa_oaep(public: &PublicKey, hash: OaepHash) -> (Sealed, Secret) {
    let spki = public.to_der().expect("SPKI");
    let key = PublicEncryptingKey::from_der(&spki).expect("an RSA key");
    let key = OaepPublicEncryptingKey::new(key).expect("a parsed RSA key does OAEP");
    let secret = random(32);
    let oaep = match hash {
        OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
    };
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(oaep, secret.expose(), &mut ciphertext, None).expect("encrypt");
    (Sealed::RsaOaep { hash, ciphertext }, secret)
}

pub(super) fn rsa_pkcs1_v1_5(public: &PublicKey) -> (Sealed, Secret) {
    let key = PublicEncryptingKey::from_der(&public.to_der().expect("SPKI")).expect("an RSA key");
    let key = Pkcs1PublicEncryptingKey::new(key).expect("a parsed RSA key does PKCS#1 v1.5");
    let secret = random(32);
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(secret.expose(), &mut ciphertext).expect("encrypt");
    (Sealed::RsaPkcs1v15 { ciphertext }, secret)
}

pub(super) fn random(len: usize) -> Secret {
    let mut secret = vec![0; len];
    aws_lc_rs::rand::fill(&mut secret).expect("random");
    Secret::new(secret)
}

fn ecdh_with(curve: Curve, point: &[u8]) -> (Sealed, Secret) {
    let ours = agreement::PrivateKey::generate(ecdh(curve)).expect("ephemeral key");
    let ephemeral = ours.compute_public_key().expect("public").as_ref().to_vec();
    let peer = agreement::UnparsedPublicKey::new(ecdh(curve), point);
    let z = agreement::agree(&ours, peer, (), |z| Ok(Secret::copy_of(z))).expect("agree");
    (Sealed::Ecdh { curve, ephemeral }, z)
}

fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    }
}
