//! Two free ports, one above the other.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::Error;

/// Below the ports that Linux gives to those who name none (32768 and up): a TPM that is started again must
/// find its own ports free, and each of its clients' commands takes one of the others.
const FIRST: u16 = 10_240;
const LAST: u16 = 32_766;
/// Pairs that are looked at.
const TRIES: usize = 64;

/// The lower one of two ports that were free a moment ago.
pub(super) fn free_pair() -> Result<u16, Error> {
    let path = Path::new("/dev/urandom");
    let mut source = File::open(path).map_err(Error::io("reading", path))?;
    for _ in 0..TRIES {
        let mut random = [0; 2];
        source.read_exact(&mut random).map_err(Error::io("reading", path))?;
        // Even ones only, so that two pairs never overlap.
        let port = FIRST + (u16::from_le_bytes(random) % ((LAST - FIRST) / 2)) * 2;
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free(port) && free(port + 1) {
            return Ok(port);
        }
    }
    Err(Error::Unexpected(format!("no two ports from {FIRST} to {LAST} are free: end what listens there")))
}
