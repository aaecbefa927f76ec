//! Packets that skopeo 1.18 (ocicrypt 1.1.10) wrote, with the optsdata an independent program found.

use holdfast_envelope::{FinishError, Hint, Packet};
use holdfast_wire::{Algorithm, PublicKey, Secret};
use serde::Deserialize;

use crate::{finish, token};

/// A line of `skopeo-1.18/others.json`.
#[derive(Deserialize)]
struct Entry {
    scheme: String,
    packet: String,
    optsdata: String,
    recipients: Vec<Keyed>,
}

#[derive(Deserialize)]
struct Keyed {
    alg: String,
    key: String,
}

fn entries() -> Vec<Entry> {
    serde_json::from_slice(&token::vector("skopeo-1.18/others.json")).unwrap()
}

fn parse(entry: &Entry) -> Packet {
    Packet::parse(&entry.scheme, &token::vector(&format!("skopeo-1.18/{}", entry.packet))).unwrap()
}

#[test]
fn every_recipient_of_every_pkcs7_packet_opens_it_to_its_optsdata() {
    let mut opened = 0;
    for entry in entries().iter().filter(|entry| entry.scheme == "pkcs7") {
        let (name, packet) = (&entry.packet, parse(entry));
        let optsdata = token::vector(&format!("skopeo-1.18/{}", entry.optsdata));
        assert!(packet.labels().is_empty());
        assert_eq!(packet.recipients().len(), entry.recipients.len(), "{name}");
        for (i, keyed) in entry.recipients.iter().enumerate() {
            assert_eq!(packet.recipients()[i].algorithm(), Some(keyed.alg.parse::<Algorithm>().unwrap()));
            assert_eq!(finish(&packet, i, &keyed.key).unwrap(), optsdata, "{name}");
            opened += 1;
        }
    }
    assert_eq!(opened, 6 + 2 * 2);
}

/// Their private halves lie in a token; the tests of the daemon open them there.
#[test]
fn every_pkcs11_packet_is_for_the_keys_that_it_was_made_for() {
    let mut recipients = 0;
    for entry in entries().iter().filter(|entry| entry.scheme == "pkcs11") {
        let (name, packet) = (&entry.packet, parse(entry));
        assert_eq!(packet.recipients().len(), entry.recipients.len(), "{name}");
        for (recipient, keyed) in packet.recipients().iter().zip(&entry.recipients) {
            assert_eq!(recipient.algorithm(), Some(keyed.alg.parse::<Algorithm>().unwrap()), "{name}");
            let PublicKey::Rsa(key) = token::public_key(&keyed.key) else { panic!("{name}: not RSA") };
            let holdfast_wire::Sealed::RsaOaep { ciphertext, .. } = recipient.sealed().unwrap() else {
                panic!("{name}: not OAEP")
            };
            assert_eq!(ciphertext.len(), key.modulus.len(), "{name}");
            recipients += 1;
        }
        let optsdata = token::vector(&format!("skopeo-1.18/{}", entry.optsdata));
        let finished = packet.finish(0, Secret::new(optsdata.clone())).unwrap();
        assert_eq!(finished.raw().expose(), optsdata, "{name}");
    }
    assert_eq!(recipients, 12 + 2 * 2);
}

#[test]
fn a_pkcs7_recipient_says_which_certificate_it_was_made_with() {
    let entries = entries();
    let entry = entries.iter().find(|entry| entry.packet.starts_with("pkcs7-rsa2048.")).unwrap();
    let packet = parse(entry);
    let Some(Hint::IssuerAndSerial { issuer, serial }) = packet.recipients()[0].hint() else {
        panic!("no issuer")
    };
    assert!(issuer.starts_with(&[0x30, 0x27]) && issuer.ends_with(b"\x0c\x04Test"), "{issuer:x?}");
    assert_eq!((serial.len(), serial[0]), (20, 0x42));
    assert_eq!(packet.recipients()[0].kid(), None);
}

#[test]
fn another_key_of_the_same_length_is_rejected() {
    let entries = entries();
    let entry = entries.iter().find(|entry| entry.packet.starts_with("pkcs7-rsa2048+rsa3072")).unwrap();
    let packet = parse(entry);
    let opened = |i: usize| token::open(["rsa2048", "rsa3072"][i], packet.recipients()[i].sealed().unwrap());
    // One CEK for all: what one recipient opens to, the others do.
    assert!(packet.finish(1, opened(0).unwrap()).is_ok());
    assert_eq!(packet.finish(2, opened(0).unwrap()).unwrap_err(), FinishError::Rejected);
    assert_eq!(packet.finish(0, Secret::new(vec![7; 16])).unwrap_err(), FinishError::Rejected);
}
