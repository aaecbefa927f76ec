//! Opening an image: every layer's key is asked for, every layer checked and decrypted, and the
//! manifests written anew around them.

mod layer;
mod run;

use holdfast_wire::OptsData;
use serde_json::{Map, Value};

use crate::descriptor::drop_annotations;
use crate::layout::Layout;
use crate::staging::Staging;
use crate::tree::{self, Content, Image, Node};
use crate::{Digest, Error, Packet, Platform, Reference, annotations, media};

/// Whoever can open a packet: a daemon with an HSM behind it, or a key in a test.
pub trait Opener: Sync {
    /// Opens any one of a layer's packets; all hold the same options. An error is one line that
    /// stands alone. Called from several threads at once.
    fn open(&self, packets: &[Packet]) -> Result<OptsData, Box<dyn std::error::Error + Send + Sync>>;
}

/// Told how far the work is; asked whether to go on. Called from several threads at once.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);

    /// Whether to stop. Asked at least every MiB; nothing stays at the target then.
    fn cancelled(&self) -> bool {
        false
    }
}

/// No progress shown, never stopped.
impl Progress for () {
    fn event(&self, _: Event<'_>) {}
}

/// What a [`Progress`] is told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// `bytes` of this layer are to be read, both passes counted.
    Started {
        /// Which layer.
        layer: &'a LayerName,
        /// How many bytes will be read.
        bytes: u64,
    },
    /// So many more have been read.
    Read {
        /// Which layer.
        layer: &'a LayerName,
        /// How many bytes since the last event.
        bytes: u64,
    },
    /// This layer is done.
    Done {
        /// Which layer.
        layer: &'a LayerName,
    },
}

/// Which layer of which manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerName {
    /// `os/arch[/variant]`, where the image has several manifests.
    pub platform: Option<String>,
    /// From 1.
    pub position: usize,
    /// How many layers the manifest has.
    pub of: usize,
    /// As the source's manifest names it.
    pub digest: Digest,
    /// Counted over all manifests, from 0: the same for all events of a layer.
    pub number: usize,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Decrypted {
    /// What the target's index.json leads to: a manifest or an index.
    pub digest: Digest,
    /// Every manifest in it, in the order of the indexes.
    pub manifests: Vec<DecryptedManifest>,
}

/// A manifest that was written.
#[derive(Debug, Clone)]
pub struct DecryptedManifest {
    /// From the index, else from the config.
    pub platform: Option<Platform>,
    /// The manifest it was made from.
    pub source: Digest,
    /// The manifest written.
    pub digest: Digest,
    /// Its layers, in order.
    pub layers: Vec<DecryptedLayer>,
}

/// A layer that was written.
#[derive(Debug, Clone)]
pub struct DecryptedLayer {
    /// The blob it was made from.
    pub source: Digest,
    /// The blob written.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// False: it was not encrypted and has been copied.
    pub decrypted: bool,
}

impl Decrypted {
    /// How many layers were encrypted.
    pub fn decrypted_layers(&self) -> usize {
        let layers = self.manifests.iter().flat_map(|manifest| &manifest.layers);
        layers.filter(|layer| layer.decrypted).count()
    }
}

/// Decrypts the image `source` to `target`: all platforms of an index, or the one asked for, which
/// then stands alone. Layers that are not encrypted are copied, checked. The target appears only
/// whole, and on any error nothing of it stays.
pub fn decrypt(
    source: &Reference,
    target: &Reference,
    platform: Option<&Platform>,
    opener: &dyn Opener,
    progress: &dyn Progress,
) -> Result<Decrypted, Error> {
    let layout = Layout::open(&source.directory)?;
    let mut root = tree::read(&layout, layout.image(source.tag.as_deref())?)?;
    if let Some(wanted) = platform {
        root = root.select(wanted)?;
    }
    let staging = Staging::new(target)?;
    let images = root.images();
    let layers = run::all(&layout, &staging, &images, opener, progress)?;
    let mut rewriter = Rewriter { staging: &staging, layers: layers.into_iter(), manifests: Vec::new() };
    let entry = rewriter.node(&root)?;
    let manifests = rewriter.manifests;
    let digest = digest_of(&entry)?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    staging.commit(entry)?;
    Ok(Decrypted { digest, manifests })
}

/// Writes the documents from the leaves up; `layers` come manifest by manifest.
struct Rewriter<'a, I> {
    staging: &'a Staging,
    layers: I,
    manifests: Vec<DecryptedManifest>,
}

impl<I: Iterator<Item = Vec<DecryptedLayer>>> Rewriter<'_, I> {
    /// Gives the descriptor of the document written.
    fn node(&mut self, node: &Node) -> Result<Map<String, Value>, Error> {
        let bytes = match &node.content {
            Content::Index { json, children } => {
                let children = children
                    .iter()
                    .map(|child| self.node(child).map(Value::Object))
                    .collect::<Result<Vec<_>, _>>()?;
                rewritten(json, "manifests", children, &node.bytes)?
            }
            Content::Image(image) => {
                let layers = self.layers.next().unwrap_or_default();
                let bytes =
                    rewritten(&image.manifest.json, "layers", layer_entries(image, &layers), &node.bytes)?;
                self.staging.document(&image.config_bytes)?;
                self.manifests.push(DecryptedManifest {
                    platform: image.platform.clone(),
                    source: node.descriptor.digest.clone(),
                    digest: Digest::of(&bytes),
                    layers,
                });
                bytes
            }
        };
        let digest = self.staging.document(&bytes)?;
        Ok(node.descriptor.moved_to(&digest, bytes.len() as u64))
    }
}

/// The document with another list in it. One in which nothing changed keeps its bytes and so its digest.
fn rewritten(
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

fn layer_entries(image: &Image, layers: &[DecryptedLayer]) -> Vec<Value> {
    let old = image.manifest.layers.iter();
    old.zip(layers)
        .map(|(old, new)| {
            if !new.decrypted {
                return Value::Object(old.json().clone());
            }
            let mut json = old.moved_to(&new.digest, new.size);
            let media_type = media::decrypted(&old.media_type).unwrap_or(&old.media_type);
            json.insert("mediaType".into(), media_type.into());
            drop_annotations(&mut json, annotations::is_encryption);
            Value::Object(json)
        })
        .collect()
}

fn digest_of(entry: &Map<String, Value>) -> Result<Digest, Error> {
    entry.get("digest").and_then(Value::as_str).unwrap_or_default().parse()
}
