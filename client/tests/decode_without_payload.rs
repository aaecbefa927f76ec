//! `holdfast decode` without a payload: the layer is found among the files that the parent (this test) has
//! open, and its descriptor in the manifests beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_image::{Digest, cipher};
use holdfast_wire::OptsData;
use serde_json::{Value, json};
use support::decoding::{Decoded, Decoding, MEDIA_TYPE};
use support::images::{KEYS, PUBOPTS, TestImage, tar};

const LEN: usize = 300_000;
const NONE: &str = "there is no payload on file descriptor 3";

/// Without a payload, while this process has the blob open.
fn decode(scene: &Decoding, args: &[&str]) -> Decoded {
    let _held = scene.open();
    scene.run(None, args, &scene.image.blobs[0])
}

/// Another manifest for the same layer, newer by so many seconds than any before; gives its digest.
fn plant(scene: &Decoding, seconds: u64, change: impl FnOnce(&mut Value)) -> String {
    let mut manifest = scene.image.manifest.clone();
    manifest["annotations"] = json!({"planted": seconds});
    change(&mut manifest["layers"][0]);
    let digest = scene.store.document(manifest.to_string().as_bytes());
    let when = SystemTime::now() + Duration::from_secs(seconds);
    File::options().write(true).open(scene.store.blob(&digest)).unwrap().set_modified(when).unwrap();
    digest
}

fn asked(scene: &Decoding) -> Vec<String> {
    scene.server.as_ref().unwrap().calls.try_iter().map(|call| call.manifest).collect()
}

/// The store's own manifest.
fn own_manifest(scene: &Decoding) -> String {
    let names = support::decoding::names(&scene.store.0.join("blobs/sha256"));
    let is_manifest = |name: &&String| {
        let bytes = fs::read(scene.store.blob(name)).unwrap();
        serde_json::from_slice::<Value>(&bytes)
            .is_ok_and(|json| json.get("layers").is_some() && json.get("annotations").is_none())
    };
    format!("sha256:{}", names.iter().find(is_manifest).unwrap())
}

/// A lock, for one, that whoever started containerd left open.
#[test]
fn an_empty_file_in_the_payloads_place_is_none() {
    let scene = Decoding::of(LEN);
    let _held = scene.open();
    scene.run(Some(b""), &[], &scene.image.blobs[0]).gave(&scene.plain);
}

#[test]
fn a_layer_is_opened_by_the_manifest_that_names_it_and_the_daemon_is_told_which() {
    let scene = Decoding::of(LEN);
    decode(&scene, &[]).gave(&scene.plain);
    assert_eq!(asked(&scene), [own_manifest(&scene)]);
    let told = decode(&scene, &["--verbose", "--single-manifest"]);
    let manifest = own_manifest(&scene);
    assert!(
        told.err.contains(&format!("the packets of manifest {manifest} were used, one of 1 that were found")),
        "{}",
        told.err
    );
}

#[test]
fn two_layers_pulled_side_by_side_are_told_apart_by_their_first_bytes() {
    let (one, two) = (Decoding::of(LEN), Decoding::of(LEN));
    let _held = (one.open(), two.open());
    one.run(None, &[], &one.image.blobs[0]).gave(&one.plain);
    two.run(None, &[], &two.image.blobs[0]).gave(&two.plain);
    assert_eq!(asked(&one), [own_manifest(&one)]);
    assert_eq!(asked(&two), [own_manifest(&two)]);
}

#[test]
fn a_newer_manifest_with_a_broken_packet_does_not_keep_the_layer_shut() {
    let scene = Decoding::of(LEN);
    let bad = plant(&scene, 10, |layer| layer["annotations"][KEYS] = STANDARD.encode("{}").into());
    decode(&scene, &[]).gave(&scene.plain);
    assert_eq!(asked(&scene), [bad, own_manifest(&scene)]);
    // Nor does one that is not even base64, for which nobody is asked.
    plant(&scene, 20, |layer| layer["annotations"][KEYS] = "%".into());
    decode(&scene, &[]).gave(&scene.plain);
    assert_eq!(asked(&scene).len(), 2);
}

/// What anybody can make for somebody else's blob: a key of his own, and the MAC and digest that fit to it.
fn foreign(scene: &Decoding, layer: &mut Value) {
    let blob = &scene.image.blobs[0];
    let seed = cipher::new_key(&Digest::of(b"")).unwrap();
    let mut opened = Vec::new();
    let write = |plain: &[u8]| {
        opened.extend_from_slice(plain);
        Ok(())
    };
    // Counter mode decrypts as it encrypts.
    cipher::encrypt(&blob[..], blob.len() as u64, &of(&seed, &Digest::of(blob)), write, |_| Ok(())).unwrap();
    let optsdata = of(&seed, &Digest::of(&opened));
    let made = cipher::encrypt(&opened[..], blob.len() as u64, &optsdata, |_| Ok(()), |_| Ok(())).unwrap();
    assert_eq!(made.digest, Digest::of(blob));
    layer["annotations"][KEYS] = STANDARD.encode(optsdata.raw().expose()).into();
    layer["annotations"][PUBOPTS] = made.public.to_annotation().into();
}

fn of(seed: &OptsData, digest: &Digest) -> OptsData {
    let symkey = holdfast_wire::Secret::copy_of(seed.symkey().expose());
    OptsData::new(symkey, *seed.nonce(), &digest.to_string()).unwrap()
}

#[test]
fn a_key_of_somebody_elses_that_fits_the_blob_is_found_out_by_what_it_decrypts_to() {
    let mut scene = Decoding::of(0);
    let plain = tar("layer", LEN);
    scene.image = TestImage::new();
    scene.image.add(&plain, "+gzip");
    let gzip = scene.image.blobs[0].clone();
    scene.image.encrypt(0);
    scene.image.write_blobs(&scene.store);
    let planted = plant(&scene, 10, |layer| foreign(&scene, layer));
    let _held = scene.open();
    let mut command = scene.command(None, &[]);
    command.env("STREAM_PROCESSOR_MEDIATYPE", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
    support::decoding::finish(command.spawn().unwrap(), &scene.image.blobs[0]).gave(&gzip);
    assert_eq!(asked(&scene)[0], planted);
}

#[test]
fn a_mac_that_does_not_fit_goes_on_to_the_next_manifest() {
    let scene = Decoding::of(LEN);
    let wrong = holdfast_image::PublicOptions { hmac: [7; 32] }.to_annotation();
    plant(&scene, 10, |layer| layer["annotations"][PUBOPTS] = wrong.into());
    decode(&scene, &[]).gave(&scene.plain);
    assert_eq!(asked(&scene).len(), 2);
}

#[test]
fn manifests_that_say_the_same_are_no_ambiguity_and_others_can_be_refused() {
    let scene = Decoding::of(LEN);
    plant(&scene, 10, |_| {});
    decode(&scene, &["--single-manifest"]).gave(&scene.plain);
    assert_eq!(asked(&scene).len(), 1);
    plant(&scene, 20, |layer| layer["annotations"][KEYS] = "AQ==".into());
    decode(&scene, &["--single-manifest"])
        .refused("name the layer with different packets, which --single-manifest refuses; remove the image that is not wanted");
    assert_eq!(asked(&scene).len(), 0, "the daemon was asked");
}

#[test]
fn however_many_manifests_are_planted_the_daemon_is_asked_a_few_times() {
    let scene = Decoding::of(LEN);
    for number in 0..20u8 {
        plant(&scene, 10 + u64::from(number), |layer| {
            layer["annotations"][KEYS] = STANDARD.encode([number]).into()
        });
    }
    let decoded = decode(&scene, &[]);
    assert_eq!(decoded.code, Some(1));
    assert!(
        decoded
            .err
            .starts_with("holdfast: none of the newest 8 manifests that name the layer opens it, the newest of all (sha256:"),
        "{}",
        decoded.err
    );
    assert!(decoded.plain.is_empty());
    assert_eq!(asked(&scene).len(), 8);
}

#[test]
fn a_manifest_for_another_media_type_size_or_digest_is_not_taken() {
    let scene = Decoding::of(LEN);
    fs::remove_file(scene.store.blob(&own_manifest(&scene))).unwrap();
    plant(&scene, 1, |layer| layer["size"] = 7.into());
    plant(&scene, 2, |layer| layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into());
    plant(&scene, 3, |layer| layer["mediaType"] = MEDIA_TYPE.replace("tar", "tar+zstd").into());
    plant(&scene, 4, |layer| layer["digest"] = format!("sha256:{}", "0".repeat(64)).into());
    // One whose name is not its digest: the store did not write it.
    let manifest = scene.image.manifest.to_string();
    scene.store.put(&"1".repeat(64), manifest.as_bytes());
    decode(&scene, &[]).refused("as an encrypted layer; pull the image again");
    assert_eq!(asked(&scene).len(), 0, "the daemon was asked");
}

#[test]
fn a_layer_that_nobody_has_open_is_told() {
    let scene = Decoding::of(LEN);
    scene.run(None, &[], &scene.image.blobs[0]).refused(&format!(
        "{NONE}, and the layer is no blob that the process which started this one has open; run it as containerd's stream processor, as the same user"
    ));
    // Nor is one that begins otherwise.
    let mut other = scene.image.blobs[0].clone();
    other[4095] ^= 1;
    let _held = scene.open();
    let decoded = scene.run(None, &[], &other);
    assert!(decoded.err.contains(NONE) && decoded.plain.is_empty(), "{}", decoded.err);
}

#[test]
fn a_damaged_packet_alone_is_told_with_its_manifest() {
    let scene = Decoding::of(LEN);
    fs::remove_file(scene.store.blob(&own_manifest(&scene))).unwrap();
    let planted = plant(&scene, 1, |layer| layer["annotations"][KEYS] = "%".into());
    let decoded = decode(&scene, &[]);
    decoded.refused("keys.jwe is not base64; encrypt the image again");
    assert!(decoded.err.starts_with(&format!("holdfast: manifest {}: ", &planted[..19])), "{}", decoded.err);
}
