//! What containerd gives a stream processor on file descriptor 3: a protobuf `Any` around imgcrypt's
//! payload, which is JSON: the layer's descriptor, and the caller's own decryption configuration.
//!
//! That configuration may hold private keys and their passwords. They are skipped in the buffer they came
//! in and never become a value, so wiping that buffer wipes them.

use holdfast_wire::Malformed;
use holdfast_wire::keyprovider::PrivateValues;
use serde::Deserialize;
use serde_json::Value;

use crate::{EncryptedLayer, Error};

/// What imgcrypt names its payload. Writers of `Any` may put `HOST/` before it.
const TYPE: &[u8] = b"io.containerd.ocicrypt.v1.Payload";

/// A stream processor's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The layer to open.
    pub layer: EncryptedLayer,
    /// How many private keys and passwords stood beside it.
    pub private_values: usize,
}

#[derive(Deserialize)]
struct Json {
    #[serde(rename = "DecryptConfig", default)]
    decrypt_config: PrivateValues,
    #[serde(rename = "Descriptor", default)]
    descriptor: Value,
}

impl Payload {
    /// Longest payload taken, in bytes: a descriptor has a few KiB, and no more than the manifest around it.
    pub const MAX_LEN: usize = 4 * 1024 * 1024;

    /// Reads the whole of it. Fields that are not known are passed over, in the JSON and around it.
    pub fn parse(bytes: &[u8]) -> Result<Payload, Error> {
        if bytes.len() > Payload::MAX_LEN {
            return Err(defect("has more than 4 MiB"));
        }
        if bytes.is_empty() {
            return Err(defect("is empty"));
        }
        let json = value_in_any(bytes)?;
        let json: Json = serde_json::from_slice(json).map_err(|error| {
            Error::image(format!(
                "{}; {ADVICE}",
                Malformed::json("the JSON of the payload on file descriptor 3", &error)
            ))
        })?;
        if json.descriptor.is_null() {
            return Err(defect("has no Descriptor"));
        }
        Ok(Payload { layer: EncryptedLayer::read(&json.descriptor)?, private_values: json.decrypt_config.0 })
    }
}

const ADVICE: &str = "containerd writes it when it starts its stream processor";

fn defect(what: &str) -> Error {
    Error::image(format!("the payload on file descriptor 3 {what}; {ADVICE}"))
}

/// The second field of a `google.protobuf.Any` (any.proto): `string type_url = 1; bytes value = 2;`.
fn value_in_any(mut bytes: &[u8]) -> Result<&[u8], Error> {
    let (mut kind, mut value): (&[u8], &[u8]) = (b"", b"");
    while !bytes.is_empty() {
        match field(&mut bytes).ok_or_else(|| defect("is cut off, or no protobuf message"))? {
            (1, content) => kind = content,
            (2, content) => value = content,
            _ => {}
        }
    }
    if kind.rsplit(|byte| *byte == b'/').next() != Some(TYPE) {
        return Err(defect("is not of the type io.containerd.ocicrypt.v1.Payload"));
    }
    Ok(value)
}

/// The next field's number and content, which is empty for those that have a fixed length.
fn field<'b>(bytes: &mut &'b [u8]) -> Option<(u64, &'b [u8])> {
    let tag = varint(bytes)?;
    let len = match tag & 7 {
        0 => {
            varint(bytes)?;
            return Some((tag >> 3, b""));
        }
        1 => 8,
        2 => usize::try_from(varint(bytes)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some((tag >> 3, if tag & 7 == 2 { content } else { b"" }))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
