//! The commands that use a key, each in a session that authorizes it.

use holdfast_custody::Error;
use holdfast_wire::{Curve, OaepHash, PublicKey, Sealed, Secret};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Data, EccParameter, EccPoint, HashScheme, PublicKeyRsa, RsaDecryptionScheme};

use crate::ability;
use crate::device::{Device, Loaded};
use crate::errors::{self, Again, Code, Failure, code};
use crate::meet::{meet, refused};
use crate::signatures::SignedPolicies;

/// Opens `sealed` with a key that is in the TPM.
pub(crate) fn open(
    device: &mut Device,
    key: &Loaded,
    signed: &SignedPolicies,
    sealed: &Sealed,
) -> Result<Secret, Failure> {
    let (public, operations) = ability::of(&key.public)?;
    let operation = sealed.operation();
    if !operations.contains(&operation) {
        return Err(Error::Unsupported(operation.name()).into());
    }
    match (&public, sealed) {
        // The TPM's own answers to these differ from one maker to the next.
        (PublicKey::Rsa(public), Sealed::RsaOaep { ciphertext, .. } | Sealed::RsaPkcs1v15 { ciphertext })
            if ciphertext.len() != public.modulus.len() =>
        {
            Err(Error::Rejected.into())
        }
        (PublicKey::Ec(public), Sealed::Ecdh { curve, .. }) if public.curve != *curve => {
            Err(Error::Rejected.into())
        }
        (_, Sealed::RsaOaep { hash, ciphertext }) => {
            let hash = HashScheme::new(match hash {
                OaepHash::Sha1 => HashingAlgorithm::Sha1,
                OaepHash::Sha256 => HashingAlgorithm::Sha256,
            });
            rsa_decrypt(device, key, signed, RsaDecryptionScheme::Oaep(hash), ciphertext)
        }
        (_, Sealed::RsaPkcs1v15 { ciphertext }) => {
            rsa_decrypt(device, key, signed, RsaDecryptionScheme::RsaEs, ciphertext)
        }
        (_, Sealed::Ecdh { curve, ephemeral }) => ecdh(device, key, signed, *curve, ephemeral),
        _ => Err(Error::Unsupported(operation.name()).into()),
    }
}

fn rsa_decrypt(
    device: &mut Device,
    key: &Loaded,
    signed: &SignedPolicies,
    scheme: RsaDecryptionScheme,
    ciphertext: &[u8],
) -> Result<Secret, Failure> {
    let ciphertext = PublicKeyRsa::try_from(ciphertext.to_vec()).map_err(|_| Error::Rejected)?;
    let plaintext = authorized(device, key, signed, "RSA_Decrypt", |device, session| {
        device.context().execute_with_session(Some(session), |context| {
            context.rsa_decrypt(key.handle, ciphertext.clone(), scheme, Data::default())
        })
    })?;
    Ok(Secret::copy_of(plaintext.value()))
}

fn ecdh(
    device: &mut Device,
    key: &Loaded,
    signed: &SignedPolicies,
    curve: Curve,
    ephemeral: &[u8],
) -> Result<Secret, Failure> {
    let len = curve.coordinate_len();
    let Some((4, point)) = ephemeral.split_first().filter(|(_, point)| point.len() == 2 * len) else {
        return Err(Error::Rejected.into());
    };
    let (x, y) = point.split_at(len);
    let coordinate = |bytes: &[u8]| EccParameter::try_from(bytes.to_vec()).map_err(|_| Error::Rejected);
    let point = EccPoint::new(coordinate(x)?, coordinate(y)?);
    let shared = authorized(device, key, signed, "ECDH_ZGen", |device, session| {
        device
            .context()
            .execute_with_session(Some(session), |context| context.ecdh_z_gen(key.handle, point.clone()))
    })?;
    Ok(ability::padded(shared.x().value(), len).map(Secret::new)?)
}

/// Runs the command that uses a key, in a session that authorizes it. A PCR that is extended between the
/// policy and the command is a race and not a verdict: the policy is tried once more.
fn authorized<T>(
    device: &mut Device,
    key: &Loaded,
    signed: &SignedPolicies,
    doing: &str,
    mut command: impl FnMut(&mut Device, AuthSession) -> Result<T, tss_esapi::Error>,
) -> Result<T, Failure> {
    let Some(policy) = &key.policy else {
        let session = device.hmac_session()?;
        let explain = |error| errors::not_opened(error, doing);
        return device.with_empty_password(
            (key.handle, &key.public),
            |device| command(device, session),
            explain,
        );
    };
    let mut races = 0;
    loop {
        let (session, policy_session) = device.policy_session()?;
        meet(device, policy_session, policy, signed)?;
        match command(device, session) {
            Ok(opened) => return Ok(opened),
            Err(error) => match code(error) {
                Code::Tpm(errors::PCR_CHANGED) if races == 0 => races += 1,
                Code::Tpm(errors::PCR_CHANGED) => {
                    let why = format!("{doing}: PCRs change all the time; try again");
                    return Err(Error::Unavailable(why).into());
                }
                Code::Tpm(errors::POLICY_FAIL) => {
                    // The policy is met: it is another key's handle by now, or the policy is not the key's own.
                    let why = format!("{doing}: the TPM says that the key's policy is not met ({policy})");
                    return Err(Failure { again: Again::Gone, ..refused(Vec::new(), why) });
                }
                _ => return Err(errors::not_opened(error, doing)),
            },
        }
    }
}
