//! One gRPC call on a connection of its own, in prepared HTTP/2 frames (RFC 9113) on a blocking socket.
//!
//! A whole client costs more for a call than the daemon does, and would be measured instead of it.

use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::LazyLock;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Everything before the message: preface, settings, the request's headers.
static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut head = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut head, SETTINGS, 0, 0, &[]);
    // HPACK (RFC 7541): indexed POST and http, then literals that are not remembered.
    let mut block = vec![0x83, 0x86];
    literal(&mut block, &[0x04], "/keyprovider.KeyProviderService/UnWrapKey");
    literal(&mut block, &[0x01], "localhost");
    literal(&mut block, &[0x0f, 31 - 15], "application/grpc");
    literal(&mut block, &[0x0f, 58 - 15], "grpc-go/1.60.1");
    literal(&mut block, b"\x00\x02te", "trailers");
    frame(&mut head, HEADERS, END_HEADERS, 1, &block);
    head
});

/// Sends a gRPC message (with its five bytes of frame); the answer's, with the same.
pub(super) fn call(socket: &Path, message: &[u8]) -> io::Result<Vec<u8>> {
    let stream = UnixStream::connect(socket)?;
    let mut request = HEAD.clone();
    frame(&mut request, DATA, END_STREAM, 1, message);
    (&stream).write_all(&request)?;
    let mut answer = Vec::new();
    let mut from = BufReader::new(&stream);
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        let mut payload = vec![0; len];
        from.read_exact(&mut payload)?;
        match (kind, id) {
            (SETTINGS, _) if flags & ACK == 0 => {
                let mut ack = Vec::new();
                frame(&mut ack, SETTINGS, ACK, 0, &[]);
                (&stream).write_all(&ack)?;
            }
            (DATA, 1) => answer.extend_from_slice(&payload),
            (HEADERS, 1) if flags & END_STREAM != 0 => return Ok(answer),
            _ => {}
        }
    }
}

fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    into.extend_from_slice(&len[1..]);
    into.extend_from_slice(&[kind, flags]);
    into.extend_from_slice(&stream.to_be_bytes());
    into.extend_from_slice(payload);
}

fn literal(block: &mut Vec<u8>, name: &[u8], value: &str) {
    block.extend_from_slice(name);
    block.push(u8::try_from(value.len()).expect("a short value"));
    block.extend_from_slice(value.as_bytes());
}
