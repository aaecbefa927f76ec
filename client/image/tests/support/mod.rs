//! Images and layouts made for tests, encrypted or not, and an opener that knows their keys.
//!
//! An encrypted layer's packet is its optsdata in the clear: what is tested is what happens around a key.

#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_image::{Digest, Event, Opener, Packet, Progress, Reference, Wrapper, cipher};
use holdfast_wire::{OptsData, Secret};
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const KEYS: &str = "org.opencontainers.image.enc.keys.jwe";
pub const PUBOPTS: &str = "org.opencontainers.image.enc.pubopts";

/// Stops the work after the first block it is told of.
#[derive(Default)]
pub struct Stops(pub AtomicUsize);

impl Progress for Stops {
    fn event(&self, event: Event<'_>) {
        if let Event::Read { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Opens packets that are optsdata in the clear.
pub struct Clear;

impl Opener for Clear {
    fn open(&self, packets: &[Packet]) -> Result<OptsData, Box<dyn std::error::Error + Send + Sync>> {
        Ok(OptsData::parse(Secret::copy_of(&packets[0].data))?)
    }
}

/// And makes them, so that [`Clear`] opens what it encrypts.
impl Wrapper for Clear {
    fn wrap(&self, optsdata: &OptsData) -> Result<Vec<Packet>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(vec![Packet { scheme: "jwe".to_owned(), data: optsdata.raw().expose().to_vec() }])
    }
}

/// Opens and wraps nothing.
pub struct Refuses(pub &'static str);

impl Opener for Refuses {
    fn open(&self, _: &[Packet]) -> Result<OptsData, Box<dyn std::error::Error + Send + Sync>> {
        Err(self.0.into())
    }
}

impl Wrapper for Refuses {
    fn wrap(&self, _: &OptsData) -> Result<Vec<Packet>, Box<dyn std::error::Error + Send + Sync>> {
        Err(self.0.into())
    }
}

/// An image as it is being made. Its members may be changed before it is written.
pub struct TestImage {
    pub manifest: Value,
    pub config: Value,
    pub blobs: Vec<Vec<u8>>,
}

impl TestImage {
    pub fn new() -> TestImage {
        TestImage {
            manifest: json!({"schemaVersion": 2, "config": {}, "layers": []}),
            config: json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}),
            blobs: Vec::new(),
        }
    }

    /// Two gzip layers, the same every time.
    pub fn plain() -> TestImage {
        let mut image = TestImage::new();
        image.add(&tar("a", 3000), "+gzip");
        image.add(&tar("b", 90_000), "+gzip");
        image
    }

    /// The same, encrypted.
    pub fn encrypted() -> TestImage {
        let mut image = TestImage::plain();
        image.encrypt(0);
        image.encrypt(1);
        image
    }

    /// Adds a layer, compressed as the suffix of its media type says.
    pub fn add(&mut self, tar: &[u8], compression: &str) {
        let blob = match compression {
            "+gzip" => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(tar).unwrap();
                gzip.finish().unwrap()
            }
            "+zstd" => ruzstd::encoding::compress_to_vec(tar, ruzstd::encoding::CompressionLevel::Fastest),
            _ => tar.to_vec(),
        };
        let descriptor = json!({
            "mediaType": format!("{LAYER}{compression}"),
            "digest": Digest::of(&blob).to_string(),
            "size": blob.len(),
        });
        self.layers().push(descriptor);
        self.config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(Digest::of(tar).to_string().into());
        self.blobs.push(blob);
    }

    /// Encrypts a layer as ocicrypt's users do.
    pub fn encrypt(&mut self, at: usize) {
        let plain = &self.blobs[at];
        let optsdata = cipher::new_key(&Digest::of(plain)).unwrap();
        let mut blob = Vec::new();
        let write = |block: &[u8]| {
            blob.extend_from_slice(block);
            Ok(())
        };
        let made = cipher::encrypt(&plain[..], plain.len() as u64, &optsdata, write, |_| Ok(())).unwrap();
        self.blobs[at] = blob;
        let layer = self.layer(at);
        let media_type = format!("{}+encrypted", layer["mediaType"].as_str().unwrap());
        layer["mediaType"] = media_type.into();
        layer["digest"] = made.digest.to_string().into();
        layer["size"] = made.size.into();
        layer["annotations"][KEYS] = STANDARD.encode(optsdata.raw().expose()).into();
        layer["annotations"][PUBOPTS] = made.public.to_annotation().into();
    }

    pub fn layers(&mut self) -> &mut Vec<Value> {
        self.manifest["layers"].as_array_mut().unwrap()
    }

    pub fn layer(&mut self, at: usize) -> &mut Value {
        &mut self.layers()[at]
    }

    /// Changes a member of a layer's opened packet.
    pub fn change_optsdata(&mut self, at: usize, change: impl FnOnce(&mut Value)) {
        let annotation = &mut self.layer(at)["annotations"][KEYS];
        let bytes = STANDARD.decode(annotation.as_str().unwrap()).unwrap();
        let mut optsdata: Value = serde_json::from_slice(&bytes).unwrap();
        change(&mut optsdata);
        *annotation = STANDARD.encode(optsdata.to_string()).into();
    }

    /// Writes blobs, config and manifest; gives the manifest's descriptor.
    pub fn write_blobs(&self, layout: &TestLayout) -> Value {
        for (blob, layer) in self.blobs.iter().zip(self.manifest["layers"].as_array().unwrap()) {
            let digest = layer["digest"].as_str().unwrap();
            layout.put(digest.trim_start_matches("sha256:"), blob);
        }
        let config = self.config.to_string();
        let mut manifest = self.manifest.clone();
        manifest["config"] = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": layout.document(config.as_bytes()),
            "size": config.len(),
        });
        let manifest = manifest.to_string();
        json!({
            "mediaType": MANIFEST,
            "digest": layout.document(manifest.as_bytes()),
            "size": manifest.len(),
        })
    }

    /// Writes a layout that holds this image alone, tagged v1.
    pub fn write(&self, directory: &Path) -> TestLayout {
        let layout = TestLayout::new(directory);
        let mut entry = self.write_blobs(&layout);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        layout.index(&[entry]);
        layout
    }
}

/// A layout's directory.
pub struct TestLayout(pub PathBuf);

impl TestLayout {
    pub fn new(directory: &Path) -> TestLayout {
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        TestLayout(directory.to_owned())
    }

    /// A blob under any name at all that lies in the directory.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        if !name.contains('/') && !name.is_empty() {
            fs::write(self.blob(name), bytes).unwrap();
        }
    }

    pub fn document(&self, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes);
        self.put(digest.hex(), bytes);
        digest.to_string()
    }

    pub fn blob(&self, name: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(name.trim_start_matches("sha256:"))
    }

    /// Three platforms, tagged v1: one image in an index, two in an index inside it.
    pub fn multi_platform(directory: &Path, image: impl Fn() -> TestImage) -> TestLayout {
        let layout = TestLayout::new(directory);
        let mut entries = Vec::new();
        for (arch, variant) in [("amd64", None), ("arm", Some("v6")), ("arm", Some("v7"))] {
            let mut image = image();
            image.config["architecture"] = arch.into();
            let mut entry = image.write_blobs(&layout);
            entry["platform"] = json!({"os": "linux", "architecture": arch});
            if let Some(variant) = variant {
                entry["platform"]["variant"] = variant.into();
            }
            entries.push(entry);
        }
        let inner = layout.nested(&entries[1..]);
        let mut root = layout.nested(&[entries[0].clone(), inner]);
        root["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        layout.index(&[root]);
        layout
    }

    /// An index of these manifests; gives its descriptor.
    pub fn nested(&self, manifests: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        json!({"mediaType": INDEX, "digest": self.document(index.as_bytes()), "size": index.len()})
    }

    pub fn index(&self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        fs::write(self.0.join("index.json"), index).unwrap();
    }
}

/// Bytes that stand for a tar: only their digest matters here. They do not compress to nothing.
pub fn tar(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    let mut block = Digest::of(seed.as_bytes());
    while bytes.len() < len {
        bytes.extend_from_slice(block.hex().as_bytes());
        block = Digest::of(block.hex().as_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub fn oci(directory: &Path, tag: Option<&str>) -> Reference {
    Reference { directory: directory.to_owned(), tag: tag.map(str::to_owned) }
}

/// Every file below a directory with its content, for before and after.
pub fn files(directory: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            // Reading a pipe would wait for a writer.
            let content = if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if kind.is_dir() {
                waiting.push(path.clone());
            }
            found.insert((path, content));
        }
    }
    found
}
