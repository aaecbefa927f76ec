//! Whether a KMIP server answers: a whole TLS handshake with our client's certificate, and DiscoverVersions.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Version, tls};
use crate::{Credentials, Error};

/// A request with one batch item, Discover Versions (KMIP 1.2, section 4.26), in TTLV (section 9.1): tag (3 bytes),
/// type (1), length (4), value padded to 8. In a version that the server speaks: it refuses any other.
const fn discover_versions(version: &Version) -> [u8; 104] {
    let [major, minor] = version.0;
    [
        0x42, 0x00, 0x78, 1, 0, 0, 0, 96, // Request Message
        0x42, 0x00, 0x77, 1, 0, 0, 0, 56, // Request Header
        0x42, 0x00, 0x69, 1, 0, 0, 0, 32, // Protocol Version
        0x42, 0x00, 0x6a, 2, 0, 0, 0, 4, 0, 0, 0, major, 0, 0, 0, 0, // its major
        0x42, 0x00, 0x6b, 2, 0, 0, 0, 4, 0, 0, 0, minor, 0, 0, 0, 0, // and minor
        0x42, 0x00, 0x0d, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, // Batch Count
        0x42, 0x00, 0x0f, 1, 0, 0, 0, 24, // Batch Item
        0x42, 0x00, 0x5c, 5, 0, 0, 0, 4, 0, 0, 0, 0x1e, 0, 0, 0, 0, // Operation
        0x42, 0x00, 0x79, 1, 0, 0, 0, 0, // Request Payload
    ]
}
/// Result Status (an enumeration of 4 bytes) Success.
const SUCCESS: [u8; 12] = [0x42, 0x00, 0x7f, 5, 0, 0, 0, 4, 0, 0, 0, 0];
/// The answer names some versions: this is enough, and not what a stranger could make us keep.
const LONGEST: usize = 4096;

/// A client that asks whether the server is there.
#[derive(Debug)]
pub(super) struct Probe {
    config: Arc<ClientConfig>,
}

impl Probe {
    pub(super) fn new(client: &Credentials) -> Result<Probe, Error> {
        Ok(Probe { config: tls::client(client)? })
    }

    pub(super) fn answers(&self, port: u16, version: &Version) -> io::Result<()> {
        let mut stream = self.dial(port, Some(Duration::from_secs(5)))?;
        stream.write_all(&discover_versions(version))?;
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

    /// A connection to the server, which has `within` for each answer.
    pub(super) fn dial(
        &self,
        port: u16,
        within: Option<Duration>,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        tcp.set_read_timeout(within)?;
        tcp.set_write_timeout(within)?;
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let tls = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(tls, tcp))
    }
}
