//! What is sealed to certificates and to keys of PKCS#11 tokens, read back and opened.

use holdfast_envelope::{Hint, Packet, SealError, cms, jwk, pkcs11};
use holdfast_wire::{Algorithm, OaepHash, PublicKey};
use serde_json::Value;

use crate::cms_build::{oid, pkcs7, seq, tlv};
use crate::{finish, optsdata, token};

const RSA: [&str; 3] = ["rsa2048", "rsa3072", "rsa4096"];

/// The Name of an issuer, and a serial number.
fn name(of: &str) -> (Vec<u8>, Vec<u8>) {
    let common = seq(&[oid(&[0x55, 4, 3]), tlv(12, of.as_bytes())]);
    (seq(&[tlv(0x31, &common)]), vec![0, 0x80 | of.as_bytes()[3], 7])
}

fn to_certificates(keys: &[&str]) -> Result<Vec<u8>, SealError> {
    let (names, keys): (Vec<_>, Vec<_>) = keys.iter().map(|key| (name(key), token::public_key(key))).unzip();
    let to = keys.iter().zip(&names).map(|(key, (issuer, serial))| cms::To { key, issuer, serial });
    cms::seal(&optsdata(), &to.collect::<Vec<_>>())
}

fn to_tokens(keys: &[&str], hash: OaepHash) -> Result<Vec<u8>, SealError> {
    let keys: Vec<PublicKey> = keys.iter().map(|key| token::public_key(key)).collect();
    pkcs11::seal(&optsdata(), &keys.iter().map(|key| pkcs11::To { key, hash }).collect::<Vec<_>>())
}

#[test]
fn each_certificate_opens_the_one_packet_by_its_name() {
    let packet = Packet::parse("pkcs7", &to_certificates(&RSA).unwrap()).unwrap();
    assert_eq!(packet.recipients().len(), 3);
    for key in RSA {
        let (issuer, serial) = name(key);
        let hint = Some(Hint::IssuerAndSerial { issuer, serial });
        let at = packet.recipients().iter().position(|one| *one.hint().unwrap() == *hint.as_ref().unwrap());
        let at = at.unwrap();
        assert_eq!(packet.recipients()[at].algorithm(), Some(Algorithm::Rsa1_5));
        assert_eq!(finish(&packet, at, key).unwrap(), optsdata().raw().expose(), "{key}");
        let other = (at + 1) % 3;
        assert!(finish(&packet, other, key).is_err(), "{key}");
    }
}

/// Their order in a SET OF (X.690 section 11.6), and each part where ocicrypt's PKCS#7 looks for it.
#[test]
fn a_packet_for_certificates_is_der_whose_nonce_stands_where_ocicrypt_looks_for_it() {
    let there = to_certificates(&RSA).unwrap();
    let (mut one, mut other) = (there.clone(), to_certificates(&[RSA[2], RSA[0], RSA[1]]).unwrap());
    assert_eq!(one.len(), other.len());
    // Up to the first random byte.
    one.truncate(60);
    other.truncate(60);
    assert_eq!(one, other);
    assert!(there.windows(11).any(|part| part == pkcs7(3)));
    let aes = oid(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 46]);
    let at = there.windows(11).position(|part| part == aes).unwrap() + 11;
    let parameters = &there[at..];
    assert_eq!(parameters[..6], [0x30, 0x13, 0x30, 0x11, 0x84, 12]);
    assert_eq!(parameters[18..22], [2, 1, 16, 0x80]);
}

#[test]
fn each_key_of_a_token_opens_the_one_packet_with_either_hash_and_is_named() {
    for (hash, algorithm, keys) in
        [(OaepHash::Sha1, Algorithm::RsaOaep, &RSA[..]), (OaepHash::Sha256, Algorithm::RsaOaep256, &RSA[1..])]
    {
        let packet = Packet::parse("pkcs11", &to_tokens(keys, hash).unwrap()).unwrap();
        assert_eq!(packet.recipients().len(), keys.len());
        for (at, key) in keys.iter().enumerate() {
            let recipient = &packet.recipients()[at];
            assert_eq!(recipient.algorithm(), Some(algorithm));
            assert_eq!(recipient.kid(), Some(&jwk::thumbprint(&token::public_key(key))[..]));
            assert_eq!(finish(&packet, at, key).unwrap(), optsdata().raw().expose(), "{key}");
        }
    }
}

/// As ocicrypt reads them: versions that are numbers, and a hash that is said.
#[test]
fn a_packet_for_tokens_has_the_members_that_ocicrypt_reads() {
    for (hash, name) in [(OaepHash::Sha1, "sha1"), (OaepHash::Sha256, "sha256")] {
        let json: Value = serde_json::from_slice(&to_tokens(&["rsa3072"], hash).unwrap()).unwrap();
        assert_eq!((&json["version"], &json["recipients"][0]["version"]), (&0.into(), &0.into()));
        assert_eq!(json["recipients"][0]["hash"], name);
    }
}

#[test]
fn two_packets_for_the_same_have_nothing_secret_in_common() {
    let encrypted = |packet: Vec<u8>| packet[packet.len() - 200..].to_vec();
    assert_ne!(encrypted(to_certificates(&RSA).unwrap()), encrypted(to_certificates(&RSA).unwrap()));
    let blob = |_: ()| {
        let json: Value = serde_json::from_slice(&to_tokens(&RSA, OaepHash::Sha1).unwrap()).unwrap();
        json["recipients"][0]["blob"].clone()
    };
    assert_ne!(blob(()), blob(()));
}

#[test]
fn what_cannot_be_sealed_to_is_told() {
    let says = |result: Result<Vec<u8>, SealError>| result.unwrap_err().to_string();
    let few = "a packet needs a recipient: give at least one key";
    assert_eq!(says(to_certificates(&[])), few);
    assert_eq!(says(to_tokens(&[], OaepHash::Sha1)), few);
    let many = "more than 64 recipients; give fewer keys, or seal a packet for some and another for the rest";
    assert_eq!(says(to_certificates(&["rsa2048"; 65])), many);
    assert_eq!(says(to_tokens(&["rsa2048"; 65], OaepHash::Sha1)), many);
    assert_eq!(
        says(to_certificates(&["rsa2048", "ec-P-256"])),
        "recipient 2: RSA1_5 cannot seal to a key of type P-256; choose another algorithm"
    );
    assert_eq!(
        says(to_tokens(&["ec-P-521"], OaepHash::Sha256)),
        "recipient 1: RSA-OAEP-256 cannot seal to a key of type P-521; choose another algorithm"
    );
    assert_eq!(
        says(to_tokens(&["rsa3072", "rsa2048"], OaepHash::Sha256)),
        "recipient 2: RSA-OAEP-256 has room for 190 bytes in an RSA key of 2048 bits, and 193 are to be sealed; give another key"
    );
}

#[test]
fn as_many_recipients_as_a_reader_takes_are_sealed_to() {
    for (scheme, packet) in [
        ("pkcs7", to_certificates(&["rsa4096"; 64]).unwrap()),
        ("pkcs11", to_tokens(&["rsa4096"; 64], OaepHash::Sha1).unwrap()),
    ] {
        assert_eq!(Packet::parse(scheme, &packet).unwrap().recipients().len(), 64);
    }
}
