//! TLS 1.2 and 1.3 over aws-lc-rs, for what stands before a KMIP server and for what asks it.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use crate::{Credentials, Error};

/// Takes any server for the right one: tests give it bad certificates, and it shall be asked all the same.
#[derive(Debug)]
struct Whoever(Arc<CryptoProvider>);

/// A client with this certificate, that does not care who the server is.
pub(super) fn client(credentials: &Credentials) -> Result<Arc<ClientConfig>, Error> {
    let failed = |error| refused(&credentials.certificate, &error);
    let (chain, key) = read(credentials)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Whoever(provider)))
        .with_client_auth_cert(chain, key)
        .map_err(failed)?;
    Ok(Arc::new(config))
}

/// A server with this certificate, for clients of this authority alone.
pub(super) fn server(credentials: &Credentials, authority: &Path) -> Result<Arc<ServerConfig>, Error> {
    let (chain, key) = read(credentials)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in certificates(authority)? {
        roots.add(root).map_err(|error| refused(authority, &error))?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| refused(authority, &error))?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_client_cert_verifier(clients))
        .and_then(|builder| builder.with_single_cert(chain, key))
        .map_err(|error| refused(&credentials.certificate, &error))?;
    Ok(Arc::new(config))
}

fn read(credentials: &Credentials) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let key =
        PrivateKeyDer::from_pem_file(&credentials.key).map_err(|error| refused(&credentials.key, &error))?;
    Ok((certificates(&credentials.certificate)?, key))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &dyn Display) -> Error {
    Error::Unexpected(format!("{} cannot be used for TLS: {error}", path.display()))
}

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
