//! From optsdata to a packet, by public keys alone.
//!
//! Written so that go-jose, and so ocicrypt, reads it: no `crit`, no `zip`, no top-level member of our own.
//! For one recipient everything stands in the protected header, under the content's tag; for several,
//! `alg`, `kid` and `epk` must stand with the recipient, where nothing covers them.

use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use holdfast_wire::{Algorithm, EcPublicKey, Labels, Malformed, OaepHash, OptsData, PublicKey};
use serde::Serialize;
use zeroize::Zeroizing;

use super::content::{CEK_LEN, Content, ENC, IV_LEN};
use super::{MAX_RECIPIENTS, key_wrap};
use crate::point::{check_point, coordinates, ecdh};
use crate::{SealError, base64url, jwk};

/// One key to seal to, and how.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The public key.
    pub key: &'a PublicKey,
    /// The key management algorithm; it must be one for this type of key.
    pub algorithm: Algorithm,
}

/// Seals optsdata to 1 to [`MAX_RECIPIENTS`] keys, each of which can open the packet alone. Flattened
/// serialization for one, general for several; each recipient's `kid` is its key's
/// [thumbprint](jwk::thumbprint). Every packet has a fresh content encryption key and iv.
pub fn seal(optsdata: &OptsData, to: &[To<'_>], labels: &Labels) -> Result<Vec<u8>, SealError> {
    if to.is_empty() {
        return Err(SealError::NoRecipient);
    }
    if to.len() > MAX_RECIPIENTS {
        return Err(SealError::TooManyRecipients { given: to.len(), max: MAX_RECIPIENTS });
    }
    let mut cek = Zeroizing::new([0; CEK_LEN]);
    let mut iv = [0; IV_LEN];
    rand::fill(&mut cek[..]).map_err(|_| SealError::Library("the random generator"))?;
    rand::fill(&mut iv).map_err(|_| SealError::Library("the random generator"))?;

    let mut recipients =
        to.iter().enumerate().map(|(i, to)| recipient(i + 1, to, &cek)).collect::<Result<Vec<_>, _>>()?;
    let mut packet = Packet::default();
    let mut protected = Header {
        enc: Some(ENC),
        labels: Some(labels).filter(|labels| !labels.is_empty()),
        ..Header::default()
    };
    match recipients.as_mut_slice() {
        [only] => {
            let own = std::mem::take(&mut only.header);
            protected = Header { enc: protected.enc, labels: protected.labels, ..own };
            packet.encrypted_key = Some(std::mem::take(&mut only.encrypted_key));
        }
        _ => packet.recipients = Some(recipients),
    }
    let protected = base64url::encode(json(&protected)?);
    let content = Content::seal(&cek, iv, &protected, optsdata.raw()).ok_or(SealError::Library("AES-GCM"))?;
    packet.protected = protected;
    packet.iv = content.iv_text();
    packet.ciphertext = content.ciphertext_text();
    packet.tag = content.tag_text();
    json(&packet)
}

#[derive(Serialize, Default)]
struct Packet<'a> {
    protected: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients: Option<Vec<Recipient<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted_key: Option<String>,
    iv: String,
    ciphertext: String,
    tag: String,
}

#[derive(Serialize)]
struct Recipient<'a> {
    header: Header<'a>,
    encrypted_key: String,
}

#[derive(Serialize, Default)]
struct Header<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enc: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epk: Option<Epk>,
    // LABELS_HEADER; serde takes no constant here, the tests hold the two together.
    #[serde(rename = "holdfast.labels", skip_serializing_if = "Option::is_none")]
    labels: Option<&'a Labels>,
}

#[derive(Serialize)]
struct Epk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
}

/// Seals the content encryption key to one key. `number` counts from 1.
fn recipient<'a>(number: usize, to: &To<'_>, cek: &[u8; CEK_LEN]) -> Result<Recipient<'a>, SealError> {
    let (encrypted_key, epk) = match (to.key, to.algorithm.oaep_hash(), to.algorithm) {
        (PublicKey::Rsa(_), Some(hash), _) => (rsa_oaep(number, to.key, hash, cek)?, None),
        (PublicKey::Ec(key), None, Algorithm::EcdhEsA256Kw) => {
            let (wrapped, epk) = ecdh_es_a256kw(number, key, cek)?;
            (wrapped, Some(epk))
        }
        _ => {
            return Err(SealError::Unfit {
                recipient: number,
                algorithm: to.algorithm,
                key_type: to.key.type_name(),
            });
        }
    };
    let header = Header {
        alg: Some(to.algorithm.name()),
        kid: Some(jwk::thumbprint(to.key)),
        epk,
        ..Header::default()
    };
    Ok(Recipient { header, encrypted_key: base64url::encode(encrypted_key) })
}

fn rsa_oaep(
    number: usize,
    key: &PublicKey,
    hash: OaepHash,
    cek: &[u8; CEK_LEN],
) -> Result<Vec<u8>, SealError> {
    let unusable = |why| SealError::Key { recipient: number, why };
    let der = key.to_der().map_err(unusable)?;
    let key = PublicEncryptingKey::from_der(&der)
        .map_err(|_| unusable(Malformed::new("an RSA key that the cryptographic library refuses")))?;
    let failed = |_| SealError::Library("RSA-OAEP");
    let key = OaepPublicEncryptingKey::new(key).map_err(failed)?;
    let algorithm = match hash {
        OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
    };
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let len = key.encrypt(algorithm, cek, &mut ciphertext, None).map_err(failed)?.len();
    ciphertext.truncate(len);
    Ok(ciphertext)
}

fn ecdh_es_a256kw(
    number: usize,
    key: &EcPublicKey,
    cek: &[u8; CEK_LEN],
) -> Result<(Vec<u8>, Epk), SealError> {
    check_point(key).map_err(|why| SealError::Key { recipient: number, why })?;
    let curve = ecdh(key.curve);
    let failed = || SealError::Library("ECDH");
    let ephemeral = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(|_| failed())?;
    let public = ephemeral.compute_public_key().map_err(|_| failed())?;
    let peer = UnparsedPublicKey::new(curve, &key.point);
    let wrapped = agree_ephemeral(ephemeral, peer, failed(), |z| {
        key_wrap::wrap(key.curve, z, cek).ok_or(SealError::Library("AES key wrap"))
    })?;
    let (x, y) = coordinates(public.as_ref());
    let epk = Epk { kty: "EC", crv: key.curve.name(), x: base64url::encode(x), y: base64url::encode(y) };
    Ok((wrapped.to_vec(), epk))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, SealError> {
    serde_json::to_vec(value).map_err(|_| SealError::Library("writing JSON"))
}
