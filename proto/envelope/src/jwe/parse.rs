//! From bytes to a [`Jwe`]. The order is that of cost: length, JSON, headers, then each recipient.

use holdfast_wire::{Algorithm, EcPublicKey, Labels, Malformed, OptsData, Sealed};

use super::content::{Content, ENC, additional_data};
use super::key_wrap::{Agreement, WRAPPED_LEN};
use super::{Jwe, LABELS_HEADER, MAX_LEN, MAX_RECIPIENTS, Recipient, Way};
use crate::json::{Object, Value};
use crate::{base64url, jwk};

const PACKET: &str = "the packet";
const PROTECTED: &str = "the protected header";
const UNPROTECTED: &str = "the unprotected header";

/// Bytes an RSA ciphertext may have: moduli of 2048 to 8192 bits.
const RSA_CIPHERTEXT_LEN: std::ops::RangeInclusive<usize> = 256..=1024;

pub(super) fn parse(bytes: &[u8]) -> Result<Jwe, Malformed> {
    if bytes.len() > MAX_LEN {
        return Err(Malformed::new(format!(
            "the packet has {} bytes; at most {MAX_LEN} are taken",
            bytes.len()
        )));
    }
    let packet = Object::parse(bytes, PACKET)?;
    let protected_text = packet.text("protected", PACKET)?.unwrap_or_default();
    let protected = protected_header(protected_text)?;
    let empty = Object::default();
    let unprotected = packet.object("unprotected", PACKET)?.unwrap_or(&empty);
    check_header(&protected, PROTECTED)?;
    check_header(unprotected, UNPROTECTED)?;
    if protected.shares_a_name_with(unprotected) {
        return Err(shared_name("the protected and the unprotected header"));
    }
    match protected.text("enc", PROTECTED)? {
        Some(ENC) => {}
        Some(_) => {
            return Err(Malformed::new(format!(
                "enc of the packet is not {ENC}; others are not supported by this version"
            )));
        }
        None => return Err(Malformed::new("the protected header has no enc")),
    }
    let labels = labels(&protected)?;
    let content = content(&packet, protected_text)?;

    let recipients = recipient_objects(&packet)?
        .into_iter()
        .enumerate()
        .map(|(i, own)| recipient(&format!("recipient {}", i + 1), own, &protected, unprotected))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Jwe { recipients, labels, content })
}

fn protected_header(text: &str) -> Result<Object, Malformed> {
    if text.is_empty() {
        return Ok(Object::default());
    }
    let json = base64url::decode(text)
        .ok_or_else(|| Malformed::new("protected of the packet is not base64url without padding"))?;
    Object::parse(&json, PROTECTED)
}

/// `crit` and `zip` change what the rest means, wherever they stand.
fn check_header(header: &Object, what: &str) -> Result<(), Malformed> {
    if header.has("crit") {
        return Err(Malformed::new(format!("{what} has crit; no extension is supported by this version")));
    }
    if header.has("zip") {
        return Err(Malformed::new(format!("{what} has zip; compression is not supported by this version")));
    }
    Ok(())
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

fn content(packet: &Object, protected: &str) -> Result<Content, Malformed> {
    let ciphertext = required_bytes(packet, "ciphertext")?;
    if ciphertext.len() > OptsData::MAX_LEN {
        return Err(Malformed::new(format!(
            "ciphertext of the packet has {} bytes; at most {} are taken",
            ciphertext.len(),
            OptsData::MAX_LEN
        )));
    }
    // Checked to be base64url and then used as it is written: that is what the tag covers.
    packet.bytes("aad", PACKET)?;
    let aad = packet.text("aad", PACKET)?;
    if aad == Some("") {
        return Err(Malformed::new("aad of the packet is empty; without additional data it is left out"));
    }
    Ok(Content {
        iv: exactly("iv of the packet", required_bytes(packet, "iv")?)?,
        tag: exactly("tag of the packet", required_bytes(packet, "tag")?)?,
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

fn recipient(
    what: &str,
    object: &Object,
    protected: &Object,
    unprotected: &Object,
) -> Result<Recipient, Malformed> {
    let empty = Object::default();
    let own = object.object("header", what)?.unwrap_or(&empty);
    check_header(own, &format!("the header of {what}"))?;
    if own.shares_a_name_with(protected) || own.shares_a_name_with(unprotected) {
        return Err(shared_name(&format!("the header of {what} and one of the packet")));
    }
    let headers = Headers { what, parts: [protected, unprotected, own] };
    let encrypted_key = object.bytes("encrypted_key", what)?;
    let algorithm = headers
        .holding("alg")
        .text("alg", what)?
        .ok_or_else(|| Malformed::new(format!("{what} has no alg")))?;
    let way = match algorithm.parse::<Algorithm>() {
        Ok(algorithm) => Some(way(algorithm, encrypted_key, &headers)?),
        // Another recipient may still be one that can be opened.
        Err(_) => None,
    };
    let kid = headers.holding("kid").text("kid", what)?.map(str::to_owned);
    Ok(Recipient { kid, way })
}

fn way(
    algorithm: Algorithm,
    encrypted_key: Option<Vec<u8>>,
    headers: &Headers<'_>,
) -> Result<Way, Malformed> {
    let what = headers.what;
    let encrypted_key =
        encrypted_key.ok_or_else(|| Malformed::new(format!("{what} has no encrypted_key")))?;
    if let Some(hash) = algorithm.oaep_hash() {
        if !RSA_CIPHERTEXT_LEN.contains(&encrypted_key.len()) {
            return Err(Malformed::new(format!(
                "encrypted_key of {what} has {} bytes; for {algorithm} it has {} to {}",
                encrypted_key.len(),
                RSA_CIPHERTEXT_LEN.start(),
                RSA_CIPHERTEXT_LEN.end()
            )));
        }
        let sealed = Sealed::RsaOaep { hash, ciphertext: encrypted_key };
        return Ok(Way { algorithm, sealed, agreement: None });
    }
    let wrapped: [u8; WRAPPED_LEN] = exactly(&format!("encrypted_key of {what}"), encrypted_key)?;
    let epk = headers.ephemeral_key()?;
    let agreement = Agreement {
        curve: epk.curve,
        apu: headers.holding("apu").bytes("apu", what)?.unwrap_or_default(),
        apv: headers.holding("apv").bytes("apv", what)?.unwrap_or_default(),
        wrapped,
    };
    let sealed = Sealed::Ecdh { curve: epk.curve, ephemeral: epk.point };
    Ok(Way { algorithm, sealed, agreement: Some(agreement) })
}

/// The headers that hold for a recipient: the union of three that share no name (RFC 7516 section 7.2.1).
struct Headers<'a> {
    what: &'a str,
    parts: [&'a Object; 3],
}

impl<'a> Headers<'a> {
    /// The one part that has the member; any of them if none has.
    fn holding(&self, name: &str) -> &'a Object {
        let [first, rest @ ..] = self.parts;
        rest.into_iter().find(|part| part.has(name)).unwrap_or(first)
    }

    fn ephemeral_key(&self) -> Result<EcPublicKey, Malformed> {
        let what = self.what;
        let epk = self
            .holding("epk")
            .object("epk", what)?
            .ok_or_else(|| Malformed::new(format!("{what} has no epk")))?;
        let name = format!("epk of {what}");
        match epk.text("kty", &name)? {
            Some("EC") => {}
            _ => return Err(Malformed::new(format!("{name} is not of kty EC"))),
        }
        if epk.has("d") {
            return Err(Malformed::new(format!(
                "{name} holds its private key; whoever saw this packet can open it, seal anew"
            )));
        }
        jwk::ec_point(epk, &name)
    }
}

fn required_bytes(packet: &Object, name: &str) -> Result<Vec<u8>, Malformed> {
    packet.bytes(name, PACKET)?.ok_or_else(|| Malformed::new(format!("the packet has no {name}")))
}

fn exactly<const LEN: usize>(what: &str, bytes: Vec<u8>) -> Result<[u8; LEN], Malformed> {
    let len = bytes.len();
    bytes.try_into().map_err(|_| Malformed::new(format!("{what} has {len} bytes; it must have {LEN}")))
}

fn shared_name(between: &str) -> Malformed {
    Malformed::new(format!("{between} have a name in common"))
}
