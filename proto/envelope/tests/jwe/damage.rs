//! Packets that are well-formed and were altered: one error, whatever was altered. And bytes that are not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_envelope::FinishError;
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::{Algorithm, Labels, Secret};
use serde_json::{Value, json};

use crate::josekit_peer::{ENCS, Form, josekits, keys_for};
use crate::sealing::{every_way, labels, optsdata, sealed_to};
use crate::token;

const REJECTED: &str = "the key does not open this packet: it was sealed to another key, or altered since";

/// Parses the altered packet and finishes it with the right key, as far as that key still opens anything.
fn finish(packet: &Value, name: &str) -> Result<(), FinishError> {
    let jwe = Jwe::parse(packet.to_string().as_bytes()).unwrap();
    // A damaged RSA ciphertext is refused by the token itself, which is the same to the caller.
    let opened = token::open(name, jwe.recipients()[0].sealed().unwrap()).ok_or(FinishError::Rejected)?;
    jwe.finish(0, opened).map(drop)
}

fn flip(member: &Value) -> Value {
    let mut bytes = URL_SAFE_NO_PAD.decode(member.as_str().unwrap()).unwrap();
    bytes[0] ^= 1;
    json!(URL_SAFE_NO_PAD.encode(bytes))
}

#[test]
fn every_damage_is_the_same_error() {
    for (name, algorithm) in every_way() {
        let packet = sealed_to(&[(name, algorithm)], &labels(&[("env", "prod")]));
        let packet: Value = serde_json::from_slice(&packet).unwrap();
        assert_eq!(finish(&packet, name), Ok(()));
        for member in ["encrypted_key", "iv", "ciphertext", "tag"] {
            let mut damaged = packet.clone();
            damaged[member] = flip(&damaged[member]);
            let error = finish(&damaged, name).unwrap_err();
            assert_eq!(error, FinishError::Rejected, "{member} {name} {algorithm}");
            assert_eq!(error.to_string(), REJECTED);
        }
        let mut with_aad = packet.clone();
        with_aad["aad"] = json!("AAAA");
        assert_eq!(finish(&with_aad, name), Err(FinishError::Rejected));
    }
}

#[test]
fn labels_cannot_be_changed_added_or_taken_away() {
    let way = [("rsa2048", Algorithm::RsaOaep)];
    let relabelled = |from: &Labels, to: Option<Value>| {
        let mut packet: Value = serde_json::from_slice(&sealed_to(&way, from)).unwrap();
        let header = URL_SAFE_NO_PAD.decode(packet["protected"].as_str().unwrap()).unwrap();
        let mut header: Value = serde_json::from_slice(&header).unwrap();
        let members = header.as_object_mut().unwrap();
        match to {
            Some(to) => members.insert("holdfast.labels".to_owned(), to),
            None => members.remove("holdfast.labels"),
        };
        packet["protected"] = json!(URL_SAFE_NO_PAD.encode(header.to_string()));
        finish(&packet, "rsa2048")
    };
    let prod = labels(&[("env", "prod")]);
    assert_eq!(relabelled(&prod, Some(json!({"env": "test"}))), Err(FinishError::Rejected));
    assert_eq!(relabelled(&prod, None), Err(FinishError::Rejected));
    assert_eq!(relabelled(&Labels::default(), Some(json!({"env": "prod"}))), Err(FinishError::Rejected));
}

#[test]
fn labels_outside_the_protected_header_are_not_labels() {
    let mut packet: Value =
        serde_json::from_slice(&sealed_to(&[("rsa2048", Algorithm::RsaOaep)], &Labels::default())).unwrap();
    packet["unprotected"] = json!({"holdfast.labels": {"env": "prod"}});
    packet["holdfast.labels"] = json!({"env": "prod"});
    let jwe = Jwe::parse(packet.to_string().as_bytes()).unwrap();
    assert!(jwe.labels().is_empty());
    assert_eq!(finish(&packet, "rsa2048"), Ok(()));
}

#[test]
fn an_opened_value_of_the_wrong_length_is_the_same_error() {
    for (name, algorithm) in [("rsa2048", Algorithm::RsaOaep), ("ec-P-384", Algorithm::EcdhEsA256Kw)] {
        let jwe = Jwe::parse(&sealed_to(&[(name, algorithm)], &Labels::default())).unwrap();
        for len in [0, 1, 16, 31, 32, 33, 47, 48, 49, 66, 512] {
            let error = jwe.finish(0, Secret::new(vec![1; len])).unwrap_err();
            assert_eq!(error, FinishError::Rejected, "{len} {name}");
        }
    }
}

#[test]
fn content_that_is_no_optsdata_is_told_without_quoting_it() {
    use josekit::jwe::{JweHeaderSet, RSA_OAEP, serialize_flattened_json};
    let encrypter = RSA_OAEP.encrypter_from_pem(token::vector("keys/rsa2048.pub.pem")).unwrap();
    let mut header = JweHeaderSet::new();
    header.set_algorithm("RSA-OAEP", true);
    header.set_content_encryption("A256GCM", true);
    let content = br#"{"symkey":"c2VjcmV0","cipheroptions":{}}"#;
    let packet = serialize_flattened_json(content, Some(&header), None, None, &encrypter).unwrap();
    let error = finish(&serde_json::from_str(&packet).unwrap(), "rsa2048").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the packet opened, but what it holds cannot be used: symkey in optsdata has 6 bytes; it must have 32"
    );
}

/// The same for what we read and do not write.
#[test]
fn every_damage_to_a_packet_of_another_is_the_same_error() {
    for algorithm in
        [Algorithm::EcdhEs, Algorithm::EcdhEsA128Kw, Algorithm::EcdhEsA192Kw, Algorithm::A256GcmKw]
    {
        let name = keys_for(algorithm)[0];
        for enc in ENCS {
            let packet: Value =
                serde_json::from_str(&josekits(name, algorithm, enc, Form::Flattened)).unwrap();
            assert_eq!(finish(&packet, name), Ok(()), "{algorithm} {enc}");
            for member in ["encrypted_key", "iv", "ciphertext", "tag"] {
                if packet.get(member).is_none() {
                    continue;
                }
                let mut damaged = packet.clone();
                damaged[member] = flip(&damaged[member]);
                assert_eq!(finish(&damaged, name), Err(FinishError::Rejected), "{member} {algorithm} {enc}");
            }
        }
    }
}

/// iv and tag of A256GCMKW stand in the header: with several recipients nothing covers them but the token.
#[test]
fn the_headers_of_a_symmetric_recipient_cannot_be_altered() {
    let ways = [(token::AES, Algorithm::A256GcmKw), ("rsa2048", Algorithm::RsaOaep)];
    let packet: Value = serde_json::from_slice(&sealed_to(&ways, &Labels::default())).unwrap();
    assert_eq!(finish(&packet, token::AES), Ok(()));
    for member in ["/recipients/0/header/iv", "/recipients/0/header/tag", "/recipients/0/encrypted_key"] {
        let mut damaged = packet.clone();
        let flipped = flip(&damaged.pointer(member).unwrap().clone());
        *damaged.pointer_mut(member).unwrap() = flipped;
        assert_eq!(finish(&damaged, token::AES), Err(FinishError::Rejected), "{member}");
    }
}

/// A content key cannot be carried from one algorithm to another: `enc` is under the tag.
#[test]
fn a_packet_relabelled_to_another_content_encryption_is_rejected() {
    for (from, to) in [("A256GCM", "A128CBC-HS256"), ("A128CBC-HS256", "A256GCM")] {
        let packet = josekits("rsa2048", Algorithm::RsaOaep, from, Form::Flattened);
        let mut packet: Value = serde_json::from_str(&packet).unwrap();
        let header = URL_SAFE_NO_PAD.decode(packet["protected"].as_str().unwrap()).unwrap();
        let header = String::from_utf8(header).unwrap().replace(from, to);
        packet["protected"] = json!(URL_SAFE_NO_PAD.encode(header));
        let len = if to == "A256GCM" { 12 } else { 16 };
        packet["iv"] = json!(URL_SAFE_NO_PAD.encode(vec![7; len]));
        packet["ciphertext"] = json!(URL_SAFE_NO_PAD.encode(vec![7; 192]));
        assert_eq!(finish(&packet, "rsa2048"), Err(FinishError::Rejected), "{from} as {to}");
    }
}

/// No prefix and no flipped bit of a good packet panics or opens to something else.
#[test]
fn no_truncation_and_no_flipped_bit_gives_other_optsdata() {
    let flattened = sealed_to(&[("ec-P-256", Algorithm::EcdhEsA256Kw)], &labels(&[("env", "prod")]));
    let general = sealed_to(
        &[("ec-P-256", Algorithm::EcdhEsA256Kw), ("rsa2048", Algorithm::RsaOaep)],
        &labels(&[("env", "prod")]),
    );
    let aes = sealed_to(&[(token::AES, Algorithm::A256GcmKw)], &labels(&[("env", "prod")]));
    for (packet, name) in [(flattened, "ec-P-256"), (general, "ec-P-256"), (aes, token::AES)] {
        nothing_else_opens(&packet, name, &labels(&[("env", "prod")]));
    }
}

#[test]
fn no_truncation_and_no_flipped_bit_of_anothers_packet_gives_other_optsdata() {
    for (name, algorithm, enc, form) in [
        ("ec-P-256", Algorithm::EcdhEs, "A128CBC-HS256", Form::Compact),
        ("ec-P-256", Algorithm::EcdhEsA192Kw, "A256CBC-HS512", Form::Compact),
        (token::AES, Algorithm::A256GcmKw, "A192CBC-HS384", Form::Compact),
        (token::AES, Algorithm::A256GcmKw, "A128GCM", Form::General),
    ] {
        let packet = josekits(name, algorithm, enc, form);
        nothing_else_opens(packet.as_bytes(), name, &Labels::default());
    }
}

fn nothing_else_opens(packet: &[u8], name: &str, labels: &Labels) {
    for len in 0..packet.len() {
        assert!(Jwe::parse(&packet[..len]).is_err(), "{len} bytes were taken");
    }
    for at in 0..packet.len() * 8 {
        let mut altered = packet.to_vec();
        altered[at / 8] ^= 1 << (at % 8);
        let Ok(jwe) = Jwe::parse(&altered) else { continue };
        let opened = jwe.recipients()[0].sealed().and_then(|sealed| token::open(name, sealed));
        // A flip in what the tag does not cover, such as the other recipient, may change nothing.
        if let Some(Ok(optsdata_found)) = opened.map(|opened| jwe.finish(0, opened)) {
            assert_eq!(optsdata_found.raw().expose(), optsdata().raw().expose(), "bit {at}");
            assert_eq!(jwe.labels(), labels, "bit {at}");
        }
    }
}
