//! Packets with one defect of form each, named after it, and the exact line that tells it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_envelope::jwe::Jwe;
use serde_json::{Value, json};

use crate::broken::{Packet, bytes, line, tell};

#[test]
fn the_packets_that_are_broken_here_are_good_before() {
    for packet in [Packet::rsa(), Packet::ec(), Packet::two(), Packet::aes(), Packet::direct()] {
        assert_eq!(line(&packet.json()), "taken");
    }
    for packet in [Packet::rsa(), Packet::ec(), Packet::aes(), Packet::direct()] {
        assert_eq!(line(&packet.compact()), "taken");
    }
}

#[test]
fn of_json() {
    let twice = Packet::rsa().json().replacen('{', r#"{"x":{"a":[{"b":1,"b":2}]},"#, 1);
    let top = Packet::rsa().json().replacen('{', r#"{"iv":"AAAA","iv":"AAAA","#, 1);
    let in_header = Packet::two().json().replacen(r#""header":{"#, r#""header":{"x":1,"x":1,"#, 1);
    let in_header_at = in_header.find(r#""x":1,"x""#).unwrap() + r#""x":1,"x""#.len();
    let two_in_header = format!("the packet has the same member twice (line 1, column {in_header_at})");
    tell(vec![
        ("empty", String::new(), "the packet ends too early (line 1, column 0)"),
        ("an_array", "[]".to_owned(), "the packet is not a JSON object"),
        (
            "trailing_bytes",
            Packet::rsa().json() + "x",
            &format!("the packet is not JSON (line 1, column {})", Packet::rsa().json().len() + 1),
        ),
        ("duplicate_member", top, "the packet has the same member twice (line 1, column 17)"),
        (
            "duplicate_member_deep_in_an_unknown_one",
            twice,
            "the packet has the same member twice (line 1, column 21)",
        ),
        ("duplicate_member_in_recipient_header", in_header, &two_in_header),
        (
            "duplicate_member_in_protected",
            Packet::rsa()
                .json_with_protected(&URL_SAFE_NO_PAD.encode(r#"{"enc":"A256GCM","enc":"A256GCM"}"#)),
            "the protected header has the same member twice (line 1, column 22)",
        ),
        (
            "protected_is_not_json",
            Packet::rsa().json_with_protected("AAAA"),
            "the protected header is not JSON (line 1, column 1)",
        ),
        (
            "protected_is_an_array",
            Packet::rsa().json_with_protected("W10"),
            "the protected header is not a JSON object",
        ),
        ("too_long", " ".repeat(256 * 1024 + 1), "the packet has 262145 bytes; at most 262144 are taken"),
    ]);
    let deep = line(&Packet::rsa().with("/x", json!([[[[[[[[]]]]]]]])).json());
    assert!(deep.starts_with("the packet nests deeper than 8 levels (line 1, "), "{deep}");
}

#[test]
fn of_compact_serialization() {
    let compact = || Packet::rsa().compact();
    let parts = |count: usize| {
        format!("the packet is not JSON, and as compact serialization it has {count} parts instead of 5")
    };
    let cut = compact().rsplit_once('.').unwrap().0.to_owned();
    let emptied = |at: usize| {
        let text = compact();
        let mut parts: Vec<_> = text.split('.').collect();
        parts[at] = "";
        parts.join(".")
    };
    tell(vec![
        ("compact_of_one_part", "AAAA".to_owned(), &parts(1)),
        ("compact_of_four_parts", cut, &parts(4)),
        ("compact_of_six_parts", compact() + ".AAAA", &parts(6)),
        ("compact_of_a_signature", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA".to_owned(), &parts(3)),
        ("compact_of_dots", "a".to_owned() + &".".repeat(100_000), &parts(100_001)),
        ("compact_padded", compact() + "==", "tag of the packet is not base64url without padding"),
        ("compact_with_a_newline", compact() + "\n", "tag of the packet is not base64url without padding"),
        ("compact_behind_a_space", " ".to_owned() + &compact(), "the packet is not JSON (line 1, column 2)"),
        ("compact_without_a_header", emptied(0), "the packet is not JSON (line 1, column 1)"),
        ("compact_without_an_encrypted_key", emptied(1), "recipient 1 has no encrypted_key"),
        ("compact_without_an_iv", emptied(2), "iv of the packet has 0 bytes; it must have 12"),
        ("compact_without_a_tag", emptied(4), "tag of the packet has 0 bytes; it must have 16"),
        (
            "compact_with_a_header_that_is_not_json",
            "AAAA.AAAA.AAAA.AAAA.AAAA".to_owned(),
            "the protected header is not JSON (line 1, column 1)",
        ),
    ]);
    let error = Jwe::parse(b"e\xff.e.e.e.e").unwrap_err().to_string();
    assert_eq!(error, "the packet is neither JSON nor compact serialization");
}

#[test]
fn of_base64url() {
    tell(vec![
        (
            "iv_padded",
            Packet::rsa().with("/iv", json!("AAAAAAAAAAAAAAAAAA==")).json(),
            "iv of the packet is not base64url without padding",
        ),
        (
            "iv_with_a_space",
            Packet::rsa().with("/iv", json!("AAAAAAAA AAAAAAAA")).json(),
            "iv of the packet is not base64url without padding",
        ),
        (
            "tag_with_a_newline",
            Packet::rsa().with("/tag", json!("AAAA\n")).json(),
            "tag of the packet is not base64url without padding",
        ),
        (
            "tag_in_standard_base64",
            Packet::rsa().with("/tag", json!("+/+/AAAAAAAAAAAAAAAAAA")).json(),
            "tag of the packet is not base64url without padding",
        ),
        (
            "ciphertext_with_bits_behind_the_last_byte",
            Packet::rsa().with("/ciphertext", json!("AB")).json(),
            "ciphertext of the packet is not base64url without padding",
        ),
        (
            "protected_padded",
            Packet::rsa().json_with_protected("e30="),
            "protected of the packet is not base64url without padding",
        ),
        (
            "aad_padded",
            Packet::rsa().with("/aad", json!("AA==")).json(),
            "aad of the packet is not base64url without padding",
        ),
        (
            "encrypted_key_padded",
            Packet::rsa().with("/encrypted_key", json!("AA==")).json(),
            "encrypted_key of recipient 1 is not base64url without padding",
        ),
        (
            "epk_x_padded",
            Packet::ec().with_epk("x", json!("AA==")).json(),
            "x of epk of recipient 1 is not base64url without padding",
        ),
        (
            "apu_padded",
            Packet::ec().with_protected("apu", json!("AA==")).json(),
            "apu of recipient 1 is not base64url without padding",
        ),
    ]);
}

#[test]
fn of_content() {
    let cbc = |enc: &str| {
        let packet = Packet::rsa().with_protected("enc", json!(enc));
        packet.with("/iv", bytes(16)).with("/ciphertext", bytes(208)).with("/tag", bytes(16))
    };
    assert_eq!(line(&cbc("A128CBC-HS256").json()), "taken");
    tell(vec![
        (
            "iv_of_11_bytes",
            Packet::rsa().with("/iv", bytes(11)).json(),
            "iv of the packet has 11 bytes; it must have 12",
        ),
        (
            "iv_of_16_bytes",
            Packet::rsa().with("/iv", bytes(16)).json(),
            "iv of the packet has 16 bytes; it must have 12",
        ),
        ("iv_missing", Packet::rsa().without("iv").json(), "the packet has no iv"),
        ("iv_a_number", Packet::rsa().with("/iv", json!(5)).json(), "iv of the packet is not a string"),
        (
            "tag_of_12_bytes",
            Packet::rsa().with("/tag", bytes(12)).json(),
            "tag of the packet has 12 bytes; it must have 16",
        ),
        ("tag_missing", Packet::rsa().without("tag").json(), "the packet has no tag"),
        ("ciphertext_missing", Packet::rsa().without("ciphertext").json(), "the packet has no ciphertext"),
        (
            "ciphertext_of_4097_bytes",
            Packet::rsa().with("/ciphertext", bytes(4097)).json(),
            "ciphertext of the packet has 4097 bytes; at most 4096 are taken",
        ),
        (
            "aad_empty",
            Packet::rsa().with("/aad", json!("")).json(),
            "aad of the packet is empty; without additional data it is left out",
        ),
        (
            "ciphertext_longer_than_optsdata_and_padding",
            cbc("A128CBC-HS256").with("/ciphertext", bytes(4128)).json(),
            "ciphertext of the packet has 4128 bytes; at most 4112 are taken",
        ),
        (
            "ciphertext_of_half_a_block",
            cbc("A128CBC-HS256").with("/ciphertext", bytes(200)).json(),
            "ciphertext of the packet has 200 bytes; for A128CBC-HS256 it has whole blocks of 16",
        ),
        (
            "ciphertext_without_a_block",
            cbc("A256CBC-HS512").with("/ciphertext", bytes(0)).json(),
            "ciphertext of the packet has 0 bytes; for A256CBC-HS512 it has whole blocks of 16",
        ),
        (
            "cbc_iv_of_12_bytes",
            cbc("A128CBC-HS256").with("/iv", bytes(12)).json(),
            "iv of the packet has 12 bytes; it must have 16",
        ),
        (
            "hs384_tag_of_16_bytes",
            cbc("A192CBC-HS384").json(),
            "tag of the packet has 16 bytes; it must have 24",
        ),
        (
            "hs512_tag_of_16_bytes",
            cbc("A256CBC-HS512").json(),
            "tag of the packet has 16 bytes; it must have 32",
        ),
        ("aad_null", Packet::rsa().with("/aad", Value::Null).json(), "aad of the packet is not a string"),
    ]);
}
