//! Keys for the tests to use, and what OpenSSL seals to them.

use std::fs;

use holdfast_custody::{Binding, Custodian, Error, KeyKind};
use holdfast_wire::{Curve, KeyUri, OaepHash, PublicKey, Sealed, Secret};

use super::{Scene, run};

pub(crate) const RSA: KeyKind = KeyKind::Rsa(2048);
pub(crate) const EC: KeyKind = KeyKind::Ec(Curve::P256);

pub(crate) fn create(scene: &Scene, name: &str, kind: KeyKind) -> PublicKey {
    scene.token.keysmith().unwrap().create(&scene.uri(name), kind).unwrap().info.public.unwrap()
}

pub(crate) fn bind(scene: &Scene, name: &str, kind: KeyKind, pcrs: &str) -> PublicKey {
    bind_to(scene, name, kind, &Binding::Current(pcrs.parse().unwrap()))
}

pub(crate) fn bind_to(scene: &Scene, name: &str, kind: KeyKind, to: &Binding) -> PublicKey {
    scene.token.keysmith().unwrap().create_bound(&scene.uri(name), kind, to).unwrap().info.public.unwrap()
}

/// 32 bytes sealed by OpenSSL to the public half.
pub(crate) fn sealed_to(scene: &Scene, public: &PublicKey) -> (Sealed, Vec<u8>) {
    let plain = vec![0x5a; 32];
    let at = |name: &str| scene.dir.path().join(name);
    fs::write(at("plain"), &plain).unwrap();
    fs::write(at("pub.pem"), public.to_pem().unwrap()).unwrap();
    let mut encrypt = hsm_sim::command("openssl", "openssl").unwrap();
    encrypt.args([
        "pkeyutl",
        "-encrypt",
        "-pkeyopt",
        "rsa_padding_mode:oaep",
        "-pkeyopt",
        "rsa_oaep_md:sha256",
    ]);
    encrypt.arg("-pubin").arg("-inkey").arg(at("pub.pem")).arg("-in").arg(at("plain"));
    (Sealed::RsaOaep { hash: OaepHash::Sha256, ciphertext: run(encrypt) }, plain)
}

pub(crate) fn open(token: &mut dyn Custodian, uri: &KeyUri, sealed: &Sealed) -> Result<Vec<u8>, Error> {
    token.open(uri, sealed).map(|secret: Secret| secret.expose().to_vec())
}
