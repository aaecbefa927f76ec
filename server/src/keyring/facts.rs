//! What is known of a configured key once its token has described it.

use holdfast_custody::{Custody, Error, KeyInfo};
use holdfast_envelope::jwk;
use holdfast_envelope::pgp::RecipientKey;
use holdfast_wire::{Algorithm, PublicKey};

use crate::config;

/// What a token said of a key, as far as the configuration lets it be used.
#[derive(Debug)]
pub struct Facts {
    /// The public half; symmetric keys have none.
    pub public: Option<PublicKey>,
    /// What packets call it: the RFC 7638 thumbprint of its public half, or what a symmetric key is
    /// configured with.
    pub kid: String,
    /// What its OpenPGP certificate says of it, if one is configured.
    pub openpgp: Option<RecipientKey>,
    /// What it is used with: what its token can do, within what the configuration allows. OpenPGP's ECDH only with
    /// a certificate.
    pub algorithms: Vec<Algorithm>,
    /// Its custody.
    pub custody: Custody,
}

impl Facts {
    /// Brings together what the configuration and the token say of a key. A `kid` that is missing or
    /// that stands where it must not makes the key unfit: whether it needs one only its token knows.
    pub fn of(key: &config::Key, info: KeyInfo) -> Result<Facts, Error> {
        let kid = match (&info.public, &key.kid) {
            (Some(public), None) => jwk::thumbprint(public),
            (None, Some(kid)) => kid.clone(),
            (Some(public), Some(_)) => {
                return Err(Error::KeyUnfit(format!(
                    "the kid of {} is its thumbprint, {}; kid is for symmetric keys: take it out of its [[key]]",
                    public.type_name(),
                    jwk::thumbprint(public)
                )));
            }
            (None, None) => {
                return Err(Error::KeyUnfit(
                    "it is a symmetric key, which has no thumbprint: give its [[key]] a kid = \"…\" by which packets name it".into(),
                ));
            }
        };
        let openpgp = certified(key, info.public.as_ref())?;
        let mut algorithms = match &key.algorithms {
            None if info.algorithms().is_empty() => {
                return Err(Error::KeyUnfit(
                    "its token opens nothing but PKCS#1 v1.5 with it; take another key, or if it is one that pkcs7 or pgp packets were made for, say so: algorithms = [\"RSA1_5\"] in its [[key]]".into(),
                ));
            }
            None => info.algorithms(),
            Some(listed) => {
                let used = |known: &Algorithm| listed.contains(known) && info.serves(*known);
                Algorithm::ALL.into_iter().filter(used).collect()
            }
        };
        if openpgp.is_none() {
            algorithms.retain(|algorithm| *algorithm != Algorithm::OpenPgpEcdh);
        }
        Ok(Facts { public: info.public, kid, openpgp, algorithms, custody: info.custody })
    }

    /// "RSA-3072", "P-256" or "AES-256".
    pub fn type_name(&self) -> String {
        type_name(self.public.as_ref())
    }
}

/// The key in its certificate. That it is there only its token knows, so the file alone is checked before.
fn certified(key: &config::Key, public: Option<&PublicKey>) -> Result<Option<RecipientKey>, Error> {
    let Some(certificate) = &key.openpgp else { return Ok(None) };
    let public = public.ok_or_else(|| {
        Error::KeyUnfit(
            "it is a symmetric key, which no OpenPGP certificate has: take openpgp out of its [[key]]".into(),
        )
    })?;
    certificate.key_of(public).map(|key| Some(key.clone())).map_err(|why| {
        Error::KeyUnfit(format!("openpgp of its [[key]] names a certificate that does not serve: {why}"))
    })
}

/// The type of a key by its public half; the only symmetric keys there are have 256 bits of AES.
pub fn type_name(public: Option<&PublicKey>) -> String {
    public.map_or_else(|| "AES-256".to_owned(), PublicKey::type_name)
}
