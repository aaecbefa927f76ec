//! `holdfast bridge` as the `cmd` provider of skopeo.

use holdfast_e2e::house::House;
use holdfast_e2e::peers::{Peers, fails, succeeds};
use holdfast_e2e::{image, must};
use hsm_sim::KeyKind;

#[test]
fn skopeo_wraps_and_unwraps_over_it_and_the_daemon_sees_no_private_key() {
    let house = House::new().key("images", KeyKind::EcP256);
    let peers = Peers::over_bridge(&house);
    let plain = image::build(house.dir.path(), 3);
    let daemon = house.start();
    let encrypted = house.dir.path().join("encrypted");
    succeeds(peers.wrap(&plain, &encrypted, &["provider:holdfast:images;env=prod"]));
    let private = house.dir.path().join("other.pem");
    let mut openssl = hsm_sim::command("openssl", "openssl").unwrap();
    must(openssl.args(["genpkey", "-algorithm", "RSA", "-out"]).arg(&private));
    for (name, key) in [("by-provider", "provider:holdfast"), ("beside-a-key", private.to_str().unwrap())] {
        let opened = house.dir.path().join(name);
        succeeds(peers.unwrap(&encrypted, &opened, &[key]));
        assert!(image::same_layers(&plain, &opened), "{name}");
    }
    assert!(!daemon.log().contains("of its own along"), "{}", daemon.log());
}

#[test]
fn a_refusal_and_a_missing_daemon_are_one_line_in_skopeos_error() {
    let house = House::new().key("images", KeyKind::EcP256);
    let peers = Peers::over_bridge(&house);
    let plain = image::build(house.dir.path(), 1);
    let never = house.dir.path().join("never");
    let daemon = house.start();
    let said = fails(peers.wrap(&plain, &never, &["provider:holdfast:nothing"]));
    assert!(said.contains("stderr: holdfast: no rule allows this caller"), "{said}");
    assert!(daemon.stop().success());
    let said = fails(peers.wrap(&plain, &never, &["provider:holdfast:images"]));
    assert!(said.contains("stderr: holdfast: no holdfastd at"), "{said}");
    assert!(!never.join("index.json").exists());
}
