use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::members::{Members, Region};
use super::reference;
use crate::cipher::{check_size, unreadable};
use crate::compression::{of_magic, uncompress};
use crate::descriptor::{Config, MAX_LAYERS, list};
use crate::digest::Hasher;
use crate::error::shown;
use crate::layout::bounded;
use crate::media::Compression;
use crate::place::{Location, ReadAgain, Source, StoredImage};
use crate::{Digest, DocumentKind, Documents, Error, printable};

const FORM: &str = "docker-archive:FILE, docker-archive:FILE:NAME or docker-archive:FILE:@N, FILE being what docker save writes";
const MANIFEST: &str = "manifest.json";
/// Most names that an error lists.
const LISTED: usize = 8;

/// `docker-archive:FILE[:NAME|:@N]`: what `docker save` and `podman save` write. It can only be read: its format has no
/// place for annotations.
///
/// It is shown as an OCI image: its config as it is, its layers as the tars they are, under a manifest made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerArchive {
    /// The tar file.
    pub file: PathBuf,
    /// Which of its images: a name, or `@` and its number from 0. Without it, the only one.
    pub image: Option<String>,
}

impl FromStr for DockerArchive {
    type Err = Error;

    fn from_str(text: &str) -> Result<DockerArchive, Error> {
        reference::split(text, "docker-archive:", FORM).map(|(file, image)| DockerArchive { file, image })
    }
}

impl fmt::Display for DockerArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-archive:{}", printable(&self.file.to_string_lossy()))?;
        match &self.image {
            Some(image) => write!(f, ":{}", printable(image)),
            None => Ok(()),
        }
    }
}

impl Source for DockerArchive {
    fn location(&self) -> Location {
        Location::DockerArchive(self.clone())
    }

    fn open(&self) -> Result<Box<dyn StoredImage + '_>, Error> {
        let members = Members::open(&self.file)?;
        let entry = self.entry(&members)?;
        let name = entry.get("Config").and_then(Value::as_str).unwrap_or_default();
        let config = bounded(member(&members, name)?, "the image's config")?;
        let diff_ids = Config::read(&config)?.diff_ids;
        let names = list(&entry, "Layers", "the image in manifest.json", MAX_LAYERS)?;
        if names.len() != diff_ids.len() {
            return Err(Error::image(format!(
                "the archive's manifest.json names {} layers and the image's config {}; write the archive again",
                names.len(),
                diff_ids.len()
            )));
        }
        let mut layers = Vec::new();
        let mut names_of = HashMap::new();
        for (name, diff_id) in names.iter().zip(diff_ids) {
            let name = name.as_str().unwrap_or_default();
            let (digest, size, media_type) = layer(member(&members, name)?, diff_id)?;
            layers.push(json!({"mediaType": media_type, "digest": digest.to_string(), "size": size}));
            names_of.insert(digest, name.to_owned());
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&config).to_string(),
                "size": config.len(),
            },
            "layers": layers,
        });
        Ok(Box::new(Open { members, config, manifest: manifest.to_string().into_bytes(), names_of }))
    }
}

impl DockerArchive {
    /// What manifest.json says of the image.
    fn entry(&self, members: &Members) -> Result<Map<String, Value>, Error> {
        let file = printable(&self.file.to_string_lossy());
        let manifest = members.linked_file(MANIFEST)?.ok_or_else(|| {
            Error::Reference(format!(
                "{file} is not what docker save writes (no file {MANIFEST}); if it is a tar of an OCI image layout, name it oci-archive:FILE"
            ))
        })?;
        let no_list = || Error::image(format!("{MANIFEST} is no list of images; write the archive again"));
        let json = serde_json::from_slice(&bounded(manifest, MANIFEST)?).map_err(|_| no_list())?;
        let Value::Array(images) = json else { return Err(no_list()) };
        let images: Vec<Map<String, Value>> = images
            .into_iter()
            .map(|image| match image {
                Value::Object(image) => Ok(image),
                _ => Err(no_list()),
            })
            .collect::<Result<_, _>>()?;
        let found = match self.image.as_deref() {
            None if images.len() > 1 => {
                return Err(Error::Reference(format!(
                    "docker-archive:{file} holds {} images; name one, docker-archive:FILE:NAME or :@N: {}",
                    images.len(),
                    told(&images)
                )));
            }
            None => images.first(),
            Some(name) => match name.strip_prefix('@').map(str::parse::<usize>) {
                Some(Ok(number)) => images.get(number),
                Some(Err(_)) => None,
                None => images.iter().find(|image| names(image).any(|known| full(known) == full(name))),
            },
        };
        found.cloned().ok_or_else(|| match &self.image {
            None => Error::Reference(format!("docker-archive:{file} holds no image")),
            Some(name) => Error::Reference(format!(
                "docker-archive:{file} has no image {}; {}",
                printable(name),
                told(&images)
            )),
        })
    }
}

/// The digest, size and media type of a layer's blob. A tar has the digest that the config names, and whoever reads
/// it checks that; one that is compressed is read here, as nothing in the archive says what its own digest is.
fn layer(mut blob: Region<'_>, diff_id: Digest) -> Result<(Digest, u64, &'static str), Error> {
    let mut first = Vec::new();
    (&mut blob).take(4).read_to_end(&mut first).map_err(unreadable)?;
    let size = blob.size();
    let media_type = match of_magic(&first) {
        Compression::None => return Ok((diff_id, size, "application/vnd.oci.image.layer.v1.tar")),
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    let mut hasher = Hasher::new();
    hasher.update(&first);
    let mut rest = std::io::BufReader::new(blob);
    let hashed = uncompress(Compression::None, &mut rest, &mut |bytes| {
        hasher.update(bytes);
        Ok(())
    });
    hashed.map_err(unreadable)?;
    Ok((hasher.finish(), size, media_type))
}

struct Open {
    members: Members,
    config: Vec<u8>,
    manifest: Vec<u8>,
    /// Of the members that are layers, by their digests.
    names_of: HashMap<Digest, String>,
}

impl Open {
    fn layer(&self, digest: &Digest, size: u64) -> Result<Region<'_>, Error> {
        let missing = || Error::image(format!("the layer {digest} is not in the archive; write it again"));
        let region = member(&self.members, self.names_of.get(digest).ok_or_else(missing)?)?;
        check_size(region.size(), size)?;
        Ok(region)
    }
}

impl Documents for Open {
    fn document(&self, kind: DocumentKind, _: &Digest) -> Result<Vec<u8>, Error> {
        Ok(match kind {
            DocumentKind::Manifest => self.manifest.clone(),
            DocumentKind::Config => self.config.clone(),
        })
    }
}

impl StoredImage for Open {
    fn root(&self) -> Result<Map<String, Value>, Error> {
        let root = crate::Root {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: Digest::of(&self.manifest),
            size: self.manifest.len() as u64,
        };
        Ok(root.json())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(self.layer(digest, size)?))
    }

    fn blob_twice(&self, digest: &Digest, size: u64) -> Result<Box<dyn ReadAgain + '_>, Error> {
        Ok(Box::new(self.layer(digest, size)?))
    }
}

fn member<'a>(members: &'a Members, name: &str) -> Result<Region<'a>, Error> {
    // Of layers that images have in common, docker save writes links.
    members.linked_file(name)?.ok_or_else(|| {
        let name = shown(name);
        Error::image(format!("{MANIFEST} names {name}, which is not in the archive; write the archive again"))
    })
}

fn names(image: &Map<String, Value>) -> impl Iterator<Item = &str> {
    image.get("RepoTags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// What images there are.
fn told(images: &[Map<String, Value>]) -> String {
    let all: Vec<String> = images.iter().flat_map(names).map(shown).collect();
    match all.as_slice() {
        [] => format!("none of its {} has a name, and @0 is the first", images.len()),
        all if all.len() > LISTED => format!("its names are {}, and more", all[..LISTED].join(", ")),
        all => format!("its names are {}", all.join(", ")),
    }
}

/// A name as docker understands it: on Docker Hub if it has no host, `latest` if it has no tag.
fn full(name: &str) -> String {
    let tagged = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    let name = if tagged { name.to_owned() } else { format!("{name}:latest") };
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name,
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}
