//! The keys of `tests/vectors/openpgp`: in files, standing in for a token, and their certificates.

use aws_lc_rs::rsa::{Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_envelope::FinishError;
use holdfast_envelope::pgp::{Certificate, Pgp, RecipientKey};
use holdfast_wire::{OptsData, PublicKey, Sealed, Secret};

use crate::token;

/// Their names.
pub(crate) const KEYS: [&str; 4] = ["rsa3072", "ec-P-256", "ec-P-384", "ec-P-521"];

pub(crate) fn vector(name: &str) -> Vec<u8> {
    token::vector(&format!("openpgp/{name}"))
}

/// What every message of gpg here holds.
pub(crate) fn optsdata() -> Vec<u8> {
    token::vector("tiny/tiny.optsdata.json")
}

pub(crate) fn message(name: &str) -> Pgp {
    Pgp::parse(&vector(&format!("{name}.pgp"))).unwrap()
}

fn pem(name: &str) -> String {
    String::from_utf8(vector(&format!("{name}.pem"))).unwrap()
}

/// The public half of a key, as its token would tell it.
pub(crate) fn public(name: &str) -> PublicKey {
    PublicKey::from_pem(&String::from_utf8(vector(&format!("{name}.pub.pem"))).unwrap()).unwrap()
}

/// What the certificate of a key says of it.
pub(crate) fn recipient_key(name: &str) -> RecipientKey {
    let certificate = Certificate::parse(&vector(&format!("{name}.asc"))).unwrap();
    certificate.key_of(&public(name)).unwrap().clone()
}

/// What the named key makes of `sealed`; None if it is not for this key.
pub(crate) fn open(name: &str, sealed: &Sealed) -> Option<Secret> {
    let Sealed::RsaPkcs1v15 { ciphertext } = sealed else {
        return token::open_with(&pem(name), sealed);
    };
    let text: String = pem(name).lines().filter(|line| !line.starts_with("-----")).collect();
    let key = PrivateDecryptingKey::from_pkcs8(&STANDARD.decode(text).unwrap()).ok()?;
    let key = Pkcs1PrivateDecryptingKey::new(key).ok()?;
    let mut padded = vec![0; key.key_size_bytes().checked_sub(ciphertext.len())?];
    padded.extend_from_slice(ciphertext);
    let mut plaintext = vec![0; key.min_output_size()];
    key.decrypt(&padded, &mut plaintext).ok().map(|opened| Secret::copy_of(opened))
}

/// Opens and finishes as the daemon does: what a token refuses goes on with something else.
pub(crate) fn finish(message: &Pgp, index: usize, name: &str) -> Result<OptsData, FinishError> {
    let sealed = message.recipients()[index].sealed().ok_or(FinishError::Rejected)?;
    let opened = open(name, sealed).unwrap_or_else(|| Secret::new(vec![0; 35]));
    message.finish(index, opened, Some(&recipient_key(name)))
}
