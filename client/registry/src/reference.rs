use std::fmt;
use std::str::FromStr;

use holdfast_image::{Digest, printable};

use crate::Error;

/// Where an image without a host is looked for, and the name of the machine that serves it.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
/// Longest repository name (OCI distribution-spec, "Pulling manifests").
const MAX_REPOSITORY: usize = 255;

/// `docker://HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]`, split as skopeo splits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where the repository is.
    pub repository: RepositoryName,
    /// Which of its manifests, where that is said.
    pub target: Option<Target>,
}

/// `HOST[:PORT]/REPOSITORY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName {
    host: String,
    path: String,
}

impl Reference {
    /// Which of its manifests; where nothing is said, the one tagged `latest`.
    pub fn target(&self) -> Target {
        self.target.clone().unwrap_or_else(|| Target::Tag("latest".to_owned()))
    }
}

/// What names a manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At most 128 characters; may come to lead to another manifest.
    Tag(String),
    /// For ever the same.
    Digest(Digest),
}

impl RepositoryName {
    /// A host alone, with all its repositories.
    pub fn is_host(text: &str) -> bool {
        !text.contains('/') && is_host(text)
    }

    /// The host and port as the user wrote them, `docker.io` for Docker Hub: what credentials are kept under.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host and port that are connected to.
    pub fn server(&self) -> &str {
        server(&self.host)
    }

    /// The repository on that host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Another repository on the same host. Its name comes from the registry.
    pub fn sibling(&self, path: &str) -> Result<RepositoryName, Error> {
        RepositoryName::of(&self.host, path)
    }

    /// The repository `path` of `host`.
    pub fn of(host: &str, path: &str) -> Result<RepositoryName, Error> {
        if !is_host(host) {
            return Err(wrong(&format!("{} is no host", printable(host))));
        }
        if !is_repository(path) {
            return Err(wrong(
                "a repository's name is made of lower-case letters, digits and single separators (. _ - /), 255 at most",
            ));
        }
        Ok(RepositoryName { host: host.to_owned(), path: path.to_owned() })
    }
}

/// The machine behind a host's name.
pub(crate) fn server(host: &str) -> &str {
    if host == DOCKER_HUB { DOCKER_HUB_HOST } else { host }
}

impl FromStr for RepositoryName {
    type Err = Error;

    /// `HOST/REPOSITORY`; without a host, Docker Hub's.
    fn from_str(text: &str) -> Result<RepositoryName, Error> {
        match text.split_once('/') {
            Some((host, path)) if is_host(host) => {
                let library = host == DOCKER_HUB && !path.contains('/');
                RepositoryName::of(host, &if library { format!("library/{path}") } else { path.to_owned() })
            }
            Some(_) => RepositoryName::of(DOCKER_HUB, text),
            // To docker and skopeo an image of Docker Hub's; but a host is meant, and nothing should go elsewhere.
            None if is_host(text) => {
                Err(wrong(&format!("{} is a host without a repository", printable(text))))
            }
            None => RepositoryName::of(DOCKER_HUB, &format!("library/{text}")),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        let rest = text.strip_prefix("docker://").ok_or_else(|| wrong("docker:// is missing"))?;
        let (name, target) = match rest.split_once('@') {
            Some((name, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| wrong("a digest is sha256: and 64 lower-case hexadecimal digits"))?;
                (name, Some(Target::Digest(digest)))
            }
            None => match rest.rsplit_once(':') {
                // A colon before a slash is a port's.
                Some((name, tag)) if !tag.contains('/') => (name, Some(Target::Tag(tag.to_owned()))),
                _ => (rest, None),
            },
        };
        if let Some(Target::Tag(tag)) = &target
            && !is_tag(tag)
        {
            return Err(wrong(
                "a tag has 1 to 128 letters, digits, '_', '.' or '-', the first no '.' or '-'",
            ));
        }
        Ok(Reference { repository: name.parse()?, target })
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target() {
            Target::Tag(tag) => write!(f, "docker://{}:{tag}", self.repository),
            Target::Digest(digest) => write!(f, "docker://{}@{digest}", self.repository),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tag(tag) => f.write_str(tag),
            Target::Digest(digest) => digest.fmt(f),
        }
    }
}

fn wrong(what: &str) -> Error {
    Error::Reference(format!(
        "{what}; an image in a registry is named docker://HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]"
    ))
}

/// Docker's rule: what has a dot or a port, or is localhost, is a host.
fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let (name, port) = match text.rsplit_once(':') {
        // The last colon of an IPv6 address in brackets is inside them.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    (text.contains(['.', ':']) || text == "localhost")
        && !name.is_empty()
        && text.chars().all(allowed)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, components with slashes between (OCI distribution-spec). So a name
/// can be a path of a URL as it is.
fn is_repository(text: &str) -> bool {
    let component = |part: &str| {
        let edges = part.starts_with(alphanumeric) && part.ends_with(alphanumeric);
        let inner = part.split(alphanumeric).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|c| c == '-')
        });
        edges && inner
    };
    text.len() <= MAX_REPOSITORY && text.split('/').all(component)
}

fn alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (OCI distribution-spec).
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_as_skopeo_splits_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, whole) in [
            ("docker://127.0.0.1:5000/app:v1", "docker://127.0.0.1:5000/app:v1".to_owned()),
            ("docker://localhost/a/b", "docker://localhost/a/b:latest".to_owned()),
            ("docker://r.example:443/a", "docker://r.example:443/a:latest".to_owned()),
            ("docker://[::1]:5000/a:1", "docker://[::1]:5000/a:1".to_owned()),
            ("docker://alpine", "docker://docker.io/library/alpine:latest".to_owned()),
            ("docker://docker.io/alpine:3", "docker://docker.io/library/alpine:3".to_owned()),
            ("docker://someone/app", "docker://docker.io/someone/app:latest".to_owned()),
            (&format!("docker://r.example/a@{digest}"), format!("docker://r.example/a@{digest}")),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), whole, "{text}");
        }
        let hub = "docker://alpine".parse::<Reference>().unwrap();
        assert_eq!(hub.repository.server(), "registry-1.docker.io");
    }

    #[test]
    fn what_is_no_reference_is_told_the_form() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for bad in [
            "",
            "oci:a",
            "docker://",
            "docker://r.example",
            "docker://127.0.0.1:5000",
            "docker://localhost:5000",
            "docker://r.example/",
            "docker://r.example/A",
            "docker://r.example/a:",
            "docker://r.example/a:-x",
            "docker://r.example/a/../b",
            "docker://r.example/a..b",
            "docker://r.example/a___b",
            "docker://r.example/a%2fb",
            "docker://r.example:99999/a",
            "docker://user@r.example/a",
            "docker://r.example/a@sha256:12",
            &format!("docker://r.example/a:v1@{digest}"),
            &format!("docker://r.example/{}", "a".repeat(256)),
        ] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains("docker://HOST[:PORT]/REPOSITORY"), "{bad}: {error}");
        }
    }
}
