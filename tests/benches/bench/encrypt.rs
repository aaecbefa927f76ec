//! An image encrypted to a public key: `holdfast image encrypt` against the distribution's skopeo.
//!
//! Both read one layout, write another beside it and flush it to the disk; the layers are gzip already, so
//! that neither compresses anything.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast_e2e::{binary, image, must};
use serde_json::{Value, json};

use crate::Plan;
use crate::process::children_cpu_seconds;
use crate::report::{Report, Round};

const LAYERS: usize = 3;
const LAYER_MIB: usize = 512;
/// Bytes at a time while the image is made.
const BLOCK: usize = 1 << 20;

/// `encrypt/vs-skopeo` and `encrypt/vs-skopeo/cpu`, from the same runs.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    const SPEED: &str = "encrypt/vs-skopeo";
    const CPU: &str = "encrypt/vs-skopeo/cpu";
    if !plan.wants(SPEED) && !plan.wants(CPU) {
        return;
    }
    let scene = Scene::new();
    let (mut speed, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let (ours, other) = (scene.ours(), scene.skopeo());
        let rate = |took: &Took| (LAYERS * LAYER_MIB) as f64 / took.seconds;
        speed.push(Round { ours: rate(&ours), other: rate(&other), cost: None });
        cpu.push(Round { ours: ours.cpu, other: other.cpu, cost: None });
    }
    scene.check();
    report.add(SPEED.into(), "MiB/s", &speed);
    report.add(CPU.into(), "CPU s", &cpu);
}

struct Scene {
    dir: tempfile::TempDir,
    plain: PathBuf,
    key: PathBuf,
}

/// What one run took.
struct Took {
    seconds: f64,
    /// User and system time on all cores, in seconds.
    cpu: f64,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let plain = dir.path().join("plain");
        make(&plain, &[LAYER_MIB << 20; LAYERS]);
        let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys/rsa3072.pem");
        Scene { dir, plain, key }
    }

    fn ours(&self) -> Took {
        let mut command = Command::new(binary("holdfast"));
        let to = format!("jwe:{}", self.key.with_extension("pub.pem").display());
        command.args(["image", "encrypt", "--to", &to]);
        self.time(command)
    }

    fn skopeo(&self) -> Took {
        let mut command = image::skopeo();
        let to = format!("jwe:{}", self.key.with_extension("pub.pem").display());
        command.args(["copy", "--quiet", "--encryption-key", &to]);
        self.time(command)
    }

    /// Runs it on an idle disk. What it made is `encrypted` till the next one.
    fn time(&self, mut command: Command) -> Took {
        let target = self.encrypted();
        let _ = std::fs::remove_dir_all(&target);
        rustix::fs::sync();
        let before = children_cpu_seconds();
        let begun = Instant::now();
        must(command.arg(image::oci(&self.plain)).arg(image::oci(&target)));
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = children_cpu_seconds() - before;
        let manifest = image::manifest(&target);
        for (old, new) in layers(&image::manifest(&self.plain)).zip(layers(&manifest)) {
            assert_eq!(old["size"], new["size"]);
            assert_eq!(new["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        }
        Took { seconds, cpu }
    }

    /// What ours writes opens in skopeo to the bytes that it was made from.
    fn check(&self) {
        self.ours();
        let opened = self.dir.path().join("opened");
        let mut command = image::skopeo();
        command.args(["copy", "--quiet", "--decryption-key"]).arg(&self.key);
        must(command.arg(image::oci(&self.encrypted())).arg(image::oci(&opened)));
        assert_eq!(image::layers(&self.plain), image::layers(&opened), "skopeo opens another image");
    }

    fn encrypted(&self) -> PathBuf {
        self.dir.path().join("encrypted")
    }
}

fn layers(manifest: &Value) -> impl Iterator<Item = &Value> {
    manifest["layers"].as_array().expect("layers").iter()
}

/// A layout with one image, `v1`, of random layers of so many bytes, and in gzip a few more without being
/// compressed.
pub(crate) fn make(layout: &Path, layers: &[usize]) {
    std::fs::create_dir_all(layout.join("blobs/sha256")).expect("a directory");
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for (number, &len) in layers.iter().enumerate() {
        let path = layout.join(format!("layer-{number}"));
        let mut tar = Context::new(&SHA256);
        let file = File::create(&path).expect("a file");
        let mut gzip = GzEncoder::new(file, Compression::none());
        let mut block = vec![0; BLOCK];
        for begin in (0..len).step_by(BLOCK) {
            let block = &mut block[..(len - begin).min(BLOCK)];
            aws_lc_rs::rand::fill(block).expect("random");
            tar.update(block);
            gzip.write_all(block).expect("room");
        }
        gzip.finish().expect("room");
        diff_ids.push(digest(tar));
        let mut blob = File::open(&path).expect("the file");
        let mut context = Context::new(&SHA256);
        let mut size = 0;
        while let n @ 1.. = blob.read(&mut block).expect("bytes") {
            context.update(&block[..n]);
            size += n;
        }
        let digest = digest(context);
        std::fs::rename(&path, image::blob(layout, &digest)).expect("a blob");
        descriptors.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size,
        }));
    }
    let config = document(
        layout,
        "application/vnd.oci.image.config.v1+json",
        &json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}),
    );
    let mut manifest = document(
        layout,
        "application/vnd.oci.image.manifest.v1+json",
        &json!({"schemaVersion": 2, "config": config, "layers": descriptors}),
    );
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(layout.join("index.json"), index.to_string()).expect("a file");
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
}

/// Writes a document and gives its descriptor.
fn document(layout: &Path, media_type: &str, json: &Value) -> Value {
    let text = json.to_string();
    let mut context = Context::new(&SHA256);
    context.update(text.as_bytes());
    let digest = digest(context);
    std::fs::write(image::blob(layout, &digest), &text).expect("a blob");
    json!({"mediaType": media_type, "digest": digest, "size": text.len()})
}

fn digest(context: Context) -> String {
    let hex: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
