//! What decrypting gives: the original image, whole, in a new layout or an existing one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;

use holdfast_image::{Error, Opener, Packet, Written, decrypt, inspect};
use serde_json::{Value, json};
use support::{Clear, INDEX, KEYS, Refuses, Stops, TestImage, TestLayout, files, oci, tar};
use tempfile::tempdir;

fn run(from: &std::path::Path, to: &std::path::Path) -> Result<Written, Error> {
    decrypt(&oci(from, Some("v1")), &oci(to, Some("v1")), None, &Clear, None, &())
}

fn json_of(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_original_comes_back_byte_for_byte() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::new();
    image.add(&tar("gzip", 3_000_000), "+gzip");
    image.add(&tar("zstd", 70_000), "+zstd");
    image.add(&tar("plain", 1_048_576), "");
    image.add(&tar("empty", 0), "+gzip");
    image.write(&dir.path().join("plain"));
    for at in 0..4 {
        image.encrypt(at);
    }
    image.write(&dir.path().join("sealed"));

    let made = run(&dir.path().join("sealed"), &dir.path().join("opened")).unwrap();
    assert_eq!(made.changed_layers(), 4);
    let strip = |name: &str| {
        let root = dir.path().join(name);
        files(&root)
            .into_iter()
            .map(|(path, content)| (path.strip_prefix(&root).unwrap().to_owned(), content))
            .collect::<Vec<_>>()
    };
    // Manifest and index.json too: nothing of the encryption is left in them.
    assert!(strip("opened") == strip("plain"));
}

#[test]
fn unknown_fields_and_other_annotations_keep_their_place() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::encrypted();
    image.manifest["x-unknown"] = json!({"z": 1, "a": [1.5, null]});
    image.manifest["annotations"] = json!({"kept": "yes"});
    image.layer(0)["annotations"]["com.example.kept"] = "yes".into();
    image.layer(0)["x-also"] = true.into();
    image.layer(0)["data"] = "AAAA".into();
    image.write(&dir.path().join("sealed"));
    let made = run(&dir.path().join("sealed"), &dir.path().join("opened")).unwrap();

    let opened = TestLayout(dir.path().join("opened"));
    let text = fs::read_to_string(opened.blob(made.digest.hex())).unwrap();
    assert!(text.ends_with(r#""x-unknown":{"z":1,"a":[1.5,null]},"annotations":{"kept":"yes"}}"#), "{text}");
    let layer = &json_of(&opened.blob(made.digest.hex()))["layers"][0];
    assert_eq!(layer["annotations"], json!({"com.example.kept": "yes"}));
    assert_eq!(layer["x-also"], json!(true));
    // It was a copy of the ciphertext.
    assert_eq!(layer.get("data"), None);
}

#[test]
fn layers_that_are_not_encrypted_are_copied() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::plain();
    image.encrypt(1);
    image.write(&dir.path().join("mixed"));
    let made = run(&dir.path().join("mixed"), &dir.path().join("opened")).unwrap();
    let decrypted: Vec<_> = made.manifests[0].layers.iter().map(|layer| layer.changed).collect();
    assert_eq!(decrypted, [false, true]);

    // With none encrypted, the image is the same image.
    let plain = TestImage::plain().write(&dir.path().join("plain"));
    let made = decrypt(
        &oci(&plain.0, None),
        &oci(&dir.path().join("copy"), Some("v1")),
        None,
        &Refuses("never asked"),
        None,
        &(),
    )
    .unwrap();
    assert_eq!(made.changed_layers(), 0);
    assert_eq!(json_of(&plain.0.join("index.json")), json_of(&dir.path().join("copy/index.json")));
}

#[test]
fn all_platforms_of_an_index_are_decrypted_in_order() {
    let dir = tempdir().unwrap();
    let layout = TestLayout::multi_platform(&dir.path().join("sealed"), TestImage::encrypted);
    let made = run(&layout.0, &dir.path().join("opened")).unwrap();
    let platforms: Vec<_> = made.manifests.iter().map(|m| m.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v6", "linux/arm/v7"]);

    let read = inspect(&oci(&dir.path().join("opened"), None)).unwrap();
    assert_eq!(read.manifests.len(), 3);
    assert!(read.manifests.iter().flat_map(|m| &m.layers).all(|layer| !layer.encrypted));
    let index = json_of(&dir.path().join("opened/index.json"));
    assert_eq!(index["manifests"][0]["mediaType"], INDEX);
}

#[test]
fn one_platform_stands_alone() {
    let dir = tempdir().unwrap();
    let layout = TestLayout::multi_platform(&dir.path().join("sealed"), TestImage::encrypted);
    let get = |platform: &str, to: &str| {
        let (from, to) = (oci(&layout.0, None), oci(&dir.path().join(to), None));
        decrypt(&from, &to, Some(&platform.parse().unwrap()), &Clear, None, &())
    };
    let made = get("linux/arm/v7", "v7").unwrap();
    assert_eq!(made.manifests.len(), 1);
    assert_eq!(made.digest, made.manifests[0].digest);
    assert_eq!(
        get("linux/arm", "none").unwrap_err().to_string(),
        "linux/arm fits several of linux/amd64, linux/arm/v6, linux/arm/v7; give the variant, os/arch/variant"
    );
    assert_eq!(
        get("linux/s390x", "none").unwrap_err().to_string(),
        "the image is not there for linux/s390x; it is for linux/amd64, linux/arm/v6, linux/arm/v7"
    );
    assert!(!dir.path().join("none").exists());
}

#[test]
fn an_existing_layout_keeps_its_other_images() {
    let dir = tempdir().unwrap();
    TestImage::encrypted().write(&dir.path().join("sealed"));
    let to = dir.path().join("to");
    let mut other = TestImage::new();
    other.add(b"other", "");
    other.write(&to);
    let before = json_of(&to.join("index.json"))["manifests"][0].clone();

    let decrypt_as = |tag| {
        decrypt(&oci(&dir.path().join("sealed"), None), &oci(&to, tag), None, &Clear, None, &()).unwrap()
    };
    let made = decrypt_as(Some("v2"));
    decrypt_as(Some("v2"));
    let index = json_of(&to.join("index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "the tag is replaced, not doubled");
    assert_eq!(index["manifests"][0], before);
    assert_eq!(index["manifests"][1]["digest"], made.digest.to_string());

    decrypt_as(Some("v1"));
    let index = json_of(&to.join("index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(index["manifests"][0]["digest"], made.digest.to_string());
    assert!(
        fs::read_dir(&to).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".holdfast"))
    );
}

#[test]
fn an_empty_directory_becomes_a_layout_and_a_full_one_stays() {
    let dir = tempdir().unwrap();
    TestImage::encrypted().write(&dir.path().join("sealed"));
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    run(&dir.path().join("sealed"), &empty).unwrap();
    assert!(inspect(&oci(&empty, Some("v1"))).is_ok());

    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letters.txt"), "mine").unwrap();
    let error = run(&dir.path().join("sealed"), &full).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "full is there and is not an OCI image layout; name a new directory, or an existing layout"
        ),
        "{error}"
    );
    assert_eq!(files(&full).len(), 1);
}

#[test]
fn an_image_is_not_replaced_by_itself_in_the_clear() {
    let dir = tempdir().unwrap();
    let sealed = dir.path().join("sealed");
    TestImage::encrypted().write(&sealed);
    let before = files(&sealed);
    let error = run(&sealed, &sealed).unwrap_err();
    assert!(error.to_string().contains("is the image to be decrypted"), "{error}");
    assert!(files(&sealed) == before);
}

#[test]
fn a_stop_in_the_middle_leaves_nothing() {
    let dir = tempdir().unwrap();
    TestImage::encrypted().write(&dir.path().join("sealed"));
    let before = files(dir.path());
    let result = decrypt(
        &oci(&dir.path().join("sealed"), None),
        &oci(&dir.path().join("opened"), None),
        None,
        &Clear,
        None,
        &Stops::default(),
    );
    let error = result.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.to_string(), "interrupted; nothing was written");
    assert!(files(dir.path()) == before);
}

/// Wants all packets of a layer in one call.
struct Counts;

impl Opener for Counts {
    fn open(
        &self,
        packets: &[Packet],
    ) -> Result<holdfast_wire::OptsData, Box<dyn std::error::Error + Send + Sync>> {
        let schemes: Vec<_> = packets.iter().map(|packet| packet.scheme.as_str()).collect();
        assert_eq!(schemes, ["jwe", "jwe", "pkcs7"]);
        Clear.open(packets)
    }
}

#[test]
fn an_opener_gets_all_packets_of_a_layer() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::plain();
    image.encrypt(0);
    let packet = image.layer(0)["annotations"][KEYS].as_str().unwrap().to_owned();
    image.layer(0)["annotations"][KEYS] = format!("{packet},AQ==").into();
    image.layer(0)["annotations"]["org.opencontainers.image.enc.keys.pkcs7"] = "Ag==".into();
    image.write(&dir.path().join("sealed"));
    let to = oci(&dir.path().join("opened"), None);
    decrypt(&oci(&dir.path().join("sealed"), None), &to, None, &Counts, None, &()).unwrap();
}
