//! Answers that are late, cut off, too large, without form, or to something else.

use std::time::Duration;

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use holdfast_custody::KeyKind;
use holdfast_wire::{Sealed, Secret};
use hsm_sim::{KmipOperation, KmipThen};
use rustls::ProtocolVersion;

use super::support::{PATIENCE, Scene, named};
use super::unavailable;

/// `describe` decrypts too: what the server does with a key is found by trying.
const SPOILED: KmipOperation = KmipOperation::DECRYPT;

#[test]
fn each_defect_of_an_answer_is_told_and_spends_the_connection() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let (wire, token) = scene.interposed(PATIENCE);
    let raw = |bytes: &[u8]| KmipThen::Raw(bytes.to_vec());
    let changed =
        |before: &'static [u8], index: usize| KmipThen::change(move |answer| change(answer, before, index));
    let length = |len: u32| KmipThen::change(move |answer| answer[4..8].copy_from_slice(&len.to_be_bytes()));
    let defects = [
        ("closed", KmipThen::cut_off(0), "closed the connection"),
        ("half_a_header", KmipThen::cut_off(4), "closed the connection"),
        ("half_an_answer", KmipThen::cut_off(40), "closed the connection"),
        ("garbage", raw(&[0xff; 64]), "no response message"),
        ("http", raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "is this a KMIP server"),
        ("length_of_4_gib", length(u32::MAX), "more than the 65536 bytes"),
        ("one_byte_too_long", length(65536 - 7), "more than the 65536 bytes"),
        ("without_an_end", KmipThen::Endless, "more than the 65536 bytes"),
        ("nested_1000_deep", KmipThen::nested(1000), "nested too deep"),
        ("batch_id_of_another", changed(&ID, 7), "answer to another request"),
        ("operation_of_another", changed(&OPERATION, 3), "another operation"),
        ("status_pending", changed(&STATUS, 3), "neither a success nor a failure"),
        ("text_not_utf8", changed(&MESSAGE, 0), "not UTF-8"),
        ("a_request", KmipThen::change(|answer| answer[2] = 0x78), "no response message"),
    ];
    for (name, then, says) in defects {
        let mut token = token.connect().unwrap();
        wire.on(SPOILED, 1, then);
        let why = unavailable(token.describe(&named("images")));
        assert!(why.contains(says), "{name}: {why}");
        let again = unavailable(token.probe());
        assert!(again.contains("has failed before"), "{name}: {again}");
    }
    token.connect().unwrap().describe(&named("images")).unwrap();
}

#[test]
fn an_answer_that_comes_late_or_never_ends_in_time() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let (wire, token) = scene.interposed(Duration::from_millis(1500));
    let late = Duration::from_secs(30);
    // By byte, each within the time that is left for all of them: it ends there, however near the next one is.
    let drip = KmipThen::Drip(Duration::from_millis(100));
    for then in [KmipThen::Never, KmipThen::Delay(late), KmipThen::Halves(late), drip] {
        let mut token = token.connect().unwrap();
        wire.on(SPOILED, 1, then);
        let why = unavailable(token.describe(&named("images")));
        assert!(why.contains("the server did not answer in time"), "{why}");
    }
}

#[test]
fn an_answer_in_two_halves_is_one() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let (wire, token) = scene.interposed(PATIENCE);
    wire.on(SPOILED, 1, KmipThen::Halves(Duration::from_millis(50)));
    token.connect().unwrap().describe(&named("images")).unwrap();
}

#[test]
fn an_answer_that_drips_byte_by_byte_is_one_if_it_is_whole_in_time() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let (wire, token) = scene.interposed(PATIENCE);
    wire.on(SPOILED, 1, KmipThen::Drip(Duration::from_millis(1)));
    let mut token = token.connect().unwrap();
    token.describe(&named("images")).unwrap();
    // And the connection is as good as before.
    token.probe().unwrap();
}

#[test]
fn a_good_padding_around_nothing_is_no_other_answer() {
    let scene = Scene::with_rsa();
    scene.make("images", KeyKind::Rsa(2048));
    let (wire, token) = scene.interposed(PATIENCE);
    let mut token = token.connect().unwrap();
    let public = token.describe(&named("images")).unwrap().public.unwrap().to_der().unwrap();
    let public = PublicEncryptingKey::from_der(&public).unwrap();
    let mut ciphertext = vec![0; public.key_size_bytes()];
    Pkcs1PublicEncryptingKey::new(public).unwrap().encrypt(b"", &mut ciphertext).unwrap();
    let sealed = Sealed::RsaPkcs1v15 { ciphertext };
    assert!(token.open(&named("images"), &sealed).unwrap().expose().is_empty());
    // A server may leave out what is empty: Signature Data is nothing that this answer has.
    let left_out = |answer: &mut Vec<u8>| {
        let data = answer.windows(DATA.len()).position(|window| window == DATA).unwrap();
        answer[data + 2] = 0xc3;
    };
    wire.on(SPOILED, 1, KmipThen::change(left_out));
    assert!(token.open(&named("images"), &sealed).unwrap().expose().is_empty());
}

#[test]
fn both_versions_of_tls_are_spoken() {
    let scene = Scene::new();
    scene.make("images", KeyKind::Aes256);
    let secret = Secret::new(vec![7; 32]);
    // PyKMIP has 1.2 alone.
    let sealed = scene.connect().seal(&named("images"), &secret).unwrap();
    let (wire, token) = scene.interposed(PATIENCE);
    let opened = token.connect().unwrap().open(&named("images"), &sealed).unwrap();
    assert_eq!(opened.expose(), secret.expose());
    assert_eq!(wire.handshakes(), [ProtocolVersion::TLSv1_3]);
}

/// Tag and type of what was opened.
const DATA: [u8; 4] = [0x42, 0, 0xc2, 8];
/// Tag, type and length of what is in every answer, before its value.
const ID: [u8; 8] = [0x42, 0, 0x93, 8, 0, 0, 0, 8];
const OPERATION: [u8; 8] = [0x42, 0, 0x5c, 5, 0, 0, 0, 4];
const STATUS: [u8; 8] = [0x42, 0, 0x7f, 5, 0, 0, 0, 4];
/// Of the refusal: its length is not known.
const MESSAGE: [u8; 4] = [0x42, 0, 0x7d, 7];

/// One byte of a value changed, the value being behind the header that begins so.
fn change(answer: &mut [u8], before: &[u8], index: usize) {
    let header = answer.windows(before.len()).position(|window| window == before).unwrap();
    answer[header + 8 + index] ^= 0x82;
}
