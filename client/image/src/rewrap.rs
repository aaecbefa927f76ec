//! Changing who can open an image, by its annotations alone: layers and configs stay where they are, and so
//! do their keys.
//!
//! So a recipient who is taken out of the annotations can open the image no longer, *unless* he has kept its
//! layers' keys or the old annotations: to take that away too, an image has to be encrypted anew.

mod layer;
mod recipients;

use std::collections::HashMap;

use holdfast_wire::{Labels, OptsData};
use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::layout::{Layout, NewLayout};
use crate::place::{RootDocument, Source, StoredImage, Target};
use crate::root::{NewDocument, Root};
use crate::tree::{self, Configs, Content, DocumentKind, Documents, Image, Node};
use crate::written::rewritten;
use crate::{Digest, Error, Identity, Packet, Platform, Reference};

pub use recipients::holders;

/// Opens layers' keys and wraps them anew.
pub trait Rewrapper {
    /// Opens any one of a layer's packets.
    fn open(&self, packets: &[Packet]) -> Result<Opened, Refusal>;

    /// Wraps a layer's options to these recipients, a selection of [`Wish::to`].
    fn wrap(&self, optsdata: &OptsData, labels: &Labels, to: &[Identity]) -> Result<Vec<Packet>, Reason>;
}

/// What came out of a packet.
#[derive(Debug)]
pub struct Opened {
    /// The layer's options, with its key.
    pub optsdata: OptsData,
    /// What it was encrypted for, under that packet's own seal.
    pub labels: Labels,
    /// The id of the key that opened it.
    pub kid: String,
    /// As which of its packet's recipients.
    pub recipient: usize,
}

/// One line that stands alone.
pub type Reason = Box<dyn std::error::Error + Send + Sync>;

/// Why no packet was opened.
#[derive(Debug)]
pub enum Refusal {
    /// None of the keys at hand opens any of them.
    NotMine(Reason),
    /// Whether one does cannot be said: a key that may be theirs cannot be used.
    Failed(Reason),
    /// Nobody can be asked now.
    Away(Reason),
}

impl Refusal {
    /// The words, whichever it is.
    pub fn into_reason(self) -> Reason {
        match self {
            Refusal::NotMine(reason) | Refusal::Failed(reason) | Refusal::Away(reason) => reason,
        }
    }
}

/// What the recipients of an image shall be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What becomes of those who are there.
    pub change: Change,
    /// Who shall open it; all have a [name](Identity::name), and can be wrapped to.
    pub to: Vec<Identity>,
    /// What it is encrypted for from now on. None: what it was encrypted for.
    pub labels: Option<Labels>,
}

/// What becomes of the recipients that an image has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// All go.
    Replace,
    /// All stay but those who have these keys.
    Keep {
        /// Who goes.
        without: Vec<Identity>,
    },
}

/// An image as it shall be. Nothing has been written yet.
#[derive(Debug, Clone)]
pub struct Rewrapped {
    /// Where it begins now.
    pub root: Root,
    /// What has to be written, leaves first and the root last; empty if the image is as it shall be.
    pub documents: Vec<NewDocument>,
    /// Every manifest, in the order of the indexes.
    pub manifests: Vec<RewrappedManifest>,
}

/// A manifest of an image.
#[derive(Debug, Clone)]
pub struct RewrappedManifest {
    /// From the index.
    pub platform: Option<Platform>,
    /// As it was.
    pub source: Digest,
    /// As it shall be.
    pub digest: Digest,
    /// Its encrypted layers, in order.
    pub layers: Vec<RewrappedLayer>,
}

/// An encrypted layer.
#[derive(Debug, Clone)]
pub struct RewrappedLayer {
    /// The blob, which stays.
    pub digest: Digest,
    /// Those who are new.
    pub added: Vec<Identity>,
    /// How many recipients went.
    pub removed: usize,
    /// How many there are now, besides those wished for, that name no key id, so that nobody can say who they are.
    pub unnamed: usize,
}

impl RewrappedLayer {
    /// Whether its annotations are others now.
    pub fn is_changed(&self) -> bool {
        !self.added.is_empty() || self.removed > 0
    }
}

impl Rewrapped {
    /// The layers whose annotations are others now, repetitions counted.
    pub fn changed_layers(&self) -> usize {
        self.layers().filter(|layer| layer.is_changed()).count()
    }

    /// Every encrypted layer of every manifest.
    pub fn layers(&self) -> impl Iterator<Item = &RewrappedLayer> {
        self.manifests.iter().flat_map(|manifest| &manifest.layers)
    }
}

/// Makes the documents of the image that `root` leads to anew. A layer whose recipients are as wished is
/// not opened.
pub fn rewrap(
    from: &dyn Documents,
    root: &Root,
    wish: &Wish,
    rewrapper: &dyn Rewrapper,
) -> Result<Rewrapped, Error> {
    let root = tree::read(from, root.descriptor()?, Configs::Leave)?;
    let (rewrapped, _) = rewrap_node(&root, wish, rewrapper, Written::Changed)?;
    Ok(rewrapped)
}

/// The same of an image that stays as it is: nothing is written.
pub fn rewrap_dry(source: &dyn Source, wish: &Wish, rewrapper: &dyn Rewrapper) -> Result<Rewrapped, Error> {
    let from = source.open()?;
    let (rewrapped, _) = rewrap_node(&read(&*from)?, wish, rewrapper, Written::Changed)?;
    Ok(rewrapped)
}

/// Writes the image anew as `target`, which has its layers already or can have them without their being moved.
pub fn rewrap_to(
    source: &dyn Source,
    target: &dyn Target,
    wish: &Wish,
    rewrapper: &dyn Rewrapper,
) -> Result<Rewrapped, Error> {
    let from = source.open()?;
    let root = read(&*from)?;
    let (rewrapped, descriptor) = rewrap_node(&root, wish, rewrapper, Written::All)?;
    let Some((last, inner)) = rewrapped.documents.split_last() else {
        return Ok(rewrapped);
    };
    let new = target.begin(&source.location())?;
    for (_, image) in root.images() {
        for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
            if !new.has(&blob.digest)? {
                return Err(Error::Reference(format!(
                    "{} is not at {}, and cannot be had there without being moved; copy the image there first (skopeo copy), and rewrap it there",
                    blob.digest.short(),
                    new.place()
                )));
            }
        }
    }
    for document in inner {
        new.document(DocumentKind::Manifest, &document.media_type, &document.bytes)?;
    }
    let (media_type, bytes) = (last.media_type.clone(), last.bytes.clone());
    new.commit(&RootDocument { media_type, bytes, descriptor })?;
    Ok(rewrapped)
}

/// Does so in a layout, and writes what is new: the tag leads to the old image or to the new one.
pub fn rewrap_layout(image: &Reference, wish: &Wish, rewrapper: &dyn Rewrapper) -> Result<Rewrapped, Error> {
    let layout = Layout::open(&image.directory)?;
    let root = tree::read(&layout, layout.image(image.tag.as_deref())?, Configs::Leave)?;
    let (rewrapped, entry) = rewrap_node(&root, wish, rewrapper, Written::Changed)?;
    if !rewrapped.documents.is_empty() {
        let new = NewLayout::new(image)?;
        for document in &rewrapped.documents {
            new.write(&document.bytes)?;
        }
        new.enter(entry)?;
    }
    Ok(rewrapped)
}

fn read(from: &dyn StoredImage) -> Result<Node, Error> {
    tree::read(from, Descriptor::read(&from.root()?.into(), "the image")?, Configs::Leave)
}

fn rewrap_node(
    root: &Node,
    wish: &Wish,
    rewrapper: &dyn Rewrapper,
    written: Written,
) -> Result<(Rewrapped, Map<String, Value>), Error> {
    let (documents, manifests) = (Vec::new(), Vec::new());
    let mut writer = Writer { wish, rewrapper, written, done: HashMap::new(), documents, manifests };
    let (made, entry) = writer.node(root)?;
    let Writer { documents, manifests, .. } = writer;
    Ok((Rewrapped { root: made, documents, manifests }, entry))
}

/// Which documents are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Those that are others now.
    Changed,
    All,
}

struct Writer<'a> {
    wish: &'a Wish,
    rewrapper: &'a dyn Rewrapper,
    written: Written,
    /// What became of a layer's annotations: platforms share layers, and each is opened once.
    done: HashMap<(Digest, String), layer::Rewrapped>,
    documents: Vec<NewDocument>,
    manifests: Vec<RewrappedManifest>,
}

impl Writer<'_> {
    /// Gives what leads to the document now.
    fn node(&mut self, node: &Node) -> Result<(Root, Map<String, Value>), Error> {
        let bytes = match &node.content {
            Content::Index { json, children } => {
                let children = children
                    .iter()
                    .map(|child| self.node(child).map(|(_, entry)| Value::Object(entry)))
                    .collect::<Result<Vec<_>, _>>()?;
                rewritten(json, "manifests", children, &node.bytes)?
            }
            Content::Image(image) => self.image(node, image)?,
        };
        let root = Root {
            media_type: node.descriptor.media_type.clone(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        let entry = node.descriptor.moved_to(&root.digest, root.size);
        let wanted = self.written == Written::All || root.digest != node.descriptor.digest;
        if wanted && self.documents.iter().all(|known| known.digest != root.digest) {
            let (media_type, digest) = (root.media_type.clone(), root.digest.clone());
            self.documents.push(NewDocument { media_type, digest, bytes });
        }
        Ok((root, entry))
    }

    fn image(&mut self, node: &Node, image: &Image) -> Result<Vec<u8>, Error> {
        let layers = &image.manifest.layers;
        let mut told = Vec::new();
        let mut entries = Vec::new();
        for (at, descriptor) in layers.iter().enumerate() {
            if !descriptor.is_encrypted() {
                entries.push(Value::Object(descriptor.json().clone()));
                continue;
            }
            let made = self.layer(descriptor).map_err(|source| Error::Layer {
                platform: image.platform.as_ref().map(Platform::to_string),
                position: at + 1,
                of: layers.len(),
                digest: descriptor.digest.clone(),
                source: Box::new(source),
            })?;
            entries.push(Value::Object(made.entry(descriptor)));
            told.push(made.told);
        }
        let bytes = rewritten(&image.manifest.json, "layers", entries, &node.bytes)?;
        self.manifests.push(RewrappedManifest {
            platform: image.platform.clone(),
            source: node.descriptor.digest.clone(),
            digest: Digest::of(&bytes),
            layers: told,
        });
        Ok(bytes)
    }

    fn layer(&mut self, descriptor: &Descriptor) -> Result<layer::Rewrapped, Error> {
        let annotations = descriptor.annotations();
        let key = (descriptor.digest.clone(), Value::Object(annotations.clone()).to_string());
        if let Some(done) = self.done.get(&key) {
            return Ok(done.clone());
        }
        let made = layer::rewrap(descriptor, &annotations, self.wish, self.rewrapper)?;
        self.done.insert(key, made.clone());
        Ok(made)
    }
}
