//! From optsdata to a packet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::{OaepHash, OptsData, PublicKey};
use serde::Serialize;

use super::MAX_RECIPIENTS;
use crate::{SealError, jwk, rsa};

/// One key to seal to, and how.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The public key, which must be RSA.
    pub key: &'a PublicKey,
    /// The hash of OAEP and its MGF1. With SHA-256 the key has at least 2072 bits, for what ocicrypt's optsdata has.
    pub hash: OaepHash,
}

#[derive(Serialize)]
struct Packet {
    version: u8,
    recipients: Vec<Recipient>,
}

#[derive(Serialize)]
struct Recipient {
    version: u8,
    blob: String,
    hash: &'static str,
    kid: String,
}

/// Seals optsdata to 1 to [`MAX_RECIPIENTS`] public keys, each of which can open the packet alone.
pub fn seal(optsdata: &OptsData, to: &[To<'_>]) -> Result<Vec<u8>, SealError> {
    match to.len() {
        0 => return Err(SealError::NoRecipient),
        1..=MAX_RECIPIENTS => {}
        _ => return Err(SealError::TooManyRecipients { max: MAX_RECIPIENTS }),
    }
    let recipients = to.iter().enumerate().map(|(at, to)| recipient(at + 1, to, optsdata));
    let packet = Packet { version: 0, recipients: recipients.collect::<Result<_, _>>()? };
    serde_json::to_vec(&packet).map_err(|_| SealError::Library("writing JSON"))
}

fn recipient(number: usize, to: &To<'_>, optsdata: &OptsData) -> Result<Recipient, SealError> {
    let blob = rsa::oaep(number, to.key, to.hash, optsdata.raw().expose())?;
    let hash = match to.hash {
        OaepHash::Sha1 => "sha1",
        OaepHash::Sha256 => "sha256",
    };
    Ok(Recipient { version: 0, blob: STANDARD.encode(blob), hash, kid: jwk::thumbprint(to.key) })
}
