//! Plaintext TCP on loopback, for peers that have no way to a unix socket: the caller is `loopback`,
//! whoever it is.

use holdfast_e2e::house::{Daemon, House, me};
use holdfast_e2e::image;
use holdfast_e2e::peers::containerd::Containerd;
use holdfast_e2e::peers::{Peers, decoder, fails, succeeds};
use hsm_sim::KeyKind;
use serde_json::json;

use super::scene::ends_in;

const DENIED: &str = "no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration";

/// A house that listens on a free port, with one rule for its key.
fn house(who: &str) -> House {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
    house.configure("images", "images", "");
    house.allow(&format!("{who}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"images\"]"));
    house.section("[listen.tcp]\naddress = \"127.0.0.1:0\"\nplaintext = true\n")
}

fn peers(house: &House, daemon: &Daemon) -> Peers {
    Peers::configured(house, &json!({"grpc": daemon.tcp_address()}))
}

#[test]
fn skopeo_wraps_and_unwraps_and_ctd_decoder_decodes() {
    let house = house("loopback = true");
    let daemon = house.start();
    let peers = peers(&house, &daemon);
    let plain = image::build(house.dir.path(), 3);
    let [encrypted, opened] = ["encrypted", "opened"].map(|name| house.dir.path().join(name));
    succeeds(peers.wrap(&plain, &encrypted, &["provider:holdfast:images;env=prod"]));
    succeeds(peers.unwrap(&encrypted, &opened, &["provider:holdfast"]));
    assert!(image::same_layers(&plain, &opened));
    for (index, digest) in image::layers(&plain).iter().enumerate() {
        let decoded = decoder::decode(&peers, &encrypted, index, &[]);
        assert!(decoded.ran.success, "{}", decoded.ran.err);
        assert!(decoded.plain == std::fs::read(image::blob(&plain, digest)).unwrap(), "layer {index}");
    }
    let audit = house.audit();
    assert_eq!(audit.len(), 9);
    for record in audit {
        assert_eq!(record["loopback"], true, "{record}");
        assert!(record["uid"].is_null() && record["pid"].is_null(), "{record}");
        assert!(record["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    }
}

#[test]
fn ctr_imgcrypt_encrypts_and_decrypts() {
    let house = house("loopback = true");
    let daemon = house.start();
    let peers = peers(&house, &daemon);
    let plain = image::build(house.dir.path(), 2);
    let containerd = Containerd::start(&peers);
    containerd.import(&plain, "plain");
    let recipient = "provider:holdfast:images";
    succeeds(containerd.ctr(&["images", "encrypt", "--recipient", recipient, "plain:v1", "sealed:v1"]));
    let key = ["--key", "provider:holdfast"];
    succeeds(containerd.ctr(&[&["images", "decrypt"][..], &key, &["sealed:v1", "open:v1"]].concat()));
    assert!(image::same_layers(&plain, &containerd.export("open")));
}

#[test]
fn without_a_rule_that_names_loopback_everybody_is_refused() {
    // The very user that the peers run as, and all of it.
    let house = house(&format!("user = {}", me()));
    let daemon = house.start();
    let over_tcp = peers(&house, &daemon);
    let plain = image::build(house.dir.path(), 1);
    let [never, encrypted] = ["never", "encrypted"].map(|name| house.dir.path().join(name));
    ends_in(&fails(over_tcp.wrap(&plain, &never, &["provider:holdfast:images"])), DENIED);
    // Over the socket that user may, and over TCP still not open what it wrapped.
    succeeds(Peers::of(&house).wrap(&plain, &encrypted, &["provider:holdfast:images"]));
    ends_in(&fails(over_tcp.unwrap(&encrypted, &never, &["provider:holdfast"])), DENIED);
    let decoded = decoder::decode(&over_tcp, &encrypted, 0, &[]);
    assert!(!decoded.ran.success && decoded.plain.is_empty());
    ends_in(&decoded.ran.err, DENIED);
    assert!(!never.join("index.json").exists());
}

#[test]
fn debian_13s_peers_ignore_grpc_tls_and_speak_plaintext() {
    let house = house("loopback = true");
    let daemon = house.start();
    let nothing = house.dir.path().join("nothing.pem");
    let tls = json!({"root-ca-file": nothing, "cert-file": nothing, "key-file": nothing});
    let peers = Peers::configured(&house, &json!({"grpc": daemon.tcp_address(), "grpc-tls": tls}));
    let plain = image::build(house.dir.path(), 1);
    // As long as this holds, mutual TLS is not for them, and they must not be told otherwise.
    succeeds(peers.wrap(&plain, &house.dir.path().join("encrypted"), &["provider:holdfast:images"]));
}
