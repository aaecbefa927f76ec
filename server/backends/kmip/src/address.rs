//! Where a KMIP server listens: "kms-1a.internal:5696".

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;

/// A host and a port. The host is also the name that the server's certificate must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Address {
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// A connection within `patience`, which the addresses that the host's name has share.
    pub(crate) fn connect(&self, patience: Duration) -> io::Result<TcpStream> {
        let until = Instant::now() + patience;
        let found: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        let mut failed = io::Error::new(ErrorKind::NotFound, "the host's name has no address");
        for (index, address) in found.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(found.len() - index).unwrap_or(1);
            if share.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(address, share) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        const FORM: &str =
            "an address is a host and a port, like \"kms-1.internal:5696\" or \"[2001:db8::1]:5696\"";
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_v6 = bare.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        let host = if is_v6 { bare.unwrap_or(host) } else { host };
        // A certificate is for a name or a number, never for part of one.
        let name = ServerName::try_from(host.to_owned()).map_err(|_| FORM)?;
        let colons_outside_of_brackets = host.contains(':') && !is_v6;
        match port.parse() {
            Ok(port @ 1..) if !colons_outside_of_brackets => {
                Ok(Address { host: host.to_owned(), port, name })
            }
            _ => Err(FORM.to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in ["kms-1.internal:5696", "127.0.0.1:1", "[2001:db8::1]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_told() {
        for text in [
            "",
            "kms-1",
            "kms-1:",
            ":5696",
            "kms-1:0",
            "kms-1:65536",
            "2001:db8::1:5696",
            "[kms-1]:5696",
            "a b:1",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("a host and a port"), "{text}: {error}");
        }
    }
}
