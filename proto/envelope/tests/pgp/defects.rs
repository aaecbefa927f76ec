//! Messages with one defect of form each, named after it, and the exact line that tells it.

use holdfast_envelope::pgp::Pgp;
use holdfast_wire::Algorithm;

use crate::keys::{optsdata, vector};
use crate::writer::{KEY, literal, packet, protected, seipd};

fn line(message: &[u8]) -> String {
    match Pgp::parse(message) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn content() -> Vec<u8> {
    seipd(&KEY, &protected(&literal(&optsdata())))
}

/// A message to one recipient: a PKESK packet of this version and algorithm, with what is the algorithm's own.
fn to(version: u8, algorithm: u8, own: &[u8]) -> Vec<u8> {
    [packet(1, &[&[version], &[1; 8][..], &[algorithm], own].concat()), content()].concat()
}

fn rsa(mpi: &[u8]) -> Vec<u8> {
    to(3, 1, mpi)
}

fn mpi(octets: &[u8]) -> Vec<u8> {
    let bits = u16::try_from(octets.len() * 8).unwrap();
    [&bits.to_be_bytes(), octets].concat()
}

fn ecdh(point: &[u8], wrapped: &[u8]) -> Vec<u8> {
    to(3, 18, &[mpi(point), vec![u8::try_from(wrapped.len()).unwrap()], wrapped.to_vec()].concat())
}

/// A point on P-256: the ephemeral key of a message of gpg.
fn point() -> Vec<u8> {
    vector("ec-P-256-aes256.pgp")[14..79].to_vec()
}

#[test]
fn the_messages_that_are_broken_here_are_good_before() {
    assert_eq!(line(&rsa(&mpi(&[7; 384]))), "taken");
    assert_eq!(line(&ecdh(&point(), &[7; 48])), "taken");
}

#[test]
fn of_packets() {
    let good = rsa(&mpi(&[7; 384]));
    let recipient = || good[..good.len() - content().len()].to_vec();
    let early = "an OpenPGP packet ends too early";
    for (name, message, told) in [
        ("empty", Vec::new(), "the message has no recipient"),
        ("json", b"{}".to_vec(), "not OpenPGP packets in binary form"),
        ("armored", b"-----BEGIN PGP MESSAGE-----\n".to_vec(), "not OpenPGP packets in binary form"),
        ("no_recipient", content(), "the message has no recipient"),
        ("no_content", recipient(), "the message has no content"),
        ("content_cut", good[..good.len() - 1].to_vec(), early),
        ("content_twice", [&good[..], &content()].concat(), "the message has packets behind its content"),
        (
            "recipient_behind_the_content",
            [&good[..], &recipient()].concat(),
            "the message has packets behind its content",
        ),
        ("octet_behind_the_content", [&good[..], &[0]].concat(), "not OpenPGP packets in binary form"),
        (
            "literal_outside",
            [recipient(), literal(b"{}")].concat(),
            "an OpenPGP packet of type 11, which no encrypted message has here",
        ),
        (
            "compressed_outside",
            packet(8, &good),
            "an OpenPGP packet of type 8, which no encrypted message has here",
        ),
        (
            "key_outside",
            [packet(6, &[4]), good.clone()].concat(),
            "an OpenPGP packet of type 6, which no encrypted message has here",
        ),
        (
            "recipients_65",
            [recipient().repeat(65), content()].concat(),
            "the message has more than 64 recipients; no more are taken",
        ),
        (
            "recipient_in_parts",
            vec![0xc1, 0xe1, 3, 3, 0],
            "an OpenPGP packet of type 1 has a partial length, which only data may have",
        ),
        (
            "recipient_without_a_length",
            vec![0x87, 3],
            "an OpenPGP packet of type 1 has no length, which only data may lack",
        ),
        ("too_long", vec![0xc1; 256 * 1024 + 1], "the message has 262145 bytes; at most 262144 are taken"),
    ] {
        assert_eq!(line(&message), told, "{name}");
    }
    assert_eq!(line(&[recipient().repeat(64), content()].concat()), "taken");
    assert_eq!(line(&[packet(10, b"PGP"), good, packet(21, &[0; 9])].concat()), "taken");
}

#[test]
fn of_recipients() {
    for (name, message, told) in [
        ("empty", [packet(1, &[]), content()].concat(), "an OpenPGP packet ends too early"),
        ("key_id_cut", [packet(1, &[3, 1, 1]), content()].concat(), "an OpenPGP packet ends too early"),
        ("rsa_cut", rsa(&[12, 0, 7]), "an OpenPGP packet ends too early"),
        (
            "rsa_of_zeros",
            rsa(&mpi(&[0; 384])),
            "the RSA ciphertext of recipient 1 has 0 bytes; 1 to 1024 are taken",
        ),
        (
            "rsa_of_nothing",
            rsa(&[0, 0]),
            "the RSA ciphertext of recipient 1 has 0 bytes; 1 to 1024 are taken",
        ),
        (
            "rsa_of_1025_bytes",
            rsa(&mpi(&[7; 1025])),
            "the RSA ciphertext of recipient 1 has 1025 bytes; 1 to 1024 are taken",
        ),
        (
            "rsa_with_more_behind",
            rsa(&[mpi(&[7; 384]), vec![0]].concat()),
            "recipient 1 has 1 bytes behind its end",
        ),
        ("ecdh_point_cut", to(3, 18, &[2, 3, 4]), "an OpenPGP packet ends too early"),
        (
            "ecdh_without_a_key",
            ecdh(&point(), &[]),
            "the wrapped key of recipient 1 has 0 bytes; it has whole blocks of 8, at least 24",
        ),
        (
            "ecdh_key_of_16_bytes",
            ecdh(&point(), &[7; 16]),
            "the wrapped key of recipient 1 has 16 bytes; it has whole blocks of 8, at least 24",
        ),
        (
            "ecdh_key_of_47_bytes",
            ecdh(&point(), &[7; 47]),
            "the wrapped key of recipient 1 has 47 bytes; it has whole blocks of 8, at least 24",
        ),
        (
            "ecdh_key_cut",
            to(3, 18, &[mpi(&point()), vec![48, 7]].concat()),
            "an OpenPGP packet ends too early",
        ),
        (
            "ecdh_with_more_behind",
            to(3, 18, &[mpi(&point()), vec![24], vec![7; 25]].concat()),
            "recipient 1 has 1 bytes behind its end",
        ),
    ] {
        assert_eq!(line(&message), told, "{name}");
    }
}

/// Kept, so that another recipient of the same message opens; a token never sees one.
#[test]
fn recipients_that_are_not_understood_are_opened_by_nobody() {
    let mut off_curve = point();
    off_curve[64] ^= 1;
    let mut compressed = point()[..33].to_vec();
    compressed[0] = 2 | (point()[64] & 1);
    for (name, message) in [
        ("point_off_curve", ecdh(&off_curve, &[7; 48])),
        ("point_at_infinity", ecdh(&[0], &[7; 48])),
        ("point_compressed", ecdh(&compressed, &[7; 48])),
        ("point_of_zeros", ecdh(&[&[4][..], &[0; 64]].concat(), &[7; 48])),
        ("point_of_curve25519", ecdh(&[&[0x40][..], &[7; 32]].concat(), &[7; 48])),
        ("version_2", to(2, 1, &mpi(&[7; 384]))),
        ("version_6", to(6, 1, &mpi(&[7; 384]))),
        ("rsa_sign_only", to(3, 3, &mpi(&[7; 384]))),
        ("elgamal", to(3, 16, &[mpi(&[7; 384]), mpi(&[7; 384])].concat())),
        ("x25519", to(3, 25, &[7; 60])),
        ("private_algorithm", to(3, 110, &[])),
    ] {
        let message = Pgp::parse(&message).unwrap();
        let recipient = &message.recipients()[0];
        assert_eq!((recipient.algorithm(), recipient.sealed()), (None, None), "{name}");
    }
    let on_curve = Pgp::parse(&ecdh(&point(), &[7; 48])).unwrap();
    assert_eq!(on_curve.recipients()[0].algorithm(), Some(Algorithm::OpenPgpEcdh));
}

#[test]
fn of_content() {
    let with = |tag: u8, body: &[u8]| {
        let good = rsa(&mpi(&[7; 384]));
        [&good[..good.len() - content().len()], &packet(tag, body)].concat()
    };
    let aead = "which this version does not open; encrypt to a key";
    let seipd = |version: u8, len: usize| [vec![version], vec![7; len]].concat();
    for (name, message, told) in [
        ("empty", with(18, &[]), "the message's content is of an unknown version"),
        ("version_0", with(18, &seipd(0, 300)), "the message's content is of an unknown version"),
        (
            "version_2",
            with(18, &seipd(2, 300)),
            &*format!(
                "the message's content is encrypted by AEAD (version 2 of OpenPGP packet 18), {aead} that does not ask for it"
            ),
        ),
        (
            "aead",
            with(20, &seipd(1, 300)),
            &format!(
                "the message's content is encrypted by AEAD (OpenPGP packet 20), {aead} whose preferences do not ask for it"
            ),
        ),
        (
            "without_integrity_protection",
            with(9, &seipd(1, 300)),
            "the message's content has no integrity protection (OpenPGP packet 9), so anyone could have altered it; encrypt again with a program that protects it, as gpg does unless it is told not to",
        ),
        ("shorter_than_prefix_and_mdc", with(18, &seipd(1, 39)), "the message's content has only 39 bytes"),
        (
            "longer_than_optsdata_can_be",
            with(18, &seipd(1, 5161)),
            "the message's content has 5161 bytes; at most 5160 are taken",
        ),
    ] {
        assert_eq!(line(&message), told, "{name}");
    }
    assert_eq!(line(&with(18, &seipd(1, 40))), "taken");
    assert_eq!(line(&with(18, &seipd(1, 5160))), "taken");
}
