//! Packets of the schemes that others write, pkcs7 and pkcs11: real ones, opened by keys that stay in a token, and
//! damaged ones, which all look alike.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::{image, must, must_fail, rpc};
use holdfast_envelope::Packet;
use holdfast_wire::Sealed;
use hsm_sim::KeyKind;
use serde::Deserialize;
use tonic::{Code, Status};

/// A line of `skopeo-1.18/others.json`.
#[derive(Deserialize)]
struct Entry {
    scheme: String,
    packet: String,
    optsdata: String,
    recipients: Vec<serde_json::Value>,
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn packet(name: &str) -> Vec<u8> {
    std::fs::read(vectors().join("skopeo-1.18").join(name)).unwrap()
}

/// A daemon's house with the test keys: those in files imported for RSA1_5 alone, and the token that was made by
/// others, whose SoftHSM has no OAEP with SHA-256.
fn house() -> House {
    let mut house = House::new();
    for (id, name) in [(1, "rsa2048"), (2, "rsa3072")] {
        let pem = vectors().join("keys").join(name).with_extension("pem");
        house.hsm.import(&house.token, name, &[id], &pem, false).unwrap();
        house.configure(name, name, "algorithms = [\"RSA1_5\"]");
    }
    let token = house.hsm.dir().join("tokens/29c949e1-a9ef-3eec-0dac-b552e3c81792");
    std::fs::create_dir(&token).unwrap();
    for entry in std::fs::read_dir(vectors().join("keys/softhsm")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, token.join(from.file_name().unwrap())).unwrap();
    }
    let pin = file(house.dir.path(), "enc.pin", "1234");
    let mut sections = format!(
        "[[token]]\nuri = \"pkcs11:token=enc\"\nmodule = \"{}\"\npin = {{ file = \"{}\" }}\n",
        house.hsm.module().display(),
        pin.display()
    );
    for label in ["rsa2048", "rsa3072", "rsa4096"] {
        sections.push_str(&format!(
            "[[key]]\nalias = \"hsm-{label}\"\nuri = \"pkcs11:token=enc;object={label}\"\n\
             algorithms = [\"RSA-OAEP\", \"RSA-OAEP-256\"]\noaep_sha256_in_daemon = true\n"
        ));
    }
    house.allow(&format!(
        "user = {}\nto = [\"unwrap\"]\nkeys = [\"rsa2048\", \"rsa3072\", \"hsm-rsa2048\", \"hsm-rsa3072\", \"hsm-rsa4096\"]",
        me()
    ));
    house.section(&sections)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_packet_of_skopeo_opens_to_its_optsdata() {
    let house = house();
    let _daemon = house.start();
    let entries: Vec<Entry> = serde_json::from_slice(&packet("others.json")).unwrap();
    assert_eq!(entries.len(), 22);
    for entry in &entries {
        let name = &entry.packet;
        let opened = rpc::open_of(&house.socket(), &entry.scheme, &packet(name)).await;
        let opened = opened.unwrap_or_else(|status| panic!("{name}: {}", status.message()));
        assert!(opened.optsdata == packet(&entry.optsdata), "{name}");
        assert!(entry.recipients.iter().any(|one| one["key"] == opened.alias.as_str()), "{name}");
    }
    let audit = house.audit();
    assert_eq!(audit.len(), entries.len());
    for (record, entry) in audit.iter().zip(&entries) {
        assert_eq!(
            (&record["outcome"], &record["schemes"][0]),
            (&"released".into(), &entry.scheme.clone().into())
        );
        assert_eq!(record["schemes"].as_array().unwrap().len(), 1);
    }
}

/// What a refusal gives away: all of it but the request's id.
fn told(status: &Status) -> (Code, String, String) {
    let text = status.message().split(" (request ").next().unwrap().to_owned();
    let details = String::from_utf8_lossy(status.details());
    (status.code(), text, details.replace(|c: char| c.is_ascii_hexdigit(), ""))
}

fn sealed(scheme: &str, packet: &[u8]) -> Vec<u8> {
    match Packet::parse(scheme, packet).unwrap().recipients()[0].sealed().unwrap() {
        Sealed::RsaPkcs1v15 { ciphertext } | Sealed::RsaOaep { ciphertext, .. } => ciphertext.clone(),
        other => panic!("{other:?}"),
    }
}

/// The packet with another wrapped key of the same length.
fn with_key(scheme: &str, packet: &[u8], key: &[u8]) -> Vec<u8> {
    let old = sealed(scheme, packet);
    if scheme == "pkcs11" {
        let text = std::str::from_utf8(packet).unwrap();
        return text.replace(&STANDARD.encode(old), &STANDARD.encode(key)).into_bytes();
    }
    let at = packet.windows(old.len()).position(|window| window == old).unwrap();
    [&packet[..at], key, &packet[at + old.len()..]].concat()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_padding_wrong_key_and_damaged_content_are_one_answer_after_the_same_token_calls() {
    let house = house();
    let _daemon = house.start();
    let pkcs7 = packet("pkcs7-rsa2048.c7a70bc02a61.pkcs7.der");
    let of_another_layer = packet("pkcs7-rsa2048.21e95b999b6d.pkcs7.der");
    let pkcs11 = packet("pkcs11-yaml-rsa2048-sha1.255941fb72ec.pkcs11.json");
    let sha256 = packet("pkcs11-pub-rsa3072.8a1b447b5b3b.pkcs11.json");
    let nonce = pkcs7.windows(2).position(|two| two == [0x84, 12]).unwrap() + 2;
    let key = |packet: &[u8], scheme: &str, at: usize| {
        with_key(scheme, packet, &flipped(&sealed(scheme, packet), at))
    };
    let damaged = [
        ("pkcs7: bad padding", "pkcs7", key(&pkcs7, "pkcs7", 255)),
        ("pkcs7: bad padding of a number near zero", "pkcs7", with_key("pkcs7", &pkcs7, &[0; 256])),
        ("pkcs7: no number below the modulus", "pkcs7", with_key("pkcs7", &pkcs7, &[0xff; 256])),
        (
            "pkcs7: another content key",
            "pkcs7",
            with_key("pkcs7", &pkcs7, &sealed("pkcs7", &of_another_layer)),
        ),
        ("pkcs7: a content key of another length", "pkcs7", {
            // Still AES-GCM, but of 256 bits.
            let at = pkcs7.windows(3).position(|three| three == [4, 1, 6]).unwrap() + 2;
            let mut packet = pkcs7.clone();
            packet[at] = 46;
            packet
        }),
        ("pkcs7: sealed by OAEP", "pkcs7", with_key("pkcs7", &pkcs7, &sealed("pkcs11", &pkcs11))),
        ("pkcs7: nonce", "pkcs7", flipped(&pkcs7, nonce)),
        ("pkcs7: tag", "pkcs7", flipped(&pkcs7, pkcs7.len() - 1)),
        ("pkcs7: content", "pkcs7", flipped(&pkcs7, pkcs7.len() - 100)),
        ("pkcs11: bad padding", "pkcs11", key(&pkcs11, "pkcs11", 255)),
        ("pkcs11: to another key", "pkcs11", with_key("pkcs11", &pkcs11, &sealed("pkcs7", &pkcs7))),
        ("pkcs11: bad padding, taken off in the daemon", "pkcs11", key(&sha256, "pkcs11", 383)),
    ];
    let mut seen = Vec::new();
    for (name, scheme, packet) in &damaged {
        let status = rpc::open_of(&house.socket(), scheme, packet).await.expect_err(name);
        seen.push((*name, told(&status)));
    }
    assert_eq!(seen[0].1.0, Code::InvalidArgument);
    assert!(seen[0].1.1.starts_with("no key that this caller may use opens this packet"), "{seen:?}");
    assert!(seen.iter().all(|(_, told)| *told == seen[0].1), "{seen:#?}");
    let audit = house.audit();
    assert_eq!(audit.len(), damaged.len());
    for (record, (name, scheme, _)) in audit.iter().zip(&damaged) {
        assert_eq!((&record["outcome"], &record["token_calls"]), (&"rejected".into(), &1.into()), "{name}");
        assert_eq!(record["schemes"], serde_json::json!([scheme]), "{name}");
    }
    // And the token is as it was.
    assert!(rpc::open_of(&house.socket(), "pkcs7", &pkcs7).await.is_ok());
    assert!(rpc::open_of(&house.socket(), "pkcs11", &pkcs11).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_list_rsa1_5_opens_no_pkcs7() {
    let pem = vectors().join("keys/rsa2048.pem");
    for options in ["", "algorithms = [\"RSA-OAEP\"]"] {
        let mut house = House::new();
        house.hsm.import(&house.token, "images", &[1], &pem, false).unwrap();
        house.configure("images", "images", options);
        house.allow(&format!("user = {}\nto = [\"unwrap\"]\nkeys = [\"images\"]", me()));
        let _daemon = house.start();
        let packet = packet("pkcs7-rsa2048.c7a70bc02a61.pkcs7.der");
        let status = rpc::open_of(&house.socket(), "pkcs7", &packet).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let says =
            "this packet is sealed by RSA PKCS#1 v1.5, which a key opens only if its [[key]] says algorithms";
        assert!(status.message().starts_with(says), "{status}");
        assert_eq!(house.audit()[0]["token_calls"], 0);
    }
}

#[test]
fn an_image_of_the_distributions_skopeo_for_a_certificate_opens() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::Rsa3072).unwrap();
    house.configure("images", "images", "algorithms = [\"RSA1_5\"]");
    house.allow(&format!("user = {}\nto = [\"unwrap\", \"wrap\"]\nkeys = [\"images\"]", me()));
    let plain = image::build(house.dir.path(), 3);
    let certificate = image::certificate(&house.public_key_file("images"));
    let encrypted = house.dir.path().join("encrypted");
    image::skopeo_encrypt(&plain, &encrypted, &[&format!("pkcs7:{}", certificate.display())]);
    let inspected = must(house.holdfast().args(["image", "inspect"]).arg(image::oci(&encrypted)));
    assert!(inspected.contains("pkcs7 (RSA1_5 serial "), "{inspected}");

    let checked = must(&mut house.check(&["--tokens"]));
    assert!(checked.contains("RSA1_5 (only where algorithms lists it alone)"), "{checked}");
    let _daemon = house.start();
    let opened = house.dir.path().join("opened");
    must(house.holdfast().args(["image", "decrypt"]).arg(image::oci(&encrypted)).arg(image::oci(&opened)));
    assert!(image::same_layers(&plain, &opened));
    // Such a key wraps nothing.
    let never = house.dir.path().join("never");
    let mut wrap = house.holdfast();
    wrap.args(["image", "encrypt", "--to", "holdfast:images"])
        .arg(image::oci(&plain))
        .arg(image::oci(&never));
    let said = must_fail(&mut wrap);
    assert!(said.contains("images: its key must not or cannot be used for this"), "{said}");
}
