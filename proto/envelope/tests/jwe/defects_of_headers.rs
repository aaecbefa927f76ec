//! Packets with one defect each in a header; and what is no defect.

use serde_json::json;

use crate::broken::{Packet, line, tell};

#[test]
fn of_headers() {
    let unknown = "enc of the packet is none that this version opens (A256GCM, A192GCM, A128GCM, A256CBC-HS512, A192CBC-HS384, A128CBC-HS256)";
    let crit = "the protected header has crit; no extension is supported by this version";
    tell(vec![
        ("enc_unknown", Packet::rsa().with_protected("enc", json!("A256CBC")).json(), unknown),
        ("enc_in_lower_case", Packet::rsa().with_protected("enc", json!("a256gcm")).json(), unknown),
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
fn what_go_jose_and_later_versions_add_is_passed_by() {
    let two = Packet::two().with("/encrypted_key", json!("not even base64url="));
    assert_eq!(line(&two.json()), "taken");
    let extended = Packet::rsa()
        .with_protected("typ", json!("x"))
        .with("/unprotected", json!({"cty": "text/plain", "x5c": ["AA=="]}))
        .with("/later", json!({"a": [1, true, null, -1.5e300]}));
    assert_eq!(line(&extended.json()), "taken");
}
