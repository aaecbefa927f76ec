//! A real image of several layers, made by umoci, and what skopeo does with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::House;
use crate::must;

/// Makes an OCI layout with one image (`v1`) of `layers` layers, each some files, and gives its directory.
pub fn build(dir: &Path, layers: usize) -> PathBuf {
    let layout = dir.join("plain");
    must(umoci().arg("init").arg("--layout").arg(&layout));
    let image = format!("{}:v1", layout.display());
    must(umoci().args(["new", "--image", &image]));
    for layer in 0..layers {
        let tree = dir.join(format!("tree-{layer}"));
        fs::create_dir_all(tree.join("sub")).expect("a directory");
        fs::write(tree.join("sub/text"), format!("layer {layer}\n").repeat(1000 * (layer + 1)))
            .expect("a file");
        fs::write(tree.join("noise"), noise(40_000 + 3_001 * layer)).expect("a file");
        let to = format!("/opt/layer-{layer}");
        must(umoci().args(["insert", "--image", &image]).arg(&tree).arg(&to));
    }
    layout
}

/// Makes an OCI layout with one image (`v1`) whose layers are these files, each at a path of its own.
pub fn of_files(layout: &Path, files: &[(&Path, &str)]) {
    must(umoci().arg("init").arg("--layout").arg(layout));
    let image = format!("{}:v1", layout.display());
    must(umoci().args(["new", "--image", &image]));
    for (file, to) in files {
        must(umoci().args(["insert", "--image", &image]).arg(file).arg(to));
    }
}

/// Says what the image `v1` of a layout runs when it is told nothing.
pub fn set_command(layout: &Path, command: &[&str]) {
    let mut umoci = umoci();
    umoci.args(["config", "--image", &format!("{}:v1", layout.display())]);
    for word in command {
        umoci.args(["--config.cmd", word]);
    }
    must(&mut umoci);
}

/// A plain image of three layers, and the same encrypted by skopeo to a key of the house.
pub fn plain_and_encrypted(house: &House, label: &str) -> (PathBuf, PathBuf) {
    let plain = build(house.dir.path(), 3);
    let encrypted = house.dir.path().join("encrypted");
    skopeo_encrypt(&plain, &encrypted, &[&format!("jwe:{}", house.public_key_file(label).display())]);
    (plain, encrypted)
}

/// Encrypts every layer of `from:v1` with the distribution's skopeo.
pub fn skopeo_encrypt(from: &Path, to: &Path, keys: &[&str]) {
    let mut command = skopeo();
    command.arg("copy");
    for key in keys {
        command.args(["--encryption-key", key]);
    }
    must(
        command
            .args(["--encrypt-layer", "0", "--encrypt-layer", "1", "--encrypt-layer", "2"])
            .arg(oci(from))
            .arg(oci(to)),
    );
}

/// A certificate of a key that stays in its token, as skopeo takes it for `pkcs7:`. Signed by a key made for it, since
/// ocicrypt looks at nothing but the public key, the issuer and the serial number.
pub fn certificate(public_key: &Path) -> PathBuf {
    let (signer, certificate) = (public_key.with_extension("signer"), public_key.with_extension("crt"));
    let openssl = || hsm_sim::command("openssl", "openssl").expect("openssl");
    must(openssl().args(["genpkey", "-algorithm", "RSA", "-out"]).arg(&signer));
    must(
        openssl()
            .args(["x509", "-new", "-subj", "/CN=images", "-days", "2", "-key"])
            .arg(&signer)
            .arg("-force_pubkey")
            .arg(public_key)
            .arg("-out")
            .arg(&certificate),
    );
    certificate
}

/// skopeo, with what it needs to run without a configuration of the machine.
pub fn skopeo() -> Command {
    let mut command = hsm_sim::command("skopeo", "skopeo").expect("skopeo");
    command.arg("--insecure-policy");
    command
}

/// `oci:DIR:v1`
pub fn oci(layout: &Path) -> String {
    format!("oci:{}:v1", layout.display())
}

/// The manifest of `layout:v1`.
pub fn manifest(layout: &Path) -> serde_json::Value {
    read_json(&blob(layout, &manifest_digest(layout)))
}

/// Its digest.
pub fn manifest_digest(layout: &Path) -> String {
    let index = read_json(&layout.join("index.json"));
    index["manifests"][0]["digest"].as_str().expect("a digest").to_owned()
}

/// The digests of its layers.
pub fn layers(layout: &Path) -> Vec<String> {
    let manifest = manifest(layout);
    let layers = manifest["layers"].as_array().expect("layers").iter();
    layers.map(|layer| layer["digest"].as_str().expect("a digest").to_owned()).collect()
}

/// The annotation `org.opencontainers.image.enc.keys.SCHEME` of each layer.
pub fn annotations(layout: &Path, scheme: &str) -> Vec<String> {
    let manifest = manifest(layout);
    let layers = manifest["layers"].as_array().expect("layers").iter();
    let name = format!("org.opencontainers.image.enc.keys.{scheme}");
    layers.map(|layer| layer["annotations"][&name].as_str().expect("an annotation").to_owned()).collect()
}

/// The packet in each of them, where it is one.
pub fn packets(layout: &Path, scheme: &str) -> Vec<Vec<u8>> {
    annotations(layout, scheme).iter().map(|text| from_base64(text)).collect()
}

/// Changes the manifest of `layout:v1` and makes the index point to what it became.
pub fn change_manifest(layout: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut changed = manifest(layout);
    change(&mut changed);
    let bytes = serde_json::to_vec(&changed).expect("JSON");
    let digest = digest(&bytes);
    fs::write(blob(layout, &digest), &bytes).expect("a blob");
    let path = layout.join("index.json");
    let mut index = read_json(&path);
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = bytes.len().into();
    fs::write(path, serde_json::to_vec(&index).expect("JSON")).expect("an index");
}

/// Makes a layer of `layout:v1` an uncompressed tar.
pub fn uncompress(layout: &Path, at: usize) {
    let old = blob(layout, &layers(layout)[at]);
    let output = hsm_sim::command("gzip", "gzip").expect("gzip").args(["-dc"]).arg(old).output();
    replace_layer(layout, at, &output.expect("gzip").stdout);
    change_manifest(layout, |manifest| {
        manifest["layers"][at]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    });
}

/// Puts other bytes in the place of a layer's; what the manifest says besides of it stays.
pub fn replace_layer(layout: &Path, at: usize, bytes: &[u8]) {
    let digest = digest(bytes);
    fs::write(blob(layout, &digest), bytes).expect("a blob");
    change_manifest(layout, |manifest| {
        let layer = &mut manifest["layers"][at];
        layer["digest"] = digest.into();
        layer["size"] = bytes.len().into();
    });
}

/// Calls the one image of a layout `v1`; what it was called by whoever wrote it is their affair.
pub fn tag(layout: &Path) {
    let path = layout.join("index.json");
    let mut index = read_json(&path);
    index["manifests"][0]["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "v1"});
    fs::write(path, serde_json::to_vec(&index).expect("JSON")).expect("an index");
}

/// A blob's file.
pub fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").expect("sha256"))
}

/// Whether both layouts hold the same layers, byte for byte.
pub fn same_layers(one: &Path, other: &Path) -> bool {
    let digests = layers(one);
    digests == layers(other)
        && digests.iter().all(|digest| {
            let read = |layout| fs::read(blob(layout, digest)).expect("a blob");
            read(one) == read(other)
        })
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

fn umoci() -> Command {
    hsm_sim::command("umoci", "umoci").expect("umoci")
}

/// Bytes that nothing compresses.
pub fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    aws_lc_rs::rand::fill(&mut bytes).expect("random");
    bytes
}
