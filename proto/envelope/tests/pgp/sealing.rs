//! What is sealed to OpenPGP keys, read back and opened; and which key of a certificate that is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_envelope::pgp::{self, EncryptionKey, Pgp};
use holdfast_envelope::{Hint, SealError};
use holdfast_wire::{Algorithm, OptsData, Secret};

use crate::keys::{KEYS, finish, public, recipient_key, vector};

/// 2027-01-01: the certificates of the vectors are older, and never expire.
const NOW: u64 = 1_798_761_600;

fn chosen(name: &str) -> EncryptionKey {
    EncryptionKey::choose(&vector(&format!("{name}.asc")), NOW).unwrap()
}

fn optsdata() -> OptsData {
    OptsData::new(Secret::new(vec![9; 32]), [7; 16], &format!("sha256:{}", "0".repeat(64))).unwrap()
}

fn sealed(names: &[&str]) -> Vec<u8> {
    let keys: Vec<EncryptionKey> = names.iter().map(|name| chosen(name)).collect();
    pgp::seal(&optsdata(), &keys.iter().collect::<Vec<_>>()).unwrap()
}

#[test]
fn each_of_several_keys_opens_the_one_message_by_its_key_id() {
    let message = Pgp::parse(&sealed(&KEYS)).unwrap();
    assert_eq!(message.recipients().len(), 4);
    for (at, name) in KEYS.into_iter().enumerate() {
        let recipient = &message.recipients()[at];
        let algorithm = if at == 0 { Algorithm::Rsa1_5 } else { Algorithm::OpenPgpEcdh };
        assert_eq!(recipient.algorithm(), Some(algorithm), "{name}");
        assert_eq!(recipient.hint(), Some(&Hint::KeyId(recipient_key(name).key_id())));
        assert_eq!(finish(&message, at, name).unwrap().raw().expose(), optsdata().raw().expose(), "{name}");
        assert!(finish(&message, (at + 1) % 4, name).is_err(), "{name}");
    }
}

/// A message with a leading zero in an RSA ciphertext comes once in 256.
#[test]
fn a_short_number_is_written_short() {
    let short = (0..4000).map(|_| sealed(&["rsa3072"])).find(|message| {
        let Some(sealed) = Pgp::parse(message).unwrap().recipients()[0].sealed().cloned() else {
            return false;
        };
        matches!(sealed, holdfast_wire::Sealed::RsaPkcs1v15 { ciphertext } if ciphertext.len() < 384)
    });
    let message = Pgp::parse(&short.unwrap()).unwrap();
    assert_eq!(finish(&message, 0, "rsa3072").unwrap().raw().expose(), optsdata().raw().expose());
}

#[test]
fn a_recipient_with_curve25519_stands_beside_others() {
    let message = Pgp::parse(&sealed(&["curve25519", "ec-P-256"])).unwrap();
    assert_eq!(message.recipients()[0].algorithm(), None);
    assert_eq!(message.recipients()[0].hint(), Some(&Hint::KeyId(chosen("curve25519").key_id())));
    assert_eq!(finish(&message, 1, "ec-P-256").unwrap().raw().expose(), optsdata().raw().expose());
}

#[test]
fn the_encryption_subkey_is_chosen_and_not_the_primary_key() {
    for name in KEYS {
        let key = chosen(name);
        assert_eq!(key.public(), Some(public(name)));
        assert_eq!(key.fingerprint(), recipient_key(name).fingerprint());
        assert_eq!(key.key_id(), recipient_key(name).key_id());
    }
    let curve25519 = chosen("curve25519");
    assert_eq!((curve25519.public(), &curve25519.type_name()[..]), (None, "Curve25519"));
}

#[test]
fn every_message_is_another() {
    let [one, other] = [sealed(&["ec-P-384"]), sealed(&["ec-P-384"])];
    let content = |message: &[u8]| message[message.len() - 200..].to_vec();
    assert_ne!(content(&one), content(&other));
}

#[test]
fn what_cannot_be_sealed_is_told() {
    assert_eq!(pgp::seal(&optsdata(), &[]).unwrap_err(), SealError::NoRecipient);
    let key = chosen("ec-P-256");
    assert!(Pgp::parse(&pgp::seal(&optsdata(), &[&key; 64]).unwrap()).is_ok());
    let error = pgp::seal(&optsdata(), &[&key; 65]).unwrap_err();
    assert_eq!(error, SealError::TooManyRecipients { max: 64 });
}

/// The octets in the armor.
fn binary(name: &str) -> Vec<u8> {
    let text = String::from_utf8(vector(&format!("{name}.asc"))).unwrap();
    let lines = text.lines().skip_while(|line| !line.is_empty()).skip(1);
    STANDARD.decode(lines.take_while(|line| !line.starts_with('=')).collect::<String>()).unwrap()
}

fn line(certificate: &[u8], now: u64) -> String {
    match EncryptionKey::choose(certificate, now) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Whatever bit of the keys, of their owner or of what is signed was altered.
#[test]
fn an_altered_certificate_has_no_key() {
    for name in ["rsa3072", "ec-P-256", "ec-P-384", "ec-P-521", "curve25519"] {
        let good = binary(name);
        assert_eq!(line(&good, NOW), "taken", "{name}");
        // Without its subkey a certificate may have a primary key for encryption: rsa3072 does.
        let without = EncryptionKey::choose(&split_at_subkey(name).0, NOW).ok();
        assert_eq!(without.is_some(), name == "rsa3072");
        let mut taken = 0;
        for at in 0..good.len() {
            let mut altered = good.clone();
            altered[at] ^= 0x04;
            if let Ok(key) = EncryptionKey::choose(&altered, NOW) {
                assert!(key == chosen(name) || Some(&key) == without.as_ref(), "{name}, octet {at}");
                taken += 1;
            }
        }
        // What no signature covers: subpackets that are not hashed, and what begins a hash.
        assert!(without.is_some() || taken < 64, "{name}: {taken}");
    }
}

#[test]
fn a_certificate_that_is_not_made_yet_or_of_several_is_told() {
    let good = binary("ec-P-256");
    assert!(line(&good, 1_000_000).contains("none of its user IDs is bound"), "{}", line(&good, 1_000_000));
    let several = "it holds several OpenPGP certificates; give one of them";
    assert_eq!(line(&[&good[..], &good].concat(), NOW), several);
    assert_eq!(line(b"", NOW), "it holds no OpenPGP certificate; give what gpg --export writes");
    assert_eq!(line(&vec![0; 1024 * 1024 + 1], NOW), "it has 1048577 bytes; at most 1048576 are taken");
}

/// A subkey of somebody else's in a certificate.
#[test]
fn a_foreign_subkey_is_passed_by() {
    let (own, _) = split_at_subkey("ec-P-256");
    let (_, foreign) = split_at_subkey("ec-P-384");
    let error = line(&[&own[..], &foreign].concat(), NOW);
    assert!(error.contains("a subkey is not bound to its primary key"), "{error}");
    let both = [binary("ec-P-256"), foreign].concat();
    assert_eq!(EncryptionKey::choose(&both, NOW).unwrap(), chosen("ec-P-256"));
}

/// The primary key with what belongs to it, and the subkey.
fn split_at_subkey(name: &str) -> (Vec<u8>, Vec<u8>) {
    let mut certificate = binary(name);
    let mut at = 0;
    // Old format.
    while (certificate[at] >> 2) & 15 != 14 {
        at += packet_len(&certificate[at..]);
    }
    let subkey = certificate.split_off(at);
    (certificate, subkey)
}

fn packet_len(packet: &[u8]) -> usize {
    match packet[0] & 3 {
        0 => 2 + usize::from(packet[1]),
        1 => 3 + usize::from(u16::from_be_bytes([packet[1], packet[2]])),
        other => panic!("a length of type {other}"),
    }
}
