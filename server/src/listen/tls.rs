//! Mutual TLS, with certificates that are read again when they change.
//!
//! The caller is the subject alternative names of its certificate; the subject's common name has not
//! been an identity since RFC 6125 and is not looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The three files of `[listen.tcp]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, and the chain behind it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose clients are let in.
    pub client_ca: PathBuf,
}

/// What handshakes are made with. Clones share it, so that all change together.
#[derive(Clone)]
pub(crate) struct Tls {
    current: Arc<RwLock<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    files: TlsFiles,
    stamps: [Option<SystemTime>; 3],
}

impl Tls {
    pub(crate) fn load(files: &TlsFiles) -> io::Result<Tls> {
        let current = Current::read(files)?;
        Ok(Tls { current: Arc::new(RwLock::new(current)) })
    }

    /// Reads the files, or other ones, anew; keeps what it has when they cannot be used.
    pub(crate) fn reload(&self, files: &TlsFiles) -> io::Result<()> {
        let fresh = Current::read(files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Reads the files anew if any has another time than when they were read.
    fn reload_if_changed(&self) {
        let (files, stamps) = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            (current.files.clone(), current.stamps)
        };
        if stamps == files.stamps() {
            return;
        }
        match self.reload(&files) {
            Ok(()) => tracing::info!("TLS certificates were read again"),
            Err(error) => {
                tracing::error!(%error, "changed TLS certificates cannot be used; the ones before stay in use");
                // Told once for each change.
                self.current.write().unwrap_or_else(PoisonError::into_inner).stamps = files.stamps();
            }
        }
    }

    /// A handshake, and the names in the client's certificate.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Vec<String>)> {
        self.reload_if_changed();
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let names = certificate.and_then(|certificate| names(certificate)).unwrap_or_default();
        if names.is_empty() {
            return Err(io::Error::other("the client's certificate has no subject alternative name"));
        }
        Ok((stream, names))
    }
}

impl TlsFiles {
    fn stamps(&self) -> [Option<SystemTime>; 3] {
        [&self.cert, &self.key, &self.client_ca]
            .map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
    }
}

impl Current {
    fn read(files: &TlsFiles) -> io::Result<Current> {
        // Before the files: a change in between is then seen the next time.
        let stamps = files.stamps();
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.client_ca)? {
            roots.add(authority).map_err(|error| unusable(&files.client_ca, &error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| unusable(&files.client_ca, &error))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&files.cert)?, key)
            .map_err(|error| unusable(&files.cert, &error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Current { config: Arc::new(config), files: files.clone(), stamps })
    }
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let list = read.map_err(|error| unusable(path, &error))?;
    match list.is_empty() {
        true => Err(unusable(path, &"it holds no certificate")),
        false => Ok(list),
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

/// DNS names in lower case, URIs and IP addresses of the subject alternative name (RFC 5280 section
/// 4.2.1.6). The certificate has been verified.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let (_, SubjectAltName(names)) = certificate.tbs_certificate.get::<SubjectAltName>().ok()??;
    let texts = names.into_iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        GeneralName::IpAddress(octets) => match *octets.as_bytes() {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            ref other => <[u8; 16]>::try_from(other).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        _ => None,
    });
    Some(texts.collect())
}
