//! Signing a policy, which takes no TPM: the values need not be those of this machine, or of today.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};
use holdfast_custody::{PcrValues, PrivateKey};
use holdfast_wire::{Curve, PublicKey};

use super::SignedPolicy;
use crate::PolicyKey;
use crate::policy::PcrPolicy;

const FAILED: &str = "the key cannot sign: it is damaged";

impl SignedPolicy {
    /// Approves the state in which these PCRs have these values.
    pub fn sign(key: &PrivateKey, values: &PcrValues) -> Result<SignedPolicy, String> {
        let signer = PolicyKey::new(key.public().clone())?;
        let policy = PcrPolicy::new(values).digest();
        let signature = match (key, signer.public()) {
            (PrivateKey::Rsa(private), PublicKey::Rsa(public)) => {
                let pair = KeyPair::from_components(&KeyPairComponents {
                    public_key: PublicKeyComponents { n: &public.modulus, e: &public.exponent },
                    d: private.private_exponent.expose(),
                    p: private.prime1.expose(),
                    q: private.prime2.expose(),
                    dP: private.exponent1.expose(),
                    dQ: private.exponent2.expose(),
                    qInv: private.coefficient.expose(),
                })
                .map_err(|_| FAILED)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &policy, &mut signature)
                    .map_err(|_| FAILED)?;
                signature
            }
            (PrivateKey::Ec { curve: Curve::P256, scalar, .. }, PublicKey::Ec(public)) => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(
                    algorithm,
                    scalar.expose(),
                    &public.point,
                )
                .map_err(|_| FAILED)?;
                pair.sign(&SystemRandom::new(), &policy).map_err(|_| FAILED)?.as_ref().to_vec()
            }
            // PCR policies are signed over SHA-256, and the library signs SHA-256 with P-256 alone.
            _ => return Err("this version signs with RSA and P-256 keys; what systemd-measure signs with a P-384 key is used all the same".into()),
        };
        if !signer.verify(&policy, &signature) {
            return Err(FAILED.into());
        }
        Ok(SignedPolicy {
            pcrs: values.selection(),
            key: signer.fingerprint(),
            policy,
            signature,
            values: Some(values.clone()),
        })
    }
}
