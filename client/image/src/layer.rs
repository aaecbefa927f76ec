use serde_json::Value;

use crate::descriptor::Descriptor;
use crate::{Digest, Error, Packet, PublicOptions, annotations};

/// An encrypted layer as a descriptor tells of it (OCI image-spec, descriptor.md): all that is needed to
/// open it but its key and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedLayer {
    /// Its media type.
    pub media_type: String,
    /// Digest of the encrypted blob.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// Every wrapped form of its key, of every scheme.
    pub packets: Vec<Packet>,
    /// The public options of its cipher.
    pub public: PublicOptions,
}

impl EncryptedLayer {
    /// From a descriptor in JSON.
    pub fn read(descriptor: &Value) -> Result<EncryptedLayer, Error> {
        EncryptedLayer::of(Descriptor::read(descriptor, "the layer")?)
    }

    pub(crate) fn of(descriptor: Descriptor) -> Result<EncryptedLayer, Error> {
        let annotations = descriptor.annotations();
        Ok(EncryptedLayer {
            packets: annotations::packets(&annotations)?,
            public: PublicOptions::of(&annotations)?,
            media_type: descriptor.media_type,
            digest: descriptor.digest,
            size: descriptor.size,
        })
    }
}
