//! A content store's directory of blobs, searched for the manifests that name a layer: for whoever has a
//! layer's digest and nothing that says how it is opened.
//!
//! All namespaces of containerd share the directory, and whoever can have an image pulled puts manifests
//! there. What is found is a hint: a packet must open, and the MAC and digest come out right.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use crate::descriptor::{Descriptor, MAX_DOCUMENT, list, object};
use crate::{Digest, EncryptedLayer, Error};

/// Most manifests taken that name the layer, the newest.
const MAX_FOUND: usize = 64;
/// Most blobs looked at, the newest.
const MAX_BLOBS: usize = 100_000;

/// A layer as one manifest names it.
#[derive(Debug)]
pub struct Named {
    /// The manifest's digest.
    pub manifest: Digest,
    /// The layer, or what is wrong with what the manifest says of it.
    pub layer: Result<EncryptedLayer, Error>,
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Digest of the encrypted blob.
    pub digest: &'a Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type; any encrypted one where it is not known.
    pub media_type: Option<&'a str>,
}

/// Every manifest below `directory` (`blobs/sha256`) that names the layer, newest first. What cannot be read
/// or is no manifest is passed over.
///
/// One at a time, as each may be long and whoever plants manifests can plant many.
pub fn manifests_naming<'a>(directory: &'a Path, wanted: Wanted<'a>) -> impl Iterator<Item = Named> + 'a {
    let named = move |name: OsString| {
        let digest: Digest = format!("sha256:{}", name.to_str()?).parse().ok()?;
        let bytes = manifest(&directory.join(&name), wanted.digest)?;
        // The store checks what it takes in; this costs little and keeps the audit log's word true.
        if Digest::of(&bytes) != digest {
            return None;
        }
        layer_in(&bytes, wanted).map(|layer| Named { manifest: digest, layer })
    };
    small_blobs(directory).into_iter().filter_map(named).take(MAX_FOUND)
}

/// What a manifest says of the layer; nothing where it does not name it or is no manifest. A layer that stands
/// there more than once is opened in one way as in the other.
pub fn layer_in(manifest: &[u8], wanted: Wanted<'_>) -> Option<Result<EncryptedLayer, Error>> {
    let json = object(manifest, "the manifest").ok()?;
    let layers = list(&json, "layers", "the manifest", crate::descriptor::MAX_LAYERS).ok()?;
    let mut layers =
        layers.iter().filter_map(|layer| Descriptor::read(layer, "the layer").ok()).filter(|layer| {
            layer.digest == *wanted.digest
                && layer.size == wanted.size
                && layer.is_encrypted()
                && wanted.media_type.is_none_or(|media_type| layer.media_type == media_type)
        });
    layers.next().map(EncryptedLayer::of)
}

/// Names of blobs that a manifest's length is possible for, newest first.
fn small_blobs(directory: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut blobs: Vec<(SystemTime, OsString)> = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
            let fits = (1..=MAX_DOCUMENT).contains(&metadata.len());
            fits.then(|| (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.file_name()))
        })
        .collect();
    blobs.sort_by(|a, b| b.cmp(a));
    blobs.truncate(MAX_BLOBS);
    blobs.into_iter().map(|(_, name)| name).collect()
}

/// The file, if it begins like JSON and holds the digest. Layers, the most of what lies here, are left after
/// their first bytes.
fn manifest(path: &Path, digest: &Digest) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut bytes = vec![0; 512];
    let read = file.read(&mut bytes).ok()?;
    bytes.truncate(read);
    if bytes.first() != Some(&b'{') {
        return None;
    }
    file.take(MAX_DOCUMENT).read_to_end(&mut bytes).ok()?;
    std::str::from_utf8(&bytes).ok()?.contains(digest.hex()).then_some(bytes)
}
