//! Where images are read from and written to, as far as encrypting and decrypting them goes. Layouts and archives are
//! such places, and whatever else keeps documents and blobs by their digests.
//!
//! A place that is written to owes two things: nothing leads to the image before all of it is there, and
//! nothing of one that was given up stays.

use std::fmt;
use std::io::{Read, Seek, Write};

use serde_json::{Map, Value};

use crate::{
    Digest, DockerArchive, DocumentKind, Documents, Error, OciArchive, Reference, layout, printable,
};

/// An image's place and name, to tell whether two are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// In a layout.
    Layout(Reference),
    /// In an archive of a layout.
    OciArchive(OciArchive),
    /// In an archive of docker's.
    DockerArchive(DockerArchive),
    /// In a registry.
    Registry {
        /// `HOST[:PORT]`
        host: String,
        /// The repository on it.
        repository: String,
        /// A tag or a digest.
        image: String,
    },
}

/// An image that can be read.
pub trait Source {
    /// Where it is.
    fn location(&self) -> Location;

    /// Begins to read it.
    fn open(&self) -> Result<Box<dyn StoredImage + '_>, Error>;
}

/// An image that is being read. Whoever reads a blob checks its digest.
pub trait StoredImage: Documents + Sync {
    /// The descriptor that leads to it (OCI image-spec, descriptor.md).
    fn root(&self) -> Result<Map<String, Value>, Error>;

    /// A blob of `size` bytes, to be read once.
    fn blob(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, Error>;

    /// The same, to be read to its end, and then once more from its beginning.
    fn blob_twice(&self, digest: &Digest, size: u64) -> Result<Box<dyn ReadAgain + '_>, Error>;
}

/// What can be read again.
pub trait ReadAgain: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadAgain for T {}

/// A name that an image can be written under.
pub trait Target {
    /// Where it will be.
    fn location(&self) -> Location;

    /// Begins to write an image, whose unchanged blobs are at `from` too.
    fn begin(&self, from: &Location) -> Result<Box<dyn NewImage + '_>, Error>;
}

/// An image that is being written. Dropped before it is committed, there is no such image.
pub trait NewImage: Sync {
    /// The place, for an error.
    fn place(&self) -> String;

    /// Begins a blob, whose digest comes at its end.
    fn blob(&self) -> Result<Box<dyn NewBlob + '_>, Error>;

    /// Whether a blob is there, or could be had without moving it.
    fn has(&self, digest: &Digest) -> Result<bool, Error>;

    /// Writes a config, or a manifest that another leads to.
    fn document(&self, kind: DocumentKind, media_type: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Writes the manifest or index that all begins with, and lets the name lead to it.
    fn commit(self: Box<Self>, root: &RootDocument) -> Result<(), Error>;
}

/// A blob that is being written. Dropped before it is kept, nothing of it stays. An error of the kind
/// `ConnectionReset` says that it was lost and may be begun again.
pub trait NewBlob: Write + Send {
    /// Gives it its name. The caller has checked its digest.
    fn keep(self: Box<Self>, digest: &Digest) -> Result<(), Error>;
}

/// Where an image that was written begins.
#[derive(Debug, Clone)]
pub struct RootDocument {
    /// What it is.
    pub media_type: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// What leads to it: the source's descriptor with the new digest and size.
    pub descriptor: Map<String, Value>,
}

impl Location {
    /// Whether writing there replaces the image that is here. Without a tag, any image of a layout may be meant.
    pub(crate) fn is_replaced_by(&self, target: &Location) -> bool {
        match (self, target) {
            (Location::Layout(one), Location::Layout(other)) => layout::same_image(one, other),
            _ => self == target,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Layout(reference) => reference.fmt(f),
            Location::OciArchive(archive) => archive.fmt(f),
            Location::DockerArchive(archive) => archive.fmt(f),
            Location::Registry { host, repository, image } => {
                let colon = if image.contains(':') { '@' } else { ':' };
                let name = format!("docker://{host}/{repository}{colon}{image}");
                f.write_str(&printable(&name))
            }
        }
    }
}

impl Source for Reference {
    fn location(&self) -> Location {
        Location::Layout(self.clone())
    }

    fn open(&self) -> Result<Box<dyn StoredImage + '_>, Error> {
        Ok(Box::new(layout::Tagged::open(self)?))
    }
}
