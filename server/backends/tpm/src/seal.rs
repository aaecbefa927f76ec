//! Sealing a key that exists outside to a TPM's storage key, without that TPM.
//!
//! The sealed key decrypts and does nothing else, has no password, and says for ever that it was brought in:
//! fixedTPM, fixedParent and sensitiveDataOrigin are clear, which TPM2_Import asks for. It can nevertheless
//! not leave its TPM again once it is there: TPM2_Duplicate takes a policy alone, which must name that command
//! (the DUP role; TPM 2.0 Library Part 1, section 19.2), and neither no policy nor PCR values do. Whoever signs
//! policies for it could sign one that does: so its own policy names the one command that it is for.

use aws_lc_rs::error::Unspecified;
use holdfast_custody::{Binding, Error, PrivateKey};
use holdfast_wire::{Curve, PublicKey, Secret};

use crate::PolicyKey;
use crate::duplicate::{Duplicate, wrap};
use crate::file::ImportableFile;
use crate::policy::{PcrPolicy, Policy};
use crate::storage_key::{Name, StorageKey};
use crate::structures::{alg, attribute, curve, put_sized, sized};

/// Seals `key` to the TPM that has the storage key `to`. There it is used only as it is bound: to exact PCR
/// values, to those that somebody signs (TPM2_PolicyAuthorize, then TPM2_PolicyCommandCode), or to nothing.
pub fn seal(key: &PrivateKey, to: &StorageKey, bound: Option<&Binding>) -> Result<ImportableFile, Error> {
    let policy = match bound {
        None => None,
        Some(Binding::Exact(values)) => Some(Policy::Exact(PcrPolicy::new(values))),
        Some(Binding::Current(_)) => {
            return Err(Error::KeyUnfit(
                "PCR values of this moment are those of another machine than the key is sealed to; give the values themselves".into(),
            ));
        }
        Some(Binding::Signed(signer)) => {
            let signer = PolicyKey::new(signer.clone()).map_err(Error::KeyUnfit)?;
            Some(Policy::signed_for_one_command(signer, key.public()))
        }
        Some(_) => return Err(Error::Unsupported("sealing to such a state")),
    };
    let public = public_area(key.public(), policy.as_ref())?;
    let Duplicate { private, seed } =
        wrap(sensitive_area(key)?, &Name::of(&public), to).map_err(|Unspecified| {
            Error::KeyUnfit(format!(
                "nothing can be sealed to the storage key {}: it is on no curve, or no RSA key",
                to.name()
            ))
        })?;
    Ok(ImportableFile {
        empty_auth: true,
        policy: policy.iter().flat_map(Policy::commands).collect(),
        auth_policy: Vec::new(),
        description: Some(format!("sealed to the storage key {}", to.name())),
        parent: to.usual_handle(),
        public: sized(&[&public]).ok_or_else(impossible)?,
        duplicate: private,
        secret: seed,
    })
}

/// TPMT_PUBLIC (Part 2, section 12.2.4).
fn public_area(key: &PublicKey, policy: Option<&Policy>) -> Result<Vec<u8>, Error> {
    let kind = match key {
        PublicKey::Rsa(_) => alg::RSA,
        _ => alg::ECC,
    };
    let mut attributes = attribute::DECRYPT | attribute::NO_DA;
    if policy.is_none() {
        attributes |= attribute::USER_WITH_AUTH;
    }
    let mut area = [kind.to_be_bytes(), alg::SHA256.to_be_bytes()].concat();
    area.extend_from_slice(&attributes.to_be_bytes());
    let digest = policy.map_or(Vec::new(), |policy| policy.digest().to_vec());
    put_sized(&mut area, &digest).ok_or_else(impossible)?;
    // No symmetric algorithm, and the scheme is chosen when the key is used.
    area.extend_from_slice(&[alg::NULL.to_be_bytes(), alg::NULL.to_be_bytes()].concat());
    match key {
        PublicKey::Rsa(key) if matches!(key.bits(), 2048 | 3072) => {
            if key.exponent != [1, 0, 1] {
                return unfit("an RSA key with a public exponent other than 65537, which TPMs do not take");
            }
            let bits = u16::try_from(key.bits()).map_err(|_| impossible())?;
            area.extend_from_slice(&bits.to_be_bytes());
            // 0 stands for 65537 (section 12.2.3.5).
            area.extend_from_slice(&0u32.to_be_bytes());
            put_sized(&mut area, &key.modulus).ok_or_else(impossible)?;
        }
        PublicKey::Ec(key) if matches!(key.curve, Curve::P256 | Curve::P384) => {
            let curve = if key.curve == Curve::P256 { curve::P256 } else { curve::P384 };
            area.extend_from_slice(&[curve.to_be_bytes(), alg::NULL.to_be_bytes()].concat());
            let point =
                key.point.get(1..).and_then(|point| point.split_at_checked(key.curve.coordinate_len()));
            let (x, y) = point.ok_or_else(impossible)?;
            put_sized(&mut area, x).and_then(|()| put_sized(&mut area, y)).ok_or_else(impossible)?;
        }
        key => {
            return unfit(&format!(
                "{} is no key for a TPM here; P-256, P-384, RSA-2048 and, where the TPM has it, RSA-3072 are",
                key.type_name()
            ));
        }
    }
    Ok(area)
}

/// TPM2B_SENSITIVE of a TPMT_SENSITIVE (section 12.3.2.4) without password and seed: of RSA one prime, of EC the
/// scalar in as many bytes as the field has.
fn sensitive_area(key: &PrivateKey) -> Result<Secret, Error> {
    let (kind, number) = match key {
        PrivateKey::Rsa(key) => {
            let PublicKey::Rsa(public) = &key.public else { return Err(impossible()) };
            if 2 * key.prime1.len() != public.modulus.len() {
                return unfit("an RSA key whose primes are not of one length, which TPMs do not take");
            }
            (alg::RSA, &key.prime1)
        }
        PrivateKey::Ec { curve, scalar, .. } if scalar.len() == curve.coordinate_len() => (alg::ECC, scalar),
        _ => return Err(impossible()),
    };
    const HEAD_LEN: usize = 10;
    let len = |len: usize| u16::try_from(len).map(u16::to_be_bytes).map_err(|_| impossible());
    // Large enough from the start: growing would leave a copy behind.
    let mut area = Vec::with_capacity(HEAD_LEN + number.len());
    area.extend_from_slice(&len(HEAD_LEN - 2 + number.len())?);
    area.extend_from_slice(&kind.to_be_bytes());
    area.extend_from_slice(&[0; 4]);
    area.extend_from_slice(&len(number.len())?);
    area.extend_from_slice(number.expose());
    Ok(Secret::new(area))
}

fn unfit<T>(why: &str) -> Result<T, Error> {
    Err(Error::KeyUnfit(why.into()))
}

fn impossible() -> Error {
    Error::Internal("a key whose numbers do not have the lengths of its kind".into())
}
