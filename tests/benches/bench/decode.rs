//! One layer as containerd has it decrypted: `holdfast decode` against Debian 13's ctd-decoder, which asks the
//! same daemon as a key provider, and against what the machine's OpenSSL makes of the same cipher.
//!
//! The same lines of shell start both, and tell how long they took. The layers lie in the page cache.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::peers::{Peers, decoder, succeeds};
use holdfast_e2e::{binary, image, must};
use hsm_sim::KeyKind;

use crate::Plan;
use crate::encrypt::make;
use crate::process::memory;
use crate::report::{Report, Round};

const LARGE: usize = 1 << 30;
const SMALL: usize = 1 << 10;
/// Starts of one round.
const STARTS: usize = 30;
/// What a decoder may take, in MiB, whatever the layer's length.
const BOUND: f64 = 16.0;
/// Bytes that are left unread, more than a pipe holds: so the decoder still lives.
const LEFT: u64 = 1 << 20;

const VS_DECODER: &str = "decode/vs-ctd-decoder";
const VS_DECODER_PIPES: &str = "decode/vs-ctd-decoder/pipes";
const VS_DECODER_CONTAINERD: &str = "decode/vs-ctd-decoder/containerd";
const MAC: &str = "decode/mac/vs-ctd-decoder";
const VS_BOUND: &str = "decode/vs-bound";
const VS_BOUND_PIPES: &str = "decode/vs-bound/pipes";
const VS_BOUND_CONTAINERD: &str = "decode/vs-bound/containerd";
const START: &str = "decode/start";
const MEMORY: &str = "decode/memory";

/// From a file to nowhere, where the blob can be read twice.
const FILES: &str = r#""$@" <"$blob" 3<"$payload" >/dev/null"#;
/// From a pipe that nothing is known of, into another.
const PIPES: &str = r#"cat "$blob" | "$@" 3<"$payload" | cat >/dev/null"#;
/// As containerd has it: from a pipe into another, and who started it has the blob open.
const CONTAINERD: &str = r#"exec 9<"$blob"; cat "$blob" | "$@" 3<"$payload" | cat >/dev/null"#;
/// Into a pipe.
const STARTED: &str = r#"got=$("$@" <"$blob" 3<"$payload")"#;

/// All rows, as far as they are wanted.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    let against_decoder =
        [(VS_DECODER, FILES), (VS_DECODER_CONTAINERD, CONTAINERD), (VS_DECODER_PIPES, PIPES)];
    let against_bound = [(VS_BOUND, FILES), (VS_BOUND_CONTAINERD, CONTAINERD), (VS_BOUND_PIPES, PIPES)];
    let each = against_decoder.iter().chain(&against_bound).map(|(row, _)| *row);
    let rows: Vec<&str> = each.chain([MAC, START, MEMORY]).collect();
    if !rows.iter().any(|row| plan.wants(row)) {
        return;
    }
    let scene = Scene::new();
    let add = |report: &mut Report, name: &str, unit, round: &dyn Fn() -> Round| {
        if plan.wants(name) {
            println!("{name} …");
            let rounds: Vec<Round> = (0..plan.rounds).map(|_| round()).collect();
            report.add(name.into(), unit, &rounds);
        }
    };
    let rate = |seconds: f64| LARGE as f64 / seconds / 1e6;
    for (row, way) in against_decoder {
        add(report, row, "MB/s", &|| {
            let (ours, other) = (scene.ours(0, way, 1), scene.ctd_decoder(0, way, 1));
            Round { ours: rate(ours), other: rate(other), cost: None }
        });
    }
    add(report, MAC, "MB/s", &|| Round {
        ours: openssl(&["-hmac", "sha256"]),
        other: rate(scene.ctd_decoder(0, FILES, 1)),
        cost: None,
    });
    for (row, way) in against_bound {
        add(report, row, "MB/s", &|| {
            let ours = scene.ours(0, way, 1);
            Round { ours: rate(ours), other: bound(), cost: None }
        });
    }
    add(report, START, "ms", &|| {
        let (ours, other) = (scene.ours(1, STARTED, STARTS), scene.ctd_decoder(1, STARTED, STARTS));
        let each = |seconds: f64| seconds * 1e3 / STARTS as f64;
        Round { ours: each(ours), other: each(other), cost: None }
    });
    add(report, MEMORY, "MiB", &|| Round { ours: scene.peak(), other: BOUND, cost: None });
}

struct Scene {
    house: House,
    peers: Peers,
    _daemon: Daemon,
    /// Blob and payload of each layer.
    layers: Vec<(PathBuf, PathBuf)>,
}

impl Scene {
    fn new() -> Scene {
        let house = House::new().key("images", KeyKind::EcP256);
        let peers = Peers::of(&house);
        let daemon = house.start();
        let (plain, sealed) = (house.dir.path().join("plain"), house.dir.path().join("sealed"));
        make(&plain, &[LARGE, SMALL]);
        let mut encrypt = house.holdfast();
        encrypt.args(["image", "encrypt", "--to", "holdfast:images"]);
        must(encrypt.arg(image::oci(&plain)).arg(image::oci(&sealed)));
        let manifest = image::manifest(&sealed);
        let layers =
            manifest["layers"].as_array().expect("layers").iter().enumerate().map(|(number, layer)| {
                let payload = house.dir.path().join(format!("payload-{number}"));
                std::fs::write(&payload, decoder::payload(layer)).expect("a file");
                (image::blob(&sealed, layer["digest"].as_str().expect("a digest")), payload)
            });
        let layers = layers.collect();
        let scene = Scene { house, peers, _daemon: daemon, layers };
        scene.check(&plain);
        scene
    }

    /// Ours gives the layer that was encrypted.
    fn check(&self, plain: &Path) {
        let layer = &image::layers(plain)[0];
        let mut command = Command::new("sh");
        command.args(["-c", r#"blob=$1 payload=$2; shift 2; "$@" <"$blob" 3<"$payload" | cmp - "$0""#]);
        command.arg(image::blob(plain, layer));
        must(self.with(command, 0).arg(binary("holdfast")).arg("decode"));
    }

    fn ours(&self, layer: usize, way: &str, times: usize) -> f64 {
        let mut command = Command::new("sh");
        command.args(["-c", &timed(way, times), "sh"]);
        seconds(&must(self.with(command, layer).arg(binary("holdfast")).arg("decode")))
    }

    fn ctd_decoder(&self, layer: usize, way: &str, times: usize) -> f64 {
        let mut command = self.peers.command("sh");
        command.args(["-c", &timed(way, times), "sh"]);
        let mut command = self.with(command, layer);
        command.arg("ctd-decoder");
        seconds(&succeeds(command))
    }

    fn with(&self, mut command: Command, layer: usize) -> Command {
        let (blob, payload) = &self.layers[layer];
        command.arg(blob).arg(payload).env("HOLDFAST_SOCKET", self.house.socket());
        command
    }

    /// Memory at its highest, when nearly all of the layer has been written.
    fn peak(&self) -> f64 {
        let (blob, payload) = &self.layers[0];
        let mut command = Command::new("sh");
        command.args(["-c", r#"blob=$1 payload=$2; shift 2; exec "$@" <"$blob" 3<"$payload""#, "sh"]);
        command.arg(blob).arg(payload).arg(binary("holdfast")).arg("decode");
        command.env("HOLDFAST_SOCKET", self.house.socket()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("holdfast");
        let mut stdout = child.stdout.take().expect("a pipe");
        let most = std::fs::metadata(blob).expect("the blob").len() - LEFT;
        std::io::copy(&mut (&mut stdout).take(most), &mut std::io::sink()).expect("the layer");
        let peak = memory(child.id()).peak;
        std::io::copy(&mut stdout, &mut std::io::sink()).expect("the rest");
        assert!(child.wait().expect("an end").success());
        peak
    }
}

/// Shell that does it so many times and prints the nanoseconds that all took.
fn timed(way: &str, times: usize) -> String {
    format!(
        r#"set -e; blob=$1 payload=$2; shift 2; begun=$(date +%s%N); i=0
while [ $i -lt {times} ]; do {way}; i=$((i + 1)); done; echo $(($(date +%s%N) - begun))"#
    )
}

fn seconds(printed: &str) -> f64 {
    printed.trim().parse::<f64>().expect("nanoseconds") / 1e9
}

/// What one thread could do at best in one pass, in MB/s: AES-256-CTR and HMAC-SHA-256, one after the other
/// over blocks of 1 MiB, as OpenSSL does each.
fn bound() -> f64 {
    let (ctr, hmac) = (openssl(&["-evp", "aes-256-ctr"]), openssl(&["-hmac", "sha256"]));
    1.0 / (1.0 / ctr + 1.0 / hmac)
}

/// The speed in MB/s, which stands in kB at the end of the last line.
fn openssl(what: &[&str]) -> f64 {
    let mut command = hsm_sim::command("openssl", "openssl").expect("openssl");
    let printed = must(command.args(["speed", "-elapsed", "-seconds", "1", "-bytes", "1048576"]).args(what));
    let last = printed.split_whitespace().next_back().expect("a speed");
    last.trim_end_matches('k').parse::<f64>().expect("kB/s") / 1e3
}
