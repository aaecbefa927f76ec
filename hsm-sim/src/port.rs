//! Free ports of the loopback interface, for servers that are killed and started again.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::Error;

/// Below the ports that Linux gives to those who name none (32768 and up): a server that is started again must
/// find its own ports free, and each of its clients' connections takes one of the others. A client that tries
/// again and again while it is down would even be connected to itself.
const FIRST: u16 = 10_240;
const LAST: u16 = 32_766;
/// How many are looked at.
const TRIES: usize = 64;

/// One that was free a moment ago.
pub(crate) fn free() -> Result<u16, Error> {
    free_row(1)
}

/// The lower one of two, one above the other, that were free a moment ago.
pub(crate) fn free_pair() -> Result<u16, Error> {
    free_row(2)
}

fn free_row(length: u16) -> Result<u16, Error> {
    let path = Path::new("/dev/urandom");
    let mut source = File::open(path).map_err(Error::io("reading", path))?;
    for _ in 0..TRIES {
        let mut random = [0; 2];
        source.read_exact(&mut random).map_err(Error::io("reading", path))?;
        // Even ones only, so that two rows never overlap.
        let port = FIRST + (u16::from_le_bytes(random) % ((LAST - FIRST) / 2)) * 2;
        if (0..length).all(|above| TcpListener::bind((Ipv4Addr::LOCALHOST, port + above)).is_ok()) {
            return Ok(port);
        }
    }
    Err(Error::Unexpected(format!(
        "no {length} ports from {FIRST} to {LAST} are free: end what listens there"
    )))
}
