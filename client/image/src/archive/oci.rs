use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Map, Value, json};
use tar::{EntryType, Header};

use super::members::{Members, Region};
use super::reference;
use crate::cipher::check_size;
use crate::descriptor::object;
use crate::layout::{MARKER, MARKER_JSON, bounded, check_marker, image_in, tagged};
use crate::place::{Location, NewBlob, NewImage, ReadAgain, RootDocument, Source, StoredImage, Target};
use crate::staging::{BLOBS, Staging, parent_of, sync_directory};
use crate::{Digest, DocumentKind, Documents, Error, printable};

const FORM: &str = "oci-archive:FILE or oci-archive:FILE:TAG, FILE being a tar of an OCI image layout";
const INDEX: &str = "index.json";

/// `oci-archive:FILE[:TAG]`: an OCI image layout (OCI image-spec, image-layout.md) in a tar file. One is written once,
/// with one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciArchive {
    /// The tar file.
    pub file: PathBuf,
    /// The image's `org.opencontainers.image.ref.name`.
    pub tag: Option<String>,
}

impl FromStr for OciArchive {
    type Err = Error;

    fn from_str(text: &str) -> Result<OciArchive, Error> {
        reference::split(text, "oci-archive:", FORM).map(|(file, tag)| OciArchive { file, tag })
    }
}

impl fmt::Display for OciArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci-archive:{}", printable(&self.file.to_string_lossy()))?;
        match &self.tag {
            Some(tag) => write!(f, ":{}", printable(tag)),
            None => Ok(()),
        }
    }
}

impl Source for OciArchive {
    fn location(&self) -> Location {
        Location::OciArchive(self.clone())
    }

    fn open(&self) -> Result<Box<dyn StoredImage + '_>, Error> {
        let members = Members::open(&self.file)?;
        let marker = members.file(MARKER)?.ok_or_else(|| {
            Error::Reference(format!(
                "{} holds no OCI image layout (no file {MARKER}); if docker save wrote it, name it docker-archive:FILE",
                printable(&self.file.to_string_lossy())
            ))
        })?;
        check_marker(marker)?;
        Ok(Box::new(Open { archive: self, members }))
    }
}

struct Open<'a> {
    archive: &'a OciArchive,
    members: Members,
}

impl Open<'_> {
    fn region(&self, digest: &Digest) -> Result<Region<'_>, Error> {
        self.members.file(&format!("{BLOBS}/{}", digest.hex()))?.ok_or_else(|| {
            Error::image(format!(
                "the blob {digest} is not in the archive; write it again, with all its platforms if it has several"
            ))
        })
    }

    fn sized(&self, digest: &Digest, size: u64) -> Result<Region<'_>, Error> {
        let region = self.region(digest)?;
        check_size(region.size(), size)?;
        Ok(region)
    }
}

impl Documents for Open<'_> {
    fn document(&self, _: DocumentKind, digest: &Digest) -> Result<Vec<u8>, Error> {
        bounded(self.region(digest)?, &digest.short())
    }
}

impl StoredImage for Open<'_> {
    fn root(&self) -> Result<Map<String, Value>, Error> {
        let OciArchive { file, tag } = self.archive;
        let missing = || Error::image("the archive has no file index.json; write it again");
        let index = bounded(self.members.file(INDEX)?.ok_or_else(missing)?, INDEX)?;
        let place = OciArchive { file: file.clone(), tag: None }.to_string();
        let image = image_in(&object(&index, INDEX)?, &place, "oci-archive:FILE:TAG", tag.as_deref())?;
        Ok(image.json().clone())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(self.sized(digest, size)?))
    }

    fn blob_twice(&self, digest: &Digest, size: u64) -> Result<Box<dyn ReadAgain + '_>, Error> {
        Ok(Box::new(self.sized(digest, size)?))
    }
}

impl Target for OciArchive {
    fn location(&self) -> Location {
        Location::OciArchive(self.clone())
    }

    fn begin(&self, _: &Location) -> Result<Box<dyn NewImage + '_>, Error> {
        if self.file.symlink_metadata().is_ok() {
            return Err(there(&self.file));
        }
        let staging = Staging::new(&self.file, parent_of(&self.file))?;
        Ok(Box::new(NewArchive { target: self, staging }))
    }
}

fn there(file: &Path) -> Error {
    Error::Reference(format!(
        "{} is there already, and an archive is written once; name a new file",
        printable(&file.to_string_lossy())
    ))
}

/// An archive that is being written. Blobs are written side by side, and a tar has one after the other with its size
/// before it: each lies in a file of its own until all are there.
struct NewArchive<'a> {
    target: &'a OciArchive,
    staging: Staging,
}

impl NewImage for NewArchive<'_> {
    fn place(&self) -> String {
        printable(&self.target.file.to_string_lossy())
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>, Error> {
        self.staging.blob()
    }

    fn has(&self, _: &Digest) -> Result<bool, Error> {
        Ok(false)
    }

    fn document(&self, _: DocumentKind, _: &str, bytes: &[u8]) -> Result<(), Error> {
        self.staging.write(bytes)
    }

    fn commit(self: Box<Self>, root: &RootDocument) -> Result<(), Error> {
        self.staging.write(&root.bytes)?;
        let image = tagged(root.descriptor.clone(), self.target.tag.as_deref());
        let index = json!({"schemaVersion": 2, "manifests": [image]}).to_string();
        self.pack(index.as_bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => there(&self.target.file),
            _ => Error::io("write to", &self.target.file)(error),
        })
    }
}

impl NewArchive<'_> {
    /// Into one file, which gets its name last. What is in it already is removed, so that no more than one blob needs
    /// its room twice.
    fn pack(&self, index: &[u8]) -> io::Result<()> {
        let parent = parent_of(&self.target.file);
        let mut out = tempfile::Builder::new()
            .prefix(".holdfast-")
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(parent)?;
        let file = out.as_file_mut();
        append(file, MARKER, MARKER_JSON.len() as u64, &mut MARKER_JSON.as_bytes())?;
        append(file, INDEX, index.len() as u64, &mut &index[..])?;
        for directory in ["blobs/", "blobs/sha256/"] {
            file.write_all(header(directory, EntryType::Directory, 0o755, 0)?.as_bytes())?;
        }
        let blobs = self.staging.path().join(BLOBS);
        let mut names =
            fs::read_dir(&blobs)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let path = blobs.join(&name);
            let mut blob = File::open(&path)?;
            let size = blob.metadata()?.len();
            append(file, &format!("{BLOBS}/{}", name.display()), size, &mut blob)?;
            fs::remove_file(path)?;
        }
        // The end is two blocks of zeros.
        file.write_all(&[0; 1024])?;
        file.sync_all()?;
        out.persist_noclobber(&self.target.file).map_err(|error| error.error)?;
        sync_directory(parent)
    }
}

fn append(out: &mut File, name: &str, size: u64, from: &mut impl Read) -> io::Result<()> {
    out.write_all(header(name, EntryType::Regular, 0o644, size)?.as_bytes())?;
    let copied = io::copy(from, out)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let filling = (size.next_multiple_of(512) - size) as usize;
    out.write_all(&[0; 512][..filling])
}

/// The same for whoever writes the same image: no time, nobody's.
fn header(name: &str, kind: EntryType, mode: u32, size: u64) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}
