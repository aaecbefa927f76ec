//! Images that come from a registry, whose layers skopeo fetches and decrypts side by side.

use holdfast_e2e::house::House;
use holdfast_e2e::peers::registry::Registry;
use holdfast_e2e::peers::{PATIENCE, succeeds};
use holdfast_e2e::stall::Stall;
use holdfast_e2e::{image, must};
use hsm_sim::{KeyKind, Process};

use super::scene::wrapped;

#[test]
fn three_layers_are_unwrapped_at_the_same_time() {
    let house = House::new().key("images", KeyKind::Rsa3072).token_options("timeout = \"60s\"");
    let house = house.listen_options("timeout = \"60s\"");
    let scene = wrapped(house, &["provider:holdfast:images"]);
    let registry = Registry::start(&scene.peers);
    let mut push = scene.peers.skopeo();
    push.args(["copy", "--dest-tls-verify=false"])
        .arg(image::oci(&scene.encrypted))
        .arg(registry.image("app"));
    succeeds(push);

    let _daemon = scene.start();
    // The daemon has seen the key; from here on its token does not answer.
    must(scene.house.holdfast().args(["key", "list"]));
    let stall = Stall::of(&scene.house.hsm);
    let opened = scene.house.dir.path().join("opened");
    let mut pull = scene.peers.skopeo();
    pull.args(["copy", "--src-tls-verify=false", "--decryption-key", "provider:holdfast"]);
    pull.arg(registry.image("app")).arg(image::oci(&opened));
    let pull = Process::spawn(pull, "skopeo").unwrap();
    let mut pull = pull.ready_when(PATIENCE, |_| scene.house.places_taken() == 3).unwrap();
    drop(stall);
    let status = pull.wait(PATIENCE).unwrap();
    assert!(status.success(), "{}", pull.stderr_text());
    assert!(scene.is_opened(&opened));
    let released = scene.house.audit().into_iter().filter(|record| record["outcome"] == "released");
    assert_eq!(released.count(), 3);
}
