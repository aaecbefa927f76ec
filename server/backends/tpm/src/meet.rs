//! Bringing a policy session to where it authorizes the use of a key, or saying what of the machine's state forbids
//! it.

use der::asn1::UintRef;
use der::{Decode as _, Reader as _, SliceReader};
use holdfast_custody::{Error, PcrSelection, PcrValues};
use holdfast_wire::{Curve, PublicKey};
use tss_esapi::constants::CommandCode;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::PolicySession;
use tss_esapi::structures::{
    Digest, EccParameter, EccSignature, Name, Nonce, Public, PublicBuffer, PublicKeyRsa, RsaSignature,
    Signature, VerifiedTicket,
};
use tss_esapi::traits::UnMarshall;
use tss_esapi::tss2_esys::TPMT_TK_VERIFIED;

use crate::PolicyKey;
use crate::ability::padded;
use crate::device::Device;
use crate::errors::{self, Again, Code, Failure, code, failed};
use crate::pcrs;
use crate::policy::{PcrPolicy, Policy, UseCommand};
use crate::signatures::{SignedPolicies, SignedPolicy};
use crate::structures::sized;

const APPROVING: &str = "using a signed policy";

/// After this the session authorizes the use of a key with this policy, as long as no PCR changes.
pub(crate) fn meet(
    device: &mut Device,
    session: PolicySession,
    policy: &Policy,
    signed: &SignedPolicies,
) -> Result<(), Failure> {
    match policy {
        Policy::Exact(policy) => policy_pcr(device, session, policy)?.ok_or_else(|| {
            refused(Vec::new(), format!(
                "the key is bound to {}, exact values, and at least one of these PCRs has another value now",
                policy.pcrs()
            ))
        }),
        Policy::Signed { signer: key, command } => {
            let (approved, state) = approved(device, key, signed)?;
            // Between the reading and this a PCR may have changed: the TPM has the last word, and is asked again.
            policy_pcr(device, session, &state)?.ok_or_else(|| Failure {
                error: Error::Unavailable("PCRs change all the time; try again".into()),
                again: Again::Later,
            })?;
            let digest = digest(&approved.policy)?;
            let name = Name::try_from(key.name().to_vec()).map_err(|error| failed(error, APPROVING))?;
            let ticket = ticket(device, key, &approved)?;
            device
                .context()
                .policy_authorize(session, digest, Nonce::default(), &name, ticket)
                .map_err(|error| failed(error, APPROVING))?;
            match command {
                None => Ok(()),
                Some(command) => device
                    .context()
                    .policy_command_code(session, code_of(*command))
                    .map_err(|error| failed(error, APPROVING)),
            }
        }
    }
}

fn code_of(command: UseCommand) -> CommandCode {
    match command {
        UseCommand::RsaDecrypt => CommandCode::RsaDecrypt,
        UseCommand::EcdhZGen => CommandCode::EcdhZGen,
    }
}

/// Whether the policy would be met now, for people: "as the key is bound to", or that it is not.
pub(crate) fn state(device: &mut Device, policy: &Policy, signed: &SignedPolicies) -> &'static str {
    let met = match policy {
        Policy::Exact(policy) => pcrs::current(device, policy.pcrs()).map(|values| policy.is_met_by(&values)),
        Policy::Signed { signer, .. } => match approved(device, signer, signed) {
            Ok(_) => Ok(true),
            Err(Failure { error: Error::StateRefused { .. }, .. }) => Ok(false),
            Err(failure) => Err(failure),
        },
    };
    match met {
        Ok(true) => "as the key is bound to",
        Ok(false) => "NOT as the key is bound to: it does not open (holdfastd pcr show)",
        Err(_) => "not known: the PCRs cannot be read",
    }
}

/// Refuses a signer whose signatures the TPM does not verify: a key that is bound to him would never open.
pub(crate) fn check_signer(device: &mut Device, key: &PolicyKey) -> Result<(), Failure> {
    let signer = load_signer(device, key)?;
    device.done_with(signer.into());
    Ok(())
}

/// The machine is not in the state that the key is bound to.
pub(crate) fn refused(differ: Vec<u8>, why: String) -> Failure {
    Error::StateRefused { differ, why }.into()
}

/// `None` where the PCRs have other values.
fn policy_pcr(
    device: &mut Device,
    session: PolicySession,
    policy: &PcrPolicy,
) -> Result<Option<()>, Failure> {
    const DOING: &str = "PolicyPCR";
    let selection = policy.selection().map_err(|error| failed(error, DOING))?;
    match device.context().policy_pcr(session, digest(policy.values())?, selection) {
        Ok(()) => Ok(Some(())),
        Err(error) => match code(error) {
            Code::Tpm(errors::VALUE | errors::POLICY_FAIL) => Ok(None),
            _ => Err(failed(error, DOING)),
        },
    }
}

/// The signed policy that the machine's state is, now.
fn approved(
    device: &mut Device,
    key: &PolicyKey,
    signed: &SignedPolicies,
) -> Result<(SignedPolicy, PcrPolicy), Failure> {
    let (policies, mut faults) = signed.read_for(key);
    let mut states: Vec<(PcrSelection, PcrValues, PcrPolicy)> = Vec::new();
    let mut unknown: Vec<&PcrSelection> = Vec::new();
    for policy in &policies {
        if states.iter().any(|(pcrs, ..)| *pcrs == policy.pcrs) || unknown.contains(&&policy.pcrs) {
            continue;
        }
        match pcrs::current(device, &policy.pcrs) {
            Ok(values) => {
                let state = PcrPolicy::new(&values);
                states.push((policy.pcrs.clone(), values, state));
            }
            // Signed for machines whose TPMs have that bank: others' policies are no concern of this one.
            Err(Failure { error: Error::KeyUnfit(why), .. }) => {
                unknown.push(&policy.pcrs);
                faults.push(why);
            }
            Err(failure) => return Err(failure),
        }
    }
    let of = |policy: &SignedPolicy| states.iter().find(|(pcrs, ..)| *pcrs == policy.pcrs);
    let met = policies.iter().find_map(|policy| {
        of(policy).filter(|(.., state)| state.digest() == policy.policy).map(|(.., state)| (policy, state))
    });
    if let Some((policy, state)) = met {
        return Ok((policy.clone(), state.clone()));
    }
    // Of those that tell their values the one that is nearest.
    let differ = policies.iter().filter_map(|policy| {
        let (_, now, _) = of(policy)?;
        let then = policy.values.as_ref()?;
        Some(then.iter().filter(|(pcr, value)| now.get(*pcr) != Some(*value)).map(|(pcr, _)| pcr).collect())
    });
    let differ: Vec<u8> = differ.min_by_key(Vec::len).unwrap_or_default();
    let mut why = match policies.len() {
        0 => format!(
            "the key is bound to PCR policies signed by {key}, and none is where pcr_signatures looks"
        ),
        count => format!(
            "the key is bound to PCR policies signed by {key}, and none that is there ({count}) is for the values that the PCRs have now"
        ),
    };
    for fault in faults {
        why.push_str("; ");
        why.push_str(&fault);
    }
    Err(refused(differ, why))
}

/// The TPM's word that the signature is the signer's. It holds until the TPM is reset.
fn ticket(device: &mut Device, key: &PolicyKey, policy: &SignedPolicy) -> Result<VerifiedTicket, Failure> {
    if let Some(ticket) = device.ticket(&policy.policy, key) {
        return Ok(ticket);
    }
    let signature = signature(key, &policy.signature)?;
    let signer = load_signer(device, key)?;
    // What is signed is the policy's digest and the policyRef, which is empty.
    let signed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &policy.policy);
    let verified = digest(signed.as_ref()).and_then(|digest| {
        device.context().verify_signature(signer, digest, signature).map_err(|error| failed(error, APPROVING))
    });
    device.done_with(signer.into());
    let ticket = TPMT_TK_VERIFIED::try_from(verified?).map_err(|error| failed(error, APPROVING))?;
    device.keep_ticket(&policy.policy, key, ticket);
    VerifiedTicket::try_from(ticket).map_err(|error| failed(error, APPROVING))
}

fn load_signer(device: &mut Device, key: &PolicyKey) -> Result<KeyHandle, Failure> {
    let area = sized(&[&key.public_area()]).ok_or_else(|| Error::Internal("a signer without end".into()))?;
    let public = PublicBuffer::unmarshall(&area).and_then(Public::try_from);
    let public = public.map_err(|error| failed(error, APPROVING))?;
    // A ticket of the null hierarchy is refused.
    let signer =
        device.context().load_external_public(public, Hierarchy::Owner).map_err(|error| {
            match code(error) {
                Code::Tpm(code) if errors::FORMAT_ONE.contains(&code) => Error::KeyUnfit(format!(
                    "this TPM verifies no signatures of {key}: take a policy key of RSA-2048 or P-256"
                ))
                .into(),
                _ => failed(error, APPROVING),
            }
        })?;
    device.loaded(signer.into());
    Ok(signer)
}

fn signature(key: &PolicyKey, bytes: &[u8]) -> Result<Signature, Failure> {
    let wrong = |_| Failure::from(Error::Internal("a signature that was verified and has no form".into()));
    match key.public() {
        PublicKey::Rsa(_) => {
            let number = PublicKeyRsa::try_from(bytes.to_vec()).map_err(wrong)?;
            let signature = RsaSignature::create(HashingAlgorithm::Sha256, number).map_err(wrong)?;
            Ok(Signature::RsaSsa(signature))
        }
        PublicKey::Ec(public) => {
            let [r, s] = ecdsa(bytes, public.curve)?;
            let [r, s] = [r, s].map(|number| EccParameter::try_from(number).map_err(wrong));
            let signature = EccSignature::create(HashingAlgorithm::Sha256, r?, s?).map_err(wrong)?;
            Ok(Signature::EcDsa(signature))
        }
        _ => Err(Error::Internal("a signer of a kind that PolicyKey does not take".into()).into()),
    }
}

/// r and s of an Ecdsa-Sig-Value (RFC 5480, appendix A), as long as the curve's coordinates.
fn ecdsa(der: &[u8], curve: Curve) -> Result<[Vec<u8>; 2], Failure> {
    let numbers = SliceReader::new(der).and_then(|mut reader| {
        let numbers = reader.sequence(|inner| {
            Ok([UintRef::decode(inner)?, UintRef::decode(inner)?].map(|number| number.as_bytes().to_vec()))
        })?;
        reader.finish(numbers)
    });
    let [r, s] =
        numbers.map_err(|_| Error::Internal("a signature that was verified and is no DER".into()))?;
    Ok([padded(&r, curve.coordinate_len())?, padded(&s, curve.coordinate_len())?])
}

fn digest(bytes: &[u8]) -> Result<Digest, Failure> {
    Digest::try_from(bytes.to_vec()).map_err(|error| failed(error, "a policy's digest"))
}
