//! What seal promises, read back with nothing but JSON and with our own parser.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_envelope::jwe::{self, Jwe, LABELS_HEADER, Sealing, To};
use holdfast_envelope::{SealError, check_point};
use holdfast_wire::{Algorithm, Curve, EcPublicKey, Labels, OptsData, PublicKey, Sealed, Secret};
use serde_json::{Value, json};

use crate::token::{self, public_key};

pub(crate) fn optsdata() -> OptsData {
    let digest = format!("sha256:{}", "ab".repeat(32));
    OptsData::new(Secret::new((0..32).collect()), [9; 16], &digest).unwrap()
}

/// Every key with every algorithm that we seal to it.
pub(crate) fn every_way() -> Vec<(&'static str, Algorithm)> {
    let mut ways = every_public_way();
    ways.push((token::AES, Algorithm::A256GcmKw));
    ways
}

pub(crate) fn every_public_way() -> Vec<(&'static str, Algorithm)> {
    let mut ways = Vec::new();
    for name in token::KEYS {
        if name.starts_with("rsa") {
            ways.extend([(name, Algorithm::RsaOaep), (name, Algorithm::RsaOaep256)]);
        } else {
            ways.push((name, Algorithm::EcdhEsA256Kw));
        }
    }
    ways
}

pub(crate) fn sealed_to(ways: &[(&str, Algorithm)], labels: &Labels) -> Vec<u8> {
    let optsdata = optsdata();
    let mut sealing = Sealing::begin(&optsdata, labels).unwrap();
    for (name, algorithm) in ways {
        if *name == token::AES {
            let sealed = token::seal(sealing.cek());
            sealing.add_sealed(AES_KID, sealed).unwrap();
        } else {
            sealing.add_public_key(&To { key: &public_key(name), algorithm: *algorithm }).unwrap();
        }
    }
    sealing.finish().unwrap()
}

/// The `kid` that the symmetric key is configured with.
const AES_KID: &str = "backup \"2026\"";

/// The `kid` that a packet has for a key.
pub(crate) fn kid(name: &str) -> String {
    match name {
        token::AES => AES_KID.to_owned(),
        _ => holdfast_envelope::jwk::thumbprint(&public_key(name)),
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let mut labels = Labels::default();
    for (name, value) in pairs {
        labels.insert(name, value).unwrap();
    }
    labels
}

fn protected(packet: &[u8]) -> (Value, Value) {
    let packet: Value = serde_json::from_slice(packet).unwrap();
    let header = URL_SAFE_NO_PAD.decode(packet["protected"].as_str().unwrap()).unwrap();
    let header = serde_json::from_slice(&header).unwrap();
    (packet, header)
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_key_and_algorithm_opens_what_was_sealed_to_it() {
    for (name, algorithm) in every_way() {
        let jwe = Jwe::parse(&sealed_to(&[(name, algorithm)], &Labels::default())).unwrap();
        let recipient = &jwe.recipients()[0];
        assert_eq!(recipient.algorithm(), Some(algorithm));
        let secret = token::open(name, recipient.sealed().unwrap()).unwrap();
        let opened = jwe.finish(0, secret).unwrap();
        assert_eq!(opened.raw().expose(), optsdata().raw().expose(), "{name} {algorithm}");
    }
}

#[test]
fn each_of_several_recipients_opens_the_packet_alone() {
    let labels = labels(&[("env", "prod"), ("team", "a \"b\" \\ ü")]);
    let jwe = Jwe::parse(&sealed_to(&every_way(), &labels)).unwrap();
    assert_eq!(jwe.labels(), &labels);
    for (i, (name, algorithm)) in every_way().into_iter().enumerate() {
        let recipient = &jwe.recipients()[i];
        assert_eq!(recipient.algorithm(), Some(algorithm));
        assert_eq!(recipient.kid(), Some(kid(name).as_str()));
        let secret = token::open(name, recipient.sealed().unwrap()).unwrap();
        assert_eq!(jwe.finish(i, secret).unwrap().raw().expose(), optsdata().raw().expose(), "{name}");
    }
}

#[test]
fn one_recipient_is_flattened_and_all_protected() {
    let packet = sealed_to(&[("ec-P-256", Algorithm::EcdhEsA256Kw)], &Labels::default());
    let (packet, header) = protected(&packet);
    assert_eq!(names(&packet), ["ciphertext", "encrypted_key", "iv", "protected", "tag"]);
    assert_eq!(names(&header), ["alg", "enc", "epk", "kid"]);
    assert_eq!(names(&header["epk"]), ["crv", "kty", "x", "y"]);
    let (_, header) = protected(&sealed_to(&[(token::AES, Algorithm::A256GcmKw)], &Labels::default()));
    assert_eq!(names(&header), ["alg", "enc", "iv", "kid", "tag"]);
    let packet = sealed_to(&[("rsa2048", Algorithm::RsaOaep)], &labels(&[("env", "prod")]));
    let (_, header) = protected(&packet);
    assert_eq!(names(&header), ["alg", "enc", LABELS_HEADER, "kid"]);
    assert_eq!(header[LABELS_HEADER], json!({"env": "prod"}));
}

#[test]
fn several_recipients_are_general_without_anything_of_our_own() {
    let ways = [
        ("rsa2048", Algorithm::RsaOaep),
        ("ec-P-521", Algorithm::EcdhEsA256Kw),
        (token::AES, Algorithm::A256GcmKw),
    ];
    let (packet, header) = protected(&sealed_to(&ways, &Labels::default()));
    assert_eq!(names(&packet), ["ciphertext", "iv", "protected", "recipients", "tag"]);
    assert_eq!(header, json!({"enc": "A256GCM"}));
    assert_eq!(names(&packet["recipients"][0]), ["encrypted_key", "header"]);
    assert_eq!(names(&packet["recipients"][0]["header"]), ["alg", "kid"]);
    assert_eq!(names(&packet["recipients"][1]["header"]), ["alg", "epk", "kid"]);
    assert_eq!(names(&packet["recipients"][2]["header"]), ["alg", "iv", "kid", "tag"]);
}

#[test]
fn no_two_packets_share_an_iv_a_key_or_an_ephemeral_key() {
    let one = || protected(&sealed_to(&[("ec-P-256", Algorithm::EcdhEsA256Kw)], &Labels::default()));
    let (first, second) = (one(), one());
    for member in ["iv", "encrypted_key", "ciphertext", "tag"] {
        assert_ne!(first.0[member], second.0[member], "{member}");
    }
    assert_ne!(first.1["epk"], second.1["epk"]);
}

#[test]
fn the_largest_packet_we_seal_is_one_we_read() {
    let mut labels = Labels::default();
    for i in 0..Labels::MAX {
        labels.insert(&format!("{i:0>64}"), &"\"".repeat(256)).unwrap();
    }
    let ways = vec![("rsa4096", Algorithm::RsaOaep); jwe::MAX_RECIPIENTS];
    let packet = sealed_to(&ways, &labels);
    // An RSA-8192 key would add 683 characters for each.
    assert!(packet.len() + 683 * jwe::MAX_RECIPIENTS < 128 * 1024, "{}", packet.len());
    assert_eq!(Jwe::parse(&packet).unwrap().labels(), &labels);
}

#[test]
fn what_cannot_be_sealed_to_is_told() {
    let rsa = public_key("rsa2048");
    let ec = public_key("ec-P-256");
    let seal = |to: &[To<'_>]| jwe::seal(&optsdata(), to, &Labels::default()).unwrap_err().to_string();
    let to = |key, algorithm| To { key, algorithm };

    assert_eq!(seal(&[]), "a packet needs a recipient: give at least one key");
    assert_eq!(
        seal(&[to(&rsa, Algorithm::RsaOaep); 65]),
        "more than 64 recipients; give fewer keys, or seal a packet for some and another for the rest"
    );
    assert_eq!(
        seal(&[to(&rsa, Algorithm::RsaOaep), to(&rsa, Algorithm::EcdhEsA256Kw)]),
        "recipient 2: ECDH-ES+A256KW cannot seal to a key of type RSA-2048; choose another algorithm"
    );
    for algorithm in ["ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES", "A256GCMKW"] {
        assert_eq!(
            seal(&[to(&ec, algorithm.parse().unwrap())]),
            format!("recipient 1: {algorithm} cannot seal to a key of type P-256; choose another algorithm")
        );
    }
    assert_eq!(
        seal(&[to(&ec, Algorithm::RsaOaep256)]),
        "recipient 1: RSA-OAEP-256 cannot seal to a key of type P-256; choose another algorithm"
    );
    let off_curve = PublicKey::ec(Curve::P256, &[&[4][..], &[1; 64]].concat()).unwrap();
    assert_eq!(
        seal(&[to(&off_curve, Algorithm::EcdhEsA256Kw)]),
        "recipient 1: a point that does not lie on P-256; give another key"
    );
    let even = PublicKey::rsa(&[0xfe; 256], &[1, 0, 1]).unwrap();
    assert!(matches!(
        jwe::seal(&optsdata(), &[to(&even, Algorithm::RsaOaep)], &Labels::default()),
        Err(SealError::Key { recipient: 1, .. })
    ));
}

#[test]
fn what_no_token_sealed_is_not_added() {
    let (optsdata, labels) = (optsdata(), Labels::default());
    let mut sealing = Sealing::begin(&optsdata, &labels).unwrap();
    let gcm = |ciphertext| Sealed::AesGcm { iv: [0; 12], ciphertext, tag: [0; 16] };
    let unsealed = sealing.cek().expose().to_vec();
    let rsa = Sealed::RsaOaep { hash: holdfast_wire::OaepHash::Sha1, ciphertext: vec![1; 32] };
    for sealed in [gcm(vec![]), gcm(vec![1; 31]), gcm(vec![1; 40]), gcm(unsealed), rsa] {
        let error = sealing.add_sealed("k", sealed).unwrap_err();
        assert_eq!(error, SealError::NotSealed { recipient: 1 });
    }
    sealing.add_sealed("k", token::seal(sealing.cek())).unwrap();
    assert_eq!(Jwe::parse(&sealing.finish().unwrap()).unwrap().recipients().len(), 1);
}

#[test]
fn a_packet_in_the_making_shows_no_secret() {
    let (optsdata, labels) = (optsdata(), Labels::default());
    let sealing = Sealing::begin(&optsdata, &labels).unwrap();
    assert_eq!(sealing.cek().len(), 32);
    let shown = format!("{sealing:?}");
    assert!(shown.contains("cek: Secret(..)") && !shown.contains("symkey"), "{shown}");
}

#[test]
fn only_uncompressed_points_on_the_curve_are_points() {
    for name in ["ec-P-256", "ec-P-384", "ec-P-521"] {
        let PublicKey::Ec(key) = public_key(name) else { panic!("{name} is not EC") };
        check_point(&key).unwrap();
        let altered = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut point = key.point.clone();
            change(&mut point);
            check_point(&EcPublicKey { curve: key.curve, point }).unwrap_err()
        };
        let last = key.point.len() - 1;
        altered(&|point| point[last] ^= 1);
        altered(&|point| point.truncate(last));
        altered(&|point| point.push(0));
        altered(&|point| point.fill(0));
        altered(&|point| *point = vec![0]);
        altered(&|point| {
            point[0] = 2 + (point[last] & 1);
            point.truncate(1 + key.curve.coordinate_len());
        });
        altered(&|point| *point = PublicKey::Ec(key.clone()).to_der().unwrap());
    }
}
