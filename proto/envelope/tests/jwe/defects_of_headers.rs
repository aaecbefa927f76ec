//! Packets with one defect each in a header, a recipient or an ephemeral key; and what is no defect.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::Algorithm;
use serde_json::{Value, json};

use crate::broken::{Packet, bytes, line, tell};

#[test]
fn of_headers() {
    let not_supported = "enc of the packet is not A256GCM; others are not supported by this version";
    let crit = "the protected header has crit; no extension is supported by this version";
    tell(vec![
        (
            "enc_a128cbc_hs256",
            Packet::rsa().with_protected("enc", json!("A128CBC-HS256")).json(),
            not_supported,
        ),
        ("enc_a128gcm", Packet::rsa().with_protected("enc", json!("A128GCM")).json(), not_supported),
        ("enc_missing", Packet::rsa().without("enc").json(), "the protected header has no enc"),
        (
            "enc_unprotected",
            Packet::rsa().without("enc").with("/unprotected", json!({"enc": "A256GCM"})).json(),
            "the protected header has no enc",
        ),
        ("protected_empty", Packet::rsa().json_with_protected(""), "the protected header has no enc"),
        ("protected_missing", Packet::rsa().rest.to_string(), "the protected header has no enc"),
        (
            "protected_an_object",
            Packet::rsa().with("/protected", json!({})).rest.to_string(),
            "protected of the packet is not a string",
        ),
        ("crit_unknown", Packet::rsa().with_protected("crit", json!(["exp"])).json(), crit),
        ("crit_empty", Packet::rsa().with_protected("crit", json!([])).json(), crit),
        (
            "crit_unprotected",
            Packet::rsa().with("/unprotected", json!({"crit": ["x"]})).json(),
            "the unprotected header has crit; no extension is supported by this version",
        ),
        (
            "crit_in_recipient_header",
            Packet::two().with("/recipients/1/header/crit", json!(["x"])).json(),
            "the header of recipient 2 has crit; no extension is supported by this version",
        ),
        (
            "zip_present",
            Packet::rsa().with_protected("zip", json!("DEF")).json(),
            "the protected header has zip; compression is not supported by this version",
        ),
        (
            "zip_in_recipient_header",
            Packet::two().with("/recipients/0/header/zip", json!("DEF")).json(),
            "the header of recipient 1 has zip; compression is not supported by this version",
        ),
        (
            "name_in_protected_and_unprotected",
            Packet::rsa().with("/unprotected", json!({"alg": "RSA-OAEP"})).json(),
            "the protected and the unprotected header have a name in common",
        ),
        (
            "name_in_protected_and_header",
            Packet::rsa().with("/header", json!({"kid": "x"})).json(),
            "the header of recipient 1 and one of the packet have a name in common",
        ),
        (
            "name_in_unprotected_and_header",
            Packet::two().with("/unprotected", json!({"kid": "x"})).json(),
            "the header of recipient 1 and one of the packet have a name in common",
        ),
        (
            "unprotected_a_string",
            Packet::rsa().with("/unprotected", json!("x")).json(),
            "unprotected of the packet is not an object",
        ),
        (
            "kid_a_number",
            Packet::rsa().with_protected("kid", json!(7)).json(),
            "kid of recipient 1 is not a string",
        ),
        (
            "labels_an_array",
            Packet::rsa().with_protected("holdfast.labels", json!(["x"])).json(),
            "holdfast.labels of the protected header is not an object",
        ),
        (
            "label_a_number",
            Packet::rsa().with_protected("holdfast.labels", json!({"env": 1})).json(),
            "a value in holdfast.labels is not a string",
        ),
        (
            "label_with_an_escape_sequence",
            Packet::rsa().with_protected("holdfast.labels", json!({"env": "\u{1b}[2J"})).json(),
            "holdfast.labels: a label's value has at most 256 bytes and no control characters",
        ),
        (
            "labels_17",
            Packet::rsa()
                .with_protected("holdfast.labels", (0..17).map(|i| (format!("l{i}"), json!(""))).collect())
                .json(),
            "holdfast.labels: more than 16 labels",
        ),
    ]);
}

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
            "epk_crv_unknown",
            Packet::ec().with_epk("crv", json!("secp256k1")).json(),
            "epk of recipient 1 is not on P-256, P-384 or P-521",
        ),
        (
            "epk_kty_okp",
            Packet::ec().with_epk("kty", json!("OKP")).json(),
            "epk of recipient 1 is not of kty EC",
        ),
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
fn an_algorithm_that_is_not_known_or_refused_spoils_only_its_recipient() {
    for alg in ["RSA1_5", "ECDH-ES", "dir", "PBES2-HS512+A256KW", "RSA-OAEP-512", "rsa-oaep"] {
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

#[test]
fn what_go_jose_and_later_versions_add_is_passed_by() {
    let two = Packet::two().with("/encrypted_key", json!("not even base64url="));
    assert_eq!(line(&two.json()), "taken");
    let extended = Packet::rsa()
        .with_protected("typ", json!("x"))
        .with("/unprotected", json!({"cty": "text/plain", "x5c": ["AA=="]}))
        .with("/later", json!({"a": [1, true, null, -1.5e300]}));
    assert_eq!(line(&extended.json()), "taken");
}
