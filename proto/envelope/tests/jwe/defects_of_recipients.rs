//! Packets with one defect each in a recipient or an ephemeral key; and recipients that are another's affair.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::Algorithm;
use serde_json::{Value, json};

use crate::broken::{Packet, bytes, tell};

#[test]
fn of_recipients() {
    let many = |count: usize| Packet::two().with("/recipients", json!(vec![json!({}); count])).json();
    tell(vec![
        ("recipients_none", many(0), "the packet has no recipient"),
        ("recipients_65", many(65), "the packet has 65 recipients; at most 64 are taken"),
        ("recipients_10_000", many(10_000), "the packet has 10000 recipients; at most 64 are taken"),
        (
            "recipients_null",
            Packet::two().with("/recipients", Value::Null).json(),
            "recipients of the packet is not an array",
        ),
        (
            "recipient_a_string",
            Packet::two().with("/recipients/1", json!("x")).json(),
            "recipient 2 is not an object",
        ),
        (
            "recipients_and_header",
            Packet::two().with("/header", json!({})).json(),
            "the packet has both recipients and header (RFC 7516 section 7.2)",
        ),
        (
            "header_an_array",
            Packet::two().with("/recipients/0/header", json!([])).json(),
            "header of recipient 1 is not an object",
        ),
        ("alg_missing", Packet::rsa().without("alg").json(), "recipient 1 has no alg"),
        (
            "alg_a_number",
            Packet::rsa().with_protected("alg", json!(1)).json(),
            "alg of recipient 1 is not a string",
        ),
        (
            "encrypted_key_missing",
            Packet::rsa().without("encrypted_key").json(),
            "recipient 1 has no encrypted_key",
        ),
        (
            "encrypted_key_of_128_bytes",
            Packet::rsa().with("/encrypted_key", bytes(128)).json(),
            "encrypted_key of recipient 1 has 128 bytes; for RSA-OAEP it has 256 to 1024",
        ),
        (
            "encrypted_key_of_1025_bytes",
            Packet::rsa().with("/encrypted_key", bytes(1025)).json(),
            "encrypted_key of recipient 1 has 1025 bytes; for RSA-OAEP it has 256 to 1024",
        ),
        (
            "wrapped_key_of_32_bytes",
            Packet::ec().with("/encrypted_key", bytes(32)).json(),
            "encrypted_key of recipient 1 has 32 bytes; it must have 40",
        ),
    ]);
}

#[test]
fn of_ephemeral_keys() {
    let off = "epk of recipient 1: a point that does not lie on P-256";
    tell(vec![
        ("epk_missing", Packet::ec().without("epk").json(), "recipient 1 has no epk"),
        (
            "epk_a_string",
            Packet::ec().with_protected("epk", json!("x")).json(),
            "epk of recipient 1 is not an object",
        ),
        ("epk_off_curve", Packet::ec().with_epk("y", bytes(32)).json(), off),
        (
            "epk_zero",
            Packet::ec().with_epk("x", json!("A".repeat(43))).with_epk("y", json!("A".repeat(43))).json(),
            off,
        ),
        (
            "epk_x_not_reduced",
            Packet::ec().with_epk("x", json!(URL_SAFE_NO_PAD.encode([0xff; 32]))).json(),
            off,
        ),
        (
            "epk_x_of_31_bytes",
            Packet::ec().with_epk("x", bytes(31)).json(),
            "epk of recipient 1: x has 31 bytes; on P-256 it has 32",
        ),
        (
            "epk_y_of_33_bytes",
            Packet::ec().with_epk("y", bytes(33)).json(),
            "epk of recipient 1: y has 33 bytes; on P-256 it has 32",
        ),
        (
            "epk_of_another_curve",
            Packet::ec().with_epk("crv", json!("P-384")).json(),
            "epk of recipient 1: x has 32 bytes; on P-384 it has 48",
        ),
        (
            "epk_kty_null",
            Packet::ec().with_epk("kty", Value::Null).json(),
            "kty of epk of recipient 1 is not a string",
        ),
        (
            "epk_crv_a_number",
            Packet::ec().with_epk("crv", json!(256)).json(),
            "crv of epk of recipient 1 is not a string",
        ),
        ("epk_off_curve_of_a_direct_agreement", Packet::direct().with_epk("y", bytes(32)).json(), off),
        (
            "epk_with_its_private_key",
            Packet::ec().with_epk("d", bytes(32)).json(),
            "epk of recipient 1 holds its private key; whoever saw this packet can open it, seal anew",
        ),
        (
            "epk_off_curve_of_the_second",
            Packet::two().with("/recipients/1/header/epk/y", bytes(32)).json(),
            "epk of recipient 2: a point that does not lie on P-256",
        ),
    ]);
}

#[test]
fn of_direct_agreement_and_symmetric_recipients() {
    tell(vec![
        (
            "direct_with_an_encrypted_key",
            Packet::direct().with("/encrypted_key", bytes(40)).json(),
            "encrypted_key of recipient 1 has 40 bytes; it must have 0",
        ),
        (
            "direct_with_an_empty_encrypted_key",
            Packet::direct().with("/encrypted_key", json!("")).json(),
            "taken",
        ),
        ("direct_without_epk", Packet::direct().without("epk").json(), "recipient 1 has no epk"),
        (
            "wrapped_key_of_another_enc",
            Packet::ec().with_protected("enc", json!("A128GCM")).json(),
            "encrypted_key of recipient 1 has 40 bytes; it must have 24",
        ),
        (
            "gcmkw_without_encrypted_key",
            Packet::aes().without("encrypted_key").json(),
            "recipient 1 has no encrypted_key",
        ),
        (
            "gcmkw_encrypted_key_of_40_bytes",
            Packet::aes().with("/encrypted_key", bytes(40)).json(),
            "encrypted_key of recipient 1 has 40 bytes; it must have 32",
        ),
        ("gcmkw_iv_missing", Packet::aes().without_protected("iv").json(), "recipient 1 has no iv"),
        ("gcmkw_tag_missing", Packet::aes().without_protected("tag").json(), "recipient 1 has no tag"),
        (
            "gcmkw_iv_of_16_bytes",
            Packet::aes().with_protected("iv", bytes(16)).json(),
            "iv of recipient 1 has 16 bytes; it must have 12",
        ),
        (
            "gcmkw_tag_of_4_bytes",
            Packet::aes().with_protected("tag", bytes(4)).json(),
            "tag of recipient 1 has 4 bytes; it must have 16",
        ),
        (
            "gcmkw_iv_padded",
            Packet::aes().with_protected("iv", json!("AAAAAAAAAAAAAAAA==")).json(),
            "iv of recipient 1 is not base64url without padding",
        ),
    ]);
}

/// Another version's key is no defect: only its recipient cannot be opened.
#[test]
fn an_ephemeral_key_of_an_unknown_kind_spoils_only_its_recipient() {
    let x25519 = json!({"kty": "OKP", "crv": "X25519", "x": "A".repeat(43)});
    let secp256k1 = json!({"kty": "EC", "crv": "secp256k1", "x": "A", "y": 7});
    for epk in [x25519, secp256k1, json!({"kty": "AKP", "alg": "ML-KEM-768"})] {
        let packet = Packet::two().with("/recipients/1/header/epk", epk.clone());
        let jwe = Jwe::parse(packet.json().as_bytes()).unwrap();
        assert_eq!(jwe.recipients()[0].algorithm(), Some(Algorithm::RsaOaep));
        assert_eq!(jwe.recipients()[1].algorithm(), None);
        assert!(jwe.recipients()[1].sealed().is_none() && jwe.recipients()[1].kid().is_some());

        for packet in [Packet::ec(), Packet::direct()] {
            let alone = packet.with_protected("epk", epk.clone()).json();
            assert_eq!(Jwe::parse(alone.as_bytes()).unwrap().recipients()[0].algorithm(), None);
        }
    }
}

/// What two agree upon cannot be the key of a third; RSA-OAEP beside it still opens.
#[test]
fn direct_agreement_is_for_a_single_recipient() {
    let packet = Packet::two().with("/recipients/1/header/alg", json!("ECDH-ES"));
    let jwe = Jwe::parse(packet.json().as_bytes()).unwrap();
    assert_eq!(jwe.recipients()[0].algorithm(), Some(Algorithm::RsaOaep));
    assert_eq!(jwe.recipients()[1].algorithm(), None);

    let mut general = Packet::direct();
    general.rest["recipients"] = json!([{}]);
    let jwe = Jwe::parse(general.json().as_bytes()).unwrap();
    assert_eq!(jwe.recipients()[0].algorithm(), Some(Algorithm::EcdhEs));
}

#[test]
fn an_algorithm_that_is_not_known_or_refused_spoils_only_its_recipient() {
    for alg in ["RSA1_5", "dir", "A256KW", "A128GCMKW", "PBES2-HS512+A256KW", "RSA-OAEP-512", "rsa-oaep"] {
        let packet = Packet::two().with("/recipients/0/header/alg", json!(alg));
        let jwe = Jwe::parse(packet.json().as_bytes()).unwrap();
        assert_eq!(jwe.recipients()[0].algorithm(), None, "{alg}");
        assert!(jwe.recipients()[0].sealed().is_none());
        assert_eq!(jwe.recipients()[1].algorithm(), Some(Algorithm::EcdhEsA256Kw));

        let alone = Packet::rsa().with_protected("alg", json!(alg)).without("encrypted_key");
        let jwe = Jwe::parse(alone.json().as_bytes()).unwrap();
        assert_eq!(jwe.recipients()[0].algorithm(), None, "{alg}");
    }
}
