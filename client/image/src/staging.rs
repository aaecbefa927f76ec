//! The output appears only whole. Everything is written into a directory of ours first, each blob to a file of
//! its own, and then gets its place at once; dropped before that, the directory and all in it are gone.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::place::NewBlob;
use crate::{Digest, Error};

pub(crate) const BLOBS: &str = "blobs/sha256";
/// Bytes of a blob that are written before the disk gets to work on them.
const WRITE_BEHIND: u64 = 8 << 20;

/// Blobs on their way to a place on this machine.
pub(crate) struct Staging {
    /// What errors name.
    place: PathBuf,
    directory: TempDir,
    counter: AtomicU64,
}

/// A blob that is being written; its name comes with its digest.
pub(crate) struct StagedBlob {
    file: File,
    path: PathBuf,
    /// Where it will be.
    blobs: PathBuf,
    /// What errors name.
    place: PathBuf,
    written: u64,
    /// How much of it the disk has been given.
    given: u64,
}

impl Staging {
    /// In a new directory in `parent`.
    pub(crate) fn new(place: &Path, parent: &Path) -> Result<Staging, Error> {
        let directory = tempfile::Builder::new()
            .prefix(".holdfast-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .map_err(Error::io("write to", parent))?;
        fs::create_dir_all(directory.path().join(BLOBS)).map_err(Error::io("write to", place))?;
        Ok(Staging { place: place.to_owned(), directory, counter: AtomicU64::new(0) })
    }

    /// The directory, laid out as a layout, with the blobs that have their names.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory has another name now: nothing is left to remove.
    pub(crate) fn keep(self) {
        let _ = self.directory.keep();
    }

    /// A new blob, whose digest is not known yet.
    pub(crate) fn blob(&self) -> Result<Box<dyn NewBlob + '_>, Error> {
        Ok(Box::new(self.staged()?))
    }

    fn staged(&self) -> Result<StagedBlob, Error> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("blob-{number}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("write to", &self.place))?;
        let (blobs, place) = (self.directory.path().join(BLOBS), self.place.clone());
        Ok(StagedBlob { file, path, blobs, place, written: 0, given: 0 })
    }

    /// Writes a document.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut blob = self.staged()?;
        blob.write_all(bytes).map_err(Error::io("write to", &self.place))?;
        blob.named(&Digest::of(bytes))
    }
}

impl NewBlob for StagedBlob {
    fn keep(self: Box<Self>, digest: &Digest) -> Result<(), Error> {
        self.named(digest)
    }
}

impl StagedBlob {
    fn named(self, digest: &Digest) -> Result<(), Error> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, self.blobs.join(digest.hex())))
            .map_err(Error::io("write to", &self.place))
    }
}

/// Writes on. The disk works meanwhile, so that the flush at the end has little left to wait for.
impl Write for StagedBlob {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.written += n as u64;
        let waiting = self.written - self.given;
        if waiting >= WRITE_BEHIND {
            // Linux begins to write what it is told will not be needed; only what is on the disk already
            // leaves the cache. A file system that takes no advice is flushed at the end all the same.
            let _ = fadvise(&self.file, self.given, NonZero::new(waiting), Advice::DontNeed);
            self.given = self.written;
        }
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(crate) fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
