//! Packets of the other schemes: what skopeo wrote, and what was built here to be good, bad or damaged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests end at the first surprise too; clippy.toml allows it to test functions alone"
)]

mod cms;
mod cms_build;
mod cms_defects;
mod pkcs11;
mod sealing;
mod skopeo;
#[path = "../jwe/token.rs"]
mod token;

use holdfast_envelope::{FinishError, Packet, ParseError};
use holdfast_wire::{OptsData, Secret};

/// What every packet that is built here holds.
fn optsdata() -> OptsData {
    OptsData::new(Secret::new(vec![9; 32]), [7; 16], &format!("sha256:{}", "0".repeat(64))).unwrap()
}

/// What is wrong with a packet, "taken" where nothing is.
fn line(scheme: &str, packet: &[u8]) -> String {
    match Packet::parse(scheme, packet) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A packet's recipient opened with a key in a file, and finished.
fn finish(packet: &Packet, index: usize, key: &str) -> Result<Vec<u8>, FinishError> {
    let sealed = packet.recipients()[index].sealed().unwrap();
    let opened = token::open(key, sealed).or_else(|| packet.decoy(index)).ok_or(FinishError::Rejected)?;
    packet.finish(index, opened).map(|optsdata| optsdata.raw().expose().to_vec())
}

#[test]
fn a_scheme_without_a_reader_is_told_from_a_broken_packet() {
    for scheme in ["", "JWE", "pkcs7 ", "provider", "provider-holdfast", "age"] {
        assert_eq!(Packet::parse(scheme, b"{}").unwrap_err(), ParseError::UnknownScheme, "{scheme}");
    }
    let says = "this version opens packets of the schemes jwe, pkcs7, pgp, pkcs11 and provider; encrypt with one of them";
    assert_eq!(ParseError::UnknownScheme.to_string(), says);
    for scheme in ["jwe", "pkcs7", "pgp", "pkcs11", "provider.", "provider.holdfast"] {
        assert!(matches!(Packet::parse(scheme, b""), Err(ParseError::Malformed(_))), "{scheme}");
    }
}
