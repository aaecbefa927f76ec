//! Images that are written into a layout: a new one is renamed into its place, an existing one gets its blobs
//! and, last, its index.json.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use super::{Layout, MARKER, MARKER_JSON, REF_NAME};
use crate::place::{Location, NewBlob, NewImage, RootDocument, Target};
use crate::staging::{BLOBS, Staging, parent_of, sync_directory, write_synced};
use crate::{Digest, DocumentKind, Error, Reference, printable};

/// A layout that is being written.
pub(crate) struct NewLayout {
    target: Reference,
    /// Whether the target's directory was there before.
    existing: bool,
    staging: Staging,
}

impl NewLayout {
    pub(crate) fn new(target: &Reference) -> Result<NewLayout, Error> {
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
        let staging = Staging::new(place, if existing { place } else { parent_of(place) })?;
        Ok(NewLayout { target: target.clone(), existing, staging })
    }

    /// Writes a document.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.staging.write(bytes)
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
        let root = self.staging.path();
        let index = json!({"schemaVersion": 2, "manifests": [tagged(image, self.target.tag.as_deref())]});
        write_synced(&root.join(MARKER), MARKER_JSON.as_bytes())?;
        write_synced(&root.join("index.json"), &serde_json::to_vec(&index)?)?;
        sync_directory(&root.join(BLOBS))?;
        sync_directory(&root.join("blobs"))?;
        sync_directory(root)?;
        // Fails if somebody else has put a layout there in the meantime.
        fs::rename(root, &self.target.directory)?;
        // It has another name now: nothing is left to remove.
        self.staging.keep();
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
        enter(&mut index, tagged(image, self.target.tag.as_deref()));
        let staged_index = self.staging.path().join("index.json");
        write_synced(&staged_index, &serde_json::to_vec(&index)?)?;

        let mut added = Added(Vec::new());
        fs::create_dir_all(place.join(BLOBS))?;
        for entry in fs::read_dir(self.staging.path().join(BLOBS))? {
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
        Ok(Box::new(NewLayout::new(self)?))
    }
}

impl NewImage for NewLayout {
    fn place(&self) -> String {
        printable(&self.target.directory.to_string_lossy())
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>, Error> {
        self.staging.blob()
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

/// The entry of index.json under this tag, or under none.
pub(crate) fn tagged(mut image: Map<String, Value>, tag: Option<&str>) -> Map<String, Value> {
    crate::descriptor::drop_annotations(&mut image, |name| name == REF_NAME);
    if let Some(tag) = tag {
        let annotations = image.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(REF_NAME.to_owned(), tag.into());
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
