//! The documents of an image, read and checked before any layer is: an index with its manifests,
//! indexes inside indexes, or a single manifest.

use crate::cipher::{check_digest, check_size};
use crate::descriptor::{Config, Descriptor, MAX_DOCUMENT, Manifest, list, object, too_long};
use crate::error::shown;
use crate::media::{self, Kind};
use crate::{Digest, Error, Platform};
use serde_json::{Map, Value};

/// How deep indexes may lie in each other.
const MAX_DEPTH: usize = 4;
/// Most documents of one image, repetitions counted.
const MAX_DOCUMENTS: usize = 4096;

/// Most platforms that an error lists.
const LISTED: usize = 8;

/// Where the documents of an image lie.
pub trait Documents {
    /// What this digest names. Its size and digest are checked by whoever asked; the first 4 MiB and one byte
    /// more are enough.
    fn document(&self, kind: DocumentKind, digest: &Digest) -> Result<Vec<u8>, Error>;
}

/// What a document is: registries keep the two in different places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A manifest or an index.
    Manifest,
    /// What a manifest names as its config.
    Config,
}

/// Whether the configs of an image are read as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Configs {
    Read,
    /// They count as empty: nobody asks what they say, and they stay where they are.
    Leave,
}

/// A document and what it leads to.
pub(crate) struct Node {
    pub(crate) descriptor: Descriptor,
    /// As it was read, and as it is written again when nothing below it changes.
    pub(crate) bytes: Vec<u8>,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Index { json: Map<String, Value>, children: Vec<Node> },
    Image(Box<Image>),
}

/// A manifest and its config.
pub(crate) struct Image {
    pub(crate) manifest: Manifest,
    /// Empty for what is no container image (an artifact).
    pub(crate) config: Config,
    pub(crate) config_bytes: Vec<u8>,
    /// From the index, else from the config.
    pub(crate) platform: Option<Platform>,
}

/// Reads all documents of the image that `root` leads to.
pub(crate) fn read(from: &dyn Documents, root: Descriptor, configs: Configs) -> Result<Node, Error> {
    Reader { from, configs, documents: 0 }.node(root, 0)
}

impl Node {
    /// Every image in it, in the order of the indexes.
    pub(crate) fn images(&self) -> Vec<(&Node, &Image)> {
        match &self.content {
            Content::Image(image) => vec![(self, image)],
            Content::Index { children, .. } => children.iter().flat_map(Node::images).collect(),
        }
    }

    /// The one image for a platform.
    pub(crate) fn select(self, wanted: &Platform) -> Result<Node, Error> {
        let missing = no_such_platform(wanted, self.images().into_iter().map(|(_, image)| image));
        let choices = choices(self.images().into_iter().map(|(_, image)| image));
        let mut found = Vec::new();
        self.collect(wanted, &mut found);
        match (found.len(), found.pop()) {
            (1, Some(one)) => Ok(one),
            (0, _) => Err(missing),
            _ => Err(Error::Reference(format!(
                "{wanted} fits several of {choices}; give the variant, os/arch/variant"
            ))),
        }
    }

    fn collect(self, wanted: &Platform, found: &mut Vec<Node>) {
        match self.content {
            Content::Index { children, .. } => {
                for child in children {
                    child.collect(wanted, found);
                }
            }
            Content::Image(ref image) => {
                if image.platform.as_ref().is_some_and(|platform| platform.satisfies(wanted)) {
                    found.push(self);
                }
            }
        }
    }
}

/// Its platform, for people.
pub(crate) fn name(image: &Image) -> String {
    image.platform.as_ref().map_or_else(|| "no platform".to_owned(), |platform| shown(&platform.to_string()))
}

/// None of the images is for `wanted`.
pub(crate) fn no_such_platform<'a>(wanted: &Platform, images: impl Iterator<Item = &'a Image>) -> Error {
    Error::Reference(format!("the image is not there for {wanted}; it is for {}", choices(images)))
}

fn choices<'a>(images: impl Iterator<Item = &'a Image>) -> String {
    let all: Vec<String> = images.map(name).collect();
    match all.len().checked_sub(LISTED) {
        Some(more @ 1..) => format!("{} and {more} more", all[..LISTED].join(", ")),
        _ => all.join(", "),
    }
}

struct Reader<'a> {
    from: &'a dyn Documents,
    configs: Configs,
    documents: usize,
}

impl Reader<'_> {
    /// No index can lead back to itself, as each is named by its own digest; `depth` and `documents` bound
    /// what those can lead to that do not.
    fn node(&mut self, descriptor: Descriptor, depth: usize) -> Result<Node, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::image(format!(
                "indexes lie more than {MAX_DEPTH} deep in each other; copy one of the inner images"
            )));
        }
        self.documents += 1;
        if self.documents > MAX_DOCUMENTS {
            return Err(Error::image(format!(
                "the image has more than {MAX_DOCUMENTS} manifests; copy one of its platforms"
            )));
        }
        let bytes = document(self.from, DocumentKind::Manifest, &descriptor)?;
        let content = match descriptor.kind() {
            Kind::Index => {
                let json = object(&bytes, "the index")?;
                let children = list(&json, "manifests", "the index", MAX_DOCUMENTS)?
                    .iter()
                    .map(|child| {
                        let child = Descriptor::read(child, "a manifest in the index")?;
                        self.node(child, depth + 1)
                    })
                    .collect::<Result<_, _>>()?;
                Content::Index { json, children }
            }
            Kind::Manifest => Content::Image(Box::new(self.image(&descriptor, &bytes)?)),
            Kind::Other => {
                return Err(Error::image(format!(
                    "{} is neither a manifest nor an index but {}; this version cannot read it",
                    descriptor.digest.short(),
                    shown(&descriptor.media_type)
                )));
            }
        };
        Ok(Node { descriptor, bytes, content })
    }

    fn image(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<Image, Error> {
        let manifest = Manifest::read(bytes)?;
        let config_bytes = match self.configs {
            Configs::Read => document(self.from, DocumentKind::Config, &manifest.config)?,
            Configs::Leave => Vec::new(),
        };
        let config = if self.configs == Configs::Read && media::is_image_config(&manifest.config.media_type) {
            Config::read(&config_bytes)?
        } else {
            Config::default()
        };
        Ok(Image {
            platform: descriptor.platform().or_else(|| config.platform.clone()),
            manifest,
            config,
            config_bytes,
        })
    }
}

/// Reads a manifest, index or config, and checks its size and digest.
fn document(from: &dyn Documents, kind: DocumentKind, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    if descriptor.size > MAX_DOCUMENT {
        return Err(too_long(&descriptor.digest.short()));
    }
    let bytes = from.document(kind, &descriptor.digest)?;
    let named = |error| match error {
        Error::Damaged(text) => Error::Damaged(format!("{}: {text}", descriptor.digest.short())),
        other => other,
    };
    check_size(bytes.len() as u64, descriptor.size).map_err(named)?;
    check_digest(&Digest::of(&bytes), &descriptor.digest).map_err(named)?;
    Ok(bytes)
}
