//! What is left of a node when it has ended: nothing, whatever ran on it.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_e2e::node::{Decoder, Release};

use super::scene::Scene;

on_each!(a_node_takes_everything_along);

async fn a_node_takes_everything_along(release: Release) {
    let scene = Scene::new();
    let node = scene.node(release, Decoder::Holdfast).await;
    let pause = scene.registry.reference("pause");
    node.pull(&pause).await.unwrap();
    assert_eq!(node.run(&pause, &["/bin/busybox", "true"]).await.code, 0);
    let (namespace, group) = (node.processes(), node.cgroup().to_owned());
    let named = group.trim_start_matches('/');
    // The first process, containerd, the shim, and the pod's own.
    assert!(processes(&namespace) >= 4, "{}", processes(&namespace));
    assert!(!groups(named).is_empty());
    drop(node);
    assert_eq!(processes(&namespace), 0);
    assert_eq!(groups(named), Vec::<PathBuf>::new());
}

/// How many processes a namespace has. Those in namespaces of their own within it are not counted.
fn processes(namespace: &Path) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|one| fs::read_link(one.path().join("ns/pid")).is_ok_and(|pid| pid == namespace)).count()
}

/// The control groups of this name, in whatever hierarchies there are.
fn groups(name: &str) -> Vec<PathBuf> {
    let each = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let all = each.chain(["/sys/fs/cgroup".into()]).map(|dir| dir.join(name));
    all.filter(|dir| dir.exists()).collect()
}
