use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::PublicOptions;

const CAPTURED: &[u8] = include_bytes!("../../../../tests/vectors/tiny/tiny.jwe.payload");

fn descriptor() -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "digest": format!("sha256:{}", "a".repeat(64)),
        "size": 7,
        "annotations": {
            "org.opencontainers.image.enc.keys.provider.kp": "AQ==,Ag==",
            "org.opencontainers.image.enc.keys.jwe": "Aw==",
            "org.opencontainers.image.enc.pubopts": PublicOptions { hmac: [7; 32] }.to_annotation(),
        },
    })
}

fn length_delimited(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
    out
}

fn any(kind: &str, value: &[u8]) -> Vec<u8> {
    [length_delimited(1, kind.as_bytes()), length_delimited(2, value)].concat()
}

fn payload(descriptor: &Value) -> Vec<u8> {
    let json = json!({"DecryptConfig": {"Parameters": null}, "Descriptor": descriptor});
    any("io.containerd.ocicrypt.v1.Payload", json.to_string().as_bytes())
}

fn line(bytes: &[u8]) -> String {
    Payload::parse(bytes).unwrap_err().to_string()
}

#[test]
fn a_payload_of_the_real_programs_is_read_and_its_private_keys_are_counted() {
    let read = Payload::parse(CAPTURED).unwrap();
    assert_eq!((read.layer.size, read.layer.packets.len()), (1024, 1));
    assert_eq!(read.layer.packets[0].scheme, "jwe");
    assert_eq!(read.private_values, 1);
}

#[test]
fn every_packet_of_every_scheme_is_taken_and_joined_ones_are_split() {
    let read = Payload::parse(&payload(&descriptor())).unwrap();
    let found: Vec<_> = read.layer.packets.iter().map(|one| (one.scheme.as_str(), one.data[0])).collect();
    assert_eq!(found, [("provider.kp", 1), ("provider.kp", 2), ("jwe", 3)]);
    assert_eq!(read.private_values, 0);
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let mut descriptor = descriptor();
    descriptor["platform"] = json!({"os": "linux"});
    let json = json!({"New": [1, {"a": 2}], "Descriptor": descriptor});
    let mut bytes = length_delimited(9, b"new");
    bytes.extend_from_slice(&[8 << 3, 0xff, 1]);
    bytes.extend_from_slice(&[7 << 3 | 5, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[7 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(any("types.containerd.io/io.containerd.ocicrypt.v1.Payload", json.to_string().as_bytes()));
    assert_eq!(Payload::parse(&bytes).unwrap().layer.packets.len(), 3);
}

#[test]
fn a_payload_that_is_not_one_is_told_by_what_is_wrong_with_it() {
    let good = payload(&descriptor());
    for end in [1, 20, 40, good.len() / 2, good.len() - 1] {
        assert!(line(&good[..end]).contains("is cut off, or no protobuf message; "), "{end}");
    }
    assert!(line(b"").contains("is empty; "));
    assert!(line(&vec![0; Payload::MAX_LEN + 1]).contains("has more than 4 MiB; "));
    assert!(line(&any("io.containerd.other.v1.Payload", b"{}")).contains("is not of the type "));
    assert!(line(&any("io.containerd.ocicrypt.v1.Payload", b"{}")).contains("has no Descriptor; "));
    assert!(line(&any("io.containerd.ocicrypt.v1.Payload", b"[")).contains("ends too early "));
    // Lengths that no memory has.
    assert!(line(&[2 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).contains("is cut off"));
    assert!(line(&[0xff; 11]).contains("is cut off"));
}

#[test]
fn annotations_that_cannot_be_used_have_a_line_each() {
    let says = |name: &str, value: Value| {
        let mut descriptor = descriptor();
        descriptor["annotations"][name] = value;
        line(&payload(&descriptor))
    };
    let pubopts = "org.opencontainers.image.enc.pubopts";
    assert!(says("org.opencontainers.image.enc.keys.jwe", "%".into()).contains("keys.jwe is not base64"));
    assert!(says(pubopts, Value::Null).contains("has no annotation"));
    let other = STANDARD.encode(r#"{"cipher":"AES_GCM","hmac":""}"#);
    assert!(says(pubopts, other.into()).contains("cipher is not AES_256_CTR_HMAC_SHA256"));
    let mut none = descriptor();
    none["annotations"] = Value::Null;
    assert!(line(&payload(&none)).contains("no annotation holds its key"));
    let mut none = descriptor();
    none["size"] = Value::Null;
    assert!(line(&payload(&none)).contains("the layer has no size"));
}
