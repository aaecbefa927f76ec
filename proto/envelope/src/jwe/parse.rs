//! From bytes to a [`Jwe`]. The order is that of cost: length, form, headers, then each recipient.

mod headers;
mod way;

use holdfast_wire::{Algorithm, Labels, Malformed};

use self::headers::{Headers, check_header, shared_name};
use self::way::Way;
use super::agreement::Agreement;
use super::content::{Content, Enc, additional_data};
use super::{Jwe, LABELS_HEADER, MAX_LEN, MAX_RECIPIENTS};
use crate::json::{Object, Value};
use crate::{Hint, Recipient, base64url};

const PACKET: &str = "the packet";
const PROTECTED: &str = "the protected header";
const UNPROTECTED: &str = "the unprotected header";

pub(super) fn parse(bytes: &[u8]) -> Result<Jwe, Malformed> {
    if bytes.len() > MAX_LEN {
        return Err(Malformed::new(format!(
            "the packet has {} bytes; at most {MAX_LEN} are taken",
            bytes.len()
        )));
    }
    let packet = match compact(bytes)? {
        Some(packet) => packet,
        None => Object::parse(bytes, PACKET)?,
    };
    let protected_text = packet.text("protected", PACKET)?.unwrap_or_default();
    let protected = protected_header(protected_text)?;
    let empty = Object::default();
    let unprotected = packet.object("unprotected", PACKET)?.unwrap_or(&empty);
    check_header(&protected, PROTECTED)?;
    check_header(unprotected, UNPROTECTED)?;
    if protected.shares_a_name_with(unprotected) {
        return Err(shared_name("the protected and the unprotected header"));
    }
    let enc = enc(&protected)?;
    let labels = labels(&protected)?;
    let content = content(enc, &packet, protected_text)?;

    let objects = recipient_objects(&packet)?;
    let shared = Shared { enc, alone: objects.len() == 1, protected: &protected, unprotected };
    let (recipients, agreements) = objects
        .into_iter()
        .enumerate()
        .map(|(i, own)| shared.recipient(&format!("recipient {}", i + 1), own))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    Ok(Jwe { recipients, agreements, labels, content })
}

/// A packet in compact serialization (RFC 7516 section 7.1), as the members it would have in flattened
/// JSON. None for anything that begins as JSON may.
fn compact(bytes: &[u8]) -> Result<Option<Object>, Malformed> {
    const MEMBERS: [&str; 5] = ["protected", "encrypted_key", "iv", "ciphertext", "tag"];
    if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Malformed::new("the packet is neither JSON nor compact serialization"))?;
    let count = text.split('.').count();
    if count != MEMBERS.len() {
        return Err(Malformed::new(format!(
            "the packet is not JSON, and as compact serialization it has {count} parts instead of {}",
            MEMBERS.len()
        )));
    }
    // An empty encrypted key is written as nothing there, and in JSON not at all (section 7.2.1).
    let members = MEMBERS.into_iter().zip(text.split('.'));
    Ok(Some(Object::of_texts(members.filter(|(name, part)| *name != "encrypted_key" || !part.is_empty()))))
}

fn protected_header(text: &str) -> Result<Object, Malformed> {
    if text.is_empty() {
        return Ok(Object::default());
    }
    let json = base64url::decode(text)
        .ok_or_else(|| Malformed::new("protected of the packet is not base64url without padding"))?;
    Object::parse(&json, PROTECTED)
}

/// Only from the protected header: elsewhere it could be altered to that of a weaker reading.
fn enc(protected: &Object) -> Result<Enc, Malformed> {
    let name =
        protected.text("enc", PROTECTED)?.ok_or_else(|| Malformed::new("the protected header has no enc"))?;
    Enc::of_name(name).ok_or_else(|| {
        let known = Enc::ALL.map(Enc::name).join(", ");
        Malformed::new(format!("enc of the packet is none that this version opens ({known})"))
    })
}

fn labels(protected: &Object) -> Result<Labels, Malformed> {
    let mut labels = Labels::default();
    if let Some(members) = protected.object(LABELS_HEADER, PROTECTED)? {
        for (name, value) in members.iter() {
            let Value::Text(value) = value else {
                return Err(Malformed::new(format!("a value in {LABELS_HEADER} is not a string")));
            };
            labels
                .insert(name, value)
                .map_err(|error| Malformed::new(format!("{LABELS_HEADER}: {error}")))?;
        }
    }
    Ok(labels)
}

fn content(enc: Enc, packet: &Object, protected: &str) -> Result<Content, Malformed> {
    let ciphertext = required_bytes(packet, "ciphertext")?;
    if ciphertext.len() > enc.max_ciphertext_len() {
        return Err(Malformed::new(format!(
            "ciphertext of the packet has {} bytes; at most {} are taken",
            ciphertext.len(),
            enc.max_ciphertext_len()
        )));
    }
    if !enc.is_ciphertext_len(ciphertext.len()) {
        return Err(Malformed::new(format!(
            "ciphertext of the packet has {} bytes; for {} it has whole blocks of 16",
            ciphertext.len(),
            enc.name()
        )));
    }
    // Checked to be base64url and then used as it is written: that is what the tag covers.
    packet.bytes("aad", PACKET)?;
    let aad = packet.text("aad", PACKET)?;
    if aad == Some("") {
        return Err(Malformed::new("aad of the packet is empty; without additional data it is left out"));
    }
    let fixed =
        |name: &str, len| of_length(&format!("{name} of the packet"), required_bytes(packet, name)?, len);
    Ok(Content {
        enc,
        iv: fixed("iv", enc.iv_len())?,
        tag: fixed("tag", enc.tag_len())?,
        ciphertext,
        aad: additional_data(protected, aad),
    })
}

/// The objects that hold `header` and `encrypted_key`: the packet itself in flattened serialization.
fn recipient_objects(packet: &Object) -> Result<Vec<&Object>, Malformed> {
    let list = match packet.get("recipients") {
        None => return Ok(vec![packet]),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(Malformed::new("recipients of the packet is not an array")),
    };
    if packet.has("header") {
        return Err(Malformed::new("the packet has both recipients and header (RFC 7516 section 7.2)"));
    }
    if list.is_empty() {
        return Err(Malformed::new("the packet has no recipient"));
    }
    if list.len() > MAX_RECIPIENTS {
        return Err(Malformed::new(format!(
            "the packet has {} recipients; at most {MAX_RECIPIENTS} are taken",
            list.len()
        )));
    }
    list.iter()
        .enumerate()
        .map(|(i, one)| match one {
            Value::Object(one) => Ok(one),
            _ => Err(Malformed::new(format!("recipient {} is not an object", i + 1))),
        })
        .collect()
}

/// What all recipients of a packet share.
struct Shared<'a> {
    enc: Enc,
    /// Whether there is but one recipient.
    alone: bool,
    protected: &'a Object,
    unprotected: &'a Object,
}

impl Shared<'_> {
    fn recipient(&self, what: &str, object: &Object) -> Result<(Recipient, Option<Agreement>), Malformed> {
        let empty = Object::default();
        let own = object.object("header", what)?.unwrap_or(&empty);
        check_header(own, &format!("the header of {what}"))?;
        if own.shares_a_name_with(self.protected) || own.shares_a_name_with(self.unprotected) {
            return Err(shared_name(&format!("the header of {what} and one of the packet")));
        }
        let headers = Headers { what, parts: [self.protected, self.unprotected, own] };
        let encrypted_key = object.bytes("encrypted_key", what)?;
        let algorithm = headers.text("alg")?.ok_or_else(|| Malformed::new(format!("{what} has no alg")))?;
        let way = match algorithm.parse::<Algorithm>() {
            Ok(algorithm) => self.way(algorithm, encrypted_key, &headers)?,
            // Another recipient may still be one that can be opened.
            Err(_) => None,
        };
        let hint = headers.text("kid")?.map(|kid| Hint::Kid(kid.to_owned()));
        let (way, agreement) = match way {
            Some(Way { algorithm, sealed, agreement }) => (Some((algorithm, sealed)), agreement),
            None => (None, None),
        };
        Ok((Recipient::new(hint, way), agreement))
    }
}

fn required_bytes(packet: &Object, name: &str) -> Result<Vec<u8>, Malformed> {
    packet.bytes(name, PACKET)?.ok_or_else(|| Malformed::new(format!("the packet has no {name}")))
}

fn of_length(what: &str, bytes: Vec<u8>, wanted: usize) -> Result<Vec<u8>, Malformed> {
    match bytes.len() {
        len if len == wanted => Ok(bytes),
        len => Err(Malformed::new(format!("{what} has {len} bytes; it must have {wanted}"))),
    }
}
