//! Why a layer was not opened reaches whoever pulled the image, each time; and of what is not opened nothing
//! is left on the node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_e2e::house::me;
use holdfast_e2e::node::{Decoder, Node, Release};
use holdfast_e2e::{image, must};

use super::scene::{Compression, Scene};

const DENIED: &str = "no rule allows this caller to do this with this key, or there is no such key; see [[allow]] in holdfastd's configuration";
const CHANGED: &str = "holdfast: the MAC does not match: blob, annotations and key were not made together; copy the image again from its source";

on_each!(every_refusal_reaches_the_caller, a_changed_layer_is_told_each_time_and_leaves_nothing);

async fn every_refusal_reaches_the_caller(release: Release) {
    let scene = Scene::new();
    let nobody = format!("[[allow]]\nuser = {}\nto = [\"unwrap\"]\nkeys = [\"images\"]\n", me() + 1);
    let _daemon = scene.house.start_command(scene.house.with_rules(&nobody));
    let node = scene.node(release, Decoder::Holdfast).await;
    let plain = scene.plain("refused", Compression::Gzip);
    let images = ["one", "two", "three", "four"].map(|name| scene.encrypt(&plain, name, &scene.public_key()));
    for _ in 0..20 {
        refused(&node, &images[0], DENIED).await;
    }
    let _load = Load::start();
    let [one, two, three, four] = &images;
    for _ in 0..5 {
        tokio::join!(
            refused(&node, one, DENIED),
            refused(&node, two, DENIED),
            refused(&node, three, DENIED),
            refused(&node, four, DENIED)
        );
    }
    assert_eq!(scene.released(), 0);
    assert_eq!(snapshots(&node), 0);
}

async fn a_changed_layer_is_told_each_time_and_leaves_nothing(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let plain = scene.plain("plain", Compression::Gzip);
    let sealed = scene.house.dir.path().join("sealed");
    image::skopeo_encrypt(&plain, &sealed, &[&scene.public_key()]);
    let changed = |name: &str, index| {
        let layout = scene.house.dir.path().join(name);
        must(std::process::Command::new("cp").arg("-r").arg(&sealed).arg(&layout));
        flip_a_bit(&layout, index);
        scene.push(&layout, name, &[])
    };
    let first = changed("first", 0);
    for _ in 0..20 {
        refused(&node, &first, CHANGED).await;
    }
    assert_eq!(snapshots(&node), 0);
    // One that is longer than a pipe holds. Once only: the layer before it belongs to no image now, and a
    // containerd that collects it while it pulls anew stumbles over that.
    refused(&node, &changed("second", 1), CHANGED).await;
    assert!(snapshots(&node) <= 1, "the layer before it, and no other");
}

/// A pull fails with this line; nobody has the image then.
async fn refused(node: &Node, image: &str, line: &str) {
    let status = node.pull(image).await.expect_err("it was pulled");
    assert!(status.message().contains(line), "{status:?}\n{}", node.log());
    assert!(!node.has(image).await);
}

/// How many layers are unpacked.
fn snapshots(node: &Node) -> usize {
    let ran = node.ctr(&["--namespace", "k8s.io", "snapshots", "list"]);
    assert!(ran.success, "{}", ran.err);
    // Under its heading.
    ran.out.lines().count() - 1
}

/// Changes a layer in its middle, and its digest with it: only its MAC tells.
fn flip_a_bit(layout: &Path, index: usize) {
    let mut bytes = std::fs::read(image::blob(layout, &image::layers(layout)[index])).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    image::replace_layer(layout, index, &bytes);
}

/// Keeps every processor busy, until dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start() -> Load {
        let ended = Arc::new(AtomicBool::new(false));
        for _ in 0..4 {
            let ended = ended.clone();
            std::thread::spawn(move || while !ended.load(Ordering::Relaxed) {});
        }
        Load(ended)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
