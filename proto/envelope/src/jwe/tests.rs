//! The RFCs' own examples. Their plaintext is no optsdata, so they are opened below `finish`.

use holdfast_wire::{Algorithm, Curve};

use super::agreement::concat_kdf;
use super::*;
use crate::base64url;

#[path = "../../tests/jwe/token.rs"]
mod token;

/// The plaintext of all RFC 7520 examples but 5.3.
const TEXT: &str = "rfc/rfc7520-5.2.txt";
const FORMS: [&str; 3] = ["compact.jwe", "flattened.jwe.json", "general.jwe.json"];

/// Opens a packet with a key in a file, and finds that what it holds is no optsdata.
fn opens_to(packet: &str, index: usize, algorithm: Algorithm, key: &str, text: &str) -> Jwe {
    let jwe = Jwe::parse(&token::vector(packet)).unwrap();
    let recipient = &jwe.recipients()[index];
    assert_eq!(recipient.algorithm(), Some(algorithm));
    let sealed = recipient.sealed().unwrap();
    let opened = match key.ends_with(".jwk") {
        true => token::open_with_jwk(&token::vector(key), sealed),
        false => token::open_with(&token::text_vector(key), sealed),
    };
    let opened = opened.unwrap();
    assert_eq!(jwe.open(index, &opened).unwrap().expose(), token::vector(text), "{packet}");
    let why = OptsData::parse(Secret::new(token::vector(text))).unwrap_err();
    assert_eq!(jwe.finish(index, opened).unwrap_err(), FinishError::Malformed(why));
    jwe
}

/// A packet whose recipients nobody here opens, while its content is known from the key that the RFC tells.
fn holds(packet: &str, text: &str) {
    let jwe = Jwe::parse(&token::vector(&format!("rfc/{packet}"))).unwrap();
    for (index, recipient) in jwe.recipients().iter().enumerate() {
        assert_eq!((recipient.algorithm(), recipient.sealed()), (None, None), "{packet}");
        assert_eq!(jwe.finish(index, Secret::new(vec![0; 32])).unwrap_err(), FinishError::Rejected);
    }
    // rfc7520-5.10.general.jwe.json: the section ends at the second dot.
    let section = packet.match_indices('.').nth(1).map(|(at, _)| &packet[..at]).unwrap();
    let cek = bytes(&token::text_vector(&format!("rfc/{section}.cek")));
    assert_eq!(jwe.content.open(&cek).unwrap().expose(), token::vector(text), "{packet}");
}

#[test]
fn rfc_7516_a_1_opens_in_both_serializations() {
    for form in ["compact.jwe", "flattened.jwe.json"] {
        let packet = format!("rfc/rfc7516-a.1.{form}");
        opens_to(&packet, 0, Algorithm::RsaOaep, "rfc/rfc7516-a.1.key.pem", "rfc/rfc7516-a.1.txt");
    }
}

#[test]
fn rfc_7516_a_2_to_a_5_have_readable_content_and_recipients_of_others() {
    for packet in ["a.2.compact.jwe", "a.3.compact.jwe", "a.4.general.jwe.json", "a.5.flattened.jwe.json"] {
        holds(&format!("rfc7516-{packet}"), "rfc/rfc7516-a.2.txt");
    }
}

#[test]
fn rfc_7520_5_2_opens_in_both_serializations() {
    for form in ["general", "flattened"] {
        let packet = format!("rfc/rfc7520-5.2.{form}.jwe.json");
        let jwe = opens_to(&packet, 0, Algorithm::RsaOaep, "rfc/rfc7520-5.2.key.pem", TEXT);
        assert_eq!(jwe.recipients()[0].kid(), Some("samwise.gamgee@hobbiton.example"));
    }
}

#[test]
fn rfc_7520_5_4_5_5_and_5_7_open_in_every_serialization() {
    for (section, algorithm) in
        [("5.4", Algorithm::EcdhEsA128Kw), ("5.5", Algorithm::EcdhEs), ("5.7", Algorithm::A256GcmKw)]
    {
        let key = format!("rfc/rfc7520-{section}.key.jwk");
        for form in FORMS {
            opens_to(&format!("rfc/rfc7520-{section}.{form}"), 0, algorithm, &key, TEXT);
        }
    }
}

/// RSA1_5, PBES2, `dir` and A128KW; the additional data of 5.10 and the bare headers of 5.11 are covered.
#[test]
fn rfc_7520_5_1_to_5_11_have_readable_content_and_recipients_of_others() {
    for section in ["5.1", "5.3", "5.6", "5.8"] {
        let text = if section == "5.3" { "rfc/rfc7520-5.3.txt" } else { TEXT };
        for form in FORMS {
            holds(&format!("rfc7520-{section}.{form}"), text);
        }
    }
    for section in ["5.10", "5.11"] {
        for form in &FORMS[1..] {
            holds(&format!("rfc7520-{section}.{form}"), TEXT);
        }
    }
}

#[test]
fn rfc_7520_5_9_is_compressed_and_5_12_unprotected_so_both_are_refused() {
    let line = |packet: &str| Jwe::parse(&token::vector(&format!("rfc/{packet}"))).unwrap_err().to_string();
    for form in FORMS {
        assert_eq!(
            line(&format!("rfc7520-5.9.{form}")),
            "the protected header has zip; compression is not supported by this version"
        );
    }
    for form in &FORMS[1..] {
        assert_eq!(line(&format!("rfc7520-5.12.{form}")), "the protected header has no enc");
    }
}

/// RSA1_5, ECDH-ES+A256KW and A256GCMKW side by side.
#[test]
fn rfc_7520_5_13_opens_for_two_of_its_three_recipients() {
    let packet = "rfc/rfc7520-5.13.general.jwe.json";
    let jwe = opens_to(packet, 1, Algorithm::EcdhEsA256Kw, "rfc/rfc7520-5.4.key.jwk", TEXT);
    opens_to(packet, 2, Algorithm::A256GcmKw, "rfc/rfc7520-5.7.key.jwk", TEXT);
    assert_eq!(jwe.recipients()[0].algorithm(), None);
    let Some(agreement) = &jwe.agreements[1] else { panic!("no ECDH") };
    let sealed = jwe.recipients()[1].sealed().unwrap();
    let z = token::open_with_jwk(&token::vector("rfc/rfc7520-5.4.key.jwk"), sealed).unwrap();
    let cek = bytes(&token::text_vector("rfc/rfc7520-5.13.cek"));
    assert_eq!(*agreement.cek(z.expose()).unwrap(), cek);
    assert!(agreement.cek(&z.expose()[1..]).is_none());
}

#[test]
fn rfc_7518_appendix_c_derives_its_key() {
    let alice = [
        vec![4],
        bytes("gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0"),
        bytes("SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"),
    ]
    .concat();
    let bob = "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw";
    let z = token::open_with_scalar(Curve::P256, bob, &alice).unwrap();
    assert_eq!(z.expose()[..4], [158, 86, 217, 29]);
    let mut key = [0; 16];
    concat_kdf(z.expose(), "A128GCM", b"Alice", b"Bob", &mut key).unwrap();
    assert_eq!(base64url::encode(key), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn a_longer_key_takes_more_rounds_of_the_kdf() {
    // SP 800-56C: the key is cut from SHA-256 over a counter, Z and the info, whose last part is the length.
    let z = [7; 32];
    let mut key = [0; 48];
    concat_kdf(&z, "x", &[], &[], &mut key).unwrap();
    let info: &[u8] = &[0, 0, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 128];
    let round = |counter: u8| {
        let input = [&[0, 0, 0, counter], &z[..], info].concat();
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input)
    };
    assert_eq!(key, [round(1).as_ref(), round(2).as_ref()].concat()[..48]);
}

fn bytes(text: &str) -> Vec<u8> {
    base64url::decode(text).unwrap()
}
