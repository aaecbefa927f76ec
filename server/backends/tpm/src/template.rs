//! Public areas of keys that are made here.

use holdfast_custody::{Error, KeyKind};
use holdfast_wire::Curve;
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{
    Digest, EccPoint, EccScheme, KeyDerivationFunctionScheme, Public, PublicBuilder, PublicEccParameters,
    PublicKeyRsa, PublicRsaParameters, RsaExponent, RsaScheme, SymmetricDefinitionObject,
};

/// The primary storage key that key files with the owner hierarchy as their parent mean: P-256, the H-2
/// template (draft-bottomley-tpm2-keys, section 3.1.8). The same template gives the same key each time.
pub(crate) fn storage_key() -> Result<Public, tss_esapi::Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    ecc(EccCurve::NistP256, SymmetricDefinitionObject::AES_128_CFB, attributes, Digest::default())
}

/// A key that decrypts and does nothing else, and never leaves its TPM. With a policy it is used by that alone.
pub(crate) fn new_key(kind: KeyKind, policy: Option<Digest>) -> Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(policy.is_none())
        // It has no password that could be guessed.
        .with_no_da(true)
        .with_decrypt(true)
        .build()
        .map_err(|_| impossible())?;
    let policy = policy.unwrap_or_default();
    let rsa = |bits| {
        PublicBuilder::new()
            .with_public_algorithm(PublicAlgorithm::Rsa)
            .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
            .with_object_attributes(attributes)
            .with_auth_policy(policy.clone())
            .with_rsa_parameters(PublicRsaParameters::new(
                SymmetricDefinitionObject::Null,
                RsaScheme::Null,
                bits,
                RsaExponent::default(),
            ))
            .with_rsa_unique_identifier(PublicKeyRsa::default())
            .build()
    };
    let ec = |curve| ecc(curve, SymmetricDefinitionObject::Null, attributes, policy.clone());
    let public = match kind {
        KeyKind::Rsa(2048) => rsa(RsaKeyBits::Rsa2048),
        KeyKind::Rsa(3072) => rsa(RsaKeyBits::Rsa3072),
        KeyKind::Ec(Curve::P256) => ec(EccCurve::NistP256),
        KeyKind::Ec(Curve::P384) => ec(EccCurve::NistP384),
        _ => {
            return Err(Error::KeyUnfit(format!(
                "{kind} is no key for a TPM here; make ecc-p256, ecc-p384, rsa-2048 or rsa-3072"
            )));
        }
    };
    public.map_err(|_| impossible())
}

fn ecc(
    curve: EccCurve,
    symmetric: SymmetricDefinitionObject,
    attributes: ObjectAttributes,
    policy: Digest,
) -> Result<Public, tss_esapi::Error> {
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy)
        .with_ecc_parameters(PublicEccParameters::new(
            symmetric,
            EccScheme::Null,
            curve,
            KeyDerivationFunctionScheme::Null,
        ))
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

fn impossible() -> Error {
    Error::Internal("the template of a new key contradicts itself".into())
}
