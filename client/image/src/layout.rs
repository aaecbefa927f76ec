//! OCI image layouts on disk (OCI image-spec, image-layout.md), as skopeo writes and reads them.
//!
//! Blobs are opened step by step from the layout's own directory and never through a symbolic link,
//! so that a layout from a stranger cannot lead to another file of the machine.

mod new;
mod reference;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use serde_json::{Map, Value};

use crate::cipher::{check_size, unreadable};
use crate::descriptor::{Descriptor, MAX_DOCUMENT, list, object, too_long};
use crate::error::shown;
use crate::tree::{DocumentKind, Documents};
use crate::{Digest, Error, ReadAgain, StoredImage, printable};

pub(crate) use new::{NewLayout, tagged};
pub use reference::Reference;

/// The annotation that skopeo keeps an image's tag in.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The file that marks a layout.
pub(crate) const MARKER: &str = "oci-layout";
pub(crate) const MARKER_JSON: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// Most tags that an error lists.
const LISTED: usize = 8;
/// Most images of a layout.
const MAX_IMAGES: usize = 4096;

/// A layout that can be read.
pub(crate) struct Layout {
    path: PathBuf,
    root: OwnedFd,
    index: Map<String, Value>,
}

impl Layout {
    pub(crate) fn open(path: &Path) -> Result<Layout, Error> {
        let root = openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .map_err(Error::io("open", path))?;
        let no_layout = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::Reference(format!(
                "{} is not an OCI image layout (it has no file {MARKER}); name the directory that holds {MARKER} and index.json",
                printable(&path.to_string_lossy())
            )),
            _ => Error::io("read the marker of", path)(error),
        };
        let marker = open_file(&root, MARKER).map_err(no_layout)?;
        check_marker(marker)?;
        let index = open_file(&root, "index.json").map_err(Error::io("open", &path.join("index.json")))?;
        Ok(Layout {
            path: path.to_owned(),
            root,
            index: object(&bounded(index, "index.json")?, "index.json")?,
        })
    }

    /// index.json as it stands.
    pub(crate) fn index(&self) -> &Map<String, Value> {
        &self.index
    }

    /// The image with this tag; without a tag, the only image there is.
    pub(crate) fn image(&self, tag: Option<&str>) -> Result<Descriptor, Error> {
        let place = Reference { directory: self.path.clone(), tag: None };
        image_in(&self.index, &place.to_string(), "oci:DIR:TAG", tag)
    }

    /// Opens a blob, a plain file below the layout.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<File, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.root, "blobs", flags, Mode::empty())
            .and_then(|blobs| openat(blobs, "sha256", flags, Mode::empty()))
            .map_err(io::Error::from)
            .and_then(|blobs| open_file(&blobs, digest.hex()))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::image(format!(
                    "the blob {digest} is not in the layout; copy the image again, with all its platforms if it has several"
                )),
                // A link at the end is ELOOP, a link on the way ENOTDIR, a pipe or socket our own answer.
                io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory => not_plain(digest),
                _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => not_plain(digest),
                _ => Error::io("open", &self.path.join("blobs/sha256").join(digest.hex()))(error),
            })
    }
}

impl Documents for Layout {
    fn document(&self, _: DocumentKind, digest: &Digest) -> Result<Vec<u8>, Error> {
        bounded(self.blob(digest)?, &digest.short())
    }
}

/// One image of a layout.
pub(crate) struct Tagged {
    layout: Layout,
    tag: Option<String>,
}

impl Tagged {
    pub(crate) fn open(reference: &Reference) -> Result<Tagged, Error> {
        Ok(Tagged { layout: Layout::open(&reference.directory)?, tag: reference.tag.clone() })
    }

    fn file(&self, digest: &Digest, size: u64) -> Result<File, Error> {
        let blob = self.layout.blob(digest)?;
        check_size(blob.metadata().map_err(unreadable)?.len(), size)?;
        Ok(blob)
    }
}

impl Documents for Tagged {
    fn document(&self, kind: DocumentKind, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.layout.document(kind, digest)
    }
}

impl StoredImage for Tagged {
    fn root(&self) -> Result<Map<String, Value>, Error> {
        Ok(self.layout.image(self.tag.as_deref())?.json().clone())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(self.file(digest, size)?))
    }

    fn blob_twice(&self, digest: &Digest, size: u64) -> Result<Box<dyn ReadAgain + '_>, Error> {
        Ok(Box::new(self.file(digest, size)?))
    }
}

/// The image in an index.json with this tag; without a tag, the only image there is. Errors name the `place`
/// where it is, and the `form` of a reference with a tag.
pub(crate) fn image_in(
    index: &Map<String, Value>,
    place: &str,
    form: &str,
    tag: Option<&str>,
) -> Result<Descriptor, Error> {
    let images = list(index, "manifests", "index.json", MAX_IMAGES)?
        .iter()
        .map(|image| Descriptor::read(image, "an image in index.json"))
        .collect::<Result<Vec<_>, _>>()?;
    match tag {
        Some(tag) => {
            images.iter().find(|image| image.annotation(REF_NAME) == Some(tag)).cloned().ok_or_else(|| {
                Error::Reference(format!("{place} has no image {}; {}", printable(tag), tags(&images)))
            })
        }
        None => match images.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Error::Reference(format!("{place} holds no image"))),
            _ => Err(Error::Reference(format!(
                "{place} holds {} images; add a tag, {form}: {}",
                images.len(),
                tags(&images)
            ))),
        },
    }
}

/// Whether the layout is of a version that is known.
pub(crate) fn check_marker(marker: impl Read) -> Result<(), Error> {
    let marker = object(&bounded(marker, MARKER)?, "the file oci-layout")?;
    let version = marker.get("imageLayoutVersion").and_then(Value::as_str);
    if !version.is_some_and(|version| version.starts_with("1.")) {
        return Err(Error::image("the layout's version is not 1; write it again with a current skopeo"));
    }
    Ok(())
}

/// Whether both name one image, whatever way the directory is written. Without a tag, any image of the
/// directory may be meant.
pub(crate) fn same_image(one: &Reference, other: &Reference) -> bool {
    let same_place = match (one.directory.canonicalize(), other.directory.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        // What is not there yet is no image's place.
        _ => false,
    };
    same_place && (one.tag == other.tag || one.tag.is_none())
}

/// Opens a plain file without following a link and without waiting for a pipe's other end.
fn open_file(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file.into())
}

fn not_plain(digest: &Digest) -> Error {
    Error::image(format!(
        "the blob {digest} is a link or no plain file; a layout holds its blobs itself: copy the image again"
    ))
}

/// All of a document, which has a name.
pub(crate) fn bounded(document: impl Read, name: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    document
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Io { what: format!("cannot read {name}"), source })?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(too_long(name));
    }
    Ok(bytes)
}

fn tags(images: &[Descriptor]) -> String {
    let tags: Vec<_> = images.iter().filter_map(|image| image.annotation(REF_NAME)).map(shown).collect();
    match tags.as_slice() {
        [] => "none of its images has a tag".to_owned(),
        tags if tags.len() > LISTED => format!("its tags are {}, and more", tags[..LISTED].join(", ")),
        tags => format!("its tags are {}", tags.join(", ")),
    }
}
