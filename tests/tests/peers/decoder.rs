//! ctd-decoder with each of the ways in which containerd's configuration starts it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_e2e::house::House;
use holdfast_e2e::peers::decoder::decode;
use holdfast_e2e::{image, must};
use hsm_sim::KeyKind;

use super::scene::{Scene, wrapped};

fn decodes_every_layer(scene: &Scene, arguments: &[&str]) {
    for (index, digest) in image::layers(&scene.plain).iter().enumerate() {
        let decoded = decode(&scene.peers, &scene.encrypted, index, arguments);
        assert!(decoded.ran.success, "{}", decoded.ran.err);
        assert!(decoded.plain == std::fs::read(image::blob(&scene.plain, digest)).unwrap(), "layer {index}");
    }
}

#[test]
fn without_a_directory_of_keys() {
    let scene = wrapped(House::new().key("images", KeyKind::EcP256), &["provider:holdfast:images"]);
    let _daemon = scene.start();
    decodes_every_layer(&scene, &[]);
}

#[test]
fn with_an_empty_directory_of_keys_as_containerd_ships_it() {
    let scene = wrapped(House::new().key("images", KeyKind::EcP256), &["provider:holdfast:images"]);
    let keys = scene.house.dir.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let daemon = scene.start();
    decodes_every_layer(&scene, &["--decryption-keys-path", keys.to_str().unwrap()]);
    assert!(!daemon.log().contains("of its own along"), "an empty value was counted:\n{}", daemon.log());
}

#[test]
fn a_private_key_on_the_node_is_counted_and_never_kept() {
    let house = House::new().key("images", KeyKind::EcP256).section("[log]\nlevel = \"trace\"\n");
    let scene = wrapped(house, &["provider:holdfast:images"]);
    let keys = scene.house.dir.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let file = keys.join("node.pem");
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    must(openssl.args(["genpkey", "-algorithm", "RSA", "-out"]).arg(&file));
    let daemon = scene.start();
    decodes_every_layer(&scene, &["--decryption-keys-path", keys.to_str().unwrap()]);
    let log = daemon.log();
    let told = log.lines().filter(|line| line.contains("of its own along") && line.contains("count=1"));
    assert_eq!(told.count(), 3, "{log}");
    let audit = serde_json::to_string(&scene.house.audit()).unwrap();
    let pem = std::fs::read_to_string(&file).unwrap();
    let mut traces: Vec<String> = pem.lines().filter(|line| line.len() == 64).map(str::to_owned).collect();
    assert!(traces.len() > 20);
    // As it travels: base64 over the whole file. A piece of it, off the ends.
    traces.push(STANDARD.encode(&pem)[64..128].to_owned());
    for trace in traces {
        assert!(!log.contains(&trace), "the private key is in the log");
        assert!(!audit.contains(&trace), "the private key is in the audit log");
    }
}
