//! A pull that is disturbed half-way ends in a running container or in a clear error, and the next one in a
//! running container. Half-way: its first layer's key is asked for, and the token does not answer.

use holdfast_e2e::house::House;
use holdfast_e2e::node::{Decoder, Node, Release};
use holdfast_e2e::stall::Stall;
use holdfast_e2e::{eventually, must};
use hsm_sim::{FaultyModule, KeyKind};
use tonic::Status;

use super::scene::{Compression, Scene};

on_each!(
    a_pull_that_is_given_up_does_not_hinder_the_next,
    a_daemon_that_dies_is_waited_for,
    a_containerd_that_dies_pulls_anew,
    a_decoder_that_is_killed_is_told,
    a_token_that_is_gone_is_told_and_serves_when_it_is_back,
);

async fn a_pull_that_is_given_up_does_not_hinder_the_next(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let image = scene.image("app", &scene.public_key(), Compression::Gzip);
    let (pull, stall) = half_way(&scene, &node, &image).await;
    drop(pull);
    drop(stall);
    node.pull(&image).await.unwrap();
    scene.runs(&node, "app").await;
}

async fn a_daemon_that_dies_is_waited_for(release: Release) {
    let scene = Scene::new();
    let daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let image = scene.image("app", &scene.public_key(), Compression::Gzip);
    let (pull, stall) = half_way(&scene, &node, &image).await;
    daemon.kill();
    drop(stall);
    let _daemon = scene.house.start();
    pull.await.unwrap();
    scene.runs(&node, "app").await;
}

async fn a_containerd_that_dies_pulls_anew(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let mut node = scene.node(release, Decoder::Holdfast).await;
    let image = scene.image("app", &scene.public_key(), Compression::Gzip);
    let (pull, stall) = half_way(&scene, &node, &image).await;
    node.crash().await;
    let status = pull.await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unknown, "the connection: {status:?}");
    drop(stall);
    assert!(!node.has(&image).await);
    node.pull(&image).await.unwrap();
    scene.runs(&node, "app").await;
}

async fn a_decoder_that_is_killed_is_told(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Holdfast).await;
    let image = scene.encrypt(&scene.plain_and_long("app"), "app", &scene.public_key());
    let (pull, stall) = half_way(&scene, &node, &image).await;
    kill_decoder(&node);
    let status = pull.await.unwrap_err();
    assert!(status.message().contains("holdfast: decode was killed before it was done"), "{status:?}");
    drop(stall);
    node.pull(&image).await.unwrap();
    scene.runs(&node, "app").await;
}

async fn a_token_that_is_gone_is_told_and_serves_when_it_is_back(release: Release) {
    let house = House::new().key("images", KeyKind::EcP256);
    let module = FaultyModule::install(house.dir.path(), house.hsm.module()).unwrap();
    let scene = Scene::of(house.module(module.path().to_owned()));
    let _daemon = scene.house.start();
    // It asks again for as long as this.
    let node = scene.node_with(release, Decoder::Holdfast, &["--timeout", "2s"]).await;
    let image = scene.image("app", &scene.public_key(), Compression::Gzip);
    module.remove_tokens().unwrap();
    let status = node.pull(&image).await.unwrap_err();
    assert!(status.message().contains("images: its token does not answer"), "{status:?}");
    module.behave().unwrap();
    eventually("it is pulled", async || node.pull(&image).await.is_ok()).await;
    scene.runs(&node, "app").await;
}

/// A pull whose first layer's key is asked for, of a token that does not answer until the stall is dropped.
async fn half_way(
    scene: &Scene,
    node: &Node,
    image: &str,
) -> (std::pin::Pin<Box<impl Future<Output = Result<String, Status>> + use<>>>, Stall) {
    // The daemon has seen the key; from here on its token does not answer.
    must(scene.house.holdfast().args(["key", "list"]));
    let stall = Stall::of(&scene.house.hsm);
    let mut pull = Box::pin(node.pull(image));
    let asked = eventually("its key is asked for", async || scene.house.places_taken() == 1);
    tokio::select! {
        ended = &mut pull => panic!("the pull ended: {ended:?}"),
        () = asked => {}
    }
    (pull, stall)
}

/// The one that waits for its answer.
fn kill_decoder(node: &Node) {
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|one| one.path());
    let mut decoders = all.filter(|process| {
        std::fs::read_link(process.join("ns/pid")).is_ok_and(|pid| pid == node.processes())
            && std::fs::read(process.join("cmdline"))
                .is_ok_and(|words| words.ends_with(b"holdfast\0decode\0"))
    });
    let decoder = decoders.next().expect("a decoder");
    assert_eq!(decoders.next(), None);
    let id = decoder.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
