//! skopeo wraps to AES keys: what A256GCMKW needs beyond the other algorithms is none of its business.

use holdfast_e2e::house::{House, me};
use holdfast_e2e::peers::succeeds;
use holdfast_e2e::{image, kmip};
use holdfast_envelope::jwe::Jwe;
use holdfast_wire::Algorithm;
use hsm_sim::{KeyKind, Pykmip};

use super::scene::wrapped;

#[test]
fn an_aes_key_wraps_and_unwraps_an_image() {
    let scene = wrapped(House::new().key("backup", KeyKind::Aes256), &["provider:holdfast:backup"]);
    for packet in image::packets(&scene.encrypted, "provider.holdfast") {
        let jwe = Jwe::parse(&packet).unwrap();
        assert_eq!(jwe.recipients()[0].kid(), Some("backup-kid"));
        assert_eq!(jwe.recipients()[0].algorithm(), Some(Algorithm::A256GcmKw));
    }
    let _daemon = scene.start();
    let opened = scene.house.dir.path().join("opened");
    succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
    assert!(scene.is_opened(&opened));
    let audit = scene.house.audit();
    assert!(audit.iter().all(|record| record["kids"] == serde_json::json!(["backup-kid"])), "{audit:?}");
}

#[test]
fn an_rsa_and_an_aes_key_under_one_image_open_it_each_alone() {
    let house = House::new().key("images", KeyKind::Rsa3072).key("backup", KeyKind::Aes256);
    let scene = wrapped(house, &["provider:holdfast:images+backup"]);
    let (hsm, token) = (&scene.house.hsm, &scene.house.token);
    let opens = |name: &str| {
        let daemon = scene.start();
        let opened = scene.house.dir.path().join(name);
        succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
        assert!(scene.is_opened(&opened), "{name}");
        assert!(daemon.stop().success());
    };
    opens("with-both");
    hsm.destroy(token, "images").unwrap();
    opens("with-the-aes-key");
    // Another under its name does not open it, and neither does the RSA key's successor.
    hsm.generate(token, "images", &[21], KeyKind::Rsa3072).unwrap();
    hsm.destroy(token, "backup").unwrap();
    hsm.generate(token, "backup", &[22], KeyKind::Aes256).unwrap();
    let _daemon = scene.start();
    scene.unwrapping_is_refused(
        "no key that this caller may use opens this packet; it was wrapped to another key or is damaged",
    );
}

#[test]
fn a_retired_aes_key_opens_and_wraps_no_more() {
    let mut scene = wrapped(House::new().key("backup", KeyKind::Aes256), &["provider:holdfast:backup"]);
    scene.house.hsm.generate(&scene.house.token, "next", &[9], KeyKind::Aes256).unwrap();
    scene.house.reconfigure(
        "backup",
        &[("next", "kid = \"next-kid\""), ("backup", "kid = \"backup-kid\"\nwraps = false")],
    );
    let _daemon = scene.start();
    let opened = scene.house.dir.path().join("opened");
    succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
    assert!(scene.is_opened(&opened));
    let again = scene.house.dir.path().join("again");
    succeeds(scene.peers.wrap(&scene.plain, &again, &["provider:holdfast:backup"]));
    let packets = image::packets(&again, "provider.holdfast");
    assert!(
        packets.iter().all(|packet| Jwe::parse(packet).unwrap().recipients()[0].kid() == Some("next-kid"))
    );
}

#[test]
fn denied_is_denied_for_an_aes_key_too() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "backup", &[1], KeyKind::Aes256).unwrap();
    house.configure("backup", "backup", "kid = \"backup-kid\"");
    house.allow(&format!("user = {}\nto = [\"wrap\"]\nkeys = [\"backup\"]", me()));
    let scene = wrapped(house, &["provider:holdfast:backup"]);
    let _daemon = scene.start();
    scene.unwrapping_is_refused("no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration");
}

#[test]
fn an_aes_key_in_a_kmip_server_wraps_and_unwraps_an_image() {
    let server = Pykmip::start().unwrap();
    let (house, _) = kmip::make(kmip::section(House::new(), &server, ""), "backup", "aes-256");
    let scene = wrapped(house, &["provider:holdfast:backup"]);
    let _daemon = scene.start();
    let opened = scene.house.dir.path().join("opened");
    succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
    assert!(scene.is_opened(&opened));
    assert_eq!(server.calls("Get"), 0);
}
