//! Good CMS packets in every form that is taken, and the same after damage.

use holdfast_envelope::{FinishError, Packet};
use holdfast_wire::{Algorithm, Secret};

use crate::cms_build::{
    CEK, NONCE, Parts, aes, encrypted, issuer_and_serial, oid, parameters, primitive_parameters, recipient,
    seq, tlv, wrapped,
};
use crate::{finish, optsdata, token};

fn opens(parts: &Parts, index: usize, key: &str) {
    let packet = Packet::parse("pkcs7", &parts.packet()).unwrap();
    assert_eq!(finish(&packet, index, key).unwrap(), optsdata().raw().expose());
}

#[test]
fn content_is_taken_in_both_forms_of_parameters_and_of_encrypted_bytes() {
    for (parameters, encrypted) in [
        (primitive_parameters(&NONCE, 16), None),
        (primitive_parameters(&NONCE, 16), Some(tlv(0x80, &encrypted(16)))),
        (parameters(&NONCE, 16), None),
        (parameters(&NONCE, 16), Some(tlv(0x80, &encrypted(16)))),
    ] {
        let content_algorithm = seq(&[aes(6), parameters]);
        opens(&Parts { content_algorithm, encrypted, ..Parts::ocicrypt() }, 0, "rsa2048");
    }
}

#[test]
fn aes_gcm_of_every_key_length_is_taken() {
    for (last, cek_len) in [(6, 16), (26, 24), (46, 32)] {
        let parts = Parts {
            recipients: vec![recipient("rsa2048", &[5, 0], cek_len)],
            content_algorithm: seq(&[aes(last), primitive_parameters(&NONCE, 16)]),
            cek_len,
            ..Parts::ocicrypt()
        };
        opens(&parts, 0, "rsa2048");
    }
}

#[test]
fn what_nobody_here_opens_is_kept_beside_what_somebody_does() {
    let of_algorithm = |last: u8| {
        let name = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last];
        let wrapped = tlv(4, &wrapped("rsa2048", &CEK[..16]));
        seq(&[vec![2, 1, 0], issuer_and_serial(), seq(&[oid(&name), seq(&[])]), wrapped])
    };
    let agreement = tlv(0xa1, &[2, 1, 3]);
    let password = tlv(0xa3, b"whatever it is");
    let by_key_identifier = seq(&[
        vec![2, 1, 2],
        tlv(0x80, &[7; 20]),
        seq(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1])]),
        tlv(4, &wrapped("rsa3072", &CEK[..16])),
    ]);
    let (first, last) = (recipient("rsa4096", &[], 16), by_key_identifier);
    let parts = Parts {
        version: vec![2, 1, 2],
        recipients: vec![first, of_algorithm(7), agreement, password, last],
        ..Parts::ocicrypt()
    };
    let packet = Packet::parse("pkcs7", &parts.packet()).unwrap();
    let found: Vec<_> = packet.recipients().iter().map(|one| one.algorithm()).collect();
    let rsa = Some(Algorithm::Rsa1_5);
    assert_eq!(found, [rsa, None, None, None, rsa]);
    opens(&parts, 0, "rsa4096");
    opens(&parts, 4, "rsa3072");
    for index in [1, 2, 3, 5] {
        let finished = packet.finish(index, Secret::copy_of(&CEK[..16]));
        assert_eq!(finished.unwrap_err(), FinishError::Rejected);
        assert!(packet.decoy(index).is_none());
    }
}

#[test]
fn every_damage_is_the_same_error() {
    let good = Parts::ocicrypt();
    let flipped = |at: usize| {
        let mut bytes = encrypted(16);
        bytes[at] ^= 1;
        Some(tlv(0x80, &bytes))
    };
    let mut nonce = NONCE;
    nonce[0] ^= 1;
    let mut other_cek = CEK;
    other_cek[0] ^= 1;
    let wrapping = |cek: &[u8]| {
        let algorithm = seq(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1])]);
        vec![seq(&[vec![2, 1, 0], issuer_and_serial(), algorithm, tlv(4, &wrapped("rsa2048", cek))])]
    };
    let last = encrypted(16).len() - 1;
    for (name, damaged) in [
        ("first_byte", Parts { encrypted: flipped(0), ..good.clone() }),
        ("tag", Parts { encrypted: flipped(last), ..good.clone() }),
        (
            "nonce",
            Parts { content_algorithm: seq(&[aes(6), primitive_parameters(&nonce, 16)]), ..good.clone() },
        ),
        (
            "another_aes",
            Parts { content_algorithm: seq(&[aes(46), primitive_parameters(&NONCE, 16)]), ..good.clone() },
        ),
        ("another_cek", Parts { recipients: wrapping(&other_cek[..16]), ..good.clone() }),
        ("cek_too_short", Parts { recipients: wrapping(&CEK[..15]), ..good.clone() }),
        ("cek_too_long", Parts { recipients: wrapping(&CEK[..17]), ..good.clone() }),
        ("cek_empty", Parts { recipients: wrapping(&[]), ..good.clone() }),
        ("another_key", Parts { recipients: vec![recipient("rsa3072", &[], 16)], ..good.clone() }),
    ] {
        let packet = Packet::parse("pkcs7", &damaged.packet()).unwrap();
        assert_eq!(finish(&packet, 0, "rsa2048").unwrap_err(), FinishError::Rejected, "{name}");
    }
    opens(&good, 0, "rsa2048");
}

#[test]
fn a_decoy_has_the_form_of_the_real_key_and_opens_nothing() {
    for (last, cek_len) in [(6, 16), (26, 24), (46, 32)] {
        let content_algorithm = seq(&[aes(last), primitive_parameters(&NONCE, 16)]);
        let parts = Parts { content_algorithm, cek_len, ..Parts::ocicrypt() };
        let packet = Packet::parse("pkcs7", &parts.packet()).unwrap();
        let [one, two] = [packet.decoy(0).unwrap(), packet.decoy(0).unwrap()];
        assert_eq!((one.len(), two.len()), (cek_len, cek_len));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(packet.finish(0, one).unwrap_err(), FinishError::Rejected);
    }
}

#[test]
fn content_that_is_no_optsdata_is_told_without_quoting_it() {
    use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &CEK[..16]).unwrap());
    let mut bytes = b"a secret".to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(NONCE), Aad::empty(), &mut bytes).unwrap();
    let parts = Parts { encrypted: Some(tlv(0x80, &bytes)), ..Parts::ocicrypt() };
    let packet = Packet::parse("pkcs7", &parts.packet()).unwrap();
    let opened = token::open("rsa2048", packet.recipients()[0].sealed().unwrap()).unwrap();
    let error = packet.finish(0, opened).unwrap_err();
    assert!(matches!(error, FinishError::Malformed(_)) && !error.to_string().contains("secret"), "{error}");
}
