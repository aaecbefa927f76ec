//! Messages as they are framed on the wire, in TTLV: three bytes of tag, one of type, four of length, then the value,
//! padded to eight (KMIP 1.4, section 9.1.1); all numbers big-endian.

use std::io::{self, Read};

use crate::KmipOperation;

const HEADER_LEN: usize = 8;
/// What PyKMIP takes and gives.
const MAX_LEN: usize = 1 << 20;
const STRUCTURE: u8 = 1;
const BATCH_ITEM: [u8; 3] = [0x42, 0x00, 0x0f];
const OPERATION: [u8; 3] = [0x42, 0x00, 0x5c];
const RESPONSE_MESSAGE: [u8; 3] = [0x42, 0x00, 0x7b];

/// The items of a structure, one after the other, as far as they are whole.
struct Items<'a>(&'a [u8]);

struct Item<'a> {
    tag: [u8; 3],
    value: &'a [u8],
}

/// One message, or `None` where the other side has closed.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; HEADER_LEN];
    match from.read(&mut message)? {
        0 => return Ok(None),
        read => from.read_exact(message.get_mut(read..).unwrap_or_default())?,
    }
    let len = value_len(&message);
    if len > MAX_LEN {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(HEADER_LEN + len, 0);
    from.read_exact(message.get_mut(HEADER_LEN..).unwrap_or_default())?;
    Ok(Some(message))
}

/// Whether it is exactly one message by its own length, so that more may follow it.
pub(super) fn is_whole(message: &[u8]) -> bool {
    message.len() >= HEADER_LEN && message.len() - HEADER_LEN == value_len(message)
}

/// What is asked for in a request, batch item by batch item.
pub(super) fn operations(request: &[u8]) -> Vec<KmipOperation> {
    let message = Items(request).next();
    let items = message.into_iter().flat_map(|message| Items(message.value));
    let batch = items.filter(|item| item.tag == BATCH_ITEM).flat_map(|item| Items(item.value));
    batch
        .filter(|item| item.tag == OPERATION)
        .filter_map(|item| Some(KmipOperation(u32::from_be_bytes(*item.value.first_chunk()?))))
        .collect()
}

/// A response message of structures in structures, whole but for its depth.
pub(super) fn nested(depth: usize) -> Vec<u8> {
    let [high, middle, low] = RESPONSE_MESSAGE;
    (0..depth)
        .flat_map(|level| {
            let [_, _, _, _, len @ ..] = (HEADER_LEN * (depth - level - 1)).to_be_bytes();
            [[high, middle, low, STRUCTURE], len].concat()
        })
        .collect()
}

/// The first bytes of a response message of this length.
pub(super) fn header(len: u32) -> [u8; HEADER_LEN] {
    let [high, middle, low] = RESPONSE_MESSAGE;
    let [a, b, c, d] = len.to_be_bytes();
    [high, middle, low, STRUCTURE, a, b, c, d]
}

fn value_len(message: &[u8]) -> usize {
    message.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |len| u32::from_be_bytes(*len) as usize)
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let tag = *self.0.first_chunk()?;
        let len = value_len(self.0);
        let value = self.0.get(HEADER_LEN..HEADER_LEN.checked_add(len)?)?;
        self.0 = self.0.get(HEADER_LEN + len.next_multiple_of(8)..).unwrap_or_default();
        Some(Item { tag, value })
    }
}
