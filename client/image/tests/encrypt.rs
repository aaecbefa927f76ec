//! What encrypting gives: an image that opens again to what it was, in which everything else is as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_image::{Digest, Error, Packet, Selection, Wrapper, Written, decrypt, encrypt, inspect};
use holdfast_wire::OptsData;
use serde_json::{Value, json};
use support::{Clear, KEYS, PUBOPTS, Refuses, Stops, TestImage, TestLayout, files, oci, tar};
use tempfile::tempdir;

fn run(from: &Path, to: &Path, selection: &Selection) -> Result<Written, Error> {
    encrypt(&oci(from, Some("v1")), &oci(to, Some("v1")), selection, &Clear, None, &())
}

fn all(from: &Path, to: &Path) -> Written {
    run(from, to, &Selection::default()).unwrap()
}

fn only(platforms: &[&str], layers: &[i32]) -> Selection {
    let platforms = platforms.iter().map(|text| text.parse().unwrap()).collect();
    Selection { platforms, layers: layers.to_vec() }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn manifest(layout: &Path, digest: &Digest) -> Value {
    json_of(&TestLayout(layout.to_owned()).blob(digest.hex()))
}

/// Every file below a directory, by its name in it.
fn contents(root: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let strip = |path: std::path::PathBuf| path.strip_prefix(root).unwrap().to_owned();
    files(root).into_iter().map(|(path, content)| (strip(path), content)).collect()
}

#[test]
fn what_is_encrypted_comes_back_byte_for_byte() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::new();
    image.add(&tar("gzip", 5_000_000), "+gzip");
    image.add(&tar("zstd", 70_000), "+zstd");
    image.add(&tar("plain", 1_048_576), "");
    image.add(&tar("empty", 0), "+gzip");
    image.write(&dir.path().join("plain"));
    let made = all(&dir.path().join("plain"), &dir.path().join("sealed"));
    assert_eq!(made.changed_layers(), 4);

    let sealed = manifest(&dir.path().join("sealed"), &made.digest);
    let plain = image.manifest["layers"].as_array().unwrap();
    for (old, new) in plain.iter().zip(sealed["layers"].as_array().unwrap()) {
        assert_eq!(new["mediaType"], format!("{}+encrypted", old["mediaType"].as_str().unwrap()));
        assert_eq!(new["size"], old["size"]);
        assert_ne!(new["digest"], old["digest"]);
        let names: Vec<_> = new["annotations"].as_object().unwrap().keys().collect();
        assert_eq!(names, [KEYS, PUBOPTS]);
        let blob = fs::read(TestLayout(dir.path().join("sealed")).blob(new["digest"].as_str().unwrap()));
        assert_eq!(Digest::of(&blob.unwrap()).to_string(), new["digest"]);
    }

    let (from, to) = (oci(&dir.path().join("sealed"), None), oci(&dir.path().join("opened"), Some("v1")));
    decrypt(&from, &to, None, &Clear, None, &()).unwrap();
    // Manifest and index.json too: nothing else was changed.
    assert!(contents(&dir.path().join("opened")) == contents(&dir.path().join("plain")));
}

#[test]
fn each_layer_has_a_key_of_its_own() {
    let dir = tempdir().unwrap();
    TestImage::plain().write(&dir.path().join("plain"));
    let made = all(&dir.path().join("plain"), &dir.path().join("sealed"));
    let again = all(&dir.path().join("plain"), &dir.path().join("again"));
    let packets = |name: &str, made: &Written| {
        let manifest = manifest(&dir.path().join(name), &made.digest);
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["annotations"][KEYS].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut all: BTreeSet<String> = packets("sealed", &made).into_iter().collect();
    all.extend(packets("again", &again));
    assert_eq!(all.len(), 4);
}

#[test]
fn unknown_fields_and_other_annotations_keep_their_place() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::plain();
    image.manifest["x-unknown"] = json!({"z": 1, "a": [1.5, null]});
    let layer = image.layer(0);
    layer["annotations"] = json!({"com.example.kept": "yes", KEYS: "c3RhbGU="});
    layer["x-also"] = true.into();
    // Copies of the plaintext, and where one can be had.
    layer["data"] = "AAAA".into();
    layer["urls"] = json!(["https://example.com/layer"]);
    image.write(&dir.path().join("plain"));
    let made = all(&dir.path().join("plain"), &dir.path().join("sealed"));
    let sealed = manifest(&dir.path().join("sealed"), &made.digest);
    assert_eq!(sealed["x-unknown"], json!({"z": 1, "a": [1.5, null]}));
    let layer = sealed["layers"][0].as_object().unwrap();
    assert_eq!(layer["annotations"]["com.example.kept"], "yes");
    assert_ne!(layer["annotations"][KEYS], "c3RhbGU=");
    assert_eq!(layer.keys().collect::<Vec<_>>(), ["mediaType", "digest", "size", "annotations", "x-also"]);
}

#[test]
fn chosen_layers_count_from_either_end_and_the_rest_is_copied() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::plain();
    image.add(&tar("c", 400), "");
    image.write(&dir.path().join("plain"));
    for (number, (layers, expected)) in
        [(&[0][..], [true, false, false]), (&[-1], [false, false, true]), (&[1, -2, -3], [true, true, false])]
            .into_iter()
            .enumerate()
    {
        let to = dir.path().join(format!("sealed-{number}"));
        let made = run(&dir.path().join("plain"), &to, &only(&[], layers)).unwrap();
        let changed: Vec<_> = made.layers().map(|layer| layer.changed).collect();
        assert_eq!(changed, expected, "{layers:?}");
        assert_eq!(inspect(&oci(&to, None)).unwrap().manifests[0].layers[2].encrypted, expected[2]);
    }
}

#[test]
fn a_layer_that_platforms_share_is_encrypted_once_and_stays_shared() {
    let dir = tempdir().unwrap();
    let plain = TestLayout::multi_platform(&dir.path().join("plain"), TestImage::plain);
    let to = dir.path().join("sealed");
    let made = all(&plain.0, &to);
    assert_eq!((made.manifests.len(), made.changed_layers()), (3, 6));
    let digests: BTreeSet<_> = made.layers().map(|layer| layer.digest.clone()).collect();
    assert_eq!(digests.len(), 2);
    assert_eq!(files(&to).len(), files(&plain.0).len());
    let (from, to) = (oci(&to, None), oci(&dir.path().join("opened"), Some("v1")));
    decrypt(&from, &to, None, &Clear, None, &()).unwrap();
    assert!(contents(&dir.path().join("opened")) == contents(&plain.0));
}

#[test]
fn chosen_platforms_are_encrypted_and_the_others_stay_as_they_are() {
    let dir = tempdir().unwrap();
    let mut number = AtomicUsize::new(0);
    let plain = TestLayout::multi_platform(&dir.path().join("plain"), || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let mut image = TestImage::new();
        image.add(&tar(&format!("of-{number}"), 900), "+gzip");
        image
    });
    assert_eq!(*number.get_mut(), 3);
    let encrypted = |platforms: &[&str], to: &str| {
        let made = run(&plain.0, &dir.path().join(to), &only(platforms, &[])).unwrap();
        for manifest in &made.manifests {
            assert_eq!(manifest.source == manifest.digest, !manifest.layers[0].changed);
        }
        made.manifests.iter().map(|manifest| manifest.layers[0].changed).collect::<Vec<_>>()
    };
    assert_eq!(encrypted(&["linux/arm/v7"], "one"), [false, false, true]);
    assert_eq!(encrypted(&["linux/arm"], "both"), [false, true, true]);
    assert_eq!(encrypted(&["linux/amd64", "linux/arm/v6"], "two"), [true, true, false]);
    let error = run(&plain.0, &dir.path().join("none"), &only(&["linux/s390x"], &[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image is not there for linux/s390x; it is for linux/amd64, linux/arm/v6, linux/arm/v7"
    );
}

#[test]
fn attestations_are_copied_and_an_image_of_nothing_else_is_refused() {
    let dir = tempdir().unwrap();
    let layout = TestLayout::new(&dir.path().join("plain"));
    let image = TestImage::plain().write_blobs(&layout);
    let mut attestation = TestImage::new();
    attestation.add(b"{}", "");
    attestation.layer(0)["mediaType"] = "application/vnd.in-toto+json".into();
    let attestation = attestation.write_blobs(&layout);
    layout.index(&[layout.nested(&[image, attestation.clone()])]);
    let selection = only(&[], &[1]);
    let to = oci(&dir.path().join("sealed"), None);
    let made = encrypt(&oci(&layout.0, None), &to, &selection, &Clear, None, &()).unwrap();
    assert_eq!(made.layers().map(|layer| layer.changed).collect::<Vec<_>>(), [false, true, false]);

    layout.index(&[attestation]);
    let to = oci(&dir.path().join("never"), None);
    let error = encrypt(&oci(&layout.0, None), &to, &Selection::default(), &Clear, None, &()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing of the image can be encrypted: it has no layer that is a tar archive"
    );
}

/// Encrypts the layout "plain" in `dir`, which must fail and leave `dir` as it was.
fn line(dir: &Path, selection: &Selection) -> String {
    let before = files(dir);
    let result = run(&dir.join("plain"), &dir.join("sealed"), selection);
    assert!(files(dir) == before, "something stayed at the target");
    result.unwrap_err().to_string()
}

#[test]
fn what_cannot_be_encrypted_as_asked_is_refused_before_anything_is_read() {
    let dir = tempdir().unwrap();
    let mut image = TestImage::plain();
    image.encrypt(1);
    image.add(b"{}", "");
    image.layer(2)["mediaType"] = "application/vnd.example".into();
    let layout = image.write(&dir.path().join("plain"));
    let digest = image.layer(1)["digest"].as_str().unwrap()[..19].to_owned();
    for blob in 0..2 {
        fs::remove_file(layout.blob(image.layer(blob)["digest"].as_str().unwrap())).unwrap();
    }
    let again = format!(
        "layer 2 of 3 for linux/amd64 ({digest}) is encrypted already and would stay closed to the new recipients; decrypt the image first, or choose the layers that are not encrypted"
    );
    assert_eq!(line(dir.path(), &Selection::default()), again);
    assert_eq!(line(dir.path(), &only(&[], &[0, 1])), again);
    assert_eq!(
        line(dir.path(), &only(&[], &[3])),
        "there is no layer 3 in the image for linux/amd64: it has 3, from 0 to 2, or from -1 back to -3"
    );
    assert_eq!(
        line(dir.path(), &only(&[], &[-1])),
        "layer -1 of the image for linux/amd64 is no tar archive but application/vnd.example, which nobody would open; choose other layers"
    );
}

#[test]
fn a_docker_manifest_is_refused_with_the_way_out() {
    let dir = tempdir().unwrap();
    let layout = TestImage::plain().write(&dir.path().join("plain"));
    let mut index = json_of(&layout.0.join("index.json"));
    index["manifests"][0]["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
    fs::write(layout.0.join("index.json"), index.to_string()).unwrap();
    let says = line(dir.path(), &Selection::default());
    assert!(says.ends_with("make it an OCI image first: skopeo copy --format oci"), "{says}");
}

#[test]
fn a_damaged_source_is_not_made_into_a_good_image() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("not that of the manifest; copy the image again from its source", |blob| blob[7] ^= 1),
        ("it has only 100; copy the image again from its source", |blob| blob.truncate(100)),
        ("it has more; copy the image again from its source", |blob| blob.push(0)),
    ];
    for (expected, damage) in damages {
        let dir = tempdir().unwrap();
        let mut image = TestImage::plain();
        let layout = image.write(&dir.path().join("plain"));
        let path = layout.blob(image.layer(1)["digest"].as_str().unwrap());
        let mut blob = fs::read(&path).unwrap();
        damage(&mut blob);
        fs::write(&path, blob).unwrap();
        let says = line(dir.path(), &Selection::default());
        assert!(says.starts_with("layer 2 of 2 (sha256:") && says.ends_with(expected), "{says}");
        // Nor when it is only copied.
        let says = line(dir.path(), &only(&[], &[0]));
        assert!(says.starts_with("layer 2 of 2 (sha256:") && says.ends_with(expected), "{says}");
        fs::remove_file(&path).unwrap();
        assert!(line(dir.path(), &Selection::default()).contains("is not in the layout"));
    }
}

#[test]
fn the_source_is_no_target_but_its_layout_may_be() {
    let dir = tempdir().unwrap();
    let plain = dir.path().join("plain");
    TestImage::plain().write(&plain);
    let before = files(dir.path());
    for (tag, way) in [(Some("v1"), plain.clone()), (None, plain.join("../plain"))] {
        let to = oci(&way, Some("v1"));
        let error = encrypt(&oci(&plain, tag), &to, &Selection::default(), &Clear, None, &()).unwrap_err();
        assert!(error.to_string().ends_with("would stay there; name another directory"), "{error}");
    }
    assert!(files(dir.path()) == before);
    let to = oci(&plain, Some("v1-encrypted"));
    encrypt(&oci(&plain, Some("v1")), &to, &Selection::default(), &Clear, None, &()).unwrap();
    assert!(inspect(&to).unwrap().manifests[0].layers[0].encrypted);
    assert!(!inspect(&oci(&plain, Some("v1"))).unwrap().manifests[0].layers[0].encrypted);
}

#[test]
fn a_stop_or_a_refusal_leaves_nothing() {
    let dir = tempdir().unwrap();
    TestImage::plain().write(&dir.path().join("plain"));
    let before = files(dir.path());
    let (from, to) = (oci(&dir.path().join("plain"), None), oci(&dir.path().join("sealed"), None));
    let stops = Stops::default();
    let error = encrypt(&from, &to, &Selection::default(), &Clear, None, &stops).unwrap_err();
    assert!(error.is_cancelled());
    let refuses = Refuses("not to these");
    let error = encrypt(&from, &to, &Selection::default(), &refuses, None, &()).unwrap_err();
    assert!(error.to_string().ends_with("): not to these"), "{error}");
    assert!(files(dir.path()) == before);
}

/// Forgets to wrap.
struct Nobody;

impl Wrapper for Nobody {
    fn wrap(&self, _: &OptsData) -> Result<Vec<Packet>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Vec::new())
    }
}

#[test]
fn an_image_that_nobody_could_open_is_not_made() {
    let dir = tempdir().unwrap();
    TestImage::plain().write(&dir.path().join("plain"));
    let (from, to) = (oci(&dir.path().join("plain"), None), oci(&dir.path().join("sealed"), None));
    let error = encrypt(&from, &to, &Selection::default(), &Nobody, None, &()).unwrap_err();
    assert!(error.to_string().ends_with("its key has no recipient"), "{error}");
}
