//! Where an image is: a layout or an archive on this machine, or a registry.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_image::{DockerArchive, OciArchive, Reference, Source, Target, printable};
use holdfast_registry::{
    Credentials, Options, Pulled, Pushed, Reference as RegistryReference, Registry, Repository,
    RepositoryName,
};
use tokio::runtime::Runtime;

use crate::cli::RegistryOptions;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

const FORMS: &str = "an image is named oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] (read only) or docker://HOST/REPOSITORY[:TAG|@DIGEST]";

/// Images of a registry that are looked at at a time, where nothing but manifests is moved and the time goes to waiting
/// for answers.
pub(crate) const AT_A_TIME: usize = 8;

/// An image as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `oci:DIR[:TAG]`
    Layout(Reference),
    /// `oci-archive:FILE[:TAG]`
    OciArchive(OciArchive),
    /// `docker-archive:FILE[:NAME|:@N]`, read only
    DockerArchive(DockerArchive),
    /// `docker://HOST/REPOSITORY[:TAG|@DIGEST]`
    Registry(RegistryReference),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let image = |error: holdfast_image::Error| error.to_string();
        match text.split_once(':') {
            Some(("oci", _)) => text.parse().map(Place::Layout).map_err(image),
            Some(("oci-archive", _)) => text.parse().map(Place::OciArchive).map_err(image),
            Some(("docker-archive", _)) => text.parse().map(Place::DockerArchive).map_err(image),
            Some(("docker", _)) => {
                text.parse().map(Place::Registry).map_err(|error: holdfast_registry::Error| error.to_string())
            }
            _ => Err(format!("{FORMS}; skopeo copy makes one of them of any other image")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Layout(reference) => reference.fmt(f),
            Place::OciArchive(archive) => archive.fmt(f),
            Place::DockerArchive(archive) => archive.fmt(f),
            Place::Registry(reference) => reference.fmt(f),
        }
    }
}

/// Where images are in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// `HOST`, every repository that its catalogue lists.
    Host(String),
    /// `HOST/REPOSITORY`
    Repository(RepositoryName),
}

impl FromStr for Shelf {
    type Err = String;

    fn from_str(text: &str) -> Result<Shelf, String> {
        const FORM: &str =
            "HOST[:PORT], or HOST[:PORT]/REPOSITORY without a tag, is what images are listed of";
        let text = text.strip_prefix("docker://").unwrap_or(text).trim_end_matches('/');
        if RepositoryName::is_host(text) {
            return Ok(Shelf::Host(text.to_owned()));
        }
        text.parse().map(Shelf::Repository).map_err(|_: holdfast_registry::Error| FORM.to_owned())
    }
}

impl RegistryOptions {
    /// How this command reaches registries; an interrupt ends its pauses.
    pub(crate) fn read(&self, runtime: Arc<Runtime>, interrupt: Interrupt) -> Result<Options, Failure> {
        let ca = match &self.ca {
            Some(file) => Some(std::fs::read(file).map_err(|error| {
                let file = printable(&file.to_string_lossy());
                Failure::line(format!("cannot read {file}: {error}; --ca takes certificates in PEM"))
            })?),
            None => None,
        };
        let credentials = match &self.authfile {
            Some(file) => Credentials::in_file(file),
            None => Credentials::of_this_user(),
        };
        let wait = move |time: Duration| {
            // Made inside of the runtime, which has the clock.
            runtime.block_on(async { tokio::time::timeout(time, interrupt.clone().wait()).await.is_ok() })
        };
        Ok(Options { plain_http: self.plain_http, ca, credentials, wait: Arc::new(wait) })
    }
}

/// Reaches the repository of an image.
pub(crate) fn repository(reference: &RegistryReference, options: &Options) -> Result<Repository, Failure> {
    let registry = Arc::new(Registry::connect(reference.repository.host(), options)?);
    Ok(Repository::new(registry, reference.repository.clone()))
}

/// The registries of one command: each is reached once, so that what it asked for is shown to it at once.
pub(crate) struct Registries {
    options: Options,
    reached: HashMap<String, Arc<Registry>>,
}

impl Registries {
    pub(crate) fn new(options: Options) -> Registries {
        Registries { options, reached: HashMap::new() }
    }

    /// Where an image is read from; layers that are read twice are kept in `tmpdir` meanwhile.
    pub(crate) fn source(&mut self, place: &Place, tmpdir: &Path) -> Result<Box<dyn Source>, Failure> {
        Ok(match place {
            Place::Layout(reference) => Box::new(reference.clone()),
            Place::OciArchive(archive) => Box::new(archive.clone()),
            Place::DockerArchive(archive) => Box::new(archive.clone()),
            Place::Registry(reference) => {
                Box::new(Pulled::new(self.repository(reference)?, reference.target(), tmpdir))
            }
        })
    }

    /// Where an image is written to.
    pub(crate) fn target(&mut self, place: &Place) -> Result<Box<dyn Target>, Failure> {
        Ok(match place {
            Place::Layout(reference) => Box::new(reference.clone()),
            Place::OciArchive(archive) => Box::new(archive.clone()),
            Place::DockerArchive(_) => {
                return Err(Failure::line(
                    "docker-archive: is only read, as docker's format has no place for the keys of an encrypted image; write oci-archive:FILE",
                ));
            }
            Place::Registry(reference) => {
                Box::new(Pushed::new(self.repository(reference)?, &reference.target())?)
            }
        })
    }

    /// The repository of an image.
    pub(crate) fn repository(&mut self, reference: &RegistryReference) -> Result<Repository, Failure> {
        let host = reference.repository.host();
        let registry = match self.reached.get(host) {
            Some(registry) => registry.clone(),
            None => {
                let registry = Arc::new(Registry::connect(host, &self.options)?);
                self.reached.insert(host.to_owned(), registry.clone());
                registry
            }
        };
        Ok(Repository::new(registry, reference.repository.clone()))
    }
}

impl From<holdfast_registry::Error> for Failure {
    fn from(error: holdfast_registry::Error) -> Failure {
        Failure::Line(error.to_string())
    }
}
