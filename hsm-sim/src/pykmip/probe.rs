//! Whether a KMIP server answers: a whole TLS handshake with our client's certificate, and DiscoverVersions.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::{Credentials, Error};

/// A request of KMIP 1.2 with one batch item, Discover Versions (KMIP 1.2, section 4.26), in TTLV (section 9.1):
/// tag (3 bytes), type (1), length (4), value padded to 8.
const DISCOVER_VERSIONS: [u8; 104] = [
    0x42, 0x00, 0x78, 1, 0, 0, 0, 96, // Request Message
    0x42, 0x00, 0x77, 1, 0, 0, 0, 56, // Request Header
    0x42, 0x00, 0x69, 1, 0, 0, 0, 32, // Protocol Version
    0x42, 0x00, 0x6a, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, // its major
    0x42, 0x00, 0x6b, 2, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0, // and minor
    0x42, 0x00, 0x0d, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, // Batch Count
    0x42, 0x00, 0x0f, 1, 0, 0, 0, 24, // Batch Item
    0x42, 0x00, 0x5c, 5, 0, 0, 0, 4, 0, 0, 0, 0x1e, 0, 0, 0, 0, // Operation
    0x42, 0x00, 0x79, 1, 0, 0, 0, 0, // Request Payload
];
/// Result Status (an enumeration of 4 bytes) Success.
const SUCCESS: [u8; 12] = [0x42, 0x00, 0x7f, 5, 0, 0, 0, 4, 0, 0, 0, 0];
/// The answer names some versions: this is enough, and not what a stranger could make us keep.
const LONGEST: usize = 4096;

/// A client that asks whether the server is there, and not who it is: tests give it bad certificates.
#[derive(Debug)]
pub(super) struct Probe {
    config: Arc<ClientConfig>,
}

#[derive(Debug)]
struct Whoever(Arc<CryptoProvider>);

impl Probe {
    pub(super) fn new(client: &Credentials) -> Result<Probe, Error> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::Unexpected(format!("{}: {error}", client.certificate.display()))
        };
        let chain = CertificateDer::pem_file_iter(&client.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(&error))?;
        let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|error| unreadable(&error))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.dangerous().with_custom_certificate_verifier(Arc::new(Whoever(provider))))
            .and_then(|builder| builder.with_client_auth_cert(chain, key))
            .map_err(|error| unreadable(&error))?;
        Ok(Probe { config: Arc::new(config) })
    }

    pub(super) fn answers(&self, port: u16) -> io::Result<()> {
        let within = Duration::from_secs(5);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tcp = TcpStream::connect_timeout(&address, within)?;
        tcp.set_read_timeout(Some(within))?;
        tcp.set_write_timeout(Some(within))?;
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let tls = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, tcp);
        stream.write_all(&DISCOVER_VERSIONS)?;
        let mut header = [0; 8];
        stream.read_exact(&mut header)?;
        let [0x42, 0x00, 0x7b, 1, length @ ..] = header else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut answer = vec![0; LONGEST.min(u32::from_be_bytes(length) as usize)];
        stream.read_exact(&mut answer)?;
        if answer.windows(SUCCESS.len()).any(|window| window == SUCCESS) {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
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
