//! What a TPM states of a key's custody.
//!
//! The attributes are part of the key's name, so that no file and no owner can change them afterwards, and
//! the TPM sets sensitiveDataOrigin itself (TPM 2.0 Library Part 2, section 8.3). A private half is never given
//! out in plain: there is no command for it.

use holdfast_custody::Custody;
use tss_esapi::structures::Public;

use crate::device::About;
use crate::policy::Policy;

pub(crate) fn of(public: &Public, policy: Option<&Policy>, about: &About) -> Custody {
    let attributes = public.object_attributes();
    let stays = attributes.fixed_tpm();
    let digest = public.auth_policy().value();
    let policy_digest = match digest {
        [] => "none".to_owned(),
        digest => digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    // A key that may also be used with its (empty) password is bound to nothing, whatever its policy says.
    let bound = match policy {
        _ if attributes.user_with_auth() => "nothing".to_owned(),
        Some(policy) => policy.to_string(),
        None => "a policy that is not known here".to_owned(),
    };
    let told = [
        ("fixedTPM", attributes.fixed_tpm().to_string()),
        ("fixedParent", attributes.fixed_parent().to_string()),
        ("sensitiveDataOrigin", attributes.sensitive_data_origin().to_string()),
        ("userWithAuth", attributes.user_with_auth().to_string()),
        ("authPolicy", policy_digest),
        ("bound to", bound),
        ("TPM manufacturer", about.manufacturer.clone()),
        ("TPM firmware", about.firmware.clone()),
    ];
    Custody {
        sensitive: Some(true),
        always_sensitive: Some(true),
        extractable: Some(!stays),
        never_extractable: Some(stays),
        local: Some(attributes.sensitive_data_origin()),
        evidence: told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}
