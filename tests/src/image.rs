//! A real image of several layers, made by umoci, and what skopeo does with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let index = read_json(&layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest");
    read_json(&blob(layout, digest))
}

/// The digests of its layers.
pub fn layers(layout: &Path) -> Vec<String> {
    let manifest = manifest(layout);
    let layers = manifest["layers"].as_array().expect("layers").iter();
    layers.map(|layer| layer["digest"].as_str().expect("a digest").to_owned()).collect()
}

/// The annotations `org.opencontainers.image.enc.keys.SCHEME` of each layer, decoded from base64.
pub fn packets(layout: &Path, scheme: &str) -> Vec<Vec<u8>> {
    let manifest = manifest(layout);
    let layers = manifest["layers"].as_array().expect("layers").iter();
    let name = format!("org.opencontainers.image.enc.keys.{scheme}");
    layers.map(|layer| from_base64(layer["annotations"][&name].as_str().expect("an annotation"))).collect()
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

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    aws_lc_rs::rand::fill(&mut bytes).expect("random");
    bytes
}
