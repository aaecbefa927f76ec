//! Mutual TLS 1.2 and 1.3: what a server is known by, and what this client shows it.
//!
//! The chain and the name of a server are verified always; there is no option to leave it. The files are read again
//! when they change, so that a certificate is renewed without a restart: new connections are made with it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use holdfast_custody::{Error, RegularFile};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Bytes of the largest file that is read.
const MAX_FILE_LEN: usize = 1024 * 1024;

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The authorities that a server's certificate must lead to.
    pub ca: PathBuf,
    /// The client's certificate, and the chain behind it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What handshakes are made with, by all connections of a token.
pub(crate) struct Tls {
    files: Files,
    current: Mutex<Option<Current>>,
}

struct Current {
    stamps: Stamps,
    config: Arc<ClientConfig>,
}

type Stamps = [Option<SystemTime>; 3];

impl Tls {
    /// Nothing is read yet.
    pub(crate) fn new(files: Files) -> Tls {
        Tls { files, current: Mutex::new(None) }
    }

    /// What the files hold now; what they held before, if that cannot be used.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the files: a change in between is then seen the next time.
        let stamps = self.files.stamps();
        if let Some(known) = current.as_ref().filter(|known| known.stamps == stamps) {
            return Ok(known.config.clone());
        }
        match (self.files.read(), current.as_mut()) {
            (Ok(config), before) => {
                if before.is_some() {
                    tracing::info!("the TLS certificates of a KMIP server were read again");
                }
                let config = Arc::new(config);
                *current = Some(Current { stamps, config: config.clone() });
                Ok(config)
            }
            (Err(why), Some(before)) => {
                tracing::error!(%why, "changed TLS certificates cannot be used; the ones before stay in use");
                // Told once for each change.
                before.stamps = stamps;
                Ok(before.config.clone())
            }
            (Err(why), None) => Err(Error::Unavailable(why)),
        }
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        [&self.ca, &self.cert, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
    }

    fn read(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.ca)? {
            roots.add(authority).map_err(|error| unusable(&self.ca, &error))?;
        }
        let key = read(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(key.bytes.expose())
            .map_err(|_| unusable(&self.key, &"it holds no private key in PEM"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&self.cert)?, key)
            .map_err(|error| unusable(&self.cert, &error))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = read(path)?;
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.bytes.expose()).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(unusable(path, &"it holds no certificate in PEM, or a damaged one")),
    }
}

fn read(path: &Path) -> Result<RegularFile, String> {
    RegularFile::read(path, MAX_FILE_LEN).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, why: &dyn Display) -> String {
    format!("{}: {why}", path.display())
}
