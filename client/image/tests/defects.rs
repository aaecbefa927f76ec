//! Every defect of an image: its one line, and nothing left at the target.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use holdfast_image::{Digest, decrypt, inspect};
use serde_json::json;
use support::{Clear, KEYS, LAYER, PUBOPTS, Refuses, TestImage, TestLayout, files, oci, tar};
use tempfile::tempdir;

/// Decrypts the layout "sealed" in `dir`, which must fail and leave `dir` as it was.
fn line(dir: &Path) -> String {
    let before = files(dir);
    let result =
        decrypt(&oci(&dir.join("sealed"), None), &oci(&dir.join("opened"), None), None, &Clear, None, &());
    assert!(files(dir) == before, "something stayed at the target");
    result.unwrap_err().to_string()
}

/// Makes an encrypted image, damages it, and gives the line without the name of the second layer.
fn second_layer(damage: impl FnOnce(&mut TestImage)) -> String {
    let dir = tempdir().unwrap();
    let mut image = TestImage::encrypted();
    damage(&mut image);
    image.write(&dir.path().join("sealed"));
    without_layer(&line(dir.path()))
}

fn without_layer(line: &str) -> String {
    assert!(line.starts_with("layer 2 of 2 (sha256:"), "{line}");
    line.split_once("): ").unwrap().1.to_owned()
}

/// The same, with the layout damaged once it is written. Gives the line and the layer's digest.
fn second_blob(damage: impl FnOnce(&TestLayout, &str)) -> String {
    let dir = tempdir().unwrap();
    let mut image = TestImage::encrypted();
    let digest = image.layer(1)["digest"].as_str().unwrap().to_owned();
    let layout = image.write(&dir.path().join("sealed"));
    damage(&layout, &digest);
    without_layer(&line(dir.path())).replace(&digest, "DIGEST")
}

const AGAIN: &str = "copy the image again from its source";

#[test]
fn wrong_mac() {
    let says = second_layer(|image| {
        let other = image.layer(0)["annotations"][PUBOPTS].clone();
        image.layer(1)["annotations"][PUBOPTS] = other;
    });
    assert_eq!(
        says,
        format!("the MAC does not match: blob, annotations and key were not made together; {AGAIN}")
    );
}

#[test]
fn wrong_size() {
    let mut real = 0;
    let says = second_layer(|image| {
        real = image.blobs[1].len();
        image.layer(1)["size"] = (real + 1).into();
    });
    assert_eq!(
        says,
        format!("the manifest says the blob has {} bytes, it has only {real}; {AGAIN}", real + 1)
    );
}

#[test]
fn truncated_blob() {
    let says = second_blob(|layout, digest| {
        let blob = fs::read(layout.blob(digest)).unwrap();
        fs::write(layout.blob(digest), &blob[..100]).unwrap();
    });
    assert!(says.ends_with(&format!("it has only 100; {AGAIN}")), "{says}");
}

#[test]
fn wrong_blob_digest() {
    let mut changed = String::new();
    let says = second_blob(|layout, digest| {
        let mut blob = fs::read(layout.blob(digest)).unwrap();
        blob[7] ^= 1;
        changed = Digest::of(&blob).short();
        fs::write(layout.blob(digest), &blob).unwrap();
    });
    assert_eq!(says, format!("the blob's digest is {changed}, not that of the manifest; {AGAIN}"));
}

#[test]
fn missing_blob() {
    let says = second_blob(|layout, digest| fs::remove_file(layout.blob(digest)).unwrap());
    assert_eq!(
        says,
        "the blob DIGEST is not in the layout; copy the image again, with all its platforms if it has several"
    );
}

const LINK: &str =
    "the blob DIGEST is a link or no plain file; a layout holds its blobs itself: copy the image again";

#[test]
fn symlink_out_of_the_layout() {
    let says = second_blob(|layout, digest| {
        let outside = layout.0.parent().unwrap().join("outside");
        fs::rename(layout.blob(digest), &outside).unwrap();
        symlink(&outside, layout.blob(digest)).unwrap();
    });
    assert_eq!(says, LINK);
}

#[test]
fn a_pipe_in_place_of_a_blob_does_not_hang() {
    let says = second_blob(|layout, digest| {
        fs::remove_file(layout.blob(digest)).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            layout.blob(digest),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
    });
    assert_eq!(says, LINK);
}

#[test]
fn symlinked_blob_directory() {
    let dir = tempdir().unwrap();
    let layout = TestImage::encrypted().write(&dir.path().join("sealed"));
    fs::rename(layout.0.join("blobs"), dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), layout.0.join("blobs")).unwrap();
    let says = line(dir.path());
    assert!(says.contains("is a link or no plain file"), "{says}");
}

#[test]
fn digest_with_dots() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::encrypted();
    image.layer(1)["digest"] = format!("sha256:../../{}", "a".repeat(58)).into();
    image.write(&dir.path().join("sealed"));
    assert_eq!(
        line(dir.path()),
        "the digest of layer 2 of 2 is not sha256: and 64 lower-case hexadecimal digits; copy the image again"
    );
}

#[test]
fn wrong_plaintext_digest() {
    let mut real = String::new();
    let says = second_layer(|image| {
        let plain = TestImage::plain();
        real = Digest::of(&plain.blobs[1]).short();
        let other = Digest::of(b"other").to_string();
        image.change_optsdata(1, |optsdata| optsdata["digest"] = other.into());
    });
    assert_eq!(
        says,
        format!(
            "it decrypts to {real}, not to the digest that was wrapped with its key; the packet was damaged or made for another layer: {AGAIN}"
        )
    );
}

#[test]
fn wrong_nonce() {
    // The MAC does not cover it, and skopeo writes garbage.
    let says = second_layer(|image| {
        image.change_optsdata(1, |optsdata| {
            optsdata["cipheroptions"]["nonce"] = "AAAAAAAAAAAAAAAAAAAAAA==".into();
        });
    });
    assert!(says.contains("not to the digest that was wrapped with its key"), "{says}");
}

const DIFF_ID: &str = "its uncompressed tar does not have the diff id that the image's config gives; copy the image again from its source";

#[test]
fn wrong_diff_id() {
    let says = second_layer(|image| {
        image.config["rootfs"]["diff_ids"][1] = Digest::of(b"other").to_string().into();
    });
    assert_eq!(says, DIFF_ID);
}

#[test]
fn no_digest_in_the_packet_leaves_the_diff_id() {
    let absent = |image: &mut TestImage| {
        image.change_optsdata(1, |optsdata| {
            optsdata.as_object_mut().unwrap().remove("digest");
        });
    };
    let says = second_layer(|image| {
        absent(image);
        image.config["rootfs"]["diff_ids"][1] = Digest::of(b"other").to_string().into();
    });
    assert_eq!(says, DIFF_ID);

    let says = second_layer(|image| {
        absent(image);
        image.layer(1)["mediaType"] = "application/octet-stream+encrypted".into();
    });
    assert_eq!(
        says,
        "neither its key's packet nor the image's config says what it decrypts to, so it cannot be checked; encrypt the image again"
    );
}

#[test]
fn diff_ids_for_other_layers() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::encrypted();
    image.config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    image.write(&dir.path().join("sealed"));
    let says = line(dir.path());
    assert!(says.ends_with(&format!("the image's config has 1 diff ids for 2 layers; {AGAIN}")), "{says}");
}

#[test]
fn not_compressed_as_the_media_type_says() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::new();
    image.add(&tar("a", 2000), "");
    image.layer(0)["mediaType"] = format!("{LAYER}+gzip").into();
    image.encrypt(0);
    image.write(&dir.path().join("sealed"));
    let says = line(dir.path());
    assert!(
        says.ends_with(&format!("it is not compressed as its media type says, or is cut off; {AGAIN}")),
        "{says}"
    );
}

#[test]
fn pubopts_missing() {
    let says = second_layer(|image| {
        image.layer(1)["annotations"].as_object_mut().unwrap().remove(PUBOPTS);
    });
    assert_eq!(says, format!("the layer has no annotation {PUBOPTS}, so it cannot be checked; {AGAIN}"));
}

#[test]
fn another_cipher() {
    use base64::Engine as _;
    let other = r#"{"cipher":"AEAD_CHUNKED","hmac":"","cipheroptions":{}}"#;
    let other = base64::engine::general_purpose::STANDARD.encode(other);
    let says = second_layer(|image| image.layer(1)["annotations"][PUBOPTS] = other.into());
    assert_eq!(
        says,
        "the layer's cipher is not AES_256_CTR_HMAC_SHA256, the only one this version knows; open it with what encrypted it"
    );
}

#[test]
fn annotation_not_base64() {
    let says = second_layer(|image| image.layer(1)["annotations"][KEYS] = "e30".into());
    assert_eq!(says, format!("the annotation {KEYS} is not base64; encrypt the image again"));
}

#[test]
fn no_key_annotation() {
    let says = second_layer(|image| {
        image.layer(1)["annotations"].as_object_mut().unwrap().remove(KEYS);
    });
    assert!(says.starts_with("the layer is marked as encrypted but no annotation holds its key"), "{says}");
}

#[test]
fn an_opener_that_refuses_is_told_as_it_is() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::plain();
    image.encrypt(1);
    image.write(&dir.path().join("sealed"));
    let before = files(dir.path());
    let (from, to) = (oci(&dir.path().join("sealed"), None), oci(&dir.path().join("opened"), None));
    let error =
        decrypt(&from, &to, None, &Refuses("no rule lets uid 7 unwrap (request 42)"), None, &()).unwrap_err();
    assert_eq!(without_layer(&error.to_string()), "no rule lets uid 7 unwrap (request 42)");
    assert!(files(dir.path()) == before);
}

#[test]
fn a_copied_layer_is_checked_too() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::plain();
    image.encrypt(0);
    image.blobs[1][9] ^= 1;
    image.write(&dir.path().join("sealed"));
    let says = without_layer(&line(dir.path()));
    assert!(says.contains("not that of the manifest"), "{says}");
}

#[test]
fn an_existing_layout_stays_as_it_was() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::encrypted();
    image.blobs[1][9] ^= 1;
    image.write(&dir.path().join("sealed"));
    TestImage::plain().write(&dir.path().join("opened"));
    line(dir.path());
}

#[test]
fn an_index_that_names_itself() {
    let dir = tempdir().unwrap();
    let layout = TestLayout::new(&dir.path().join("sealed"));
    // It would have to hold its own digest, so the check of digests is what ends the loop.
    let digest = Digest::of(b"any");
    let child = json!({"mediaType": support::INDEX, "digest": digest.to_string(), "size": 1});
    let root = layout.nested(&[child]);
    let bytes = fs::read(layout.blob(root["digest"].as_str().unwrap())).unwrap();
    fs::write(layout.blob(digest.hex()), bytes).unwrap();
    layout.index(&[json!({"mediaType": support::INDEX, "digest": digest.to_string(), "size": root["size"]})]);
    let says = line(dir.path());
    assert!(says.starts_with(&digest.short()) && says.contains("not that of the manifest"), "{says}");
}

#[test]
fn indexes_too_deep() {
    let dir = tempdir().unwrap();
    let layout = TestLayout::new(&dir.path().join("sealed"));
    let mut node = TestImage::encrypted().write_blobs(&layout);
    for _ in 0..6 {
        node = layout.nested(&[node]);
    }
    layout.index(&[node]);
    assert_eq!(line(dir.path()), "indexes lie more than 4 deep in each other; copy one of the inner images");
}

#[test]
fn indexes_that_multiply() {
    let dir = tempdir().unwrap();
    let layout = TestLayout::new(&dir.path().join("sealed"));
    let mut node = TestImage::encrypted().write_blobs(&layout);
    for _ in 0..3 {
        node = layout.nested(&vec![node; 100]);
    }
    layout.index(&[node]);
    assert_eq!(line(dir.path()), "the image has more than 4096 manifests; copy one of its platforms");
}

#[test]
fn too_long_and_too_many() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::encrypted();
    image.manifest["pad"] = "x".repeat(4 << 20).into();
    image.write(&dir.path().join("sealed"));
    let says = line(dir.path());
    assert!(says.contains("is longer than 4 MiB"), "{says}");

    let mut image = TestImage::plain();
    let layer = image.layer(0).clone();
    *image.layers() = vec![layer; 1025];
    image.write(&dir.path().join("sealed"));
    assert_eq!(line(dir.path()), "the manifest has 1025 layers; at most 1024 are taken");
}

#[test]
fn a_tag_that_is_missing_or_needed_is_told_with_those_there_are() {
    let dir = tempdir().unwrap();
    let layout = TestLayout::new(&dir.path().join("l"));
    let mut one = TestImage::plain().write_blobs(&layout);
    one["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let mut two = one.clone();
    two["annotations"] = json!({"org.opencontainers.image.ref.name": "evil\u{1b}[2J"});
    layout.index(&[one, two]);
    let says = |tag| inspect(&oci(&layout.0, tag)).unwrap_err().to_string();
    let at = layout.0.to_string_lossy();
    assert_eq!(
        says(None),
        format!(r"oci:{at} holds 2 images; add a tag, oci:DIR:TAG: its tags are v1, evil\u{{1b}}[2J")
    );
    assert_eq!(says(Some("v3")), format!(r"oci:{at} has no image v3; its tags are v1, evil\u{{1b}}[2J"));
}

#[test]
fn what_is_no_layout() {
    let dir = tempdir().unwrap();
    let says = inspect(&oci(dir.path(), None)).unwrap_err().to_string();
    assert!(says.ends_with("is not an OCI image layout (it has no file oci-layout); name the directory that holds oci-layout and index.json"), "{says}");
    let says = inspect(&oci(&dir.path().join("nowhere"), None)).unwrap_err().to_string();
    assert!(says.contains("No such file or directory"), "{says}");
}
