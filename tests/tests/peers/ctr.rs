//! ctr-imgcrypt on images in a containerd's store. It alone can add a recipient, which puts two packets
//! of one provider into one annotation.

use holdfast_e2e::house::{House, me};
use holdfast_e2e::image;
use holdfast_e2e::peers::containerd::Containerd;
use holdfast_e2e::peers::{Peers, fails, succeeds};
use hsm_sim::KeyKind;

use super::scene::ends_in;

const DENIED: &str = "no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration";

#[test]
fn it_encrypts_adds_a_recipient_and_decrypts() {
    let house = House::new().key("images", KeyKind::Rsa3072).key("spare", KeyKind::EcP256);
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 3);
    let containerd = Containerd::start(&peers);
    containerd.import(&plain, "plain");
    let daemon = house.start();

    let to = ["images", "encrypt", "--recipient"];
    succeeds(containerd.ctr(&[&to[..], &["provider:holdfast:images", "plain:v1", "one:v1"]].concat()));
    let key = ["--key", "provider:holdfast"];
    succeeds(containerd.ctr(&[&to[..], &["provider:holdfast:spare"], &key, &["one:v1", "two:v1"]].concat()));
    let listed = succeeds(containerd.ctr(&["images", "layerinfo", "two:v1"]));
    assert_eq!(listed.matches("provider.holdfast").count(), 3, "{listed}");
    succeeds(containerd.ctr(&[&["images", "decrypt"][..], &key, &["two:v1", "open:v1"]].concat()));
    assert!(image::same_layers(&plain, &containerd.export("open")));

    // Each packet of the pair opens on its own: skopeo comes to the one by the refusal of the other.
    let two = containerd.export("two");
    assert!(image::annotations(&two, "provider.holdfast").iter().all(|text| text.split(',').count() == 2));
    assert!(daemon.stop().success());
    for allowed in ["images", "spare"] {
        let allowed_only = house
            .with_rules(&format!("[[allow]]\nuser = {}\nto = [\"unwrap\"]\nkeys = [\"{allowed}\"]\n", me()));
        let _daemon = house.start_command(allowed_only);
        let opened = house.dir.path().join(format!("by-{allowed}"));
        succeeds(peers.unwrap(&two, &opened, &["provider:holdfast"]));
        assert!(image::same_layers(&plain, &opened), "{allowed}");
    }
}

#[test]
fn a_refusal_is_what_it_says_last_and_no_image_is_made() {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
    house.configure("images", "images", "");
    house.allow(&format!("user = {}\nto = [\"wrap\"]\nkeys = [\"images\"]", me()));
    let peers = Peers::of(&house);
    let plain = image::build(house.dir.path(), 2);
    let containerd = Containerd::start(&peers);
    containerd.import(&plain, "plain");
    let _daemon = house.start();
    let encrypt = |recipient: &str, to: &str| {
        containerd.ctr(&["images", "encrypt", "--recipient", recipient, "plain:v1", to])
    };
    ends_in(&fails(encrypt("provider:holdfast:nothing", "never:v1")), DENIED);
    succeeds(encrypt("provider:holdfast:images", "sealed:v1"));
    ends_in(
        &fails(containerd.ctr(&["images", "decrypt", "--key", "provider:holdfast", "sealed:v1", "open:v1"])),
        DENIED,
    );
    let images = succeeds(containerd.ctr(&["images", "list", "--quiet"]));
    assert_eq!(images.split_whitespace().collect::<Vec<_>>(), ["plain:v1", "sealed:v1"]);
}
