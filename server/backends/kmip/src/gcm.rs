//! AES-256-GCM inside the server, for [`Sealed::AesGcm`]: SP 800-38D with an iv of 96 bits, a tag of 128 and no
//! additional data, as RFC 7518 section 4.7 has it. KMIP has a place for the tag from 1.4 on.
//!
//! Two uses of one iv with one key give everything away. So it is 96 random bits for every call, good for 2^32 calls
//! with one key (SP 800-38D section 8.3), from this process or, where a server takes none but its own, from there.

use aws_lc_rs::rand;
use holdfast_custody::Error;
use holdfast_wire::{Operation as Native, Sealed, Secret};

use crate::attributes::{Attributes, State};
use crate::client::Client;
use crate::errors::{Asked, refused};
use crate::message::Question;
use crate::protocol::{Operation, tag, value};
use crate::rsa::data;
use crate::ttlv::Item;

const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Bytes of a content encryption key (RFC 7518 section 5.1): nothing else is sealed.
const SECRET_LENS: std::ops::RangeInclusive<usize> = 16..=64;

/// Who chooses the iv.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Iv {
    Ours([u8; IV_LEN]),
    Theirs,
}

/// Whether the server takes Decrypt by AES-GCM with this key: it is given what nobody sealed, and must say so.
pub(crate) fn is_taken(client: &mut Client, id: &str) -> Result<(), Error> {
    let question = decrypt(id, &[0; IV_LEN], &[0; 32], &[0; TAG_LEN]);
    let asked = Asked::Whether(Native::AesGcm.name());
    match client.ask(question.operation, question.payload)?.map_err(|failure| refused(&failure, asked)) {
        Err(Error::Rejected) => Ok(()),
        Err(Error::Unsupported(_)) => Err(Error::KeyUnfit(
            "the server does not take AES-GCM with an iv of 96 and a tag of 128 bits (Decrypt); use an RSA key".into(),
        )),
        Err(error) => Err(error),
        Ok(_) => Err(Error::KeyUnfit(
            "the server opens what nobody sealed (AES-GCM with a wrong tag): it does not check the tag, so the key is not used".into(),
        )),
    }
}

/// Opens what [`seal`] gave.
pub(crate) fn open(
    client: &mut Client,
    id: &str,
    iv: &[u8; IV_LEN],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
) -> Result<Secret, Error> {
    // Its length is no secret, and the server need not be asked.
    if !SECRET_LENS.contains(&ciphertext.len()) {
        return Err(Error::Rejected);
    }
    let question = decrypt(id, iv, ciphertext, tag);
    let asked = Asked::ToOpen(Native::AesGcm.name());
    data(client.ask(question.operation, question.payload)?.map_err(|failure| refused(&failure, asked))?)
}

/// Seals a secret, and has the server open it again before anybody relies on it: an image whose key cannot be opened
/// is lost.
pub(crate) fn seal(client: &mut Client, id: &str, secret: &Secret) -> Result<Sealed, Error> {
    let mut iv = [0; IV_LEN];
    rand::fill(&mut iv).map_err(|_| Error::Internal("no random iv can be made".into()))?;
    let (iv, ciphertext, tag) = match encrypt(client, id, Iv::Ours(iv), secret) {
        Err(Error::Unsupported(_)) => encrypt(client, id, Iv::Theirs, secret)?,
        sealed => sealed?,
    };
    // Both are ours, and so is the key: time tells nothing.
    match open(client, id, &iv, &ciphertext, &tag) {
        Ok(opened) if opened.expose() == secret.expose() => Ok(Sealed::AesGcm { iv, ciphertext, tag }),
        Ok(_) | Err(Error::Rejected) => Err(Error::KeyUnfit(
            "the server does not open by AES-GCM what it sealed by it, so nothing may be sealed to this key"
                .into(),
        )),
        Err(error) => Err(error),
    }
}

type Parts = ([u8; IV_LEN], Vec<u8>, [u8; TAG_LEN]);

/// Asks for the key's state in the same request: it may have changed since it was described, and not every server
/// refuses to encrypt with a key that was deactivated.
fn encrypt(client: &mut Client, id: &str, iv: Iv, secret: &Secret) -> Result<Parts, Error> {
    let mut payload = vec![
        Item::text(tag::UNIQUE_IDENTIFIER, id),
        parameters(iv == Iv::Theirs),
        Item::bytes(tag::DATA, secret.expose()),
    ];
    if let Iv::Ours(iv) = &iv {
        payload.push(Item::bytes(tag::IV_COUNTER_NONCE, iv));
    }
    let state = Question {
        operation: Operation::GetAttributes,
        payload: vec![Item::text(tag::UNIQUE_IDENTIFIER, id)],
    };
    let answers = client.ask_all(vec![state, Question { operation: Operation::Encrypt, payload }])?;
    let [attributes, sealed] = <[_; 2]>::try_from(answers)
        .map_err(|_| Error::Internal("two questions with another number of answers".into()))?;
    let attributes = attributes.map_err(|failure| refused(&failure, Asked::Other))?;
    let attributes = Attributes::of(attributes, client.form());
    may_seal(attributes.state())?;
    let asked = Asked::ToSeal(Native::AesGcm.name());
    let sealed = sealed.map_err(|failure| refused(&failure, asked))?;
    let used = match iv {
        Iv::Ours(iv) => Some(iv),
        Iv::Theirs => sealed.get_bytes(tag::IV_COUNTER_NONCE).and_then(|iv| iv.try_into().ok()),
    };
    let ciphertext = sealed.get_bytes(tag::DATA).filter(|data| data.len() == secret.len());
    let tag = sealed.get_bytes(tag::AUTHENTICATED_ENCRYPTION_TAG).and_then(|tag| tag.try_into().ok());
    match (used, ciphertext, tag) {
        (Some(iv), Some(ciphertext), Some(tag)) => Ok((iv, ciphertext.to_vec(), tag)),
        _ => Err(Error::KeyUnfit(
            "the server seals by AES-GCM without telling iv, ciphertext and tag apart, so nothing may be sealed to this key".into(),
        )),
    }
}

/// A key seals in its originator usage period alone, and opens after it too (NIST SP 800-57 part 1, section 5.3.4).
fn may_seal(state: Option<State>) -> Result<(), Error> {
    match state {
        Some(State::Active) | None => Ok(()),
        Some(_) => Err(Error::KeyUnfit(
            "the key is not active any more: it may still open, but nothing is sealed to it; make a new key, and set wraps = false for this one".into(),
        )),
    }
}

fn decrypt(id: &str, iv: &[u8; IV_LEN], ciphertext: &[u8], tag: &[u8; TAG_LEN]) -> Question {
    let payload = vec![
        Item::text(tag::UNIQUE_IDENTIFIER, id),
        parameters(false),
        Item::bytes(tag::DATA, ciphertext),
        Item::bytes(tag::IV_COUNTER_NONCE, iv),
        Item::bytes(tag::AUTHENTICATED_ENCRYPTION_TAG, tag),
    ];
    Question { operation: Operation::Decrypt, payload }
}

fn parameters(random_iv: bool) -> Item {
    let mut parameters = vec![
        Item::enumeration(tag::BLOCK_CIPHER_MODE, value::GCM),
        Item::enumeration(tag::CRYPTOGRAPHIC_ALGORITHM, value::AES),
    ];
    if random_iv {
        parameters.push(Item::boolean(tag::RANDOM_IV, true));
        parameters.push(Item::integer(tag::IV_LENGTH, 8 * IV_LEN as i32));
    }
    parameters.push(Item::integer(tag::TAG_LENGTH, TAG_LEN as i32));
    Item::structure(tag::CRYPTOGRAPHIC_PARAMETERS, parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_key_seals() {
        assert_eq!(may_seal(Some(State::Active)), Ok(()));
        for state in [State::PreActive, State::Deactivated, State::Compromised, State::Destroyed] {
            assert!(
                matches!(may_seal(Some(state)), Err(Error::KeyUnfit(why)) if why.contains("wraps = false"))
            );
        }
    }
}
