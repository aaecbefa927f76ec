//! One repository of a registry.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_image::{Digest, DocumentKind, Documents, Root};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH};
use serde_json::Value;

use crate::http::{Request, TIMEOUT, bounded};
use crate::image::in_image;
use crate::reference::is_tag;
use crate::upload::Upload;
use crate::{Error, Registry, RepositoryName, Target};

/// Longest manifest, index or config, in bytes.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Every manifest that this version reads.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// Most names that are taken of a list.
const MAX_NAMES: usize = 1_000_000;

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) registry: Arc<Registry>,
    name: RepositoryName,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// As the registry says it is.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// At most 4 MiB.
    pub bytes: Vec<u8>,
}

/// What refers to a manifest: a signature, an attestation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Referrer {
    /// Its artifact type, or the ending of its tag.
    pub kind: String,
    /// Where it is: a digest or a tag.
    pub place: String,
}

impl Manifest {
    /// What it is the root of.
    pub fn root(&self) -> Root {
        let (media_type, digest) = (self.media_type.clone(), self.digest.clone());
        Root { media_type, digest, size: self.bytes.len() as u64 }
    }
}

impl Repository {
    /// It need not exist.
    pub fn new(registry: Arc<Registry>, name: RepositoryName) -> Repository {
        Repository { registry, name }
    }

    /// Its name.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Reads a manifest or an index. What a digest names is checked against it.
    pub fn manifest(&self, target: &Target) -> Result<Manifest, Error> {
        let path = self.path(&format!("manifests/{target}"));
        let headers = vec![(ACCEPT, HeaderValue::from_static(MANIFESTS))];
        let response = self.registry.send(&self.request(Method::GET, &path, headers, None))?;
        let media_type = header(&response, &CONTENT_TYPE).unwrap_or_default();
        let bytes = bounded(response, MAX_DOCUMENT, "a manifest")?;
        let digest = Digest::of(&bytes);
        if matches!(target, Target::Digest(wanted) if *wanted != digest) {
            return Err(Error::Odd(format!(
                "the registry answers another manifest than {target}; ask who runs it"
            )));
        }
        Ok(Manifest { media_type: own_media_type(&bytes).unwrap_or(media_type), digest, bytes })
    }

    /// What a tag leads to now; none if there is no such tag.
    pub fn digest_of(&self, tag: &str) -> Result<Option<Digest>, Error> {
        match self.manifest(&Target::Tag(tag.to_owned())) {
            Ok(manifest) => Ok(Some(manifest.digest)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a manifest or an index that tags and other manifests can lead to by its digest.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<(), Error> {
        self.put_as(&Digest::of(bytes).to_string(), media_type, bytes, None)
    }

    /// Lets a tag lead to a manifest, which is written with it. `instead_of` is what it led to when it was
    /// read: if it leads elsewhere by now, nothing is written. The registry is asked right before, and told
    /// the condition too (RFC 9110 section 13.1.1); one that ignores it leaves the moment in between.
    pub fn tag(
        &self,
        tag: &str,
        instead_of: Option<&Digest>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if self.digest_of(tag)?.as_ref() != instead_of {
            return Err(Error::Moved(format!(
                "the tag {tag} leads to another manifest by now, which was left as it is; run again"
            )));
        }
        match self.put_as(tag, media_type, bytes, instead_of) {
            // It was written, and only the answer was lost: then the condition did not hold for the second try.
            Err(Error::Moved(_)) if self.digest_of(tag)? == Some(Digest::of(bytes)) => Ok(()),
            written => written,
        }
    }

    pub(crate) fn put_as(
        &self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        instead_of: Option<&Digest>,
    ) -> Result<(), Error> {
        let odd = |_| Error::Odd("a media type that no header can hold".to_owned());
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_str(media_type).map_err(odd)?)];
        if let Some(digest) = instead_of {
            headers.push((IF_MATCH, HeaderValue::from_str(&format!("\"{digest}\"")).map_err(odd)?));
        }
        let path = self.path(&format!("manifests/{name}"));
        let response = self.registry.send(&self.request(Method::PUT, &path, headers, Some(bytes)))?;
        // A registry that rewrites what it is given would lead every tag to something else.
        let stored = header(&response, &HeaderName::from_static("docker-content-digest"));
        match stored {
            Some(stored) if stored != Digest::of(bytes).to_string() => {
                Err(Error::Odd(format!("the registry stored another manifest than it was given ({stored})")))
            }
            _ => Ok(()),
        }
    }

    /// Every tag, sorted. All pages are read, or it is an error.
    pub fn tags(&self) -> Result<Vec<String>, Error> {
        let mut tags = Vec::new();
        let path = self.path("tags/list?n=1000");
        self.registry.pages(&path, &self.name, &self.scope("pull"), |page| {
            // Go writes an empty list as null.
            add_names(page.get("tags").unwrap_or(&Value::Null), is_tag, &mut tags)
        })?;
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }

    /// Whether a blob of another repository of this registry is in this one too, without having been moved.
    pub fn mount(&self, digest: &Digest, from: &RepositoryName) -> Result<bool, Error> {
        let path = self.path(&format!("blobs/uploads/?mount={digest}&from={}", from.path()));
        let mut request = self.request(Method::POST, &path, Vec::new(), None);
        request.scope = format!("{} repository:{}:pull", request.scope, from.path());
        let response = self.registry.send(&request)?;
        if response.status().as_u16() == 201 {
            return self.has(digest);
        }
        // It has begun an upload instead, which nobody will go on with.
        Upload::of(self, &response).map(drop)?;
        Ok(false)
    }

    /// Whether a blob is in this repository.
    pub fn has(&self, digest: &Digest) -> Result<bool, Error> {
        let path = self.path(&format!("blobs/{digest}"));
        match self.registry.send(&self.request(Method::HEAD, &path, Vec::new(), None)) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What refers to a manifest: by the referrers API or, where a registry has none, by the tag that stands
    /// for it; and by cosign's tags.
    pub fn referrers(&self, digest: &Digest) -> Result<Vec<Referrer>, Error> {
        let path = self.path(&format!("referrers/{digest}"));
        let by_api = self.registry.send(&self.request(Method::GET, &path, Vec::new(), None));
        let index = match by_api {
            Ok(response) => Some(bounded(response, MAX_DOCUMENT, "a list of referrers")?),
            Err(Error::NotFound(_) | Error::Odd(_)) => {
                let tag = Target::Tag(format!("sha256-{}", digest.hex()));
                self.found(self.manifest(&tag))?.map(|index| index.bytes)
            }
            Err(error) => return Err(error),
        };
        let mut found: Vec<Referrer> = index.iter().flat_map(|index| referrers_in(index)).collect();
        for ending in ["sig", "att", "sbom"] {
            let tag = format!("sha256-{}.{ending}", digest.hex());
            if self.found(self.manifest(&Target::Tag(tag.clone())))?.is_some() {
                found.push(Referrer { kind: format!("cosign .{ending}"), place: tag });
            }
        }
        Ok(found)
    }

    fn found<T>(&self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn request<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Option<&[u8]>,
    ) -> Request<'a> {
        let actions = if matches!(method, Method::GET | Method::HEAD) { "pull" } else { "pull,push" };
        let body = body.map(|body| Bytes::copy_from_slice(body).into());
        let (repository, scope) = (&self.name, self.scope(actions));
        Request { method, path, place: None, repository, scope, headers, body, time: TIMEOUT }
    }

    pub(crate) fn scope(&self, actions: &str) -> String {
        format!("repository:{}:{actions}", self.name.path())
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name.path())
    }
}

/// The documents of an image whose root was read: it is not asked for again.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Where the others are.
    pub repository: &'a Repository,
    /// The root.
    pub root: &'a Manifest,
}

impl Documents for Known<'_> {
    fn document(&self, kind: DocumentKind, digest: &Digest) -> Result<Vec<u8>, holdfast_image::Error> {
        if *digest == self.root.digest {
            return Ok(self.root.bytes.clone());
        }
        self.repository.document(kind, digest)
    }
}

impl Registry {
    /// Every repository that this user may see, sorted. All pages are read, or it is an error.
    pub fn repositories(self: &Arc<Registry>) -> Result<Vec<Repository>, Error> {
        let whole = RepositoryName::of(self.host(), "catalog")?;
        let mut names = Vec::new();
        self.pages("/v2/_catalog?n=1000", &whole, "registry:catalog:*", |page| {
            let valid = |name: &str| whole.sibling(name).is_ok();
            add_names(page.get("repositories").unwrap_or(&Value::Null), valid, &mut names)
        })?;
        names.sort_unstable();
        names.dedup();
        names.iter().map(|name| Ok(Repository::new(self.clone(), whole.sibling(name)?))).collect()
    }
}

impl Documents for Repository {
    fn document(&self, kind: DocumentKind, digest: &Digest) -> Result<Vec<u8>, holdfast_image::Error> {
        let read = match kind {
            DocumentKind::Manifest => {
                self.manifest(&Target::Digest(digest.clone())).map(|manifest| manifest.bytes)
            }
            DocumentKind::Config => {
                let path = self.path(&format!("blobs/{digest}"));
                self.registry
                    .send(&self.request(Method::GET, &path, Vec::new(), None))
                    .and_then(|response| bounded(response, MAX_DOCUMENT, "a config"))
            }
        };
        read.map_err(in_image)
    }
}

/// What the manifest says of itself: skopeo writes it, and a registry may call anything anything.
fn own_media_type(bytes: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(bytes).ok()?;
    Some(json.get("mediaType")?.as_str()?.to_owned())
}

pub(crate) fn header(response: &reqwest::blocking::Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// A name that a URL cannot hold as it is, is none of a registry's; skipping it would make a list incomplete.
fn add_names(list: &Value, valid: impl Fn(&str) -> bool, names: &mut Vec<String>) -> Result<(), Error> {
    let list = match list {
        Value::Null => return Ok(()),
        list => list
            .as_array()
            .ok_or_else(|| Error::Odd("the registry answers a list that is none".to_owned()))?,
    };
    for name in list {
        let name = name.as_str().filter(|name| valid(name)).ok_or_else(|| {
            Error::Odd("the registry lists a name that none can have; ask who runs it".to_owned())
        })?;
        names.push(name.to_owned());
    }
    if names.len() > MAX_NAMES {
        return Err(Error::Odd(format!("the registry lists more than {MAX_NAMES} names")));
    }
    Ok(())
}

fn referrers_in(index: &[u8]) -> Vec<Referrer> {
    let json: Value = serde_json::from_slice(index).unwrap_or_default();
    let entries = json.get("manifests").and_then(Value::as_array).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let kind = entry.get("artifactType").or_else(|| entry.get("mediaType"));
            Some(Referrer {
                kind: kind.and_then(Value::as_str).unwrap_or("unknown").to_owned(),
                place: entry.get("digest")?.as_str()?.to_owned(),
            })
        })
        .collect()
}
