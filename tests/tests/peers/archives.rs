//! Images in tar archives between us and the others: what skopeo and podman write is read, and they read ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_e2e::house::{House, file};
use holdfast_e2e::image;
use holdfast_e2e::must;
use holdfast_e2e::peers::{Peers, succeeds};
use hsm_sim::KeyKind;

const PROVIDER: &str = "provider:holdfast";

struct Scene {
    house: House,
    peers: Peers,
    plain: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let house = House::new().key("images", KeyKind::EcP256);
        let peers = Peers::of(&house);
        let plain = image::build(house.dir.path(), 3);
        Scene { house, peers, plain }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.house.dir.path().join(name)
    }

    fn archive(&self, transport: &str, name: &str, image: &str) -> String {
        format!("{transport}:{}:{image}", self.at(name).display())
    }

    fn holdfast(&self, verb: &str, from: &str, to: &str) -> Command {
        let mut command = self.house.holdfast();
        command.args(["image", verb, from, to]);
        command
    }

    fn encrypt(&self, from: &str, to: &str) {
        must(self.holdfast("encrypt", from, to).args(["--to", "holdfast:images"]));
    }

    /// skopeo copies as it is, without compressing what was not.
    fn copy(&self, from: &str, to: &str, options: &[&str]) {
        let mut skopeo = self.peers.skopeo();
        skopeo.args(["copy", "--dest-oci-accept-uncompressed-layers"]).args(options).args([from, to]);
        succeeds(skopeo);
    }

    /// The layout `name` is the image `plain`.
    fn is(&self, name: &str, plain: &Path) {
        assert!(image::same_layers(plain, &self.at(name)), "{name}");
    }
}

#[test]
fn skopeo_and_we_read_each_others_oci_archives() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let plain = image::oci(&scene.plain);
    let [ours, theirs] = ["ours.tar", "theirs.tar"].map(|name| scene.archive("oci-archive", name, "v1"));
    scene.encrypt(&plain, &ours);
    scene.copy(&ours, &image::oci(&scene.at("by-skopeo")), &["--decryption-key", PROVIDER]);
    scene.is("by-skopeo", &scene.plain);

    scene.copy(&plain, &theirs, &["--encryption-key", "provider:holdfast:images"]);
    must(&mut scene.holdfast("decrypt", &theirs, &image::oci(&scene.at("by-us"))));
    scene.is("by-us", &scene.plain);
    let opened = scene.archive("oci-archive", "opened.tar", "app:v1");
    must(&mut scene.holdfast("decrypt", &theirs, &opened));
    scene.copy(&opened, &image::oci(&scene.at("copied")), &[]);
    scene.is("copied", &scene.plain);
}

#[test]
fn what_is_saved_in_dockers_form_is_encrypted() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let saved = scene.archive("docker-archive", "saved.tar", "registry.example/app:v1");
    scene.copy(&image::oci(&scene.plain), &saved, &[]);
    let tars = scene.at("tars");
    scene.copy(&saved, &image::oci(&tars), &[]);
    let ours = scene.archive("oci-archive", "ours.tar", "v1");
    scene.encrypt(&saved, &ours);
    scene.copy(&ours, &image::oci(&scene.at("by-skopeo")), &["--decryption-key", PROVIDER]);
    scene.is("by-skopeo", &tars);
    must(&mut scene.holdfast("decrypt", &ours, &image::oci(&scene.at("by-us"))));
    scene.is("by-us", &tars);
}

#[test]
fn podman_saves_what_we_encrypt_and_loads_what_we_opened() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    file(scene.house.dir.path(), "containers.conf", "");
    let podman = |args: &[&str]| {
        let mut podman = scene.peers.podman();
        podman.args(args);
        succeeds(podman)
    };
    let id = podman(&["pull", "--quiet", &image::oci(&scene.plain)]);
    for (format, name) in [("docker-archive", "docker.tar"), ("oci-archive", "oci.tar")] {
        let saved = scene.at(name);
        podman(&["save", "--quiet", "--format", format, "--output", saved.to_str().unwrap(), id.trim()]);
        let sealed = scene.archive("oci-archive", &format!("sealed-{name}"), "v1");
        scene.encrypt(&format!("{format}:{}", saved.display()), &sealed);
        let opened = scene.at(&format!("opened-{name}"));
        must(&mut scene.holdfast("decrypt", &sealed, &format!("oci-archive:{}:app:v1", opened.display())));
        podman(&["rmi", "--force", "--all"]);
        let said = podman(&["load", "--quiet", "--input", opened.to_str().unwrap()]);
        assert!(said.contains("app:v1"), "{said}");
        // Of the config, and so of all that layers decrypt to.
        let loaded = podman(&["images", "--quiet", "--no-trunc"]);
        assert_eq!(loaded.trim().trim_start_matches("sha256:"), id.trim(), "{format}");
    }
}
