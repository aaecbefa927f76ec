//! Images, against what the node has.

use super::node::{DROP_IN, MAIN, Node, PROVIDERS, Told};
use super::support::encrypting::Scene;
use super::support::{Opens, StandIn, encrypting, image};

/// The doctor on this node and an image that is encrypted to this recipient.
fn told(node: &Node, to: &str) -> Told {
    let mut scene = Scene::new();
    let server =
        StandIn { provides: Some(Ok(encrypting::wrapped().into_bytes())), ..StandIn::opens(Opens::Hangs) };
    let server = server.start(scene.dir.path());
    scene.socket.clone_from(&server.socket);
    let ran = scene.encrypt(&["--to", to]);
    assert_eq!(ran.err, "");
    node.doctor(&["--image", &image(&scene.path("sealed"))])
}

#[test]
fn a_provider_that_the_configuration_lacks() {
    let node = Node::stock();
    assert_eq!(told(&node, "holdfast:images").code, 0);
    node.replace(PROVIDERS, "\"holdfast\"", "\"hsm\"");
    let told_of = told(&node, "holdfast:images");
    told_of.is_one(
        "fault",
        "image",
        "wrapped for the provider holdfast, and ctd-decoder's configuration has hsm",
    );
    assert_eq!(
        told_of.wrong()[0]["do"],
        "holdfast setup ocicrypt --file /etc/containerd/ocicrypt/ocicrypt_keyprovider.conf --name holdfast"
    );
    // Our decoder asks the daemon whatever the name is.
    assert_eq!(told(&Node::ours(), "holdfast:images").code, 0);
}

#[test]
fn a_jwe_alone_for_the_stock_decoder() {
    let jwe = encrypting::jwe("ec-P-256.pub.pem");
    told(&Node::stock(), &jwe).is_one("fault", "image", "ctd-decoder asks no provider");
    assert_eq!(told(&Node::ours(), &jwe).code, 0);
}

#[test]
fn layers_that_no_processor_takes() {
    let node = Node::ours();
    node.replace(DROP_IN, "tar+gzip+encrypted", "tar+other+encrypted");
    let told = told(&node, "holdfast:images");
    let image = told.wrong().into_iter().find(|one| one["check"] == "image").unwrap();
    assert!(image["what"].as_str().unwrap().contains("no stream processor takes its layers of "), "{image}");
}

#[test]
fn an_image_in_the_clear_and_one_that_is_not_there() {
    let node = Node::ours();
    let scene = Scene::new();
    let told = node.doctor(&["--image", &image(&scene.path("plain"))]);
    assert_eq!(told.code, 0);
    assert!(told.document.to_string().contains("has no encrypted layers"));
    assert!(node.path(MAIN).exists());
    node.doctor(&["--image", "oci:/no/such"]).is_one("unknown", "image", "/no/such");
}
