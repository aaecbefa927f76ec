//! With `holdfast decode`, and containerd otherwise as it is shipped.

use std::path::Path;

use holdfast_e2e::image;
use holdfast_e2e::node::{Decoder, Node, Release};
use holdfast_e2e::peers::succeeds;

use super::scene::{Compression, PROVIDER, Scene};

on_each!(
    an_image_is_pulled_and_runs,
    what_setup_writes_is_all_it_takes,
    ctr_pulls_it_too,
    layers_that_are_unpacked_are_not_asked_for_again,
    four_images_are_pulled_at_a_time,
    an_image_that_names_the_same_layers_with_other_packets_does_no_harm,
);

async fn an_image_is_pulled_and_runs(release: Release) {
    let scene = Scene::new();
    let daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let public_key = scene.public_key();
    for (name, to, compression, kind) in [
        ("wrapped", PROVIDER, Compression::Gzip, "tar+gzip+encrypted"),
        ("gzip", &public_key, Compression::Gzip, "tar+gzip+encrypted"),
        ("zstd", &public_key, Compression::Zstd, "tar+zstd+encrypted"),
    ] {
        let image = scene.image(name, to, compression);
        assert_eq!(scene.kinds(name), [kind; 3]);
        let before = scene.released();
        node.pull(&image).await.unwrap();
        assert_eq!(scene.released() - before, 3, "{name}: {}", daemon.log());
        scene.runs(&node, name).await;
    }
}

async fn what_setup_writes_is_all_it_takes(release: Release) {
    let scene = Scene::new();
    let daemon = scene.house.start();
    let node = scene.node(release, Decoder::SetUp).await;
    for (name, compression) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let image = scene.image(name, &scene.public_key(), compression);
        let before = scene.released();
        node.pull(&image).await.unwrap();
        assert_eq!(scene.released() - before, 3, "{name}: {}", daemon.log());
        scene.runs(&node, name).await;
    }
}

async fn ctr_pulls_it_too(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    for (name, compression) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let image = scene.image(name, &scene.public_key(), compression);
        must(&node, &["images", "pull", "--plain-http", &image]);
        let cgroup = format!("{}/{name}", node.cgroup());
        let run = ["run", "--rm", "--net-host", "--cgroup", &cgroup, &image, name];
        assert_eq!(must(&node, &[&run[..], &Scene::SAY].concat()), scene.says(name));
    }
}

async fn layers_that_are_unpacked_are_not_asked_for_again(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let plain = scene.plain("once", Compression::Gzip);
    let once = scene.encrypt(&plain, "once", &scene.public_key());
    let again = scene.encrypt(&plain, "again", &scene.public_key());
    node.pull(&once).await.unwrap();
    assert_eq!(scene.released(), 3);
    node.pull(&again).await.unwrap();
    assert_eq!(scene.released(), 3);
    assert_eq!(scene.said(&node, &again).await, scene.says("once"));
}

async fn four_images_are_pulled_at_a_time(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let names = ["one", "two", "three", "four"];
    let images = names.map(|name| scene.image(name, &scene.public_key(), Compression::Gzip));
    let [one, two, three, four] = &images;
    let pulls = tokio::join!(node.pull(one), node.pull(two), node.pull(three), node.pull(four));
    for pulled in [pulls.0, pulls.1, pulls.2, pulls.3] {
        pulled.unwrap();
    }
    assert_eq!(scene.released(), 12);
    for name in names {
        scene.runs(&node, name).await;
    }
}

/// All images of a node share one store, where a decoder that is given no key data looks for its layer's.
/// zstd layers get none from any containerd.
async fn an_image_that_names_the_same_layers_with_other_packets_does_no_harm(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let plain = scene.plain("app", Compression::Zstd);
    let [ours, theirs] = [("ours", scene.public_key()), ("theirs", stranger(&scene))].map(|(name, key)| {
        let layout = scene.house.dir.path().join(name);
        succeeds(scene.peers.wrap(&plain, &layout, &[&key]));
        layout
    });
    let app = scene.push(&ours, "app", &[]);
    let manifest = image::manifest_digest(&ours);
    let packets = image::annotations(&theirs, "jwe");
    image::change_manifest(&ours, |manifest| {
        for (layer, packet) in manifest["layers"].as_array_mut().unwrap().iter_mut().zip(packets) {
            layer["annotations"]["org.opencontainers.image.enc.keys.jwe"] = packet.into();
        }
    });
    let other = scene.push(&ours, "other", &[]);
    must(&node, &["--namespace", "other", "content", "fetch", "--plain-http", &other]);
    node.pull(&app).await.unwrap();
    scene.runs(&node, "app").await;
    let audit = scene.house.audit();
    let released: Vec<_> = audit.iter().filter(|record| record["outcome"] == "released").collect();
    assert_eq!(released.len(), 3, "{audit:?}");
    assert!(released.iter().all(|record| record["manifest"] == manifest.as_str()), "{audit:?}");
}

/// A public key whose private half the house does not have.
fn stranger(scene: &Scene) -> String {
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys/ec-P-256.pub.pem");
    // Where skopeo has it too.
    let copy = scene.house.dir.path().join("stranger.pub.pem");
    std::fs::copy(key, &copy).unwrap();
    format!("jwe:{}", copy.display())
}

/// Runs `ctr`, which must succeed, and gives what it printed.
fn must(node: &Node, arguments: &[&str]) -> String {
    let ran = node.ctr(arguments);
    assert!(ran.success, "ctr {arguments:?}:\n{}{}\n{}", ran.out, ran.err, node.log());
    ran.out
}
