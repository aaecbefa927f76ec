//! skopeo wraps and unwraps: every form of its parameters.

use holdfast_e2e::house::{House, me};
use holdfast_e2e::peers::{Peers, fails, succeeds};
use holdfast_e2e::{image, must};
use holdfast_envelope::jwe::Jwe;
use hsm_sim::KeyKind;

use super::scene::{ends_in, wrapped};

fn two_keys() -> House {
    House::new().key("images", KeyKind::Rsa3072).key("spare", KeyKind::EcP256)
}

#[test]
fn what_it_wraps_it_unwraps_with_one_call_a_layer() {
    let scene = wrapped(two_keys(), &["provider:holdfast:images"]);
    let _daemon = scene.start();
    let opened = scene.house.dir.path().join("opened");
    succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
    assert!(scene.is_opened(&opened));
    let audit = scene.house.audit();
    let of = |outcome: &str| audit.iter().filter(|record| record["outcome"] == outcome).count();
    assert_eq!((of("wrapped"), of("released"), audit.len()), (3, 3, 6));
    let layers: Vec<_> = audit.iter().filter(|one| one["outcome"] == "released").collect();
    for digest in image::layers(&scene.plain) {
        assert!(
            layers.iter().any(|record| record["layer"] == digest.as_str()),
            "{digest} is not in {layers:?}"
        );
    }
}

#[test]
fn several_aliases_several_parameters_and_labels_are_one_packet() {
    for (recipients, count, labels) in [
        (&["provider:holdfast:images+spare"][..], 2, &[][..]),
        (&["provider:holdfast:images", "provider:holdfast:spare;team=a"], 2, &[("team", "a")]),
        (&["provider:holdfast:spare;env=prod;team=a"], 1, &[("env", "prod"), ("team", "a")]),
    ] {
        let scene = wrapped(two_keys(), recipients);
        let packets = image::packets(&scene.encrypted, "provider.holdfast");
        assert_eq!(packets.len(), 3);
        for packet in packets {
            let jwe = Jwe::parse(&packet).unwrap();
            assert_eq!(jwe.recipients().len(), count, "{recipients:?}");
            assert_eq!(jwe.labels().iter().collect::<Vec<_>>(), labels, "{recipients:?}");
        }
        let _daemon = scene.start();
        let opened = scene.house.dir.path().join("opened");
        succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast:anything"]));
        assert!(scene.is_opened(&opened), "{recipients:?}");
    }
}

#[test]
fn without_a_parameter_the_only_alias_or_the_default_is_meant() {
    let only = House::new().key("images", KeyKind::EcP256);
    let default = two_keys().section("[wrap]\ndefault = \"spare\"\n");
    for (house, alias) in [(only, "images"), (default, "spare")] {
        let scene = wrapped(house, &["provider:holdfast"]);
        assert!(scene.house.audit().iter().all(|record| record["aliases"] == serde_json::json!([alias])));
        let _daemon = scene.start();
        let opened = scene.house.dir.path().join("opened");
        succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
        assert!(scene.is_opened(&opened));
    }
}

#[test]
fn without_a_parameter_and_a_default_it_is_told_what_to_write() {
    let house = two_keys();
    let peers = Peers::of(&house);
    let _daemon = house.start();
    let plain = image::build(house.dir.path(), 1);
    let said = fails(peers.wrap(&plain, &house.dir.path().join("never"), &["provider:holdfast"]));
    ends_in(&said, "no alias given and no default set; write provider:holdfast:ALIAS, or set [wrap] default");
}

#[test]
fn labels_decide_who_unwraps() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
    house.configure("images", "images", "");
    house.allow(&format!("user = {}\nto = [\"wrap\"]\nkeys = [\"images\"]", me()));
    house.allow(&format!(
        "user = {}\nto = [\"unwrap\"]\nkeys = [\"images\"]\nlabels = {{ env = \"prod\" }}",
        me()
    ));
    let mut scene = wrapped(house, &["provider:holdfast:images;env=prod"]);
    let _daemon = scene.start();
    let opened = scene.house.dir.path().join("opened");
    succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
    assert!(scene.is_opened(&opened));
    let test = scene.house.dir.path().join("encrypted-test");
    succeeds(scene.peers.wrap(&scene.plain, &test, &["provider:holdfast:images;env=test"]));
    scene.encrypted = test;
    scene.unwrapping_is_refused("no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration");
}

#[test]
fn jwe_and_provider_recipients_of_one_image_open_each_on_its_own() {
    let house = House::new().key("images", KeyKind::EcP256);
    let (private, public) = foreign_key(&house);
    let jwe = format!("jwe:{}", public.display());
    let mut scene = wrapped(house, &[&jwe, "provider:holdfast:images"]);
    assert_eq!(image::packets(&scene.encrypted, "jwe").len(), 3);
    assert_eq!(image::packets(&scene.encrypted, "provider.holdfast").len(), 3);

    let daemon = scene.start();
    let opened = scene.house.dir.path().join("by-provider");
    succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &["provider:holdfast"]));
    assert!(scene.is_opened(&opened));
    assert!(daemon.stop().success());

    // A refusal must not stop ocicrypt from going on to the private key. It tries the schemes in random
    // order, so once proves nothing.
    scene.house.hsm.destroy(&scene.house.token, "images").unwrap();
    scene.house.hsm.generate(&scene.house.token, "images", &[9], KeyKind::EcP256).unwrap();
    scene.house.allow("user = 4000000\nto = [\"wrap\"]\nkeys = [\"images\"]");
    let _daemon = scene.start();
    for round in 0..6 {
        let opened = scene.house.dir.path().join(format!("by-jwe-{round}"));
        succeeds(scene.peers.unwrap(&scene.encrypted, &opened, &[private.to_str().unwrap()]));
        assert!(scene.is_opened(&opened));
    }
}

/// An RSA key in files, as somebody without an HSM has one: private, public.
fn foreign_key(house: &House) -> (std::path::PathBuf, std::path::PathBuf) {
    let (private, public) = (house.dir.path().join("foreign.pem"), house.dir.path().join("foreign.pub.pem"));
    let openssl = || hsm_sim::command("openssl", "openssl").unwrap();
    must(openssl().args(["genpkey", "-algorithm", "RSA", "-out"]).arg(&private));
    must(openssl().args(["pkey", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public));
    (private, public)
}
