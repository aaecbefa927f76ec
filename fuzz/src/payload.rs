//! What a stream processor is given, and what it looks for where it was given nothing.

use holdfast_image::store::{Wanted, layer_in};
use holdfast_image::{Digest, Payload};

use crate::one_printable_line;

/// Most packets that one layer may have.
const MAX_PACKETS: usize = 64;

/// The payload on file descriptor 3; the same bytes are tried as a manifest, in which the layer is looked for
/// that the payload names, or else the one whose digest is 64 times the last byte's digit.
pub fn payload(bytes: &[u8]) {
    let payload = Payload::parse(bytes);
    let digit = char::from(b"0123456789abcdef"[usize::from(bytes.last().copied().unwrap_or_default() % 16)]);
    let digest: Digest = format!("sha256:{}", digit.to_string().repeat(64)).parse().expect("a digest");
    let mut wanted = Wanted { digest: &digest, size: 7, media_type: None };
    match &payload {
        Ok(payload) => {
            assert!((1..=MAX_PACKETS).contains(&payload.layer.packets.len()));
            wanted.digest = &payload.layer.digest;
            wanted.size = payload.layer.size;
        }
        Err(error) => one_printable_line(error),
    }
    match layer_in(bytes, wanted) {
        Some(Ok(layer)) => {
            assert_eq!((&layer.digest, layer.size), (wanted.digest, wanted.size));
            assert!(layer.media_type.ends_with("+encrypted"));
            assert!((1..=MAX_PACKETS).contains(&layer.packets.len()));
        }
        Some(Err(error)) => one_printable_line(&error),
        None => {}
    }
}
