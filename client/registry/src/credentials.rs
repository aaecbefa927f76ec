//! The credentials that this user has for a registry, where Docker, Podman and skopeo keep them.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use holdfast_image::printable;
use zeroize::Zeroizing;

use crate::{Error, RepositoryName};

/// The name that Docker keeps its hub's credentials under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What is shown to a registry, or to the token server that it names.
pub(crate) enum Credential {
    Password {
        user: String,
        password: Zeroizing<String>,
    },
    /// An OAuth 2 refresh token.
    Identity(Zeroizing<String>),
}

/// Where credentials are looked for.
#[derive(Debug, Clone)]
pub struct Credentials {
    files: Vec<PathBuf>,
    /// Whether the file must be there, because the user named it.
    named: bool,
}

impl Credentials {
    /// The files that skopeo looks into, in its order: `REGISTRY_AUTH_FILE`, or else
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json` and Docker's
    /// `config.json`. Each may name credential helpers.
    pub fn of_this_user() -> Credentials {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = path("REGISTRY_AUTH_FILE") {
            return Credentials::in_file(&file);
        }
        let home = path("HOME");
        let config = path("XDG_CONFIG_HOME").or_else(|| Some(home.clone()?.join(".config")));
        let docker = path("DOCKER_CONFIG").or_else(|| Some(home?.join(".docker")));
        let files = [
            path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
            config.map(|dir| dir.join("containers/auth.json")),
            docker.map(|dir| dir.join("config.json")),
        ];
        Credentials { files: files.into_iter().flatten().collect(), named: false }
    }

    /// One file alone, in Docker's form.
    pub fn in_file(file: &Path) -> Credentials {
        Credentials { files: vec![file.to_owned()], named: true }
    }

    /// None: the registry is asked without any.
    pub fn none() -> Credentials {
        Credentials { files: Vec::new(), named: false }
    }

    /// The first that fits: a file's narrowest entry for the repository, then its host.
    pub(crate) fn find(&self, repository: &RepositoryName) -> Result<Option<Credential>, Error> {
        for file in &self.files {
            let content = match fs::read(file) {
                Ok(content) => Zeroizing::new(content),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.named => continue,
                Err(error) => return Err(unreadable(file, &error.to_string())),
            };
            for name in names(repository) {
                match get_credential_from_reader(content.as_slice(), &name) {
                    Ok(found) => return Ok(Some(credential(found))),
                    Err(error) if has_none(&error) => {}
                    Err(error) => return Err(unusable(file, &error)),
                }
            }
        }
        Ok(None)
    }
}

/// `host/a/b`, `host/a`, `host`: Podman keeps credentials for parts of a registry too.
fn names(repository: &RepositoryName) -> Vec<String> {
    let whole = repository.to_string();
    let mut names: Vec<String> =
        whole.match_indices('/').map(|(at, _)| whole[..at].to_owned()).chain([whole.clone()]).collect();
    names.reverse();
    if repository.host() == "docker.io" {
        names.push(DOCKER_HUB_KEY.to_owned());
    }
    names
}

fn credential(found: DockerCredential) -> Credential {
    match found {
        DockerCredential::IdentityToken(token) => Credential::Identity(token.into()),
        DockerCredential::UsernamePassword(user, password) => {
            Credential::Password { user, password: password.into() }
        }
    }
}

fn unreadable(file: &Path, why: &str) -> Error {
    Error::Credentials(format!(
        "cannot read the credentials in {}: {why}; log in again (skopeo login), or name another file with --authfile",
        printable(&file.to_string_lossy())
    ))
}

/// A store that has nothing of a name says so and fails, in these words of docker-credential-helpers' protocol.
/// Under most of the names that are asked for there is nothing.
fn has_none(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured => true,
        CredentialRetrievalError::HelperFailure { stdout, .. } => {
            stdout.trim() == "credentials not found in native keychain"
        }
        _ => false,
    }
}

/// The library's own text of a failed helper quotes what that printed, which may be a secret.
fn unusable(file: &Path, error: &CredentialRetrievalError) -> Error {
    match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => Error::Credentials(format!(
            "the credential helper {} that {} names failed; run it by hand, or log in again",
            printable(helper),
            printable(&file.to_string_lossy())
        )),
        CredentialRetrievalError::HelperCommunicationError
        | CredentialRetrievalError::MalformedHelperResponse => Error::Credentials(format!(
            "the credential helper that {} names is not there, or does not answer as one; install it, or log in again",
            printable(&file.to_string_lossy())
        )),
        _ => unreadable(file, "it is not in Docker's form"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, repository: &str) -> Result<Option<String>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        fs::write(&path, file).unwrap();
        let found = Credentials::in_file(&path).find(&repository.parse().unwrap())?;
        Ok(found.map(|found| match found {
            Credential::Password { user, password } => format!("{user}/{}", password.as_str()),
            Credential::Identity(token) => format!("identity {}", token.as_str()),
        }))
    }

    #[test]
    fn the_narrowest_entry_is_taken() {
        // a:1, b:2, c:3
        let file = r#"{"auths":{"r.example":{"auth":"YToxCg=="},"r.example/x":{"auth":"Yjoy"},"r.example/x/y":{"auth":"Yzoz"}}}"#;
        assert_eq!(found(file, "r.example/x/y").unwrap().as_deref(), Some("c/3"));
        assert_eq!(found(file, "r.example/x/z").unwrap().as_deref(), Some("b/2"));
        assert_eq!(found(file, "other.example/x").unwrap(), None);
    }

    #[test]
    fn a_store_that_has_nothing_is_no_failure_and_one_that_fails_is() {
        let said = |stdout: &str| CredentialRetrievalError::HelperFailure {
            helper: "docker-credential-pass".to_owned(),
            stdout: stdout.to_owned(),
            stderr: String::new(),
        };
        assert!(has_none(&said("credentials not found in native keychain\n")));
        assert!(!has_none(&said("the keychain is locked: hunter2\n")));
        let told = unusable(Path::new("config.json"), &said("the keychain is locked: hunter2\n")).to_string();
        assert!(told.contains("docker-credential-pass that config.json names failed"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn docker_hub_has_a_name_of_its_own() {
        let file = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTox"}}}"#;
        assert_eq!(found(file, "alpine").unwrap().as_deref(), Some("a/1"));
    }

    #[test]
    fn a_file_that_is_no_credentials_file_is_told_without_its_content() {
        let error = found("{\"auths\": hunter2", "r.example/x").unwrap_err().to_string();
        assert!(
            error.contains("not in Docker's form; log in again") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let missing = Credentials::in_file(Path::new("/nonexistent/auth.json"));
        let error = missing.find(&"r.example/x".parse().unwrap()).err().unwrap().to_string();
        assert!(error.contains("--authfile"), "{error}");
    }
}
