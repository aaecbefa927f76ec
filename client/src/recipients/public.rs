//! Public keys, and the packets in which they are sealed to: one for all keys of a scheme, as ocicrypt has it.

use std::path::Path;

use holdfast_envelope::pgp::EncryptionKey;
use holdfast_envelope::{SealError, cms, jwe, jwk, pgp, pkcs11};
use holdfast_image::{Identity, Name, Packet};
use holdfast_wire::{Algorithm, Labels, OaepHash, OptsData, PublicKey};

use super::certificate::Certificate;
use super::typed::Scheme;
use super::{certificate, openpgp, public_key};
use crate::failure::Failure;

/// The hash of ocicrypt's OAEP: an environment variable that it reads too.
const OAEP_HASH: &str = "OCICRYPT_OAEP_HASHALG";

/// A key that layer keys are sealed to.
#[derive(Clone)]
pub(super) enum Public {
    Jwe { key: PublicKey, algorithm: Algorithm },
    Pkcs7(Certificate),
    Pgp(EncryptionKey),
    Pkcs11 { key: PublicKey, hash: OaepHash },
}

impl Public {
    pub(super) fn read(scheme: Scheme, from: &str) -> Result<Public, Failure> {
        let public = Public::read_even_if_over(scheme, from)?;
        if let Public::Pkcs7(certificate) = &public {
            certificate.check(from)?;
        }
        Ok(public)
    }

    /// Who it is, also if he cannot be encrypted to any more.
    pub(super) fn read_to_remove(scheme: Scheme, from: &str) -> Result<Vec<Identity>, Failure> {
        match scheme {
            Scheme::Pgp => openpgp::read_to_remove(from),
            _ => Ok(vec![Public::read_even_if_over(scheme, from)?.identity()]),
        }
    }

    fn read_even_if_over(scheme: Scheme, from: &str) -> Result<Public, Failure> {
        let file = Path::new(from);
        match scheme {
            Scheme::Jwe => {
                let (key, algorithm) = public_key::read(scheme, file)?;
                Ok(Public::Jwe { key, algorithm })
            }
            Scheme::Pkcs7 => certificate::read(file).map(Public::Pkcs7),
            Scheme::Pgp => openpgp::read(from).map(Public::Pgp),
            Scheme::Pkcs11 => {
                let (key, _) = public_key::read(scheme, file)?;
                Ok(Public::Pkcs11 { key, hash: oaep_hash()? })
            }
        }
    }

    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Public::Jwe { .. } => Scheme::Jwe,
            Public::Pkcs7(_) => Scheme::Pkcs7,
            Public::Pgp(_) => Scheme::Pgp,
            Public::Pkcs11 { .. } => Scheme::Pkcs11,
        }
    }

    /// For people.
    pub(super) fn type_name(&self) -> String {
        match self {
            Public::Jwe { key, .. } | Public::Pkcs11 { key, .. } => key.type_name(),
            Public::Pkcs7(certificate) => certificate.key.type_name(),
            Public::Pgp(key) => key.type_name(),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        match self {
            Public::Jwe { key, .. } | Public::Pkcs11 { key, .. } => {
                Identity::of_key(self.scheme().name(), &jwk::thumbprint(key))
            }
            Public::Pkcs7(Certificate { key, issuer, serial, .. }) => {
                let name = Name::Certificate { issuer: issuer.clone(), serial: serial.clone() };
                Identity { name: Some(name), kid: Some(jwk::thumbprint(key)) }
            }
            Public::Pgp(key) => {
                let kid = key.public().map(|key| jwk::thumbprint(&key));
                Identity { name: Some(Name::OpenPgp(key.key_id())), kid }
            }
        }
    }
}

/// SHA-1 unless something else is asked for, as tokens have that and RSA-2048 has room for it.
fn oaep_hash() -> Result<OaepHash, Failure> {
    match std::env::var(OAEP_HASH).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "sha1" => Ok(OaepHash::Sha1),
        "sha256" => Ok(OaepHash::Sha256),
        _ => Err(Failure::line(format!(
            "{OAEP_HASH} is neither sha1 nor sha256; set it to one of them, or unset it"
        ))),
    }
}

/// A packet for each scheme that a key is of.
pub(super) fn seal(all: &[Public], optsdata: &OptsData, labels: &Labels) -> Result<Vec<Packet>, Failure> {
    let mut packets = Vec::new();
    for scheme in Scheme::ALL {
        let of_scheme: Vec<&Public> = all.iter().filter(|one| one.scheme() == scheme).collect();
        if of_scheme.is_empty() {
            continue;
        }
        let data = seal_in(scheme, &of_scheme, optsdata, labels)
            .map_err(|error| Failure::line(format!("of the {scheme}: keys, in their order, {error}")))?;
        packets.push(Packet { scheme: scheme.name().to_owned(), data });
    }
    Ok(packets)
}

/// All are of this scheme.
fn seal_in(
    scheme: Scheme,
    all: &[&Public],
    optsdata: &OptsData,
    labels: &Labels,
) -> Result<Vec<u8>, SealError> {
    let all = all.iter().copied();
    match scheme {
        Scheme::Jwe => {
            let to = all.filter_map(|one| match one {
                Public::Jwe { key, algorithm } => Some(jwe::To { key, algorithm: *algorithm }),
                _ => None,
            });
            jwe::seal(optsdata, &to.collect::<Vec<_>>(), labels)
        }
        Scheme::Pkcs7 => {
            let to = all.filter_map(|one| match one {
                Public::Pkcs7(Certificate { key, issuer, serial, .. }) => {
                    Some(cms::To { key, issuer, serial })
                }
                _ => None,
            });
            cms::seal(optsdata, &to.collect::<Vec<_>>())
        }
        Scheme::Pgp => {
            let to = all.filter_map(|one| match one {
                Public::Pgp(key) => Some(key),
                _ => None,
            });
            pgp::seal(optsdata, &to.collect::<Vec<_>>())
        }
        Scheme::Pkcs11 => {
            let to = all.filter_map(|one| match one {
                Public::Pkcs11 { key, hash } => Some(pkcs11::To { key, hash: *hash }),
                _ => None,
            });
            pkcs11::seal(optsdata, &to.collect::<Vec<_>>())
        }
    }
}
