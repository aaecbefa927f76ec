//! Storage keys: what a key is sealed to, and how one is known.
//!
//! A storage key is known by its Name, which its TPM computes over its public half, attributes included. Who
//! seals to a storage key gives its holder the key: so Names are pinned, and what a TPM would not be bound by
//! is refused. Only what keys are sealed to in practice is taken (TCG TPM v2.0 Provisioning Guidance, section
//! 7.5.1, and what systemd and tpm2-tools make): P-256, P-384 or RSA, Names by SHA-256, AES-CFB below.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use holdfast_wire::{Curve, PublicKey};

use crate::file::KeyFile;
use crate::structures::{Parts, alg, attribute, curve, whole};
use holdfast_custody::hex::{from_hex, to_hex};

/// Bytes. An RSA-4096 storage key has 538.
const MAX_LEN: usize = 4096;
const DIGEST_LEN: usize = 32;

const NO_STORAGE_KEY: &str = "not the public half of a storage key (TPM2B_PUBLIC); on its node, holdfastd key storage-key -o FILE writes that, or tpm2_readpublic -c 0x81000001 -o FILE; systemd has it in /run/systemd/tpm2-srk-public-key.tpm2b_public";
const PEM: &str = "in PEM, which does not say that the key is a TPM's; what is needed is its TPM2B_PUBLIC: on its node, holdfastd key storage-key -o FILE writes that, or tpm2_readpublic -c 0x81000001 -o FILE; systemd has it in /run/systemd/tpm2-srk-public-key.tpm2b_public";

/// The Name of something in a TPM (TPM 2.0 Library Part 1, section 16): TPM_ALG_SHA256 and the SHA-256 over
/// its TPMT_PUBLIC, 34 bytes. For people 68 hexadecimal digits: `000b65ca…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; Name::LEN]);

/// The public half of a storage key that is fixed to its TPM and used without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageKey {
    structure: Vec<u8>,
    name: Name,
    public: PublicKey,
    /// The x coordinate as its TPM has it, which may leave leading zeros out; nothing of RSA.
    x: Vec<u8>,
    aes_bits: u16,
    attributes: u32,
}

impl Name {
    /// Bytes.
    pub const LEN: usize = 2 + DIGEST_LEN;

    /// The Name of what has this TPMT_PUBLIC.
    pub(crate) fn of(public: &[u8]) -> Name {
        let mut name = [0; Name::LEN];
        let hash = digest::digest(&digest::SHA256, public);
        let bytes = alg::SHA256.to_be_bytes().into_iter().chain(hash.as_ref().iter().copied());
        name.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Name(name)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl StorageKey {
    /// H-2 (TCG EK Credential Profile, annex B.3.4) with the attributes of a storage key.
    const OWNER_TEMPLATE: u32 = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::USER_WITH_AUTH
        | attribute::NO_DA
        | attribute::RESTRICTED
        | attribute::DECRYPT;

    /// From a TPM2B_PUBLIC (Part 2, section 12.2.5), as tpm2_readpublic writes it. The error says what to do.
    pub fn from_bytes(structure: &[u8]) -> Result<StorageKey, &'static str> {
        if structure.starts_with(b"-----BEGIN ") {
            return Err(PEM);
        }
        let public = whole(structure).filter(|_| structure.len() <= MAX_LEN).ok_or(NO_STORAGE_KEY)?;
        read(structure, public)
    }

    /// As [`StorageKey::from_bytes`] reads it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.structure
    }

    /// By which it is pinned.
    pub fn name(&self) -> Name {
        self.name
    }

    /// "P-256" or "RSA-2048".
    pub fn type_name(&self) -> String {
        self.public.type_name()
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn x(&self) -> &[u8] {
        &self.x
    }

    /// 128 or 256.
    pub(crate) fn aes_bits(&self) -> u16 {
        self.aes_bits
    }

    /// The handle that it has by convention: that of the owner hierarchy, if it looks like the key that is
    /// made there, else the usual persistent one.
    pub(crate) fn usual_handle(&self) -> u32 {
        let owner = self.attributes == StorageKey::OWNER_TEMPLATE
            && self.aes_bits == 128
            && matches!(&self.public, PublicKey::Ec(key) if key.curve == Curve::P256);
        if owner { KeyFile::OWNER } else { crate::device::STORAGE_KEY }
    }
}

/// TPMT_PUBLIC (section 12.2.4) of a storage key.
fn read(structure: &[u8], public: &[u8]) -> Result<StorageKey, &'static str> {
    let mut parts = Parts::of(public);
    let mut number = || parts.u16().ok_or(NO_STORAGE_KEY);
    let (kind, name_alg) = (number()?, number()?);
    let attributes = parts.u32().ok_or(NO_STORAGE_KEY)?;
    check_attributes(attributes)?;
    if name_alg != alg::SHA256 {
        return Err("a storage key whose Name is not by SHA-256, which this version does not seal to");
    }
    parts.sized().ok_or(NO_STORAGE_KEY)?;
    let mut number = || parts.u16().ok_or(NO_STORAGE_KEY);
    let (cipher, aes_bits, mode) = (number()?, number()?, number()?);
    if cipher != alg::AES || mode != alg::CFB || ![128, 256].contains(&aes_bits) {
        return Err(
            "a storage key that encrypts otherwise than with AES-128-CFB or AES-256-CFB, which this version does not seal to",
        );
    }
    // A storage key has no scheme.
    if number()? != alg::NULL {
        return Err(NO_STORAGE_KEY);
    }
    let (public_key, x) = match kind {
        alg::RSA => rsa(&mut parts),
        alg::ECC => ecc(&mut parts),
        _ => None,
    }
    .ok_or("a storage key other than P-256, P-384 and RSA with 2048 bits or more, which this version does not seal to")?;
    parts.end().ok_or(NO_STORAGE_KEY)?;
    Ok(StorageKey {
        structure: structure.to_vec(),
        name: Name::of(public),
        public: public_key,
        x,
        aes_bits,
        attributes,
    })
}

fn check_attributes(attributes: u32) -> Result<(), &'static str> {
    let has = |wanted: u32| attributes & wanted == wanted;
    if !has(attribute::RESTRICTED | attribute::DECRYPT) || has(attribute::SIGN) {
        return Err(
            "the public half of a key, but of no storage key: keys are sealed to storage keys alone, which tpm2_readpublic tells as restricted|decrypt",
        );
    }
    if !has(attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN) {
        return Err("a storage key that is not fixed to one TPM: what is sealed to it may be anywhere");
    }
    if !has(attribute::USER_WITH_AUTH) {
        return Err(
            "a storage key that is used by a policy alone, such as an endorsement key: holdfastd could import nothing under it; take the owner hierarchy's, which holdfastd key storage-key writes",
        );
    }
    Ok(())
}

/// TPMS_RSA_PARMS behind its scheme, and the modulus.
fn rsa(parts: &mut Parts<'_>) -> Option<(PublicKey, Vec<u8>)> {
    let (bits, exponent) = (parts.u16()?, parts.u32()?);
    let exponent = if exponent == 0 { 65537 } else { exponent };
    let public = PublicKey::rsa(parts.sized()?, &exponent.to_be_bytes()).ok()?;
    matches!(&public, PublicKey::Rsa(key) if key.bits() == usize::from(bits)).then_some((public, Vec::new()))
}

/// TPMS_ECC_PARMS behind its scheme, and the point.
fn ecc(parts: &mut Parts<'_>) -> Option<(PublicKey, Vec<u8>)> {
    let curve = match parts.u16()? {
        curve::P256 => Curve::P256,
        curve::P384 => Curve::P384,
        _ => return None,
    };
    // It has no key derivation of its own either.
    parts.u16().filter(|kdf| *kdf == alg::NULL)?;
    let (x, y) = (parts.sized()?, parts.sized()?);
    let mut point = vec![4];
    for coordinate in [x, y] {
        point.extend(crate::ability::padded(coordinate, curve.coordinate_len()).ok()?);
    }
    Some((PublicKey::ec(curve, &point).ok()?, x.to_vec()))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Name, &'static str> {
        const WRONG: &str = "a Name is 000b and 64 hexadecimal digits, as tpm2_readpublic and holdfastd key storage-key print it";
        let name = from_hex(text).and_then(|bytes| bytes.try_into().ok()).ok_or(WRONG)?;
        Some(Name(name)).filter(|name| name.0.starts_with(&alg::SHA256.to_be_bytes())).ok_or(WRONG)
    }
}

#[cfg(test)]
mod tests;
