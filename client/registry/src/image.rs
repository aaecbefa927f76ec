//! Images in a registry, as holdfast-image reads and writes them. What is written is there when its tag is, and
//! the tag comes last.

use std::io::Read;
use std::path::{Path, PathBuf};

use holdfast_image::{
    Digest, DocumentKind, Documents, Location, NewBlob, NewImage, ReadAgain, RootDocument, Source,
    StoredImage,
};
use serde_json::{Map, Value};

use crate::download::Download;
use crate::spool::Spool;
use crate::upload::Upload;
use crate::{Error, Known, Manifest, Repository, RepositoryName, Target};

/// An image to be read.
#[derive(Debug)]
pub struct Pulled {
    repository: Repository,
    target: Target,
    tmpdir: PathBuf,
}

/// An image to be written.
#[derive(Debug)]
pub struct Pushed {
    repository: Repository,
    tag: String,
    /// What the tag must lead to.
    instead_of: Option<Digest>,
}

impl Pulled {
    /// Layers that have to be read twice are kept in files without names in `tmpdir`.
    pub fn new(repository: Repository, target: Target, tmpdir: &Path) -> Pulled {
        Pulled { repository, target, tmpdir: tmpdir.to_owned() }
    }
}

impl Pushed {
    /// Its place is a tag: nothing leads to what has only a digest, and a registry may forget it.
    pub fn new(repository: Repository, target: &Target) -> Result<Pushed, Error> {
        match target {
            Target::Tag(tag) => Ok(Pushed { repository, tag: tag.clone(), instead_of: None }),
            Target::Digest(_) => Err(Error::Reference(
                "an image is written under a tag, as its digest comes last; name docker://HOST/REPOSITORY:TAG"
                    .to_owned(),
            )),
        }
    }

    /// Only in place of this manifest: a tag that leads elsewhere by the time of writing is left as it is.
    pub fn instead_of(self, digest: Digest) -> Pushed {
        Pushed { instead_of: Some(digest), ..self }
    }
}

impl Source for Pulled {
    fn location(&self) -> Location {
        location(&self.repository, self.target.to_string())
    }

    fn open(&self) -> Result<Box<dyn StoredImage + '_>, holdfast_image::Error> {
        let root = self.repository.manifest(&self.target).map_err(in_image)?;
        Ok(Box::new(Open { pulled: self, root }))
    }
}

struct Open<'a> {
    pulled: &'a Pulled,
    root: Manifest,
}

impl Documents for Open<'_> {
    fn document(&self, kind: DocumentKind, digest: &Digest) -> Result<Vec<u8>, holdfast_image::Error> {
        Known { repository: &self.pulled.repository, root: &self.root }.document(kind, digest)
    }
}

impl StoredImage for Open<'_> {
    fn root(&self) -> Result<Map<String, Value>, holdfast_image::Error> {
        Ok(self.root.root().json())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, holdfast_image::Error> {
        Ok(Box::new(Download::begin(&self.pulled.repository, digest, size).map_err(in_image)?))
    }

    fn blob_twice(
        &self,
        digest: &Digest,
        size: u64,
    ) -> Result<Box<dyn ReadAgain + '_>, holdfast_image::Error> {
        let download = Download::begin(&self.pulled.repository, digest, size).map_err(in_image)?;
        let spool = Spool::new(download, &self.pulled.tmpdir).map_err(|source| {
            holdfast_image::Error::Io { what: "cannot read the layer".to_owned(), source }
        })?;
        Ok(Box::new(spool))
    }
}

impl holdfast_image::Target for Pushed {
    fn location(&self) -> Location {
        location(&self.repository, self.tag.clone())
    }

    fn begin(&self, from: &Location) -> Result<Box<dyn NewImage + '_>, holdfast_image::Error> {
        let now = match &self.instead_of {
            Some(digest) => Ok(Some(digest.clone())),
            None => self.repository.digest_of(&self.tag),
        };
        let was = match now {
            Ok(was) => Some(was),
            // There are registries that say so of a repository that is to be made.
            Err(Error::Denied(_)) => None,
            Err(error) => return Err(in_image(error)),
        };
        let own = self.repository.name();
        let from = match from {
            Location::Registry { host, repository, .. } if host == own.host() && repository != own.path() => {
                Some(own.sibling(repository).map_err(in_image)?)
            }
            _ => None,
        };
        Ok(Box::new(New { pushed: self, from, was }))
    }
}

struct New<'a> {
    pushed: &'a Pushed,
    /// Another repository of the same registry, which has the blobs that do not change.
    from: Option<RepositoryName>,
    /// What the tag led to, if that can be told.
    was: Option<Option<Digest>>,
}

impl New<'_> {
    /// Here already, or mounted.
    fn is_here(&self, digest: &Digest) -> Result<bool, Error> {
        let repository = &self.pushed.repository;
        if repository.has(digest)? {
            return Ok(true);
        }
        match &self.from {
            Some(from) => match repository.mount(digest, from) {
                // Who may not do that may still copy.
                Err(Error::Denied(_) | Error::NotFound(_) | Error::Odd(_)) => Ok(false),
                mounted => mounted,
            },
            None => Ok(false),
        }
    }
}

impl NewImage for New<'_> {
    fn place(&self) -> String {
        holdfast_image::Target::location(self.pushed).to_string()
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>, holdfast_image::Error> {
        Ok(Box::new(Upload::begin(&self.pushed.repository).map_err(in_image)?))
    }

    fn has(&self, digest: &Digest) -> Result<bool, holdfast_image::Error> {
        self.is_here(digest).map_err(in_image)
    }

    fn document(
        &self,
        kind: DocumentKind,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), holdfast_image::Error> {
        match kind {
            DocumentKind::Manifest => self.pushed.repository.put(media_type, bytes).map_err(in_image),
            DocumentKind::Config => {
                let mut blob = self.blob()?;
                blob.write_all(bytes).map_err(|source| holdfast_image::Error::Io {
                    what: format!("cannot write to {}", self.place()),
                    source,
                })?;
                blob.keep(&Digest::of(bytes))
            }
        }
    }

    fn commit(self: Box<Self>, root: &RootDocument) -> Result<(), holdfast_image::Error> {
        let Pushed { repository, tag, .. } = self.pushed;
        let written = match &self.was {
            Some(was) => repository.tag(tag, was.as_ref(), &root.media_type, &root.bytes),
            None => repository.put_as(tag, &root.media_type, &root.bytes, None),
        };
        written.map_err(in_image)
    }
}

fn location(repository: &Repository, image: String) -> Location {
    let name = repository.name();
    Location::Registry { host: name.host().to_owned(), repository: name.path().to_owned(), image }
}

/// A registry's error among an image's.
pub(crate) fn in_image(error: Error) -> holdfast_image::Error {
    match error {
        Error::Cancelled => holdfast_image::Error::Cancelled,
        error => holdfast_image::Error::Elsewhere(Box::new(error)),
    }
}
