//! The layer cipher against a layer that ocicrypt itself encrypted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Cursor, Read as _};

use holdfast_image::{Digest, PublicOptions, cipher};
use holdfast_wire::{OptsData, Secret};

const BLOB: &[u8] = include_bytes!("vectors/tiny/blob");
const OPTSDATA: &[u8] = include_bytes!("vectors/tiny/optsdata.json");
const DIGEST: &str = "sha256:799a4cb1d00255b7dee01fdbcc84302631331ad21ee98482993e0025d336f311";
const HMAC: [u8; 32] = [
    0x36, 0x10, 0x75, 0xad, 0x64, 0x4b, 0x65, 0xdc, 0xc2, 0x7c, 0x30, 0x20, 0x10, 0x69, 0xdf, 0x31, 0xd5,
    0xc4, 0xc3, 0x0e, 0x29, 0xff, 0x12, 0x8c, 0x27, 0x22, 0x1e, 0xf1, 0x19, 0xb6, 0x1f, 0x65,
];

#[test]
fn a_layer_of_ocicrypt_opens_to_the_digest_it_wrapped() {
    let optsdata = OptsData::parse(Secret::copy_of(OPTSDATA)).unwrap();
    let public = PublicOptions { hmac: HMAC };
    let digest = DIGEST.parse().unwrap();
    let blob = Cursor::new(BLOB);
    let verified = cipher::verify(blob, 1024, &digest, &public, &optsdata, |_| Ok(())).unwrap();
    let mut plaintext = Vec::new();
    verified.plaintext().unwrap().read_to_end(&mut plaintext).unwrap();
    assert_eq!(plaintext.len(), 1024);
    assert_eq!(Digest::of(&plaintext).to_string(), optsdata.digest());
}
