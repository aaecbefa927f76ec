//! What a TPM states of a key's custody.
//!
//! The attributes are part of the key's name, so that no file and no owner can change them afterwards, and of
//! a key that it makes the TPM sets sensitiveDataOrigin itself (TPM 2.0 Library Part 2, section 8.3). A TPM
//! gives no private half of a loaded key out in plain, except by TPM2_Duplicate to whom the key's policy allows it.

use holdfast_custody::Custody;
use tss_esapi::structures::{Public, PublicBuffer};
use tss_esapi::traits::Marshall;

use crate::Name;
use crate::device::About;
use crate::policy::Policy;
use crate::structures::whole;
use holdfast_custody::hex::to_hex;

/// `under` is the storage key above it, where that is known.
pub(crate) fn of(public: &Public, policy: Option<&Policy>, under: Option<&Public>, about: &About) -> Custody {
    let attributes = public.object_attributes();
    let (fixed, origin) = (attributes.fixed_tpm(), attributes.sensitive_data_origin());
    let stays = stays(public, policy, under);
    let digest = public.auth_policy().value();
    let policy_digest = match digest {
        [] => "none".to_owned(),
        digest => to_hex(digest),
    };
    // A key that may also be used with its (empty) password is bound to nothing, whatever its policy says.
    let bound = match policy {
        _ if attributes.user_with_auth() => "nothing".to_owned(),
        Some(policy) => policy.to_string(),
        None => "a policy that is not known here".to_owned(),
    };
    let duplicated = match (fixed, stays) {
        (true, _) => "no, it is fixedTPM",
        (false, true) => "no, nothing allows TPM2_Duplicate and its storage key is fixedTPM",
        (false, false) => "not ruled out",
    };
    let told = [
        ("fixedTPM", fixed.to_string()),
        ("fixedParent", attributes.fixed_parent().to_string()),
        ("sensitiveDataOrigin", origin.to_string()),
        ("userWithAuth", attributes.user_with_auth().to_string()),
        ("authPolicy", policy_digest),
        ("bound to", bound),
        ("can be duplicated", duplicated.to_owned()),
        ("storage key", under.and_then(name).map_or("not told".to_owned(), |name| name.to_string())),
        ("TPM manufacturer", about.manufacturer.clone()),
        ("TPM firmware", about.firmware.clone()),
    ];
    // Of a key that was brought in, sensitiveDataOrigin is what whoever wrapped it wrote: TPM2_Import takes it
    // set, but never fixedTPM.
    let local = match (fixed, origin) {
        (true, origin) => Some(origin),
        (false, false) => Some(false),
        (false, true) => None,
    };
    Custody {
        sensitive: Some(true),
        always_sensitive: local,
        extractable: Some(!stays),
        never_extractable: Some(fixed && origin),
        local,
        evidence: told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

/// The Name of a key whose Names are SHA-256; by that of its storage key a TPM is pinned.
pub(crate) fn name(key: &Public) -> Option<Name> {
    let structure = PublicBuffer::try_from(key.clone()).and_then(|public| public.marshall()).ok()?;
    whole(&structure).map(Name::of)
}

/// Whether the key can provably not leave this TPM.
///
/// What is not fixed to it may be duplicated to another storage key, but only by a policy that names that command
/// (TPM2_PolicyCommandCode or TPM2_PolicyDuplicationSelect; the DUP role, Part 1, section 19.2): never without
/// a policy, whatever its password, and never by PCR values alone. By TPM2_PolicyAuthorize it may, as its signer
/// pleases, unless TPM2_PolicyCommandCode with another command stands behind it. Where the storage key itself
/// can leave, all under it does.
fn stays(public: &Public, policy: Option<&Policy>, under: Option<&Public>) -> bool {
    let attributes = public.object_attributes();
    // The policy was compared with the digest.
    let policy_rules_it_out = match policy {
        None => public.auth_policy().value().is_empty(),
        Some(Policy::Exact(_)) => true,
        Some(Policy::Signed { command, .. }) => command.is_some(),
    };
    let storage_key_stays = || under.is_some_and(|key| key.object_attributes().fixed_tpm());
    attributes.fixed_tpm() || (policy_rules_it_out && storage_key_stays())
}
