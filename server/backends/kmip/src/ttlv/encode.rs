use holdfast_wire::{Malformed, Secret};

use super::{HEADER_LEN, Item, Tag, Value, types};

/// Writes an item. It may hold a key, and is wiped.
pub fn encode(item: &Item) -> Result<Secret, Malformed> {
    let len = HEADER_LEN + padded(value_len(&item.value));
    // As large as it gets: growing would leave copies behind.
    let mut out = Vec::with_capacity(len);
    let written = write(&mut out, item);
    let out = Secret::new(out);
    written.map(|()| out)
}

fn value_len(value: &Value) -> usize {
    match value {
        Value::Structure(items) => items.iter().map(|item| HEADER_LEN + padded(value_len(&item.value))).sum(),
        Value::Integer(_) | Value::Enumeration(_) | Value::Interval(_) => 4,
        Value::LongInteger(_) | Value::DateTime(_) | Value::Boolean(_) => 8,
        Value::BigInteger(number) => number.len(),
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    }
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

fn write(out: &mut Vec<u8>, item: &Item) -> Result<(), Malformed> {
    let len = value_len(&item.value);
    let too_long = |_| Malformed::new("an item whose length no TTLV header can hold");
    header(out, item.tag, kind(&item.value), u32::try_from(len).map_err(too_long)?);
    match &item.value {
        Value::Structure(items) => items.iter().try_for_each(|item| write(out, item))?,
        Value::Integer(number) => out.extend(number.to_be_bytes()),
        Value::Enumeration(number) | Value::Interval(number) => out.extend(number.to_be_bytes()),
        Value::LongInteger(number) | Value::DateTime(number) => out.extend(number.to_be_bytes()),
        Value::Boolean(value) => out.extend(u64::from(*value).to_be_bytes()),
        Value::BigInteger(number) => out.extend(number),
        Value::Text(text) => out.extend(text.as_bytes()),
        Value::Bytes(bytes) => out.extend(bytes.expose()),
    }
    out.resize(out.len() + padded(len) - len, 0);
    Ok(())
}

fn header(out: &mut Vec<u8>, tag: Tag, kind: u8, len: u32) {
    let [_, tag @ ..] = tag.to_be_bytes();
    out.extend(tag);
    out.push(kind);
    out.extend(len.to_be_bytes());
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Structure(_) => types::STRUCTURE,
        Value::Integer(_) => types::INTEGER,
        Value::LongInteger(_) => types::LONG_INTEGER,
        Value::BigInteger(_) => types::BIG_INTEGER,
        Value::Enumeration(_) => types::ENUMERATION,
        Value::Boolean(_) => types::BOOLEAN,
        Value::Text(_) => types::TEXT,
        Value::Bytes(_) => types::BYTES,
        Value::DateTime(_) => types::DATE_TIME,
        Value::Interval(_) => types::INTERVAL,
    }
}
