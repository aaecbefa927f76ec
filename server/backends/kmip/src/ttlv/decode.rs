use holdfast_wire::{Malformed, Secret};

use super::{HEADER_LEN, Item, Tag, Value, types};

/// Bytes of the longest message that is read: what every request asks its server not to exceed.
pub const MAX_LEN: usize = 64 * 1024;
/// How deep structures may be nested. The deepest that is asked for, the modulus of a public key, has 8.
pub const MAX_DEPTH: usize = 16;
/// How many items a message may have.
pub const MAX_ITEMS: usize = 4096;

/// Reads one item, which is all that `bytes` holds. An error tells what is wrong and where, never what stands
/// there.
pub fn decode(bytes: &[u8]) -> Result<Item, Malformed> {
    if bytes.len() > MAX_LEN {
        return Err(Malformed::new(format!("a message of more than {MAX_LEN} bytes")));
    }
    let mut reader = Reader { bytes, at: 0, items: 0 };
    let item = reader.item(bytes.len(), 0)?;
    match reader.at == bytes.len() {
        true => Ok(item),
        false => Err(reader.wrong("bytes after the end of the message")),
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    items: usize,
}

impl Reader<'_> {
    /// One item, which ends at or before `end`.
    fn item(&mut self, end: usize, depth: usize) -> Result<Item, Malformed> {
        self.items += 1;
        if self.items > MAX_ITEMS {
            return Err(self.wrong("more items than a message may have"));
        }
        let [t0, t1, t2, kind, l0, l1, l2, l3] = self.array::<HEADER_LEN>(end)?;
        let tag = Tag::from_be_bytes([0, t0, t1, t2]);
        let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        // Compared before anything is made of it.
        if len > end - self.at {
            return Err(self.wrong("an item that is longer than what is around it"));
        }
        let value = match kind {
            types::STRUCTURE => self.structure(self.at + len, depth + 1)?,
            types::INTEGER => Value::Integer(i32::from_be_bytes(self.number(len, end)?)),
            types::ENUMERATION => Value::Enumeration(u32::from_be_bytes(self.number(len, end)?)),
            types::INTERVAL => Value::Interval(u32::from_be_bytes(self.number(len, end)?)),
            types::LONG_INTEGER => Value::LongInteger(i64::from_be_bytes(self.number(len, end)?)),
            types::DATE_TIME => Value::DateTime(i64::from_be_bytes(self.number(len, end)?)),
            types::BOOLEAN => match u64::from_be_bytes(self.number(len, end)?) {
                0 => Value::Boolean(false),
                1 => Value::Boolean(true),
                _ => return Err(self.wrong("a boolean that is neither true nor false")),
            },
            types::BIG_INTEGER => match self.padded(len, end)? {
                number if !number.is_empty() && len.is_multiple_of(8) => Value::BigInteger(number.to_vec()),
                _ => return Err(self.wrong("a big integer that is not a multiple of 8 bytes")),
            },
            types::TEXT => match std::str::from_utf8(self.padded(len, end)?) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => return Err(self.wrong("a text that is not UTF-8")),
            },
            types::BYTES => Value::Bytes(Secret::copy_of(self.padded(len, end)?)),
            _ => return Err(self.wrong("an item of an unknown type")),
        };
        Ok(Item { tag, value })
    }

    fn structure(&mut self, end: usize, depth: usize) -> Result<Value, Malformed> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("structures that are nested too deep"));
        }
        let mut items = Vec::new();
        while self.at < end {
            items.push(self.item(end, depth)?);
        }
        Ok(Value::Structure(items))
    }

    /// A number, whose length its type says.
    fn number<const LEN: usize>(&mut self, len: usize, end: usize) -> Result<[u8; LEN], Malformed> {
        if len != LEN {
            return Err(self.wrong("a number of another length than its type has"));
        }
        let number = self.array(end)?;
        self.padding(len, end)?;
        Ok(number)
    }

    fn array<const LEN: usize>(&mut self, end: usize) -> Result<[u8; LEN], Malformed> {
        let array = self.bytes.get(self.at..end).and_then(<[u8]>::first_chunk).copied();
        let array = array.ok_or_else(|| self.wrong("an item that is cut off"))?;
        self.at += LEN;
        Ok(array)
    }

    fn padded(&mut self, len: usize, end: usize) -> Result<&[u8], Malformed> {
        let start = self.at;
        self.at += len;
        self.padding(len, end)?;
        self.bytes.get(start..start + len).ok_or_else(|| self.wrong("an item that is cut off"))
    }

    /// Zeros, up to a multiple of 8 bytes.
    fn padding(&mut self, len: usize, end: usize) -> Result<(), Malformed> {
        let padding = len.next_multiple_of(8) - len;
        match self.bytes.get(self.at..end).and_then(|rest| rest.get(..padding)) {
            None => Err(self.wrong("an item whose padding is cut off")),
            Some(zeros) if zeros.iter().all(|byte| *byte == 0) => {
                self.at += padding;
                Ok(())
            }
            Some(_) => Err(self.wrong("padding that is not zeros")),
        }
    }

    fn wrong(&self, what: &str) -> Malformed {
        Malformed::new(format!("{what}, at byte {}", self.at))
    }
}
