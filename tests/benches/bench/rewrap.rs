//! An image of 1 GiB in a registry gets another key: `holdfast image rewrap` against what is done without it,
//! skopeo pulling and decrypting it, encrypting it anew and pushing it.

use std::path::Path;
use std::time::Instant;

use holdfast_e2e::counted::Counted;
use holdfast_e2e::house::{Daemon, House};
use holdfast_e2e::peers::registry::Registry;
use holdfast_e2e::peers::{Peers, succeeds};
use holdfast_e2e::{image, must};
use hsm_sim::KeyKind;

use crate::Plan;
use crate::encrypt::make;
use crate::report::{Report, Round};

const LAYERS: [usize; 2] = [1 << 29, 1 << 29];
/// Bytes that may go over the wire, both ways and headers included.
const BOUND: f64 = 65_536.0;

const TIME: &str = "rewrap/vs-reencrypt";
const BYTES: &str = "rewrap/bytes";

/// Both rows, from the same runs.
pub(crate) fn run(plan: &Plan, report: &mut Report) {
    if !plan.wants(TIME) && !plan.wants(BYTES) {
        return;
    }
    println!("{TIME} …");
    let scene = Scene::new();
    let (mut time, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        scene.publish();
        let (ours, moved) = scene.ours();
        scene.publish();
        time.push(Round { ours, other: scene.skopeo(), cost: None });
        bytes.push(Round { ours: moved as f64, other: BOUND, cost: None });
    }
    report.add(TIME.into(), "s", &time);
    report.add(BYTES.into(), "bytes", &bytes);
}

struct Scene {
    house: House,
    peers: Peers,
    registry: Registry,
    _daemon: Daemon,
}

impl Scene {
    fn new() -> Scene {
        let house = House::new().key("old", KeyKind::Rsa3072).key("new", KeyKind::EcP256);
        let peers = Peers::of(&house);
        let registry = Registry::start(&peers);
        let daemon = house.start();
        make(&house.dir.path().join("plain"), &LAYERS);
        let scene = Scene { house, peers, registry, _daemon: daemon };
        scene.copy(
            &["--encryption-key", "provider:holdfast:old"],
            &scene.layout("plain"),
            &scene.layout("sealed"),
        );
        scene
    }

    /// The image as it was before its key changed. Its layers are there from the second time on.
    fn publish(&self) {
        self.copy(&["--dest-tls-verify=false"], &self.layout("sealed"), &self.registry.image("app"));
    }

    /// Seconds, and bytes on the wire.
    fn ours(&self) -> (f64, u64) {
        let way = Counted::way_to(self.registry.address());
        let name = format!("docker://{}/app:v1", way.address());
        let mut rewrap = self.house.holdfast();
        rewrap.args(["image", "rewrap", &name, "--to", "holdfast:new"]);
        rewrap.env("HOME", self.house.dir.path()).env_remove("XDG_RUNTIME_DIR");
        let begun = Instant::now();
        let said = must(&mut rewrap);
        let took = begun.elapsed().as_secs_f64();
        assert!(said.contains("2 of 2 layers re-wrapped"), "{said}");
        (took, way.bytes())
    }

    /// Seconds.
    fn skopeo(&self) -> f64 {
        let opened = self.house.dir.path().join("opened");
        let _ = std::fs::remove_dir_all(&opened);
        let (from, to) = (self.registry.image("app"), self.registry.image("app"));
        let begun = Instant::now();
        let decrypt = ["--src-tls-verify=false", "--decryption-key", "provider:holdfast"];
        self.copy(&decrypt, &from, &image::oci(&opened));
        let encrypt = ["--dest-tls-verify=false", "--encryption-key", "provider:holdfast:new"];
        self.copy(&encrypt, &image::oci(&opened), &to);
        begun.elapsed().as_secs_f64()
    }

    fn layout(&self, name: &str) -> String {
        let path: &Path = self.house.dir.path();
        image::oci(&path.join(name))
    }

    fn copy(&self, options: &[&str], from: &str, to: &str) {
        let mut copy = self.peers.skopeo();
        copy.args(["copy", "--quiet"]).args(options).args([from, to]);
        succeeds(copy);
    }
}
