//! An image encrypted to a public key, and opened again: `holdfast image encrypt` and `decrypt` against the
//! distribution's skopeo.
//!
//! Both read one layout, write another beside it and flush it to the disk; the layers are gzip already, so
//! that neither compresses anything. To open it skopeo has the private key in a file, ours asks the daemon,
//! whose key is in the token.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::{image, must};
use hsm_sim::KeyKind;
use serde_json::{Value, json};

use crate::Plan;
use crate::process::children_cpu_seconds;
use crate::report::{Report, Round};

const LAYERS: usize = 3;
const LAYER_MIB: usize = 1024;
/// Each takes skopeo half a minute.
const MAX_ROUNDS: usize = 3;
/// Bytes at a time while the image is made.
const BLOCK: usize = 1 << 20;

/// `encrypt/vs-skopeo`, `decrypt/vs-skopeo`, and the CPU time of the same runs.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    let rows = |what: Work| [format!("{}/vs-skopeo", what.verb()), format!("{}/vs-skopeo/cpu", what.verb())];
    let wanted = |what: &Work| rows(*what).iter().any(|row| plan.wants(row));
    let wanted: Vec<Work> = [Work::Encrypt, Work::Decrypt].into_iter().filter(wanted).collect();
    if wanted.is_empty() {
        return;
    }
    println!("{}: {LAYERS} layers of {LAYER_MIB} MiB, minutes …", rows(wanted[0])[0]);
    let scene = Scene::new();
    for what in wanted {
        let (mut speed, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds.min(MAX_ROUNDS) {
            let (ours, other) = (scene.time(what, scene.ours(what)), scene.time(what, scene.skopeo(what)));
            let rate = |took: &Took| (LAYERS * LAYER_MIB) as f64 / took.seconds;
            speed.push(Round { ours: rate(&ours), other: rate(&other), cost: None });
            cpu.push(Round { ours: ours.cpu, other: other.cpu, cost: None });
        }
        scene.check(what);
        let [speed_row, cpu_row] = rows(what);
        report.add(speed_row, "MiB/s", &speed);
        report.add(cpu_row, "CPU s", &cpu);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Encrypt,
    Decrypt,
}

impl Work {
    fn verb(self) -> &'static str {
        match self {
            Work::Encrypt => "encrypt",
            Work::Decrypt => "decrypt",
        }
    }
}

struct Scene {
    house: House,
    _daemon: Daemon,
    plain: PathBuf,
    /// For both to open.
    sealed: PathBuf,
    /// The private key in a file.
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
        let house = House::new().key("images", KeyKind::Rsa3072);
        let daemon = house.start();
        let (plain, sealed) = (house.dir.path().join("plain"), house.dir.path().join("sealed"));
        make(&plain, &[LAYER_MIB << 20; LAYERS]);
        let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys/rsa3072.pem");
        let scene = Scene { house, _daemon: daemon, plain, sealed, key };
        let mut both = scene.ours(Work::Encrypt);
        both.args(["--to", "holdfast:images"]).arg(image::oci(&scene.plain)).arg(image::oci(&scene.sealed));
        must(&mut both);
        scene
    }

    fn ours(&self, what: Work) -> Command {
        let mut command = self.house.holdfast();
        command.args(["image", what.verb()]);
        if what == Work::Encrypt {
            command.args(["--to", &self.public_key()]);
        }
        command
    }

    fn skopeo(&self, what: Work) -> Command {
        let mut command = image::skopeo();
        command.args(["copy", "--quiet"]);
        match what {
            Work::Encrypt => command.args(["--encryption-key", &self.public_key()]),
            Work::Decrypt => command.arg("--decryption-key").arg(&self.key),
        };
        command
    }

    fn public_key(&self) -> String {
        format!("jwe:{}", self.key.with_extension("pub.pem").display())
    }

    /// Runs it on an idle disk. What it made is `made` till the next one.
    fn time(&self, what: Work, mut command: Command) -> Took {
        let (source, target) = (self.source(what), self.made());
        let _ = std::fs::remove_dir_all(&target);
        rustix::fs::sync();
        let before = children_cpu_seconds();
        let begun = Instant::now();
        must(command.arg(image::oci(source)).arg(image::oci(&target)));
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = children_cpu_seconds() - before;
        let suffix = if what == Work::Encrypt { "+encrypted" } else { "" };
        let manifest = image::manifest(&target);
        for (old, new) in layers(&image::manifest(source)).zip(layers(&manifest)) {
            assert_eq!(old["size"], new["size"]);
            assert_eq!(new["mediaType"], format!("application/vnd.oci.image.layer.v1.tar+gzip{suffix}"));
        }
        Took { seconds, cpu }
    }

    /// What ours writes opens in skopeo, or is already, the bytes that it was made from.
    fn check(&self, what: Work) {
        self.time(what, self.ours(what));
        let mut opened = self.made();
        if what == Work::Encrypt {
            opened = self.house.dir.path().join("opened");
            must(self.skopeo(Work::Decrypt).arg(image::oci(&self.made())).arg(image::oci(&opened)));
        }
        assert_eq!(image::layers(&self.plain), image::layers(&opened), "it opens to another image");
        std::fs::remove_dir_all(opened).expect("what was opened");
    }

    fn source(&self, what: Work) -> &Path {
        match what {
            Work::Encrypt => &self.plain,
            Work::Decrypt => &self.sealed,
        }
    }

    fn made(&self) -> PathBuf {
        self.house.dir.path().join("made")
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
