//! ocicrypt's PKCS#11 JSON: good in every form that is taken, damaged, and with one defect of form each.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use holdfast_envelope::{FinishError, Packet};
use holdfast_wire::{Algorithm, Secret};
use serde_json::{Value, json};

use crate::{finish, line, optsdata, token};

fn sealed(key: &str, sha256: bool, message: &[u8]) -> Vec<u8> {
    let key = PublicEncryptingKey::from_der(&token::public_key(key).to_der().unwrap()).unwrap();
    let key = OaepPublicEncryptingKey::new(key).unwrap();
    let oaep = if sha256 { &OAEP_SHA256_MGF1SHA256 } else { &OAEP_SHA1_MGF1SHA1 };
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(oaep, message, &mut ciphertext, None).unwrap();
    ciphertext
}

fn blob(key: &str, sha256: bool) -> String {
    STANDARD.encode(sealed(key, sha256, optsdata().raw().expose()))
}

fn packet(recipients: &[Value]) -> Value {
    json!({ "version": 0, "recipients": recipients })
}

fn parse(packet: &Value) -> Packet {
    Packet::parse("pkcs11", packet.to_string().as_bytes()).unwrap()
}

#[test]
fn every_way_to_say_the_hash_is_taken() {
    let sha1 = blob("rsa2048", false);
    for (recipient, key, algorithm) in [
        (json!({"version":0,"blob":sha1,"hash":"sha1"}), "rsa2048", Algorithm::RsaOaep),
        (json!({"version":0,"blob":sha1,"hash":""}), "rsa2048", Algorithm::RsaOaep),
        (json!({"version":0,"blob":sha1}), "rsa2048", Algorithm::RsaOaep),
        (json!({"blob":sha1}), "rsa2048", Algorithm::RsaOaep),
        (json!({"version":0,"blob":blob("rsa3072", true),"hash":"sha256"}), "rsa3072", Algorithm::RsaOaep256),
    ] {
        let packet = parse(&packet(&[recipient]));
        assert_eq!(packet.recipients()[0].algorithm(), Some(algorithm));
        assert_eq!(finish(&packet, 0, key).unwrap(), optsdata().raw().expose());
        assert!(packet.decoy(0).is_none(), "OAEP needs none");
    }
}

#[test]
fn what_nobody_here_opens_is_kept_beside_what_somebody_does() {
    let recipients = [
        json!({"version":0,"blob":"not looked at","hash":"sha512"}),
        json!({"version":1}),
        json!({"version":0,"blob":blob("rsa2048", false),"hash":"sha1"}),
    ];
    let packet = parse(&packet(&recipients));
    let found: Vec<_> = packet.recipients().iter().map(|one| one.algorithm()).collect();
    assert_eq!(found, [None, None, Some(Algorithm::RsaOaep)]);
    assert!(finish(&packet, 2, "rsa2048").is_ok());
    let opened = || Secret::copy_of(optsdata().raw().expose());
    for index in [0, 1, 3] {
        assert_eq!(packet.finish(index, opened()).unwrap_err(), FinishError::Rejected);
    }
}

/// Whoever puts another packet's content key here learns nothing of it.
#[test]
fn whatever_opens_to_no_optsdata_is_the_same_error_as_a_wrong_key() {
    let mut damaged = sealed("rsa2048", false, optsdata().raw().expose());
    damaged[255] ^= 1;
    for (name, ciphertext) in [
        ("a_content_key", sealed("rsa2048", false, &[b'{'; 32])),
        ("almost_optsdata", sealed("rsa2048", false, br#"{"symkey":"AQID"}"#)),
        ("nothing", sealed("rsa2048", false, b"")),
        ("to_another_key", sealed("rsa3072", false, optsdata().raw().expose())),
        ("damaged", damaged),
    ] {
        let packet = parse(&packet(&[json!({"version":0,"blob":STANDARD.encode(ciphertext)})]));
        assert_eq!(finish(&packet, 0, "rsa2048").unwrap_err(), FinishError::Rejected, "{name}");
    }
}

#[test]
fn each_defect_has_its_own_line() {
    let one = || json!({"version":0,"blob":blob("rsa2048", false),"hash":"sha1"});
    let with = |member: &str, value: Value| {
        let mut recipient = one();
        recipient[member] = value;
        packet(&[recipient]).to_string()
    };
    let bytes = sealed("rsa2048", false, optsdata().raw().expose());
    let twice = r#"{"version":0,"recipients":[{"version":0,"blob":"","blob":""}]}"#;
    assert_eq!(line("pkcs11", packet(&vec![one(); 64]).to_string().as_bytes()), "taken");
    for (name, packet, says) in [
        ("empty", String::new(), "the packet ends too early (line 1, column 0)"),
        ("an_array", "[]".to_owned(), "the packet is not a JSON object"),
        ("too_long", " ".repeat(256 * 1024 + 1), "the packet has 262145 bytes; at most 262144 are taken"),
        ("duplicate_member", twice.to_owned(), "the packet has the same member twice (line 1, column 56)"),
        (
            "version_1",
            r#"{"version":1,"recipients":[]}"#.to_owned(),
            "the packet is of a version that this version does not know",
        ),
        (
            "version_minus_1",
            r#"{"version":-1,"recipients":[]}"#.to_owned(),
            "version of the packet is not a number",
        ),
        ("no_recipients", "{}".to_owned(), "the packet has no recipient"),
        ("empty_recipients", packet(&[]).to_string(), "the packet has no recipient"),
        (
            "sixty_five_recipients",
            packet(&vec![one(); 65]).to_string(),
            "the packet has 65 recipients; at most 64 are taken",
        ),
        ("recipient_is_text", packet(&[json!("x")]).to_string(), "recipient 1 is not an object"),
        ("version_is_text", with("version", json!("0")), "version of recipient 1 is not a number"),
        ("hash_is_a_number", with("hash", json!(1)), "hash of recipient 1 is not a string"),
        ("no_blob", packet(&[json!({"version":0})]).to_string(), "recipient 1 has no blob"),
        ("blob_is_null", with("blob", Value::Null), "blob of recipient 1 is not a string"),
        (
            "blob_in_base64url",
            with("blob", json!(URL_SAFE.encode([0xff; 256]))),
            "blob of recipient 1 is not base64",
        ),
        (
            "blob_without_padding",
            with("blob", json!(STANDARD_NO_PAD.encode(&bytes))),
            "blob of recipient 1 is not base64",
        ),
        (
            "blob_too_short",
            with("blob", json!(STANDARD.encode([1; 255]))),
            "blob of recipient 1 has 255 bytes; for RSA-OAEP it has 256 to 1024",
        ),
        (
            "blob_too_long",
            with("blob", json!(STANDARD.encode([1; 1025]))),
            "blob of recipient 1 has 1025 bytes; for RSA-OAEP it has 256 to 1024",
        ),
    ] {
        assert_eq!(line("pkcs11", packet.as_bytes()), says, "{name}");
    }
}
