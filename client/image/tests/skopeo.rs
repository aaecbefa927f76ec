//! Layers that the distribution's own skopeo encrypted, opened with an RSA key of the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use holdfast_image::{Opener, Packet, decrypt, inspect};
use holdfast_wire::{OptsData, Secret};
use serde_json::Value;
use support::{TestImage, files, oci};
use tempfile::tempdir;

/// Opens a flattened JWE of RSA-OAEP and A256GCM.
struct RsaKey(PrivateDecryptingKey);

impl RsaKey {
    fn new() -> RsaKey {
        RsaKey(PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap())
    }

    fn write_public(&self, path: &Path) {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        std::fs::write(path, format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"))
            .unwrap();
    }
}

impl Opener for RsaKey {
    fn open(&self, packets: &[Packet]) -> Result<OptsData, Box<dyn std::error::Error + Send + Sync>> {
        assert_eq!(packets.len(), 1);
        let jwe: Value = serde_json::from_slice(&packets[0].data)?;
        let member = |name: &str| URL_SAFE_NO_PAD.decode(jwe[name].as_str().unwrap()).unwrap();
        let key = OaepPrivateDecryptingKey::new(self.0.clone())?;
        let mut cek = vec![0; key.min_output_size()];
        let cek = key
            .decrypt(&OAEP_SHA1_MGF1SHA1, &member("encrypted_key"), &mut cek, None)
            .map_err(|_| "not this key")?;
        let mut content = [member("ciphertext"), member("tag")].concat();
        let aad = Aad::from(jwe["protected"].as_str().unwrap().as_bytes());
        let nonce = Nonce::try_assume_unique_for_key(&member("iv"))?;
        let opened =
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, cek)?).open_in_place(nonce, aad, &mut content)?;
        Ok(OptsData::parse(Secret::copy_of(opened))?)
    }
}

fn skopeo_encrypts(public: &Path, from: &Path, to: &Path) {
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--all", "--quiet", "--encryption-key"])
        .arg(format!("jwe:{}", public.display()))
        .arg(format!("oci:{}:v1", from.display()))
        .arg(format!("oci:{}:v1", to.display()))
        .output()
        .unwrap_or_else(|error| panic!("skopeo does not run ({error}); apt install skopeo"));
    assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_skopeo_encrypts_comes_back_with_the_same_digests() {
    let dir = tempdir().unwrap();
    let (plain, sealed, opened) =
        (dir.path().join("plain"), dir.path().join("sealed"), dir.path().join("opened"));
    let key = RsaKey::new();
    key.write_public(&dir.path().join("public.pem"));
    TestImage::plain().write(&plain);
    skopeo_encrypts(&dir.path().join("public.pem"), &plain, &sealed);

    let read = inspect(&oci(&sealed, None)).unwrap();
    for layer in &read.manifests[0].layers {
        assert!(layer.encrypted);
        assert_eq!(layer.cipher.as_deref(), Some("AES_256_CTR_HMAC_SHA256"));
        assert_eq!(layer.packets[0].packet.scheme, "jwe");
        assert_eq!(layer.packets[0].recipients[0].algorithm.as_deref(), Some("RSA-OAEP"));
    }

    let made = decrypt(&oci(&sealed, Some("v1")), &oci(&opened, Some("v1")), None, &key, None, &()).unwrap();
    assert_eq!(made.changed_layers(), 2);
    let original = inspect(&oci(&plain, None)).unwrap();
    let layers = |manifest: &holdfast_image::InspectedManifest| -> Vec<String> {
        manifest.layers.iter().map(|layer| layer.digest.to_string()).collect()
    };
    let result = inspect(&oci(&opened, None)).unwrap();
    assert_eq!(layers(&result.manifests[0]), layers(&original.manifests[0]));
    // The config too, and even the manifest, since skopeo writes both as this test does.
    assert_eq!(made.digest, original.digest);
    assert!(files(&opened).len() == files(&plain).len());
}

#[test]
fn another_key_opens_nothing() {
    let dir = tempdir().unwrap();
    let (plain, sealed, opened) =
        (dir.path().join("plain"), dir.path().join("sealed"), dir.path().join("opened"));
    RsaKey::new().write_public(&dir.path().join("public.pem"));
    TestImage::plain().write(&plain);
    skopeo_encrypts(&dir.path().join("public.pem"), &plain, &sealed);
    let error =
        decrypt(&oci(&sealed, None), &oci(&opened, None), None, &RsaKey::new(), None, &()).unwrap_err();
    assert!(error.to_string().ends_with("not this key"), "{error}");
    assert!(!opened.exists());
}
