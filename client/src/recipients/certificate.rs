//! A recipient's X.509 certificate (RFC 5280), in PEM or DER: its key, and the issuer and serial number by which a CMS
//! packet names it.
//!
//! One that is not valid now is refused, as one whose key is not for encryption is: whoever wants it all the same
//! encrypts to its key alone, by `jwe:`. Who issued it is not looked at: no signature is verified, and no revocation
//! list is asked for. That is for whoever gives the file.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_image::printable;
use holdfast_wire::{Malformed, PublicKey};
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};
use x509_cert::ext::pkix::KeyUsage;

use super::source;
use super::typed::Scheme;
use crate::failure::Failure;

/// Longest file read, in bytes.
const MAX_LEN: usize = 64 * 1024;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// What is needed of a certificate.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) key: PublicKey,
    /// DER.
    pub(super) issuer: Vec<u8>,
    /// The content of the INTEGER.
    pub(super) serial: Vec<u8>,
    /// From when to when it is valid, since 1970.
    valid: (Duration, Duration),
    /// Whether its key may be used to encrypt keys.
    encrypts: bool,
}

pub(super) fn read(file: &Path) -> Result<Certificate, Failure> {
    let bytes = source::read(Scheme::Pkcs7, file, MAX_LEN)?;
    certificate_in(&bytes)
        .map_err(|error| Failure::line(format!("{}: {error}", printable(&file.to_string_lossy()))))
}

impl Certificate {
    /// Whether it can be encrypted to now.
    pub(super) fn check(&self, file: &str) -> Result<(), Failure> {
        let (from, to) = self.valid;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let why = if now > to {
            "this certificate has expired"
        } else if now < from {
            "this certificate is not valid yet"
        } else if !self.encrypts {
            "this certificate's key is not for encryption (its key usage has no keyEncipherment)"
        } else {
            return Ok(());
        };
        Err(Failure::line(format!(
            "{}: {why}; ask its owner for another, or encrypt to its key alone with jwe:",
            printable(file)
        )))
    }
}

fn certificate_in(bytes: &[u8]) -> Result<Certificate, Malformed> {
    let certificate = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("PRIVATE KEY-----") => {
            return Err(Malformed::new("it holds a private key; give the certificate alone"));
        }
        Ok(text) => {
            let begin = text.find(BEGIN).ok_or_else(|| {
                Malformed::new(
                    "no PEM block CERTIFICATE and no certificate in DER; give an X.509 certificate",
                )
            })?;
            // The first is the one that the others vouch for.
            let first = text[begin..].split_inclusive(END).next().unwrap_or_default();
            x509_cert::Certificate::from_pem(first)
                .map_err(|_| Malformed::new("a damaged PEM block CERTIFICATE"))?
        }
        Err(_) => x509_cert::Certificate::from_der(bytes)
            .map_err(|_| Malformed::new("neither PEM nor a certificate in DER; give an X.509 certificate"))?,
    };
    let certificate = certificate.tbs_certificate;
    let damaged = |_| Malformed::new("a certificate that DER cannot hold");
    let key = PublicKey::from_der(&certificate.subject_public_key_info.to_der().map_err(damaged)?)?;
    if !matches!(key, PublicKey::Rsa(_)) {
        return Err(Malformed::new(format!(
            "a certificate of a {} key, and pkcs7 packets are for RSA keys alone; encrypt to it with jwe:",
            key.type_name()
        )));
    }
    let usage = certificate
        .get::<KeyUsage>()
        .map_err(|_| Malformed::new("a certificate whose key usage is damaged"))?;
    let validity = &certificate.validity;
    Ok(Certificate {
        key,
        issuer: certificate.issuer.to_der().map_err(damaged)?,
        serial: certificate.serial_number.as_bytes().to_vec(),
        valid: (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration()),
        encrypts: usage.is_none_or(|(_, usage)| usage.key_encipherment()),
    })
}
