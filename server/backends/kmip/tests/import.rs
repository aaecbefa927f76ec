//! Keys that are brought into a server: on a real PyKMIP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod support;

use holdfast_custody::contract::sealed_for;
use holdfast_custody::{Custody, Error, KeyKind, PrivateKey, Requirement};
use holdfast_wire::{Curve, OaepHash, Operation, PublicKey, Secret};
use hsm_sim::KmipOperation;
use support::{PATIENCE, Scene, named, rsa_key, vector};

fn aes() -> Secret {
    Secret::new((100..132).collect())
}

fn ec_key() -> PrivateKey {
    let public = std::fs::read_to_string(vector("ec-P-256.pub.pem")).unwrap();
    let public = PublicKey::from_pem(&public).unwrap();
    PrivateKey::Ec { public, curve: Curve::P256, scalar: Secret::new(vec![1; 32]) }
}

fn unfit(error: Error) -> String {
    match error {
        Error::KeyUnfit(why) => why,
        other => panic!("{other:?} instead of KeyUnfit"),
    }
}

fn told<'a>(custody: &'a Custody, wanted: &str) -> &'a str {
    let found = custody.evidence.iter().find(|(name, _)| name == wanted);
    found.map_or("", |(_, value)| value.as_str())
}

#[test]
fn an_imported_key_is_told_as_imported_for_ever_after() {
    for version in [[1, 2], [1, 4], [2, 0]] {
        let scene = Scene::speaking(&[version]);
        let rsa = scene.smith().import(&named("rsa"), &rsa_key()).unwrap();
        assert_eq!(rsa.info.public.as_ref(), Some(rsa_key().public()));
        let mut keys = vec![("rsa", rsa)];
        // AES-GCM has its place in messages from 1.4 on.
        if version >= [1, 4] {
            keys.push(("aes", scene.smith().import_secret(&named("aes"), &aes()).unwrap()));
        }
        for (name, made) in keys {
            // Whoever asks later hears the same.
            for custody in [made.info.custody, scene.connect().describe(&named(name)).unwrap().custody] {
                assert!(custody.summary().starts_with("imported, "), "{name}: {}", custody.summary());
                assert!(!custody.is_proven());
                assert_eq!((custody.local, custody.never_extractable), (Some(false), Some(false)), "{name}");
                assert_eq!(told(&custody, "Application Specific Information"), "holdfast: imported");
                assert_eq!(told(&custody, "State"), "Active");
                let sensitive = if version < [1, 4] { "not told" } else { "true" };
                assert_eq!(told(&custody, "Sensitive"), sensitive, "{name}");
                Requirement::default().check(&custody).unwrap();
            }
        }
    }
}

#[test]
fn an_imported_key_opens_what_was_sealed_to_it_outside() {
    let scene = Scene::with_rsa();
    scene.smith().import(&named("rsa"), &rsa_key()).unwrap();
    let mut token = scene.connect();
    for hash in [OaepHash::Sha1, OaepHash::Sha256] {
        let (sealed, secret) = sealed_for(rsa_key().public(), Operation::RsaOaep(hash));
        assert_eq!(token.open(&named("rsa"), &sealed).unwrap().expose(), secret.expose());
    }
    let id = scene.smith().import_secret(&named("aes"), &aes()).unwrap().uri.text("id").unwrap().to_owned();
    assert_eq!(scene.server.get(&id).unwrap(), aes().expose());
}

#[test]
fn a_key_on_its_way_into_the_server_is_in_register_alone() {
    let (wire, token) = Scene::with_rsa().interposed(PATIENCE);
    let PrivateKey::Rsa(key) = rsa_key() else { panic!("an RSA key") };
    token.keysmith().unwrap().import(&named("rsa"), &rsa_key()).unwrap();
    token.keysmith().unwrap().import_secret(&named("aes"), &aes()).unwrap();
    let register = KmipOperation(3);
    for secret in [key.private_exponent.expose(), key.prime1.expose(), aes().expose()] {
        let carriers = wire.carriers_of(secret);
        assert!(
            !carriers.is_empty() && carriers.iter().flatten().all(|seen| *seen == register),
            "{carriers:?}"
        );
    }
}

#[test]
fn what_cannot_be_imported_is_told_and_nothing_is_left() {
    // RSA private keys do not decrypt on PyKMIP as it is.
    let scene = Scene::new();
    let mut smith = scene.smith();
    let why = unfit(smith.import(&named("rsa"), &rsa_key()).unwrap_err());
    assert!(why.contains("Only symmetric decryption") && why.ends_with("it was destroyed again"), "{why}");
    let why = unfit(smith.import(&named("ec"), &ec_key()).unwrap_err());
    assert!(why.contains("no ECDH"), "{why}");
    scene.make("taken", KeyKind::Aes256);
    for error in [
        smith.import(&named("taken"), &rsa_key()).unwrap_err(),
        smith.import_secret(&named("taken"), &aes()).unwrap_err(),
    ] {
        assert!(unfit(error).contains("has a key of this name already"));
    }
    let why = unfit(smith.import_secret(&named("short"), &Secret::new(vec![7; 16])).unwrap_err());
    assert!(why.contains("an AES key of 128 bits") && why.ends_with("it was destroyed again"), "{why}");
    for name in ["rsa", "ec", "short"] {
        assert_eq!(scene.server.locate(name).unwrap(), [""; 0], "{name}");
    }
    assert_eq!(scene.server.locate("taken").unwrap().len(), 1);
}
