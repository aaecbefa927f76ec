//! Byte fields as ocicrypt's peers write them in JSON: Go's standard padded base64, the Rust client's
//! arrays of integers, or null.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A byte field; null and absent are empty. Wiped on drop, as any of them may be key material.
#[derive(Default)]
pub(crate) struct Bytes(pub(crate) Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("base64 or an array of bytes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        // The Rust client writes optsdata, a JSON object, as the text it is; no base64 begins so.
        if text.starts_with('{') {
            return Ok(Bytes(Zeroizing::new(text.as_bytes().to_vec())));
        }
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let len = STANDARD.decode_slice(text, &mut bytes).map_err(|_| E::custom("not padded base64"))?;
        bytes.truncate(len);
        Ok(Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
        // Grown by hand: a vector that grows by itself leaves unwiped copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        while let Some(byte) = seq.next_element::<u8>()? {
            if bytes.len() == bytes.capacity() {
                let mut larger = Zeroizing::new(Vec::with_capacity(bytes.capacity() * 2));
                larger.extend_from_slice(&bytes);
                bytes = larger;
            }
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Bytes, E> {
        Ok(Bytes::default())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Bytes, E> {
        Ok(Bytes::default())
    }
}

/// Writes bytes as a JSON array of integers: the one form that both the Go and the Rust peers take.
pub(crate) fn write_array(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'[');
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if *byte >= 100 {
            out.push(b'0' + byte / 100);
        }
        if *byte >= 10 {
            out.push(b'0' + byte / 10 % 10);
        }
        out.push(b'0' + byte % 10);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Option<Vec<u8>> {
        serde_json::from_str::<Bytes>(json).ok().map(|b| b.0.to_vec())
    }

    #[test]
    fn base64_arrays_and_null_are_bytes() {
        assert_eq!(parse(r#""AQID""#), Some(vec![1, 2, 3]));
        assert_eq!(parse("[1, 2,3]"), Some(vec![1, 2, 3]));
        assert_eq!(parse("null"), Some(vec![]));
        assert_eq!(parse(r#""""#), Some(vec![]));
        assert_eq!(parse(r#""{\"symkey\":1}""#), Some(br#"{"symkey":1}"#.to_vec()));
    }

    #[test]
    fn unpadded_base64_numbers_and_large_elements_are_not() {
        for bad in [r#""AQI""#, "[256]", "[-1]", "7", r#""A_-=""#, "{}"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_byte_is_written_as_its_decimal() {
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        write_array(&mut out, &all);
        assert_eq!(serde_json::from_slice::<Vec<u8>>(&out).unwrap(), all);
    }
}
