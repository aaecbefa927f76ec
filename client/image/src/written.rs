//! What was written, and the documents around the layers: from the leaves up, each with the digests and
//! sizes of what it leads to now.

use serde_json::{Map, Value};

use crate::place::{NewImage, RootDocument};
use crate::tree::{Content, DocumentKind, Image, Node};
use crate::{Digest, Error, Platform};

/// An image that was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// What the target's index.json leads to: a manifest or an index.
    pub digest: Digest,
    /// Every manifest in it, in the order of the indexes.
    pub manifests: Vec<WrittenManifest>,
}

/// A manifest that was written.
#[derive(Debug, Clone)]
pub struct WrittenManifest {
    /// From the index, else from the config.
    pub platform: Option<Platform>,
    /// The manifest it was made from.
    pub source: Digest,
    /// The manifest written.
    pub digest: Digest,
    /// Its layers, in order.
    pub layers: Vec<WrittenLayer>,
}

/// A layer that was written.
#[derive(Debug, Clone)]
pub struct WrittenLayer {
    /// The blob it was made from.
    pub source: Digest,
    /// The blob written.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// Whether it was encrypted or decrypted; else it has been copied.
    pub changed: bool,
}

impl Written {
    /// Every layer of every manifest.
    pub fn layers(&self) -> impl Iterator<Item = &WrittenLayer> {
        self.manifests.iter().flat_map(|manifest| &manifest.layers)
    }

    /// How many layers were encrypted or decrypted.
    pub fn changed_layers(&self) -> usize {
        self.layers().filter(|layer| layer.changed).count()
    }
}

/// A layer, and what stands in the manifest for it.
pub(crate) struct NewLayer {
    pub(crate) written: WrittenLayer,
    pub(crate) entry: Map<String, Value>,
}

/// Writes all documents but the root, which it gives: whoever commits the image writes it. `layers` are those
/// of each image, in the order of the indexes.
pub(crate) fn documents(
    target: &dyn NewImage,
    root: &Node,
    layers: Vec<Vec<NewLayer>>,
) -> Result<(Written, RootDocument), Error> {
    let mut documents = Documents { target, layers: layers.into_iter(), manifests: Vec::new() };
    let root = documents.made(root)?;
    Ok((Written { digest: Digest::of(&root.bytes), manifests: documents.manifests }, root))
}

struct Documents<'a, I> {
    target: &'a dyn NewImage,
    layers: I,
    manifests: Vec<WrittenManifest>,
}

impl<I: Iterator<Item = Vec<NewLayer>>> Documents<'_, I> {
    /// Writes what the document leads to.
    fn made(&mut self, node: &Node) -> Result<RootDocument, Error> {
        let bytes = match &node.content {
            Content::Index { json, children } => {
                let children = children
                    .iter()
                    .map(|child| self.written(child).map(Value::Object))
                    .collect::<Result<Vec<_>, _>>()?;
                rewritten(json, "manifests", children, &node.bytes)?
            }
            Content::Image(image) => {
                let (layers, entries) = self
                    .layers
                    .next()
                    .unwrap_or_default()
                    .into_iter()
                    .map(|layer| (layer.written, Value::Object(layer.entry)))
                    .unzip();
                let bytes = rewritten(&image.manifest.json, "layers", entries, &node.bytes)?;
                self.config(image)?;
                self.manifests.push(WrittenManifest {
                    platform: image.platform.clone(),
                    source: node.descriptor.digest.clone(),
                    digest: Digest::of(&bytes),
                    layers,
                });
                bytes
            }
        };
        let descriptor = node.descriptor.moved_to(&Digest::of(&bytes), bytes.len() as u64);
        Ok(RootDocument { media_type: node.descriptor.media_type.clone(), bytes, descriptor })
    }

    /// Writes the document too, and gives what leads to it.
    fn written(&mut self, node: &Node) -> Result<Map<String, Value>, Error> {
        let made = self.made(node)?;
        self.target.document(DocumentKind::Manifest, &made.media_type, &made.bytes)?;
        Ok(made.descriptor)
    }

    fn config(&self, image: &Image) -> Result<(), Error> {
        let config = &image.manifest.config;
        if self.target.has(&config.digest)? {
            return Ok(());
        }
        self.target.document(DocumentKind::Config, &config.media_type, &image.config_bytes)
    }
}

/// The document with another list in it. One in which nothing changed keeps its bytes and so its digest.
pub(crate) fn rewritten(
    json: &Map<String, Value>,
    name: &str,
    list: Vec<Value>,
    bytes: &[u8],
) -> Result<Vec<u8>, Error> {
    let list = Value::Array(list);
    if json.get(name).is_none_or(|old| *old == list) {
        return Ok(bytes.to_vec());
    }
    let mut json = json.clone();
    json.insert(name.to_owned(), list);
    serde_json::to_vec(&json).map_err(|_| Error::image("a manifest that cannot be written as JSON"))
}
