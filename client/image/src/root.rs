use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::{Digest, Error};

/// Where an image begins: its manifest or index, as whoever keeps it names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A manifest or index that was made.
#[derive(Debug, Clone)]
pub struct NewDocument {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Root {
    /// The descriptor that leads there (OCI image-spec, descriptor.md).
    pub fn json(&self) -> Map<String, Value> {
        Map::from_iter([
            ("mediaType".to_owned(), Value::from(self.media_type.as_str())),
            ("digest".to_owned(), self.digest.to_string().into()),
            ("size".to_owned(), self.size.into()),
        ])
    }

    pub(crate) fn descriptor(&self) -> Result<Descriptor, Error> {
        Descriptor::read(&Value::Object(self.json()), "the image")
    }
}
