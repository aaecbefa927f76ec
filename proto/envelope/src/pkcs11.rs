//! ocicrypt's JSON around RSA-OAEP with keys of PKCS#11 tokens: scheme `pkcs11`.
//!
//! `{"version":0,"recipients":[{"version":0,"blob":"…","hash":"sha256"}]}`: each blob is the optsdata itself under
//! RSA-OAEP with an empty label, MGF1 with the same hash; `hash` is "sha256" or "sha1", and "sha1" where it is empty or
//! absent. There is no content encryption key. With SHA-256 the 193 bytes of ocicrypt's optsdata need a key of 3072
//! bits.
//!
//! ocicrypt's names no key, so that each is tried with each. [`seal()`] adds a `kid`, the key's
//! [thumbprint](crate::jwk::thumbprint), which ocicrypt passes by.
//!
//! Nothing but the padding vouches for what was opened. Something that is no optsdata may be another packet's content
//! key, put here by whoever hopes to be told about it, and is [`FinishError::Rejected`] like a wrong key.

mod seal;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::{Algorithm, Malformed, OaepHash, OptsData, Sealed, Secret};

pub use seal::{To, seal};

use crate::json::{Object, Value};
use crate::recipient::rsa_ciphertext;
use crate::{FinishError, Hint, Recipient};

/// Longest packet taken, in bytes. 64 recipients with RSA-8192 keys stay under it.
pub const MAX_LEN: usize = 256 * 1024;
/// Most recipients a packet may have.
pub const MAX_RECIPIENTS: usize = 64;

const PACKET: &str = "the packet";

/// A parsed packet. Nothing of it is authenticated.
#[derive(Debug, Clone)]
pub struct Pkcs11 {
    recipients: Vec<Recipient>,
}

impl Pkcs11 {
    /// Parses a packet.
    ///
    /// Refused: more than [`MAX_LEN`] bytes, duplicate members anywhere, members nested deeper than 8 levels, a
    /// version other than 0, no recipient or more than [`MAX_RECIPIENTS`], a blob that is not base64 or has no
    /// length of an RSA key's. A recipient of another version or with another hash is kept, as one that nobody here
    /// can open.
    pub fn parse(bytes: &[u8]) -> Result<Pkcs11, Malformed> {
        if bytes.len() > MAX_LEN {
            return Err(Malformed::new(format!(
                "the packet has {} bytes; at most {MAX_LEN} are taken",
                bytes.len()
            )));
        }
        let packet = Object::parse(bytes, PACKET)?;
        if version(&packet, PACKET)? != 0 {
            return Err(Malformed::new("the packet is of a version that this version does not know"));
        }
        let list = match packet.get("recipients") {
            Some(Value::Array(list)) if list.len() > MAX_RECIPIENTS => {
                return Err(Malformed::new(format!(
                    "the packet has {} recipients; at most {MAX_RECIPIENTS} are taken",
                    list.len()
                )));
            }
            Some(Value::Array(list)) if !list.is_empty() => list,
            _ => return Err(Malformed::new("the packet has no recipient")),
        };
        let recipients = list.iter().enumerate().map(|(i, one)| match one {
            Value::Object(one) => recipient(one, &format!("recipient {}", i + 1)),
            _ => Err(Malformed::new(format!("recipient {} is not an object", i + 1))),
        });
        Ok(Pkcs11 { recipients: recipients.collect::<Result<_, _>>()? })
    }

    /// The recipients in the packet's order; at least one.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Finishes what a token began. `opened` is what it gave for `recipients()[index].sealed()`: the optsdata. A
    /// recipient that does not exist or that has no known algorithm is [`FinishError::Rejected`] too.
    pub fn finish(&self, index: usize, opened: Secret) -> Result<OptsData, FinishError> {
        self.recipients.get(index).and_then(Recipient::algorithm).ok_or(FinishError::Rejected)?;
        OptsData::parse(opened).map_err(|_| FinishError::Rejected)
    }
}

/// 0 where it is absent, as Go reads it.
fn version(object: &Object, what: &str) -> Result<u64, Malformed> {
    match object.get("version") {
        None => Ok(0),
        Some(Value::Number(version)) => Ok(*version),
        Some(_) => Err(Malformed::new(format!("version of {what} is not a number"))),
    }
}

fn recipient(object: &Object, what: &str) -> Result<Recipient, Malformed> {
    if version(object, what)? != 0 {
        return Ok(Recipient::new(None, None));
    }
    let hint = object.text("kid", what)?.map(|kid| Hint::Kid(kid.to_owned()));
    let (algorithm, hash) = match object.text("hash", what)? {
        Some("sha256") => (Algorithm::RsaOaep256, OaepHash::Sha256),
        Some("sha1" | "") | None => (Algorithm::RsaOaep, OaepHash::Sha1),
        Some(_) => return Ok(Recipient::new(hint, None)),
    };
    let blob = object.text("blob", what)?.ok_or_else(|| Malformed::new(format!("{what} has no blob")))?;
    let ciphertext =
        STANDARD.decode(blob).map_err(|_| Malformed::new(format!("blob of {what} is not base64")))?;
    let ciphertext = rsa_ciphertext(&format!("blob of {what}"), algorithm, ciphertext)?;
    Ok(Recipient::new(hint, Some((algorithm, Sealed::RsaOaep { hash, ciphertext }))))
}
