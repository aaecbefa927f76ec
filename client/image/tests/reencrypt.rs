//! Images encrypted anew: new keys, the same plaintext, and nothing of an image that is damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_image::{
    Error, Identity, Nowhere, Opened, Opener, Packet, Progress, Reason, Recipients, Refusal, Rewrapper,
    Source as _, Written, decrypt, inspect, reencrypt,
};
use holdfast_wire::{Labels, OptsData, Secret};
use support::{Clear, KEYS, Stops, TestImage, TestLayout, files, oci, tar};
use tempfile::tempdir;

impl Rewrapper for Clear {
    fn open(&self, packets: &[Packet]) -> Result<Opened, Refusal> {
        let optsdata = Opener::open(self, packets).map_err(Refusal::Failed)?;
        Ok(Opened { optsdata, labels: Labels::default(), kid: "me".into(), recipient: 0 })
    }

    fn wrap(&self, optsdata: &OptsData, _: &Labels, to: &[Identity]) -> Result<Vec<Packet>, Reason> {
        assert_eq!(to, [Identity::of_key("jwe", "me")]);
        holdfast_image::Wrapper::wrap(self, optsdata)
    }
}

fn anew(from: &Path, to: &Path, progress: &dyn Progress) -> Result<Written, Error> {
    let recipients = Recipients { to: vec![Identity::of_key("jwe", "me")], labels: None };
    reencrypt(&oci(from, Some("v1")), &oci(to, Some("v1")), &recipients, &Clear, None, progress)
}

fn opened(from: &Path, to: &Path, opener: &dyn Opener) -> Result<Written, Error> {
    decrypt(&oci(from, Some("v1")), &oci(to, Some("v1")), None, opener, None, &())
}

fn contents(root: &Path) -> Vec<Vec<u8>> {
    files(root).into_iter().map(|(_, content)| content).collect()
}

#[test]
fn what_it_decrypts_to_stays_and_every_key_is_new() {
    let dir = tempdir().unwrap();
    let [plain, sealed, new, back] = ["plain", "sealed", "new", "back"].map(|name| dir.path().join(name));
    let mut image = TestImage::new();
    image.add(&tar("gzip", 3_000_000), "+gzip");
    image.add(&tar("zstd", 70_000), "+zstd");
    image.add(&tar("in the clear", 50_000), "");
    image.write(&plain);
    image.encrypt(0);
    image.encrypt(1);
    image.write(&sealed);
    let made = anew(&sealed, &new, &()).unwrap();
    assert_eq!((made.changed_layers(), made.layers().count()), (2, 3));
    let types: Vec<&str> = made.layers().map(|layer| layer.media_type.as_str()).collect();
    assert!(types[0].ends_with(".tar+gzip+encrypted") && types[2].ends_with(".tar"), "{types:?}");
    opened(&new, &back, &Clear).unwrap();
    assert!(contents(&back) == contents(&plain));

    // Neither a layer nor a key is one of the old ones.
    let (old, new_ones) = (inspect(&oci(&sealed, None)).unwrap(), inspect(&oci(&new, None)).unwrap());
    for at in 0..2 {
        let (one, other) = (&old.manifests[0].layers[at], &new_ones.manifests[0].layers[at]);
        assert_ne!(one.digest, other.digest);
        let key = |layer: &holdfast_image::InspectedLayer| {
            let optsdata = OptsData::parse(Secret::copy_of(&layer.packets[0].packet.data)).unwrap();
            optsdata.symkey().expose().to_vec()
        };
        assert_ne!(key(one), key(other));
    }
}

/// Gives the old layers' keys for the new layers, by what both decrypt to.
struct Kept(HashMap<String, Vec<u8>>);

impl Opener for Kept {
    fn open(&self, packets: &[Packet]) -> Result<OptsData, Reason> {
        let new = OptsData::parse(Secret::copy_of(&packets[0].data))?;
        Ok(OptsData::parse(Secret::copy_of(&self.0[new.digest()]))?)
    }
}

#[test]
fn who_kept_the_old_keys_opens_nothing_of_it() {
    let dir = tempdir().unwrap();
    let [sealed, new, never] = ["sealed", "new", "never"].map(|name| dir.path().join(name));
    TestImage::encrypted().write(&sealed);
    let mut kept = HashMap::new();
    for layer in &inspect(&oci(&sealed, None)).unwrap().manifests[0].layers {
        let data = layer.packets[0].packet.data.clone();
        kept.insert(OptsData::parse(Secret::copy_of(&data)).unwrap().digest().to_owned(), data);
    }
    anew(&sealed, &new, &()).unwrap();
    let error = opened(&new, &never, &Kept(kept)).unwrap_err().to_string();
    assert!(error.contains("the MAC does not match"), "{error}");
}

#[test]
fn a_damaged_layer_is_not_made_into_a_good_one() {
    let refused = |damage: &dyn Fn(&mut TestImage), said: &str| {
        let dir = tempdir().unwrap();
        let mut image = TestImage::encrypted();
        damage(&mut image);
        image.write(&dir.path().join("sealed"));
        let before = files(dir.path());
        let error = anew(&dir.path().join("sealed"), &dir.path().join("new"), &()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(files(dir.path()) == before, "something stayed at the target");
    };
    refused(&|image| image.blobs[1][7] ^= 1, "the blob's digest is");
    refused(
        &|image| {
            image.change_optsdata(1, |json| json["cipheroptions"]["nonce"] = STANDARD.encode([7; 16]).into())
        },
        "not to the digest that was wrapped with its key",
    );
    let id = format!("sha256:{}", "0".repeat(64));
    refused(&|image| image.config["rootfs"]["diff_ids"][1] = id.clone().into(), "diff id");
    refused(
        &|image| image.change_optsdata(1, |json| json["digest"] = "".into()),
        "does not say what it decrypts to; decrypt the image",
    );
}

#[test]
fn an_interrupt_leaves_nothing_and_no_image_is_a_dry_one() {
    let dir = tempdir().unwrap();
    let sealed = dir.path().join("sealed");
    TestImage::encrypted().write(&sealed);
    let before = files(dir.path());
    assert!(anew(&sealed, &dir.path().join("new"), &Stops::default()).unwrap_err().is_cancelled());
    let from = oci(&sealed, None);
    let recipients = Recipients { to: vec![Identity::of_key("jwe", "me")], labels: None };
    let made = reencrypt(&from, &Nowhere(from.location()), &recipients, &Clear, None, &()).unwrap();
    assert_eq!(made.changed_layers(), 2);
    assert!(files(dir.path()) == before);
}

/// Counts the layers that it opens.
struct Counts(Mutex<usize>);

impl Rewrapper for Counts {
    fn open(&self, packets: &[Packet]) -> Result<Opened, Refusal> {
        *self.0.lock().unwrap() += 1;
        Rewrapper::open(&Clear, packets)
    }

    fn wrap(&self, optsdata: &OptsData, _: &Labels, _: &[Identity]) -> Result<Vec<Packet>, Reason> {
        holdfast_image::Wrapper::wrap(&Clear, optsdata)
    }
}

#[test]
fn layers_that_platforms_share_are_done_once() {
    let dir = tempdir().unwrap();
    let sealed = dir.path().join("sealed");
    let image = TestImage::encrypted();
    assert!(image.manifest["layers"][0]["annotations"][KEYS].is_string());
    let copy = || TestImage {
        manifest: image.manifest.clone(),
        config: image.config.clone(),
        blobs: image.blobs.clone(),
    };
    TestLayout::multi_platform(&sealed, copy);
    let counts = Counts(Mutex::new(0));
    let recipients = Recipients { to: vec![Identity::of_key("jwe", "me")], labels: None };
    let to = oci(&dir.path().join("new"), Some("v1"));
    let made = reencrypt(&oci(&sealed, None), &to, &recipients, &counts, None, &()).unwrap();
    assert!(made.manifests.len() > 1);
    assert_eq!(*counts.0.lock().unwrap(), 2);
    assert_eq!(made.manifests[0].layers[0].digest, made.manifests[1].layers[0].digest);
}
