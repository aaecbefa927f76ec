//! From optsdata to a packet.
//!
//! DER throughout (X.690), with one departure from CMS: the parameters of AES-GCM are not RFC 5084's GCMParameters
//! but what the PKCS#7 libraries of ocicrypt look for in their place, a SEQUENCE in another, with the nonce as `[4]`.
//! They read nothing else. ocicrypt itself writes the outer one with the tag of a primitive value, which is no DER and
//! which its readers do not ask for.

use aws_lc_rs::rand;
use holdfast_wire::{OptsData, PublicKey, Secret};

use super::der::{INTEGER, NULL, OCTET_STRING, OID, SEQUENCE, SET, context, value};
use super::parse::{AES, DATA, ENVELOPED_DATA, RSA_ENCRYPTION};
use super::{MAX_RECIPIENTS, aes_gcm};
use crate::{SealError, rsa};

/// Bytes of the content encryption key (CEK), and the last number of the OID of AES-GCM with one of that length.
const CEK_LEN: usize = 32;
const AES_256_GCM: u8 = 46;

/// One certificate to seal to.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The certificate's public key, which must be RSA.
    pub key: &'a PublicKey,
    /// The Name of its issuer, DER, as it stands in the certificate.
    pub issuer: &'a [u8],
    /// The content of its serial number's INTEGER.
    pub serial: &'a [u8],
}

/// Seals optsdata to 1 to [`MAX_RECIPIENTS`] certificates, each of whose keys can open the packet alone: the content by
/// AES-256 in GCM, its key by RSA PKCS#1 v1.5, as there is nothing else that ocicrypt reads. Their order is that of
/// DER's SET OF.
pub fn seal(optsdata: &OptsData, to: &[To<'_>]) -> Result<Vec<u8>, SealError> {
    match to.len() {
        0 => return Err(SealError::NoRecipient),
        1..=MAX_RECIPIENTS => {}
        _ => return Err(SealError::TooManyRecipients { max: MAX_RECIPIENTS }),
    }
    let mut cek = Secret::new(vec![0; CEK_LEN]);
    rand::fill(cek.expose_mut()).map_err(|_| SealError::Library("the random generator"))?;
    let mut recipients = to
        .iter()
        .enumerate()
        .map(|(at, to)| recipient(at + 1, to, cek.expose()))
        .collect::<Result<Vec<_>, _>>()?;
    // X.690 section 11.6.
    recipients.sort_unstable();
    let (nonce, ciphertext, tag) =
        aes_gcm::seal(cek.expose(), &[], optsdata.raw()).ok_or(SealError::Library("AES-GCM"))?;
    let parameters =
        sequence(&[&value(context(4, false), &nonce), &value(INTEGER, &[aes_gcm::TAG_LEN as u8])]);
    let aes = value(OID, &[AES, &[AES_256_GCM]].concat());
    let content = sequence(&[
        &value(OID, DATA),
        &sequence(&[&aes, &sequence(&[&parameters])]),
        &value(context(0, false), &[ciphertext, tag].concat()),
    ]);
    let data = sequence(&[&value(INTEGER, &[0]), &value(SET, &recipients.concat()), &content]);
    Ok(sequence(&[&value(OID, ENVELOPED_DATA), &value(context(0, true), &data)]))
}

/// KeyTransRecipientInfo (RFC 5652 section 6.2.1). NULL as parameters: RFC 3370 section 4.2.1.
fn recipient(number: usize, to: &To<'_>, cek: &[u8]) -> Result<Vec<u8>, SealError> {
    let encrypted = rsa::pkcs1(number, to.key, cek)?;
    Ok(sequence(&[
        &value(INTEGER, &[0]),
        &sequence(&[to.issuer, &value(INTEGER, to.serial)]),
        &sequence(&[&value(OID, RSA_ENCRYPTION), &value(NULL, &[])]),
        &value(OCTET_STRING, &encrypted),
    ]))
}

fn sequence(members: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &members.concat())
}
