//! With Debian's ctd-decoder, which asks the daemon as ocicrypt's key provider.

use holdfast_e2e::node::{Decoder, Release};

use super::scene::{Compression, PROVIDER, Scene};

on_each!(an_image_is_pulled_and_runs, what_setup_writes_is_all_it_takes);

async fn an_image_is_pulled_and_runs(release: Release) {
    pulled_and_run(release, Decoder::Stock).await;
}

async fn what_setup_writes_is_all_it_takes(release: Release) {
    pulled_and_run(release, Decoder::StockSetUp).await;
}

async fn pulled_and_run(release: Release, decoder: Decoder) {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let node = scene.node(release, decoder).await;
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
