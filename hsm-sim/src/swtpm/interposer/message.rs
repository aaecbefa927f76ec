//! Commands and answers as they are framed on the wire: two bytes of tag, four of size, four of code, then the
//! rest (TPM 2.0 Library Part 1, sections 18.3 and 18.5); all numbers big-endian.

use std::io::{self, Read};
use std::net::TcpStream;

use crate::TpmCommand;

const HEADER_LEN: usize = 10;
/// More than any TPM takes or gives (TPM_PT_MAX_COMMAND_SIZE of swtpm: 4096).
const MAX_LEN: usize = 64 * 1024;
/// TPM_ST_NO_SESSIONS.
const NO_SESSIONS: [u8; 2] = [0x80, 0x01];

/// One message, or `None` where the other side has closed.
pub(super) fn read(mut from: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; HEADER_LEN];
    match from.read(&mut message)? {
        0 => return Ok(None),
        read => from.read_exact(message.get_mut(read..).unwrap_or_default())?,
    }
    let len = number(&message, 2) as usize;
    if !(HEADER_LEN..=MAX_LEN).contains(&len) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(len, 0);
    from.read_exact(message.get_mut(HEADER_LEN..).unwrap_or_default())?;
    Ok(Some(message))
}

/// What is asked for in a command.
pub(super) fn command(message: &[u8]) -> TpmCommand {
    TpmCommand(number(message, 6))
}

/// An answer that is nothing but its response code.
pub(super) fn answer(code: u32) -> Vec<u8> {
    [&NO_SESSIONS[..], &(HEADER_LEN as u32).to_be_bytes(), &code.to_be_bytes()].concat()
}

fn number(message: &[u8], at: usize) -> u32 {
    message.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
