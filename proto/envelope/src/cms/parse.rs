//! From bytes to an [`EnvelopedData`] (RFC 5652 section 6).

use holdfast_wire::{Algorithm, Malformed, OptsData, Sealed};

use super::der::{INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, SET, context, small};
use super::{Content, EnvelopedData, MAX_LEN, MAX_RECIPIENTS};
use crate::aes_gcm::{IV_LEN, TAG_LEN};
use crate::recipient::rsa_ciphertext;
use crate::{Hint, Recipient};

/// 1.2.840.113549.1.7.3
pub(super) const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// 1.2.840.113549.1.7.1
pub(super) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.1.1
pub(super) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 2.16.840.1.101.3.4.1, then 6, 26 or 46: AES-GCM with a key of 16, 24 or 32 bytes (RFC 5084).
pub(super) const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
/// A SEQUENCE that is said to be primitive, as ocicrypt writes it.
const PRIMITIVE_SEQUENCE: u8 = 0x10;

const PACKET: &str = "the packet";
const PARAMETERS: &str = "parameters of AES-GCM";

pub(super) fn parse(bytes: &[u8]) -> Result<EnvelopedData, Malformed> {
    if bytes.len() > MAX_LEN {
        return Err(Malformed::new(format!(
            "the packet has {} bytes; at most {MAX_LEN} are taken",
            bytes.len()
        )));
    }
    let mut packet = Reader::new(bytes, PACKET);
    let mut info = packet.inner(SEQUENCE, "ContentInfo")?;
    packet.end()?;
    if info.value(OID, "content type")? != ENVELOPED_DATA {
        return Err(Malformed::new("the packet is CMS, but not EnvelopedData"));
    }
    let mut explicit = info.inner(context(0, true), "content")?;
    info.end()?;
    let mut data = explicit.inner(SEQUENCE, "EnvelopedData")?;
    explicit.end()?;

    // Section 6.1: 0 for what ocicrypt writes, 2 and 3 where recipients of other kinds are among them.
    if !matches!(small(data.value(INTEGER, "version")?), Some(0 | 2 | 3)) {
        return Err(Malformed::new("EnvelopedData is of a version that this version does not know"));
    }
    if data.peek() == Some(context(0, true)) {
        return Err(Malformed::new(
            "EnvelopedData has originatorInfo, which is not supported by this version",
        ));
    }
    let recipients = recipients(data.inner(SET, "set of recipients")?)?;
    let content = content(data.inner(SEQUENCE, "encrypted content")?)?;
    if data.peek() == Some(context(1, true)) {
        return Err(Malformed::new("EnvelopedData has unprotected attributes, which are not supported"));
    }
    data.end()?;
    Ok(EnvelopedData { recipients, content })
}

fn recipients(mut infos: Reader<'_>) -> Result<Vec<Recipient>, Malformed> {
    let mut recipients = Vec::new();
    while infos.peek().is_some() {
        if recipients.len() == MAX_RECIPIENTS {
            return Err(Malformed::new(format!(
                "the packet has more than {MAX_RECIPIENTS} recipients, which is the most that are taken"
            )));
        }
        let (tag, content) = infos.any()?;
        recipients.push(match tag {
            SEQUENCE => key_transport(Reader::new(content, "recipient"))?,
            // Key agreement, key encryption keys, passwords and others, in this order (section 6.2). Another
            // recipient may still be one that can be opened.
            kind if (1..=4).any(|number| kind == context(number, true)) => Recipient::new(None, None),
            _ => return Err(Malformed::new("a recipient is of no kind that CMS has")),
        });
    }
    if recipients.is_empty() {
        return Err(Malformed::new("the packet has no recipient"));
    }
    Ok(recipients)
}

/// KeyTransRecipientInfo (section 6.2.1).
fn key_transport(mut info: Reader<'_>) -> Result<Recipient, Malformed> {
    let version = small(info.value(INTEGER, "version")?);
    let hint = match (version, info.any()?) {
        (Some(0), (SEQUENCE, name_and_number)) => Some(issuer_and_serial(name_and_number)?),
        // A subjectKeyIdentifier.
        (Some(2), (tag, _)) if tag == context(0, false) => None,
        _ => return Err(Malformed::new("a recipient's version is not that of the name of its key")),
    };
    let mut algorithm = info.inner(SEQUENCE, "algorithm of a recipient")?;
    let encrypted_key = info.value(OCTET_STRING, "encrypted key")?;
    info.end()?;
    if algorithm.value(OID, "name")? != RSA_ENCRYPTION {
        return Ok(Recipient::new(hint, None));
    }
    if algorithm.peek().is_some() && !algorithm.value(NULL, "NULL, or nothing, as parameters")?.is_empty() {
        return Err(Malformed::new("algorithm of a recipient has a NULL that is not empty"));
    }
    algorithm.end()?;
    let ciphertext =
        rsa_ciphertext("the encrypted key of a recipient", Algorithm::Rsa1_5, encrypted_key.to_vec())?;
    let sealed = Sealed::RsaPkcs1v15 { ciphertext };
    Ok(Recipient::new(hint, Some((Algorithm::Rsa1_5, sealed))))
}

fn issuer_and_serial(content: &[u8]) -> Result<Hint, Malformed> {
    let mut names = Reader::new(content, "issuerAndSerialNumber");
    names.value(SEQUENCE, "issuer")?;
    let issuer = content[..content.len() - names.len()].to_vec();
    let serial = names.value(INTEGER, "serial number")?.to_vec();
    names.end()?;
    Ok(Hint::IssuerAndSerial { issuer, serial })
}

/// EncryptedContentInfo (section 6.1).
fn content(mut info: Reader<'_>) -> Result<Content, Malformed> {
    if info.value(OID, "content type")? != DATA {
        return Err(Malformed::new("the encrypted content is not of the type data"));
    }
    let mut algorithm = info.inner(SEQUENCE, "content encryption algorithm")?;
    let cek_len = match algorithm.value(OID, "name")?.strip_prefix(AES) {
        Some([6]) => 16,
        Some([26]) => 24,
        Some([46]) => 32,
        _ => {
            return Err(Malformed::new(
                "the content is not encrypted by AES-GCM, the only way that is opened in this scheme; encrypt the image again",
            ));
        }
    };
    let iv = nonce(&mut algorithm)?;
    algorithm.end()?;

    let encrypted = match info.peek() {
        Some(tag) if tag == context(0, false) => info.value(tag, "encrypted bytes")?,
        Some(tag) if tag == context(0, true) => {
            let mut constructed = info.inner(tag, "encrypted bytes")?;
            let octets = constructed.value(OCTET_STRING, "OCTET STRING")?;
            constructed.end()?;
            octets
        }
        _ => return Err(Malformed::new("encrypted content has no encrypted bytes")),
    };
    info.end()?;
    let (ciphertext, tag) = encrypted
        .split_last_chunk::<TAG_LEN>()
        .ok_or_else(|| Malformed::new(format!("encrypted bytes has no room for a tag of {TAG_LEN} bytes")))?;
    if ciphertext.len() > OptsData::MAX_LEN {
        return Err(Malformed::new(format!(
            "the encrypted content has {} bytes; at most {} are taken",
            ciphertext.len(),
            OptsData::MAX_LEN
        )));
    }
    Ok(Content { cek_len, iv, ciphertext: ciphertext.to_vec(), tag: *tag })
}

/// GCMParameters (RFC 5084 section 3.2), or what ocicrypt writes in their place, which is one SEQUENCE more; the outer
/// one with either tag.
fn nonce(algorithm: &mut Reader<'_>) -> Result<[u8; IV_LEN], Malformed> {
    let outer_tag = match algorithm.peek() {
        Some(PRIMITIVE_SEQUENCE) => PRIMITIVE_SEQUENCE,
        _ => SEQUENCE,
    };
    let mut outer = algorithm.inner(outer_tag, PARAMETERS)?;
    let (mut parameters, nonce_tag) = if outer_tag == PRIMITIVE_SEQUENCE || outer.peek() == Some(SEQUENCE) {
        let inner = outer.inner(SEQUENCE, PARAMETERS)?;
        outer.end()?;
        (inner, context(4, false))
    } else {
        (outer, OCTET_STRING)
    };
    let nonce = parameters.value(nonce_tag, "nonce")?;
    // Where it is not said it is 12, which is too little to authenticate a key.
    let icv_len = match parameters.peek() {
        None => Some(12),
        Some(_) => small(parameters.value(INTEGER, "length of the tag")?),
    };
    parameters.end()?;
    if icv_len.map(usize::from) != Some(TAG_LEN) {
        return Err(Malformed::new(format!("the content's tag has another length than {TAG_LEN} bytes")));
    }
    nonce.try_into().map_err(|_| {
        Malformed::new(format!("the content's nonce has {} bytes; it must have {IV_LEN}", nonce.len()))
    })
}
