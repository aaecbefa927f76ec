//! Packets that skopeo 1.18 (ocicrypt 1.1.10, go-jose) wrote, with the optsdata an independent program found.

use holdfast_envelope::FinishError;
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::Algorithm;
use serde::Deserialize;

use crate::token;

/// A line of `skopeo-1.18/index.json`.
#[derive(Deserialize)]
struct Entry {
    packet: String,
    optsdata: String,
    recipients: Vec<Keyed>,
}

#[derive(Deserialize)]
struct Keyed {
    alg: String,
    key: String,
}

#[test]
fn every_recipient_opens_every_packet_to_its_optsdata() {
    let index: Vec<Entry> = serde_json::from_slice(&token::vector("skopeo-1.18/index.json")).unwrap();
    assert_eq!(index.len(), 26);
    let mut opened = 0;
    for entry in &index {
        let name = &entry.packet;
        let jwe = Jwe::parse(&token::vector(&format!("skopeo-1.18/{name}"))).unwrap();
        let optsdata = token::vector(&format!("skopeo-1.18/{}", entry.optsdata));
        assert!(jwe.labels().is_empty());
        assert_eq!(jwe.recipients().len(), entry.recipients.len(), "{name}");
        for (i, keyed) in entry.recipients.iter().enumerate() {
            let recipient = &jwe.recipients()[i];
            assert_eq!(recipient.algorithm(), Some(keyed.alg.parse::<Algorithm>().unwrap()), "{name}");
            let secret = token::open(&keyed.key, recipient.sealed().unwrap()).unwrap();
            assert_eq!(jwe.finish(i, secret).unwrap().raw().expose(), optsdata, "{name}");
            opened += 1;
        }
    }
    // Six packets have two recipients.
    assert_eq!(opened, 26 + 6);
}

#[test]
fn a_jwks_kid_comes_along() {
    for (packet, algorithm, kid) in [
        ("ecdh-es-a128kw.2cae6de1b5ee", Algorithm::EcdhEsA128Kw, "p256-key"),
        ("ecdh-es-a128kw.fa3e89d5eff4", Algorithm::EcdhEsA128Kw, "p256-key"),
        ("rsa-oaep-256.c3cdeba64824", Algorithm::RsaOaep256, "rsa3072-key"),
        ("rsa-oaep-256.ea2f5e72cc64", Algorithm::RsaOaep256, "rsa3072-key"),
    ] {
        let jwe = Jwe::parse(&token::vector(&format!("skopeo-1.18/jwe-jwk-{packet}.jwe.json"))).unwrap();
        let recipient = &jwe.recipients()[0];
        assert_eq!((recipient.algorithm(), recipient.kid()), (Some(algorithm), Some(kid)), "{packet}");
    }
}

#[test]
fn another_key_of_the_same_type_is_rejected() {
    let jwe = Jwe::parse(&token::vector("skopeo-1.18/jwe-ec-P-256+ec-P-384.329615fcf643.jwe.json")).unwrap();
    let sealed = |i: usize| jwe.recipients()[i].sealed().unwrap();
    let for_first = || token::open("ec-P-256", sealed(0)).unwrap();
    assert!(jwe.finish(0, for_first()).is_ok());
    assert_eq!(jwe.finish(1, for_first()).unwrap_err(), FinishError::Rejected);
    assert_eq!(jwe.finish(2, for_first()).unwrap_err(), FinishError::Rejected);
}

#[test]
fn the_tiny_layer_opens_with_rsa2048() {
    let jwe = Jwe::parse(&token::vector("tiny/tiny.jwe.json")).unwrap();
    let secret = token::open("rsa2048", jwe.recipients()[0].sealed().unwrap()).unwrap();
    let optsdata = jwe.finish(0, secret).unwrap();
    assert_eq!(optsdata.raw().expose(), token::vector("tiny/tiny.optsdata.json"));
}
