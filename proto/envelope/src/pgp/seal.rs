//! From optsdata to a message: a PKESK packet for each recipient, version 3, then the content (SEIPD, version 1). That is
//! all that x/crypto's OpenPGP, and so ocicrypt up to 1.1, can read.

use aws_lc_rs::agreement::{Algorithm, EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use holdfast_wire::{OptsData, Secret};

use super::content::Content;
use super::encryption_key::{CURVE25519_PREFIX, EncryptionKey, Way};
use super::framing::tag;
use super::parse::{ECDH, RSA};
use super::session_key::SessionKey;
use super::{MAX_RECIPIENTS, ecdh, literal};
use crate::{SealError, point, rsa};

/// Seals optsdata to 1 to [`MAX_RECIPIENTS`] keys, each of which can open the message alone: the content by AES-256, its
/// session key by RSA PKCS#1 v1.5 or OpenPGP's ECDH.
pub fn seal(optsdata: &OptsData, to: &[&EncryptionKey]) -> Result<Vec<u8>, SealError> {
    match to.len() {
        0 => return Err(SealError::NoRecipient),
        1..=MAX_RECIPIENTS => {}
        _ => return Err(SealError::TooManyRecipients { max: MAX_RECIPIENTS }),
    }
    let key = SessionKey::random().ok_or(SealError::Library("the random generator"))?;
    let mut message = Vec::new();
    for (at, to) in to.iter().enumerate() {
        message.extend(packet(tag::PKESK, &recipient(at + 1, to, &key)?)?);
    }
    let inside = packet(tag::LITERAL, literal::body(optsdata.raw()).expose())?;
    let inside = Secret::new(inside);
    let content = Content::seal(&key, &inside).ok_or(SealError::Library("AES in CFB mode"))?;
    message.extend(packet(tag::SEIPD, &content.body())?);
    Ok(message)
}

/// Section 5.1.1.
fn recipient(number: usize, to: &EncryptionKey, key: &SessionKey) -> Result<Vec<u8>, SealError> {
    let mut body = vec![3];
    body.extend_from_slice(&to.key_id());
    match to.way() {
        Way::Rsa(public) => {
            body.push(RSA);
            body.extend(mpi(&rsa::pkcs1(number, public, key.written().expose())?)?);
        }
        Way::Ecdh(public, kdf) => {
            let agreed = (point::ecdh(public.curve), &public.point[..]);
            point::check_point(public).map_err(|why| SealError::Key { recipient: number, why })?;
            let context =
                ecdh::Context { oid: ecdh::oid(public.curve), kdf: *kdf, fingerprint: to.fingerprint() };
            body.extend(agree(agreed, &[], &context, key)?);
        }
        Way::Curve25519(public, kdf) => {
            let context = ecdh::Context { oid: ecdh::CURVE25519, kdf: *kdf, fingerprint: to.fingerprint() };
            body.extend(agree((&X25519, &public[..]), &[CURVE25519_PREFIX], &context, key)?);
        }
    }
    Ok(body)
}

/// Section 5.1.5: the algorithm, the ephemeral point with what stands before it, and the wrapped key.
fn agree(
    (algorithm, public): (&'static Algorithm, &[u8]),
    prefix: &[u8],
    context: &ecdh::Context<'_>,
    key: &SessionKey,
) -> Result<Vec<u8>, SealError> {
    let failed = || SealError::Library("ECDH");
    let ephemeral = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).map_err(|_| failed())?;
    let point = ephemeral.compute_public_key().map_err(|_| failed())?;
    let peer = UnparsedPublicKey::new(algorithm, public);
    let wrapped = agree_ephemeral(ephemeral, peer, failed(), |z| {
        context.wrap(z, key.written_padded().expose()).ok_or(SealError::Library("AES key wrap"))
    })?;
    let len = u8::try_from(wrapped.len()).map_err(|_| failed())?;
    Ok([&[ECDH], &mpi(&[prefix, point.as_ref()].concat())?[..], &[len], &wrapped].concat())
}

/// A packet in new format (section 4.2.1), its length in one, two or five octets.
fn packet(tag: u8, body: &[u8]) -> Result<Vec<u8>, SealError> {
    let len = u32::try_from(body.len()).map_err(|_| SealError::Library("OpenPGP's framing"))?;
    let header = match len.to_be_bytes() {
        [0, 0, 0, short @ ..192] => vec![short],
        _ if len < 8384 => {
            let [_, _, high, low] = (len - 192).to_be_bytes();
            vec![high + 192, low]
        }
        long => [&[255], &long[..]].concat(),
    };
    Ok([&[0xc0 | tag], &header[..], body].concat())
}

/// A multiprecision integer (section 3.2), without leading zeros.
fn mpi(number: &[u8]) -> Result<Vec<u8>, SealError> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let unused = number.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits =
        u16::try_from(number.len() * 8 - unused).map_err(|_| SealError::Library("OpenPGP's framing"))?;
    Ok([&bits.to_be_bytes()[..], number].concat())
}
