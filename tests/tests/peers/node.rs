//! `holdfast setup` and `holdfast doctor` on Debian 13: its containerd reads what the one writes, and the
//! other sees what is wrong with it as it is shipped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use holdfast_e2e::house::{House, me};
use holdfast_e2e::peers::{Peers, run, succeeds};
use holdfast_e2e::{binary, must};
use hsm_sim::KeyKind;
use serde_json::Value;

use super::scene::wrapped;

/// What Debian ships: settings of its own that must stay.
const SHIPPED: &str = "version = 2\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    \
    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n      bin_dir = \"/usr/lib/cni\"\n";

struct Node<'a> {
    house: &'a House,
    peers: Peers,
    program: PathBuf,
    config: PathBuf,
}

impl<'a> Node<'a> {
    fn of(house: &'a House) -> Node<'a> {
        let program = house.dir.path().join("holdfast");
        // By another process, as what is open for writing cannot be run (ETXTBSY).
        must(Command::new("cp").arg(binary("holdfast")).arg(&program));
        let etc = house.dir.path().join("etc");
        fs::create_dir(&etc).unwrap();
        let config = etc.join("config.toml");
        fs::write(&config, SHIPPED).unwrap();
        Node { house, peers: Peers::of(house), program, config }
    }

    /// Our program in Debian 13's root, without the variable that other peers are given.
    fn holdfast(&self, arguments: &[&str]) -> Command {
        let mut command = self.peers.command(self.program.to_str().unwrap());
        command
            .arg("--socket")
            .arg(self.house.socket())
            .args(arguments)
            .env_remove("OCICRYPT_KEYPROVIDER_CONFIG");
        command
    }

    fn setup(&self, more: &[&str]) -> String {
        let arguments = [&["setup", "containerd", "--config", self.config.to_str().unwrap()], more].concat();
        succeeds(self.holdfast(&arguments))
    }

    /// What containerd makes of its configuration.
    fn dump(&self) -> Value {
        let mut command = self.peers.command("containerd");
        command.arg("--config").arg(&self.config).args(["config", "dump"]);
        let table: toml::Table = succeeds(command).parse().unwrap();
        serde_json::to_value(table).unwrap()
    }

    /// The doctor's findings that are not ok: state, check.
    fn doctor(&self, more: &[&str]) -> Vec<(String, String)> {
        // The house lets everybody connect, of which the doctor warns.
        let _ = fs::set_permissions(self.house.socket(), fs::Permissions::from_mode(0o660));
        let arguments =
            [&["doctor", "--json", "--containerd-config", self.config.to_str().unwrap()], more].concat();
        let ran = run(self.holdfast(&arguments));
        let document: Value =
            serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
        let checks = document["checks"].as_array().unwrap().iter().filter(|one| one["state"] != "ok");
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        let wrong: Vec<_> = checks.map(|one| (text(one, "state"), text(one, "check"))).collect();
        assert_eq!(ran.success, wrong.is_empty(), "{document:#}");
        wrong
    }
}

fn pairs(wrong: &[(&str, &str)]) -> Vec<(String, String)> {
    wrong.iter().map(|(state, check)| ((*state).to_owned(), (*check).to_owned())).collect()
}

#[test]
fn containerd_reads_what_setup_writes_and_keeps_its_own() {
    let house = House::new();
    let node = Node::of(&house);
    let before = node.dump();
    let own = |dump: &Value| dump["plugins"]["io.containerd.grpc.v1.cri"].clone();
    assert_eq!(own(&before)["cni"]["bin_dir"], "/usr/lib/cni");

    node.setup(&["--write"]);
    let dump = node.dump();
    assert_eq!(own(&dump), own(&before));
    let processors = dump["stream_processors"].as_object().unwrap();
    for kind in ["tar", "tar.gzip", "tar.zstd"] {
        let processor = &processors[&format!("io.containerd.ocicrypt.decoder.v1.{kind}")];
        assert_eq!(processor["path"], node.program.to_str().unwrap(), "{kind}");
        assert_eq!(processor["args"][0], "decode", "{kind}");
    }
    assert_eq!(processors.len(), 3);

    // Where a provider's file is written besides, it lies in the machine's /etc: here only looked at.
    let printed = node.setup(&["--stock"]);
    assert!(printed.contains("use_local_image_pull = true"), "{printed}");
    assert!(printed.contains("# /etc/containerd/ocicrypt/keys: a directory"), "{printed}");
}

#[test]
fn the_doctor_finds_nothing_on_a_node_that_is_set_up() {
    let scene = wrapped(House::new().key("images", KeyKind::EcP256), &["provider:holdfast:images"]);
    let node = Node::of(&scene.house);
    let image = format!("oci:{}:v1", scene.encrypted.display());
    // As shipped: no directory of keys, no provider, no zstd.
    let daemon = scene.start();
    let shipped = [("fault", "keys-directory"), ("fault", "provider-file"), ("warning", "layers-zstd")];
    assert_eq!(node.doctor(&[]), pairs(&shipped));
    assert_eq!(node.doctor(&["--image", &image]), pairs(&[&shipped[..], &[("fault", "image")]].concat()));

    node.setup(&["--write"]);
    assert_eq!(node.doctor(&["--image", &image]), []);
    assert!(daemon.stop().success());
    assert_eq!(node.doctor(&[]), pairs(&[("fault", "daemon")]));
}

#[test]
fn the_doctor_asks_the_daemon_what_it_will_answer_containerd() {
    let house = House::new().key("images", KeyKind::EcP256);
    let node = Node::of(&house);
    node.setup(&["--write"]);
    let rule = |who: u32, may: &str| {
        house.with_rules(&format!("[[allow]]\nuser = {who}\nto = [\"{may}\"]\nkeys = [\"images\"]\n"))
    };
    for rules in [rule(me() + 1, "unwrap"), rule(me(), "wrap")] {
        let daemon = house.start_command(rules);
        assert_eq!(node.doctor(&[]), pairs(&[("fault", "rules")]));
        assert!(daemon.stop().success());
    }
    let daemon = house.start_command(rule(me(), "unwrap"));
    assert_eq!(node.doctor(&[]), []);
    assert!(daemon.stop().success());
}

#[test]
fn a_token_that_refuses_its_pin_is_told() {
    let house = House::new().key("images", KeyKind::EcP256);
    let wrong = house.dir.path().join("wrong.pin");
    fs::write(&wrong, "9999").unwrap();
    let house = house.pin_file(wrong);
    let node = Node::of(&house);
    node.setup(&["--write"]);
    let _daemon = house.start();
    let wrong = node.doctor(&[]);
    assert!(wrong.contains(&("fault".to_owned(), "token".to_owned())), "{wrong:?}");
}
