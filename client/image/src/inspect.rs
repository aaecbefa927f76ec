//! What an image says of itself, read without any key.

use std::collections::BTreeMap;

use crate::descriptor::{Descriptor, object};
use crate::layout::image_in;
use crate::place::Source;
use crate::tree::{self, Configs, Documents};
use crate::{Digest, Error, Packet, Platform, Recipient, Root, annotations, packets};

/// An image.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// What its tag leads to.
    pub digest: Digest,
    /// Every manifest, in the order of the indexes.
    pub manifests: Vec<InspectedManifest>,
}

/// A manifest of an image.
#[derive(Debug, Clone)]
pub struct InspectedManifest {
    /// Its digest.
    pub digest: Digest,
    /// From the index, else from the config.
    pub platform: Option<Platform>,
    /// Its layers, in order.
    pub layers: Vec<InspectedLayer>,
}

/// A layer of a manifest.
#[derive(Debug, Clone)]
pub struct InspectedLayer {
    /// Digest of the blob as it lies there.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// As the manifest gives it; not made fit for a terminal.
    pub media_type: String,
    /// Whether the media type says so.
    pub encrypted: bool,
    /// The cipher its pubopts name.
    pub cipher: Option<String>,
    /// The wrapped forms of its key.
    pub packets: Vec<InspectedPacket>,
    /// Why the packets could not be read.
    pub trouble: Option<String>,
}

/// A wrapped form of a layer's key.
#[derive(Debug, Clone)]
pub struct InspectedPacket {
    /// Its scheme, not made fit for a terminal, and its bytes.
    pub packet: Packet,
    /// Its first recipients; empty where its form is not known.
    pub recipients: Vec<Recipient>,
    /// How many recipients it has; 0 where its form is not known.
    pub recipients_total: usize,
    /// Holdfast's labels, for a JWE that has some.
    pub labels: BTreeMap<String, String>,
}

/// Reads an image's manifests. Its layers need not be there.
pub fn inspect(source: &dyn Source) -> Result<Inspected, Error> {
    let from = source.open()?;
    inspected(&*from, Descriptor::read(&from.root()?.into(), "the image")?, Configs::Read)
}

/// The same, of documents that lie anywhere: `index` is an index.json, in which the image has this tag, or
/// is the only one.
pub fn inspect_documents(
    index: &[u8],
    tag: Option<&str>,
    documents: &dyn Documents,
) -> Result<Inspected, Error> {
    let index = object(index, "index.json")?;
    inspected(documents, image_in(&index, "index.json", "with its tag", tag)?, Configs::Read)
}

/// The same, of the image that `root` leads to. Its configs are not read: a manifest that stands in no index
/// has no platform then.
pub fn inspect_root(root: &Root, documents: &dyn Documents) -> Result<Inspected, Error> {
    inspected(documents, root.descriptor()?, Configs::Leave)
}

fn inspected(documents: &dyn Documents, image: Descriptor, configs: Configs) -> Result<Inspected, Error> {
    let root = tree::read(documents, image, configs)?;
    let manifests = root.images().into_iter().map(|(node, image)| InspectedManifest {
        digest: node.descriptor.digest.clone(),
        platform: image.platform.clone(),
        layers: image.manifest.layers.iter().map(layer).collect(),
    });
    Ok(Inspected { manifests: manifests.collect(), digest: root.descriptor.digest.clone() })
}

fn layer(descriptor: &Descriptor) -> InspectedLayer {
    let mut layer = InspectedLayer {
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        media_type: descriptor.media_type.clone(),
        encrypted: descriptor.is_encrypted(),
        cipher: None,
        packets: Vec::new(),
        trouble: None,
    };
    if !layer.encrypted {
        return layer;
    }
    let annotations = descriptor.annotations();
    layer.cipher = annotations::cipher(&annotations);
    match annotations::packets(&annotations) {
        Ok(found) => layer.packets = found.into_iter().map(packet).collect(),
        Err(error) => layer.trouble = Some(error.to_string()),
    }
    layer
}

fn packet(packet: Packet) -> InspectedPacket {
    let told = packets::told(&packet.scheme, &packet.data).unwrap_or_default();
    InspectedPacket {
        packet,
        recipients: told.recipients,
        recipients_total: told.recipients_total,
        labels: told.labels,
    }
}
