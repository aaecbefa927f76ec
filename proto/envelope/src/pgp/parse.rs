//! From bytes to a [`Pgp`]: the recipients' packets, then one with the content, and nothing else.

use holdfast_wire::{Algorithm, Curve, EcPublicKey, Malformed, Sealed};

use super::content::Content;
use super::framing::{Packets, Reader, tag};
use super::{MAX_LEN, MAX_RECIPIENTS, Pgp};
use crate::{Hint, Recipient, check_point};

/// Public key algorithms (RFC 9580 section 9.1).
pub(super) const RSA: u8 = 1;
pub(super) const RSA_ENCRYPT_ONLY: u8 = 2;
pub(super) const ECDH: u8 = 18;

/// Most bytes of a modulus; that of RSA-8192.
const MAX_MODULUS_LEN: usize = 1024;
/// Least bytes of a key wrapped by AES key wrap: two blocks of 8, and the check.
const MIN_WRAPPED_LEN: usize = 24;

/// A recipient, and the wrapped session key of one with ECDH.
type Read = (Recipient, Option<Vec<u8>>);

pub(super) fn parse(bytes: &[u8]) -> Result<Pgp, Malformed> {
    if bytes.len() > MAX_LEN {
        return Err(Malformed::new(format!(
            "the message has {} bytes; at most {MAX_LEN} are taken",
            bytes.len()
        )));
    }
    let mut packets = Packets::new(bytes);
    let (mut recipients, mut content): (Vec<Read>, _) = (Vec::new(), None);
    while let Some(packet) = packets.next()? {
        match packet.tag {
            // To be passed by wherever they stand (sections 5.8 and 5.14).
            tag::MARKER | tag::PADDING => {}
            _ if content.is_some() => {
                return Err(Malformed::new("the message has packets behind its content"));
            }
            tag::PKESK | tag::SKESK if recipients.len() == MAX_RECIPIENTS => {
                return Err(Malformed::new(format!(
                    "the message has more than {MAX_RECIPIENTS} recipients; no more are taken"
                )));
            }
            tag::PKESK => {
                let what = format!("recipient {}", recipients.len() + 1);
                recipients.push(recipient(&packet.body, &what)?);
            }
            // A password: nothing that a token has.
            tag::SKESK => recipients.push((Recipient::new(None, None), None)),
            tag::SEIPD => content = Some(Content::parse(&packet.body)?),
            other => return Err(not_content(other)),
        }
    }
    if recipients.is_empty() {
        return Err(Malformed::new("the message has no recipient"));
    }
    let content = content.ok_or_else(|| Malformed::new("the message has no content"))?;
    let (recipients, wrapped) = recipients.into_iter().unzip();
    Ok(Pgp { recipients, wrapped, content })
}

fn not_content(tag: u8) -> Malformed {
    match tag {
        tag::SED => Malformed::new(
            "the message's content has no integrity protection (OpenPGP packet 9), so anyone could have altered it; \
             encrypt again with a program that protects it, as gpg does unless it is told not to",
        ),
        tag::AEAD => Malformed::new(
            "the message's content is encrypted by AEAD (OpenPGP packet 20), which this version does not open; \
             encrypt to a key whose preferences do not ask for it",
        ),
        other => {
            Malformed::new(format!("an OpenPGP packet of type {other}, which no encrypted message has here"))
        }
    }
}

/// A PKESK packet (section 5.1).
fn recipient(body: &[u8], what: &str) -> Result<Read, Malformed> {
    let mut reader = Reader(body);
    if reader.octet()? != 3 {
        // Version 6 belongs to another kind of content, version 2 to PGP 2.
        return Ok((Recipient::new(None, None), None));
    }
    let hint = reader.take(8)?.try_into().ok().map(Hint::KeyId);
    let (way, wrapped) = match reader.octet()? {
        RSA | RSA_ENCRYPT_ONLY => (Some((Algorithm::Rsa1_5, rsa(reader, what)?)), None),
        ECDH => match ecdh(reader, what)? {
            Some((sealed, wrapped)) => (Some((Algorithm::OpenPgpEcdh, sealed)), Some(wrapped)),
            None => (None, None),
        },
        _ => (None, None),
    };
    Ok((Recipient::new(hint, way), wrapped))
}

/// Section 5.1.3.
fn rsa(mut reader: Reader<'_>, what: &str) -> Result<Sealed, Malformed> {
    let number = reader.mpi()?;
    reader.finish(what)?;
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    match number.get(zeros..).unwrap_or_default() {
        ciphertext if (1..=MAX_MODULUS_LEN).contains(&ciphertext.len()) => {
            Ok(Sealed::RsaPkcs1v15 { ciphertext: ciphertext.to_vec() })
        }
        ciphertext => Err(Malformed::new(format!(
            "the RSA ciphertext of {what} has {} bytes; 1 to {MAX_MODULUS_LEN} are taken",
            ciphertext.len()
        ))),
    }
}

/// Section 5.1.5. The packet does not name the curve: the point's length does, and that it lies on it. Others
/// have points of the same lengths (Brainpool), so one that does not lie there is one of theirs.
fn ecdh(mut reader: Reader<'_>, what: &str) -> Result<Option<(Sealed, Vec<u8>)>, Malformed> {
    let point = reader.mpi()?;
    let len = reader.octet()?;
    let wrapped = reader.take(usize::from(len))?;
    reader.finish(what)?;
    let Some(ephemeral) = nist_point(point) else { return Ok(None) };
    if wrapped.len() < MIN_WRAPPED_LEN || !wrapped.len().is_multiple_of(8) {
        return Err(Malformed::new(format!(
            "the wrapped key of {what} has {} bytes; it has whole blocks of 8, at least {MIN_WRAPPED_LEN}",
            wrapped.len()
        )));
    }
    let sealed = Sealed::Ecdh { curve: ephemeral.curve, ephemeral: ephemeral.point };
    Ok(Some((sealed, wrapped.to_vec())))
}

/// An uncompressed point (section 11.2.1) that lies on one of our curves. A token never sees another.
fn nist_point(point: &[u8]) -> Option<EcPublicKey> {
    let curve = Curve::ALL.into_iter().find(|curve| point.len() == 1 + 2 * curve.coordinate_len())?;
    let key = EcPublicKey { curve, point: point.to_vec() };
    check_point(&key).is_ok().then_some(key)
}
