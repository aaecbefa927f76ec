//! With Debian's ctd-decoder, which asks the daemon as ocicrypt's key provider.

use holdfast_e2e::node::{Decoder, Release};

use super::scene::{Compression, PROVIDER, Scene};

on_each!(an_image_is_pulled_and_runs);

async fn an_image_is_pulled_and_runs(release: Release) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, Decoder::Stock).await;
    for (name, compression, kind) in
        [("gzip", Compression::Gzip, "tar+gzip+encrypted"), ("zstd", Compression::Zstd, "tar+zstd+encrypted")]
    {
        let image = scene.image(name, PROVIDER, compression);
        assert_eq!(scene.kinds(name), [kind; 3]);
        let before = scene.released();
        node.pull(&image).await.unwrap();
        assert_eq!(scene.released() - before, 3, "{name}");
        scene.runs(&node, name).await;
    }
}
