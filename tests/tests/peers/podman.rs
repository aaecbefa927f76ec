//! podman, which pulls, decrypts and runs by itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::image;
use holdfast_e2e::peers::{Peers, debian_file, fails, succeeds};
use hsm_sim::KeyKind;

use super::scene::ends_in;

const DENIED: &str = "no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration";

struct Scene {
    house: House,
    peers: Peers,
    sealed: PathBuf,
}

impl Scene {
    /// An image that says `hello` when it runs, wrapped through the daemon.
    fn new() -> Scene {
        let house = House::new().key("images", KeyKind::EcP256);
        let peers = Peers::of(&house);
        let dir = house.dir.path().to_owned();
        file(&dir, "containers.conf", "");
        let (plain, sealed) = (dir.join("plain"), dir.join("sealed"));
        let text = file(&dir, "text", "hello");
        image::of_files(&plain, &[(&debian_file("usr/bin/busybox"), "/bin/busybox"), (&text, "/text")]);
        image::set_command(&plain, &["/bin/busybox", "cat", "/text"]);
        let daemon = house.start();
        succeeds(peers.wrap(&plain, &sealed, &["provider:holdfast:images"]));
        assert!(daemon.stop().success());
        Scene { house, peers, sealed }
    }

    fn pull(&self, options: &[&str]) -> Command {
        let mut command = self.peers.podman();
        command.args(["pull", "--quiet"]).args(options).arg(image::oci(&self.sealed));
        command
    }

    /// There is no image, not even a part of one.
    fn nothing_was_pulled(&self) {
        let mut command = self.peers.podman();
        command.args(["images", "--quiet", "--all"]);
        assert_eq!(succeeds(command), "");
    }
}

const KEY: [&str; 2] = ["--decryption-key", "provider:holdfast"];

#[test]
fn it_pulls_through_the_daemon_and_runs_what_it_pulled() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let before = scene.house.audit().len();
    let pulled = succeeds(scene.pull(&KEY));
    assert_eq!(scene.house.audit().len() - before, 2, "one record a layer");
    let mut command = scene.peers.podman();
    let group = scene.peers.control_group();
    command.args(["run", "--rm", "--network", "host", "--cgroup-parent", group.path(), "--pull", "never"]);
    command.arg(pulled.trim());
    assert_eq!(succeeds(command), "hello");
}

#[test]
fn without_the_option_it_takes_the_ciphertext_for_the_layer() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let said = fails(scene.pull(&[]));
    assert!(said.contains("does not match config's DiffID"), "{said}");
    scene.nothing_was_pulled();
}

#[test]
fn a_refusal_is_what_it_says_last() {
    let scene = Scene::new();
    let rule = format!("[[allow]]\nuser = {}\nto = [\"wrap\"]\nkeys = [\"images\"]\n", me());
    let _daemon = scene.house.start_command(scene.house.with_rules(&rule));
    ends_in(&fails(scene.pull(&KEY)), DENIED);
    scene.nothing_was_pulled();
}

/// ocicrypt looks as the program starts, before it has read this file; the doctor knows.
#[test]
fn the_variable_in_containers_conf_comes_too_late() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let conf = scene.house.dir.path().join("containers.conf");
    let providers = scene.house.dir.path().join("ocicrypt.conf");
    fs::write(&conf, format!("[engine]\nenv = [\"OCICRYPT_KEYPROVIDER_CONFIG={}\"]\n", providers.display()))
        .unwrap();
    let mut pull = scene.pull(&KEY);
    pull.env_remove("OCICRYPT_KEYPROVIDER_CONFIG");
    let said = fails(pull);
    assert!(said.contains("missing private key needed for decryption:"), "{said}");
    assert_eq!(scene.house.audit().len(), 2, "only the wrapping was asked for");
}
