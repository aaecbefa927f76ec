//! Certificates as gpg exports them, and broken ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_envelope::pgp::Certificate;

use crate::keys::{KEYS, public, recipient_key, vector};
use crate::token;
use crate::writer::packet;

/// The fingerprints that `gpg --list-keys --with-subkey-fingerprint` tells of the encryption subkeys.
const FINGERPRINTS: [&str; 4] = [
    "RSA-3072 D6A5B7C7D032D5C2CD2FC9595D1059082AEA8D2E",
    "P-256 47EB8DF28865230C695EA9C9A9CF021DEE2946DA",
    "P-384 A87E5C8E9084057C52C14E781D332F14165276EC",
    "P-521 A3670264D264FC16299E358B745BACF95E3BC3F7",
];

fn line(bytes: &[u8]) -> String {
    match Certificate::parse(bytes) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The octets in the armor.
fn binary(name: &str) -> Vec<u8> {
    let text = String::from_utf8(vector(&format!("{name}.asc"))).unwrap();
    let lines = text.lines().skip_while(|line| !line.is_empty()).skip(1);
    STANDARD.decode(lines.take_while(|line| !line.starts_with('=')).collect::<String>()).unwrap()
}

#[test]
fn the_subkey_with_a_public_half_is_found_with_gpgs_fingerprint() {
    for (name, fingerprint) in KEYS.into_iter().zip(FINGERPRINTS) {
        let key = recipient_key(name);
        assert_eq!(key.to_string(), fingerprint);
        let id: String = key.key_id().iter().map(|octet| format!("{octet:02X}")).collect();
        assert!(fingerprint.ends_with(&id), "{id}");
        let of_binary = Certificate::parse(&binary(name)).unwrap();
        assert_eq!(of_binary.key_of(&public(name)), Ok(&key), "{name} in binary form");
    }
}

#[test]
fn a_file_of_several_certificates_has_the_keys_of_all() {
    let several = Certificate::parse(&vector("several.pgpkeys")).unwrap();
    for name in &KEYS[..3] {
        assert_eq!(several.key_of(&public(name)), Ok(&recipient_key(name)), "{name}");
    }
    let armored = [vector("ec-P-256.asc"), b"\n".to_vec(), vector("ec-P-521.asc")].concat();
    let armored = Certificate::parse(&armored).unwrap();
    assert!(armored.key_of(&public("ec-P-521")).is_ok());
    let twice = [binary("ec-P-256"), binary("ec-P-256")].concat();
    assert!(Certificate::parse(&twice).unwrap().key_of(&public("ec-P-256")).is_ok());
}

#[test]
fn a_foreign_key_is_told_with_those_that_are_there() {
    let certificate = Certificate::parse(&vector("ec-P-256.asc")).unwrap();
    for foreign in [public("ec-P-384"), public("rsa3072"), token::public_key("ec-P-256")] {
        assert_eq!(
            certificate.key_of(&foreign).unwrap_err().to_string(),
            "it has no encryption key with this public half; it has P-256 47EB8DF28865230C695EA9C9A9CF021DEE2946DA"
        );
    }
}

/// The key material of a certificate under two fingerprints, as when it was made again: the second is a second later.
#[test]
fn the_same_public_half_twice_is_told_with_both_fingerprints() {
    let mut later = binary("ec-P-256");
    let oid_of_ecdh = [&[18, 8][..], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]].concat();
    let at = later.windows(10).position(|window| window == oid_of_ecdh).unwrap();
    later[at - 1] ^= 1;
    let both = Certificate::parse(&[binary("ec-P-256"), later].concat()).unwrap();
    let error = both.key_of(&public("ec-P-256")).unwrap_err().to_string();
    let told = format!("it has several keys with this public half, {}, P-256 ", FINGERPRINTS[1]);
    assert!(error.starts_with(&told) && error.ends_with(": leave one in the file"), "{error}");
}

#[test]
fn unknown_kdf_algorithms_are_told() {
    let good = binary("ec-P-256");
    let at = good.windows(4).position(|window| window == [3, 1, 8, 7]).unwrap();
    for (name, octet, value) in
        [("hash_sha1", 2, 2), ("cipher_3des", 3, 2), ("reserved_octet", 1, 2), ("length", 0, 4)]
    {
        let mut changed = good.clone();
        changed[at + octet] = value;
        let error = Certificate::parse(&changed).unwrap().key_of(&public("ec-P-256")).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("P-256 "), "{name}: {error}");
        assert!(
            error.ends_with(" derives its keys with algorithms that this version does not know"),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_public_certificate_is_refused() {
    let none =
        "it has no OpenPGP key of version 4 for encryption by RSA, or by ECDH on P-256, P-384 or P-521";
    let private = "it holds a private key; give the public part alone, as gpg --export writes it";
    let version_6 = {
        let mut key = binary("rsa3072");
        key[3] = 6;
        key.truncate(400);
        key
    };
    for (name, file, told) in [
        ("empty", Vec::new(), none),
        ("curve25519", vector("curve25519.asc"), none),
        ("a_message", vector("rsa3072-aes256.pgp"), none),
        ("version_6", version_6, none),
        ("private_key", packet(5, &[4; 20]), private),
        ("private_subkey", packet(7, &[4; 20]), private),
        ("a_public_pem", vector("ec-P-256.pub.pem"), "not OpenPGP packets in binary form"),
        ("cut", binary("rsa3072")[..300].to_vec(), "an OpenPGP packet ends too early"),
        (
            "key_with_more_behind",
            packet(6, &[&binary("rsa3072")[3..400], &[0]].concat()),
            "a public key has 1 bytes behind its end",
        ),
        ("too_long", vec![0; 1024 * 1024 + 1], "it has 1048577 bytes; at most 1048576 are taken"),
    ] {
        assert_eq!(line(&file), told, "{name}");
    }
}
