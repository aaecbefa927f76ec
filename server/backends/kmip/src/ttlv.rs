//! TTLV, the encoding of every KMIP message: tag, type, length, value (KMIP 1.4, section 9.1.1).
//!
//! ```text
//! tag     3 bytes   0x42….: what it is
//! type    1 byte    1 to 10
//! length  4 bytes   of the value, without its padding; big-endian, as everything
//! value             padded with zeros to a multiple of 8 bytes
//! ```
//!
//! What is read comes from a server that may be broken or another's, so reading is bounded in all that it takes:
//! bytes, items, and how deep they are nested. There is one way to write an item, and nothing else is read: a
//! stream that is out of step shows at once, and what was read is written again as the same bytes.
//!
//! A byte string may be a key. All of them are [`Secret`], which costs the others nothing.

mod decode;
mod encode;

use holdfast_wire::Secret;

pub use decode::{MAX_DEPTH, MAX_ITEMS, MAX_LEN, decode};
pub use encode::encode;

/// Bytes of tag, type and length.
pub const HEADER_LEN: usize = 8;

/// What an item is: 24 bits.
pub type Tag = u32;

/// One item of a message.
#[derive(Debug)]
pub struct Item {
    /// What it is.
    pub tag: Tag,
    /// Its value.
    pub value: Value,
}

/// The value of an item, by its type.
#[derive(Debug)]
pub enum Value {
    /// Items, in an order that has a meaning.
    Structure(Vec<Item>),
    /// 32 bits.
    Integer(i32),
    /// 64 bits.
    LongInteger(i64),
    /// Two's complement, big-endian, a multiple of 8 bytes: section 9.1.1.4.
    BigInteger(Vec<u8>),
    /// One of the values that the tag has.
    Enumeration(u32),
    /// True or false.
    Boolean(bool),
    /// UTF-8, not terminated.
    Text(String),
    /// Bytes. They may be a key.
    Bytes(Secret),
    /// Seconds since 1970, in UTC.
    DateTime(i64),
    /// Seconds.
    Interval(u32),
}

/// The numbers that types have (section 9.1.1.2).
mod types {
    pub(super) const STRUCTURE: u8 = 1;
    pub(super) const INTEGER: u8 = 2;
    pub(super) const LONG_INTEGER: u8 = 3;
    pub(super) const BIG_INTEGER: u8 = 4;
    pub(super) const ENUMERATION: u8 = 5;
    pub(super) const BOOLEAN: u8 = 6;
    pub(super) const TEXT: u8 = 7;
    pub(super) const BYTES: u8 = 8;
    pub(super) const DATE_TIME: u8 = 9;
    pub(super) const INTERVAL: u8 = 10;
}

impl Item {
    /// A structure of items.
    pub fn structure(tag: Tag, items: Vec<Item>) -> Item {
        Item { tag, value: Value::Structure(items) }
    }

    /// A number of 32 bits.
    pub fn integer(tag: Tag, number: i32) -> Item {
        Item { tag, value: Value::Integer(number) }
    }

    /// One of the values that the tag has.
    pub fn enumeration(tag: Tag, number: u32) -> Item {
        Item { tag, value: Value::Enumeration(number) }
    }

    /// True or false.
    pub fn boolean(tag: Tag, value: bool) -> Item {
        Item { tag, value: Value::Boolean(value) }
    }

    /// A text.
    pub fn text(tag: Tag, text: &str) -> Item {
        Item { tag, value: Value::Text(text.to_owned()) }
    }

    /// A copy of bytes.
    pub fn bytes(tag: Tag, bytes: &[u8]) -> Item {
        Item { tag, value: Value::Bytes(Secret::copy_of(bytes)) }
    }

    /// What is in a structure; nothing is in anything else.
    pub fn items(&self) -> &[Item] {
        match &self.value {
            Value::Structure(items) => items,
            _ => &[],
        }
    }

    /// The first item of a tag in a structure.
    pub fn get(&self, tag: Tag) -> Option<&Item> {
        self.items().iter().find(|item| item.tag == tag)
    }

    /// The value of an enumeration in a structure.
    pub fn get_enumeration(&self, tag: Tag) -> Option<u32> {
        self.get(tag).and_then(Item::as_enumeration)
    }

    /// A text in a structure.
    pub fn get_text(&self, tag: Tag) -> Option<&str> {
        self.get(tag).and_then(Item::as_text)
    }

    /// A byte string in a structure.
    pub fn get_bytes(&self, tag: Tag) -> Option<&[u8]> {
        match &self.get(tag)?.value {
            Value::Bytes(bytes) => Some(bytes.expose()),
            _ => None,
        }
    }

    /// The value, if it is an enumeration.
    pub fn as_enumeration(&self) -> Option<u32> {
        match self.value {
            Value::Enumeration(number) => Some(number),
            _ => None,
        }
    }

    /// The value, if it is a number of 32 bits.
    pub fn as_integer(&self) -> Option<i32> {
        match self.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The value, if it is a text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
