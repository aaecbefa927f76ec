//! The output appears only whole. Everything is written into a directory of ours first; a new layout
//! is then renamed into its place, an existing one gets its blobs and, last, its index.json. Dropped
//! before that, the directory and all in it are gone.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, FlockOperation, fadvise, flock};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::layout::{Layout, MARKER, MARKER_JSON, REF_NAME};
use crate::place::{Location, NewBlob, NewImage, RootDocument, Target};
use crate::{Digest, DocumentKind, Error, Reference, printable};

const BLOBS: &str = "blobs/sha256";
/// Bytes of a blob that are written before the disk gets to work on them.
const WRITE_BEHIND: u64 = 8 << 20;

/// A layout that is being written.
pub(crate) struct Staging {
    target: Reference,
    /// Whether the target's directory was there before.
    existing: bool,
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
    pub(crate) fn new(target: &Reference) -> Result<Staging, Error> {
        let place = &target.directory;
        let existing = match fs::read_dir(place) {
            Ok(mut entries) => {
                if entries.next().is_some() && !place.join(MARKER).exists() {
                    return Err(Error::Reference(format!(
                        "{} is there and is not an OCI image layout; name a new directory, or an existing layout",
                        printable(&place.to_string_lossy())
                    )));
                }
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::io("write to", place)(error)),
        };
        // Beside a new layout or inside an existing one: a rename needs the same file system.
        let parent = if existing { place } else { parent_of(place) };
        let directory = tempfile::Builder::new()
            .prefix(".holdfast-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .map_err(Error::io("write to", parent))?;
        fs::create_dir_all(directory.path().join(BLOBS)).map_err(Error::io("write to", place))?;
        Ok(Staging { target: target.clone(), existing, directory, counter: AtomicU64::new(0) })
    }

    /// The directory that errors name.
    fn directory(&self) -> &Path {
        &self.target.directory
    }

    /// A new blob, whose digest is not known yet.
    fn staged(&self) -> Result<StagedBlob, Error> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("blob-{number}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("write to", self.directory()))?;
        let (blobs, place) = (self.directory.path().join(BLOBS), self.directory().to_owned());
        Ok(StagedBlob { file, path, blobs, place, written: 0, given: 0 })
    }

    /// Writes a document.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut blob = self.staged()?;
        blob.write_all(bytes).map_err(Error::io("write to", self.directory()))?;
        blob.named(&Digest::of(bytes))
    }

    /// Puts everything in its place; `image` becomes the target's entry in index.json.
    pub(crate) fn enter(self, image: Map<String, Value>) -> Result<(), Error> {
        let place = self.target.directory.clone();
        if self.existing { self.commit_into(image) } else { self.commit_new(image) }.map_err(|error| {
            match error {
                CommitError::Io(source) => Error::io("write to", &place)(source),
                CommitError::Other(error) => error,
            }
        })
    }

    fn commit_new(self, image: Map<String, Value>) -> Result<(), CommitError> {
        let root = self.directory.path();
        let index = json!({"schemaVersion": 2, "manifests": [tagged(image, &self.target)]});
        write_synced(&root.join(MARKER), MARKER_JSON.as_bytes())?;
        write_synced(&root.join("index.json"), &serde_json::to_vec(&index)?)?;
        sync_directory(&root.join(BLOBS))?;
        sync_directory(&root.join("blobs"))?;
        sync_directory(root)?;
        // Fails if somebody else has put a layout there in the meantime.
        fs::rename(root, &self.target.directory)?;
        // It has another name now: nothing is left to remove.
        let _ = self.directory.keep();
        Ok(sync_directory(parent_of(&self.target.directory))?)
    }

    fn commit_into(self, image: Map<String, Value>) -> Result<(), CommitError> {
        let place = &self.target.directory;
        // Two of us must not lose each other's entry between reading and writing index.json.
        let lock = File::open(place)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;

        let mut index = if place.join(MARKER).exists() {
            Layout::open(place).map_err(CommitError::Other)?.index().clone()
        } else {
            Map::from_iter([("schemaVersion".to_owned(), 2.into())])
        };
        enter(&mut index, tagged(image, &self.target));
        let staged_index = self.directory.path().join("index.json");
        write_synced(&staged_index, &serde_json::to_vec(&index)?)?;

        let mut added = Added(Vec::new());
        fs::create_dir_all(place.join(BLOBS))?;
        for entry in fs::read_dir(self.directory.path().join(BLOBS))? {
            let entry = entry?;
            let to = place.join(BLOBS).join(entry.file_name());
            let was_there = to.symlink_metadata().is_ok();
            fs::rename(entry.path(), &to)?;
            if !was_there {
                added.0.push(to);
            }
        }
        sync_directory(&place.join(BLOBS))?;
        if !place.join(MARKER).exists() {
            write_synced(&place.join(MARKER), MARKER_JSON.as_bytes())?;
            added.0.push(place.join(MARKER));
        }
        fs::rename(staged_index, place.join("index.json"))?;
        added.0.clear();
        Ok(sync_directory(place)?)
    }
}

impl Target for Reference {
    fn location(&self) -> Location {
        Location::Layout(self.clone())
    }

    fn begin(&self, _: &Location) -> Result<Box<dyn NewImage + '_>, Error> {
        Ok(Box::new(Staging::new(self)?))
    }
}

impl NewImage for Staging {
    fn place(&self) -> String {
        printable(&self.directory().to_string_lossy())
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>, Error> {
        Ok(Box::new(self.staged()?))
    }

    /// Never: what lies in a layout may be damaged, and is written anew.
    fn has(&self, _: &Digest) -> Result<bool, Error> {
        Ok(false)
    }

    fn document(&self, _: DocumentKind, _: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write(bytes)
    }

    fn commit(self: Box<Self>, root: &RootDocument) -> Result<(), Error> {
        self.write(&root.bytes)?;
        self.enter(root.descriptor.clone())
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

enum CommitError {
    Io(std::io::Error),
    Other(Error),
}

impl From<std::io::Error> for CommitError {
    fn from(error: std::io::Error) -> Self {
        CommitError::Io(error)
    }
}

impl From<serde_json::Error> for CommitError {
    fn from(error: serde_json::Error) -> Self {
        CommitError::Io(error.into())
    }
}

/// Files put into an existing layout; removed again unless all of it succeeds.
struct Added(Vec<PathBuf>);

impl Drop for Added {
    fn drop(&mut self) {
        for path in &self.0 {
            // The way out of another failure, which is the one to tell.
            let _ = fs::remove_file(path);
        }
    }
}

/// The entry under the target's own tag, or under none.
fn tagged(mut image: Map<String, Value>, target: &Reference) -> Map<String, Value> {
    crate::descriptor::drop_annotations(&mut image, |name| name == REF_NAME);
    if let Some(tag) = &target.tag {
        let annotations = image.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(REF_NAME.to_owned(), tag.as_str().into());
        }
    }
    image
}

/// Puts an entry into index.json, in place of the one that had its tag, or of the same image
/// without a tag.
fn enter(index: &mut Map<String, Value>, image: Map<String, Value>) {
    let image = Value::Object(image);
    let tag = |entry: &Value| entry.get("annotations").and_then(|a| a.get(REF_NAME)).cloned();
    let same = |entry: &Value| match tag(&image) {
        Some(wanted) => tag(entry) == Some(wanted),
        None => tag(entry).is_none() && entry.get("digest") == image.get("digest"),
    };
    let manifests = index.entry("manifests").or_insert_with(|| json!([]));
    if manifests.is_null() {
        *manifests = json!([]);
    }
    if let Some(manifests) = manifests.as_array_mut() {
        match manifests.iter().position(same) {
            Some(at) => manifests[at] = image,
            None => manifests.push(image),
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
