//! A registry with images that say something when they run, and the house whose HSM has their key.

use std::path::{Path, PathBuf};

use holdfast_e2e::house::{House, file};
use holdfast_e2e::image;
use holdfast_e2e::node::{Decoder, Node, Release};
use holdfast_e2e::peers::registry::Registry;
use holdfast_e2e::peers::{Peers, debian_file, succeeds};
use hsm_sim::KeyKind;

/// Encrypts through the daemon, which must be running.
pub(crate) const PROVIDER: &str = "provider:holdfast:images";

/// What the layers of an image are compressed with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

pub(crate) struct Scene {
    pub(crate) house: House,
    pub(crate) registry: Registry,
    pub(crate) peers: Peers,
}

impl Scene {
    /// What every image runs: what it says is in its first layer and in its last.
    pub(crate) const SAY: [&str; 4] = ["/bin/busybox", "cat", "/first", "/last"];

    /// A house with the key `images`, which its daemon, not running yet, lets this user use.
    pub(crate) fn new() -> Scene {
        Scene::of(House::new().key("images", KeyKind::EcP256))
    }

    pub(crate) fn of(house: House) -> Scene {
        let peers = Peers::of(&house);
        let registry = Registry::start(&peers);
        let scene = Scene { house, registry, peers };
        let pause = scene.house.dir.path().join("pause");
        image::of_files(&pause, &[(&debian_file("usr/bin/busybox"), "/bin/busybox")]);
        image::set_command(&pause, &["/bin/busybox", "sleep", "1000000"]);
        scene.push(&pause, "pause", &[]);
        scene
    }

    pub(crate) async fn node(&self, release: Release, decoder: Decoder) -> Node {
        self.node_with(release, decoder, &[]).await
    }

    /// One whose decoder has arguments.
    pub(crate) async fn node_with(&self, release: Release, decoder: Decoder, arguments: &[&str]) -> Node {
        Node::start(&self.house, &self.registry, release, decoder, arguments).await
    }

    /// Makes an image that is like no other, layer by layer, encrypts it and brings it to the registry.
    pub(crate) fn image(&self, name: &str, to: &str, compression: Compression) -> String {
        let plain = self.plain(name, compression);
        self.encrypt(&plain, name, to)
    }

    /// Encrypts a layout's image on its way to the registry.
    pub(crate) fn encrypt(&self, plain: &Path, name: &str, to: &str) -> String {
        self.push(plain, name, &["--encryption-key", to])
    }

    /// Encrypts to the key's public half: nobody has to be asked.
    pub(crate) fn public_key(&self) -> String {
        format!("jwe:{}", self.house.public_key_file("images").display())
    }

    /// Three layers that no other image has.
    pub(crate) fn plain(&self, name: &str, compression: Compression) -> PathBuf {
        self.layers(name, compression, &[])
    }

    /// The same behind one that is longer than what a decoder, or a pipe, does at a stroke.
    pub(crate) fn plain_and_long(&self, name: &str) -> PathBuf {
        let noise = file(self.house.dir.path(), "noise", image::noise(1 << 20));
        self.layers(name, Compression::Gzip, &[(&noise, "/noise")])
    }

    fn layers(&self, name: &str, compression: Compression, before: &[(&Path, &str)]) -> PathBuf {
        let dir = self.house.dir.path();
        let part = |part: &str| {
            file(dir, &format!("{name}-{part}"), format!("{part} layer of {name} in {}\n", dir.display()))
        };
        let layout = dir.join(name);
        let (first, busybox, last) = (part("first"), debian_file("usr/bin/busybox"), part("last"));
        let files: [(&Path, &str); 3] = [(&first, "/first"), (&busybox, "/bin/busybox"), (&last, "/last")];
        image::of_files(&layout, &[before, &files].concat());
        match compression {
            Compression::Gzip => layout,
            Compression::Zstd => {
                // skopeo compresses what is not compressed yet.
                (0..3).for_each(|layer| image::uncompress(&layout, layer));
                let zstd = dir.join(format!("{name}-zstd"));
                let mut skopeo = self.peers.skopeo();
                skopeo.args(["copy", "--dest-compress-format", "zstd"]);
                skopeo.arg(image::oci(&layout)).arg(image::oci(&zstd));
                succeeds(skopeo);
                zstd
            }
        }
    }

    /// Brings a layout's image to the registry; gives its name there.
    pub(crate) fn push(&self, layout: &Path, name: &str, options: &[&str]) -> String {
        let mut skopeo = self.peers.skopeo();
        skopeo.args(["copy", "--dest-tls-verify=false"]).args(options);
        skopeo.arg(image::oci(layout)).arg(self.registry.image(name));
        succeeds(skopeo);
        self.registry.reference(name)
    }

    /// What the media types of an image's layers end in.
    pub(crate) fn kinds(&self, name: &str) -> Vec<String> {
        let mut skopeo = self.peers.skopeo();
        skopeo.args(["inspect", "--raw", "--tls-verify=false"]).arg(self.registry.image(name));
        let manifest: serde_json::Value = serde_json::from_str(&succeeds(skopeo)).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers
            .map(|layer| {
                let kind = layer["mediaType"].as_str().unwrap();
                kind.strip_prefix("application/vnd.oci.image.layer.v1.").unwrap().to_owned()
            })
            .collect()
    }

    /// A node has pulled an image of this name: it runs, and says what is in its layers.
    pub(crate) async fn runs(&self, node: &Node, name: &str) {
        assert_eq!(self.said(node, &self.registry.reference(name)).await, self.says(name));
    }

    /// What an image that a node has pulled says when it runs there.
    pub(crate) async fn said(&self, node: &Node, image: &str) -> String {
        let ran = node.run(image, &Scene::SAY).await;
        assert_eq!(ran.code, 0, "{ran:?}\n{}", node.log());
        ran.said
    }

    /// What one of this name shall say.
    pub(crate) fn says(&self, name: &str) -> String {
        let dir = self.house.dir.path();
        ["first", "last"]
            .map(|part| std::fs::read_to_string(dir.join(format!("{name}-{part}"))).unwrap())
            .concat()
    }

    /// How many layer keys the daemon has released so far.
    pub(crate) fn released(&self) -> usize {
        self.house.audit().iter().filter(|record| record["outcome"] == "released").count()
    }
}
