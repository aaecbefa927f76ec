//! CMS packets with one defect of form each, named after it, and the exact line that tells it.

use crate::cms_build::{
    CEK, NONCE, Parts, RSA, aes, encrypted, issuer_and_serial, oid, parameters, pkcs7, primitive_parameters,
    recipient, seq, tlv, wrapped,
};
use crate::line;

fn tell(defects: Vec<(&str, Vec<u8>, &str)>) {
    for (name, packet, says) in defects {
        assert_eq!(line("pkcs7", &packet), says, "{name}");
    }
}

fn good() -> Parts {
    Parts::ocicrypt()
}

#[test]
fn the_packet_that_is_broken_here_is_good_before() {
    assert_eq!(line("pkcs7", &good().packet()), "taken");
}

#[test]
fn of_the_whole() {
    let packet = good().packet();
    let envelope = |kind: u8, data: Vec<u8>| seq(&[pkcs7(kind), data]);
    let cut = &packet[..packet.len() - 1];
    tell(vec![
        ("empty", Vec::new(), "the packet has no ContentInfo"),
        ("json", b"{}".to_vec(), "the packet has no ContentInfo"),
        ("cut_off", cut.to_vec(), "the packet is cut off"),
        (
            "trailing_byte",
            [packet.clone(), vec![0]].concat(),
            "the packet has something that does not belong there",
        ),
        ("too_long", vec![0x30; 256 * 1024 + 1], "the packet has 262145 bytes; at most 262144 are taken"),
        ("signed_data", envelope(2, tlv(0xa0, &[])), "the packet is CMS, but not EnvelopedData"),
        ("without_content", seq(&[pkcs7(3)]), "ContentInfo has no content"),
        ("empty_content", envelope(3, tlv(0xa0, &[])), "content has no EnvelopedData"),
        (
            "indefinite_length",
            [&[0x30, 0x80][..], &packet[4..], &[0, 0]].concat(),
            "the packet has an indefinite length, which is not DER",
        ),
    ]);
}

#[test]
fn of_enveloped_data() {
    let with = |change: fn(&mut Parts)| {
        let mut parts = good();
        change(&mut parts);
        parts.packet()
    };
    tell(vec![
        (
            "version_1",
            with(|parts| parts.version = vec![2, 1, 1]),
            "EnvelopedData is of a version that this version does not know",
        ),
        (
            "version_of_two_bytes",
            with(|parts| parts.version = vec![2, 2, 0, 0]),
            "EnvelopedData is of a version that this version does not know",
        ),
        ("no_version", with(|parts| parts.version = Vec::new()), "EnvelopedData has no version"),
        (
            "originator_info",
            with(|parts| parts.version = vec![2, 1, 2, 0xa0, 0]),
            "EnvelopedData has originatorInfo, which is not supported by this version",
        ),
        (
            "unprotected_attributes",
            with(|parts| parts.rest = tlv(0xa1, &[])),
            "EnvelopedData has unprotected attributes, which are not supported",
        ),
        (
            "something_behind",
            with(|parts| parts.rest = vec![5, 0]),
            "EnvelopedData has something that does not belong there",
        ),
    ]);
}

#[test]
fn of_recipients() {
    let with = |recipient: Vec<u8>| Parts { recipients: vec![recipient], ..good() }.packet();
    let of = |version: u8, rid: Vec<u8>, algorithm: Vec<u8>, key: Vec<u8>| {
        with(seq(&[vec![2, 1, version], rid, algorithm, key]))
    };
    let key = || tlv(4, &wrapped("rsa2048", &CEK[..16]));
    let algorithm = || seq(&[oid(&RSA)]);
    let mismatch = "a recipient's version is not that of the name of its key";
    let sixty_five = Parts { recipients: vec![recipient("rsa2048", &[], 16); 65], ..good() };
    let sixty_four = Parts { recipients: vec![recipient("rsa2048", &[], 16); 64], ..good() };
    assert_eq!(line("pkcs7", &sixty_four.packet()), "taken");
    tell(vec![
        ("none", Parts { recipients: vec![], ..good() }.packet(), "the packet has no recipient"),
        (
            "sixty_five",
            sixty_five.packet(),
            "the packet has more than 64 recipients, which is the most that are taken",
        ),
        ("no_kind_of_recipient", with(vec![5, 0]), "a recipient is of no kind that CMS has"),
        ("kind_5", with(tlv(0xa5, &[])), "a recipient is of no kind that CMS has"),
        ("empty", with(seq(&[])), "recipient has no version"),
        ("version_2_with_a_serial", of(2, issuer_and_serial(), algorithm(), key()), mismatch),
        ("version_0_with_a_key_identifier", of(0, tlv(0x80, &[7; 20]), algorithm(), key()), mismatch),
        (
            "no_serial",
            of(0, seq(&[seq(&[])]), algorithm(), key()),
            "issuerAndSerialNumber has no serial number",
        ),
        (
            "parameters_of_rsa",
            with(recipient("rsa2048", &[0x30, 0], 16)),
            "algorithm of a recipient has no NULL, or nothing, as parameters",
        ),
        (
            "null_that_is_not_empty",
            with(recipient("rsa2048", &[5, 1, 0], 16)),
            "algorithm of a recipient has a NULL that is not empty",
        ),
        (
            "two_nulls",
            with(recipient("rsa2048", &[5, 0, 5, 0], 16)),
            "algorithm of a recipient has something that does not belong there",
        ),
        (
            "no_encrypted_key",
            of(0, issuer_and_serial(), algorithm(), Vec::new()),
            "recipient has no encrypted key",
        ),
        (
            "encrypted_key_of_1024_bits",
            of(0, issuer_and_serial(), algorithm(), tlv(4, &[7; 128])),
            "the encrypted key of a recipient has 128 bytes; for RSA1_5 it has 256 to 1024",
        ),
        (
            "something_behind",
            of(0, issuer_and_serial(), algorithm(), [key(), vec![5, 0]].concat()),
            "recipient has something that does not belong there",
        ),
    ]);
}

#[test]
fn of_content() {
    let algorithm = |parts: &[Vec<u8>]| Parts { content_algorithm: seq(parts), ..good() }.packet();
    let bytes = |encrypted: Vec<u8>| Parts { encrypted: Some(encrypted), ..good() }.packet();
    let not_gcm = "the content is not encrypted by AES-GCM, the only way that is opened in this scheme; encrypt the image again";
    let other_tag = "the content's tag has another length than 16 bytes";
    let ours = || primitive_parameters(&NONCE, 16);
    tell(vec![
        ("aes_128_cbc", algorithm(&[aes(2), tlv(4, &[0; 16])]), not_gcm),
        ("aes_256_cbc", algorithm(&[aes(42), tlv(4, &[0; 16])]), not_gcm),
        ("three_des", algorithm(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7])]), not_gcm),
        ("aes_without_a_mode", algorithm(&[oid(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1])]), not_gcm),
        ("no_parameters", algorithm(&[aes(6)]), "content encryption algorithm has no parameters of AES-GCM"),
        ("tag_of_12", algorithm(&[aes(6), primitive_parameters(&NONCE, 12)]), other_tag),
        ("tag_of_12_in_der", algorithm(&[aes(6), parameters(&NONCE, 12)]), other_tag),
        ("tag_of_the_default", algorithm(&[aes(6), seq(&[tlv(4, &NONCE)])]), other_tag),
        ("tag_of_4", algorithm(&[aes(6), parameters(&NONCE, 4)]), other_tag),
        (
            "nonce_of_16",
            algorithm(&[aes(6), parameters(&[7; 16], 16)]),
            "the content's nonce has 16 bytes; it must have 12",
        ),
        (
            "nonce_of_the_other_form",
            algorithm(&[aes(6), seq(&[tlv(0x84, &NONCE), vec![2, 1, 16]])]),
            "parameters of AES-GCM has no nonce",
        ),
        (
            "primitive_sequence_with_der",
            algorithm(&[aes(6), tlv(0x10, &parameters(&NONCE, 16))]),
            "parameters of AES-GCM has no nonce",
        ),
        (
            "parameters_twice",
            algorithm(&[aes(6), ours(), ours()]),
            "content encryption algorithm has something that does not belong there",
        ),
        ("no_bytes", bytes(Vec::new()), "encrypted content has no encrypted bytes"),
        ("bytes_as_octet_string", bytes(tlv(4, &encrypted(16))), "encrypted content has no encrypted bytes"),
        (
            "two_octet_strings",
            bytes(tlv(0xa0, &[tlv(4, &[0; 100]), tlv(4, &[0; 100])].concat())),
            "encrypted bytes has something that does not belong there",
        ),
        (
            "no_room_for_a_tag",
            bytes(tlv(0x80, &[0; 15])),
            "encrypted bytes has no room for a tag of 16 bytes",
        ),
        (
            "too_long",
            bytes(tlv(0x80, &[0; 4096 + 17])),
            "the encrypted content has 4097 bytes; at most 4096 are taken",
        ),
    ]);
    assert_eq!(line("pkcs7", &bytes(tlv(0x80, &[0; 4096 + 16]))), "taken");
}

#[test]
fn a_packet_cut_off_anywhere_or_with_any_byte_changed_is_read_or_refused() {
    let packet = good().packet();
    for len in 0..packet.len() {
        assert_ne!(line("pkcs7", &packet[..len]), "taken", "{len}");
    }
    for at in 0..packet.len() {
        for bit in 0..8 {
            let mut changed = packet.clone();
            changed[at] ^= 1 << bit;
            assert!(!line("pkcs7", &changed).is_empty());
        }
    }
}
