//! The public half of a key that signs PCR policies, as TPMs, key files and systemd have it.
//!
//! A key in the TPM that is bound to such a signer holds only the signer's Name in its policy
//! (TPM2_PolicyAuthorize), so that every program must write the signer's public area in the same way. It is
//! written as systemd and `tpm2_loadexternal -G rsa|ecc` do, the exponent 65537 in full included: the other
//! spelling of that exponent, 0, which openssl_tpm2_engine uses, gives another Name.
//!
//! policyRef is empty throughout, as systemd has it: there is nothing that it would tell apart.

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, VerificationAlgorithm,
};
use der::Encode as _;
use der::asn1::UintRef;
use holdfast_wire::{Curve, PublicKey};

use holdfast_custody::hex::to_hex;

/// TPM_CC_PolicyAuthorize.
pub const POLICY_AUTHORIZE: u32 = 0x16a;

/// What TPMs and systemd write into a public area (TPM 2.0 Library Part 2: TPM_ALG_ID, section 6.3; TPM_ECC_CURVE,
/// section 6.4; TPMA_OBJECT, section 8.3).
const RSA: u16 = 0x0001;
const SHA_256: u16 = 0x000b;
const NULL: u16 = 0x0010;
const ECC: u16 = 0x0023;
const NIST_P256: u16 = 0x0003;
const NIST_P384: u16 = 0x0004;
/// userWithAuth, decrypt, sign.
const ATTRIBUTES: u32 = 0x0006_0040;
const EXPONENT: u32 = 65537;

/// A signer of PCR policies: RSA with 2048, 3072 or 4096 bits and the exponent 65537, or EC on P-256 or P-384.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyKey {
    public: PublicKey,
}

impl PolicyKey {
    /// The error says what is taken. What of it a certain TPM can verify is for that TPM to say: PC client TPMs
    /// must have RSA-2048 and P-256 alone.
    pub fn new(public: PublicKey) -> Result<PolicyKey, String> {
        let taken = match &public {
            PublicKey::Rsa(key) => {
                [2048, 3072, 4096].contains(&key.bits()) && key.exponent == EXPONENT.to_be_bytes()[1..]
            }
            PublicKey::Ec(key) => key.curve != Curve::P521,
            _ => false,
        };
        if !taken {
            return Err(format!(
                "PCR policies are signed by RSA keys with 2048, 3072 or 4096 bits and the exponent 65537, and by EC keys on P-256 and P-384; this is {}",
                public.type_name()
            ));
        }
        let key = PolicyKey { public };
        match key.parsed(Hash::Sha256) {
            Some(_) => Ok(key),
            None => {
                Err("a public key that cannot be one: its point is not on its curve, or its modulus is none"
                    .into())
            }
        }
    }

    /// The key itself.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// TPMT_PUBLIC (TPM 2.0 Library Part 2, section 12.2.4), as TPM2_LoadExternal takes it.
    pub fn public_area(&self) -> Vec<u8> {
        let mut area = Vec::new();
        let mut number = |number: u16| area.extend_from_slice(&number.to_be_bytes());
        let (kind, unique): (_, Vec<&[u8]>) = match &self.public {
            PublicKey::Rsa(key) => (RSA, vec![&key.modulus]),
            PublicKey::Ec(key) => (ECC, key.point[1..].chunks(key.curve.coordinate_len()).collect()),
            _ => (NULL, Vec::new()),
        };
        number(kind);
        number(SHA_256);
        number((ATTRIBUTES >> 16) as u16);
        number(ATTRIBUTES as u16);
        // No policy, no symmetric cipher, no scheme: that one is in the signature.
        [0, NULL, NULL].into_iter().for_each(&mut number);
        match &self.public {
            PublicKey::Ec(key) => {
                number(if key.curve == Curve::P256 { NIST_P256 } else { NIST_P384 });
                // no key derivation
                number(NULL);
            }
            PublicKey::Rsa(key) => {
                number(key.bits() as u16);
                area.extend_from_slice(&EXPONENT.to_be_bytes());
            }
            _ => {}
        }
        unique.into_iter().for_each(|value| put(&mut area, value));
        area
    }

    /// TPM2B_NAME's content: the identifier of SHA-256, then the hash of the public area (TPM 2.0 Library Part 1,
    /// section 16).
    pub fn name(&self) -> [u8; 34] {
        let mut name = [0; 34];
        let parts = [&SHA_256.to_be_bytes()[..], digest(&SHA256, &self.public_area()).as_ref()].concat();
        name.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        name
    }

    /// The digest of a policy that is TPM2_PolicyAuthorize by this key and nothing else (TPM 2.0 Library Part 3,
    /// section 23.16).
    pub fn policy_digest(&self) -> [u8; 32] {
        let mut first = Context::new(&SHA256);
        first.update(&[0; 32]);
        first.update(&POLICY_AUTHORIZE.to_be_bytes());
        first.update(&self.name());
        // Once more, over the policyRef, which is empty.
        hash(first.finish().as_ref())
    }

    /// How systemd names the key ("pkfp"): SHA-256 over its PKCS#1 RSAPublicKey, or over its uncompressed point.
    /// OpenSSL calls both i2d_PublicKey; it is not the SubjectPublicKeyInfo.
    pub fn fingerprint(&self) -> [u8; 32] {
        hash(&self.bits())
    }

    /// Whether this key has signed the policy with the digest: RSASSA-PKCS1-v1_5 or ECDSA in DER, either with
    /// SHA-256, over the digest and an empty policyRef.
    pub fn verify(&self, policy: &[u8; 32], signature: &[u8]) -> bool {
        self.parsed(Hash::Sha256).is_some_and(|key| key.verify_sig(policy, signature).is_ok())
    }

    /// Whether this key has signed the policy with SHA-384. No TPM takes that: the hash is that of the signer's
    /// Name (TPM 2.0 Library Part 3, section 23.16).
    pub(crate) fn verify_sha384(&self, policy: &[u8; 32], signature: &[u8]) -> bool {
        self.parsed(Hash::Sha384).is_some_and(|key| key.verify_sig(policy, signature).is_ok())
    }

    /// What a key file says of the command (draft-bottomley-tpm2-keys, "PolicyCommand Exceptions"): TPM2B_PUBLIC of
    /// the signer, TPM2B_DIGEST policyRef, and an empty signature, TPMT_SIGNATURE with TPM_ALG_NULL, as the draft
    /// asks of a key's own policy. openssl_tpm2_engine writes the same, with a random policyRef.
    pub fn command_parameters(&self) -> Vec<u8> {
        let mut parameters = Vec::new();
        put(&mut parameters, &self.public_area());
        put(&mut parameters, &[]);
        parameters.extend_from_slice(&NULL.to_be_bytes());
        parameters
    }

    /// The signer in a key file, if it is written in the one way that [`PolicyKey::command_parameters`] writes it:
    /// another public area or policyRef would be another policy.
    pub fn from_command_parameters(parameters: &[u8]) -> Option<PolicyKey> {
        let (area, _) = take(parameters)?;
        let kind = area.get(..2)?;
        // Behind type, name algorithm, attributes, policy, cipher and scheme.
        let rest = area.get(14..)?;
        let public = if kind == RSA.to_be_bytes() {
            let (modulus, _) = take(rest.get(6..)?)?;
            PublicKey::rsa(modulus, &EXPONENT.to_be_bytes()).ok()?
        } else {
            let curve = if rest.get(..2)? == NIST_P256.to_be_bytes() { Curve::P256 } else { Curve::P384 };
            let (x, rest) = take(rest.get(4..)?)?;
            let (y, _) = take(rest)?;
            PublicKey::ec(curve, &[&[4], x, y].concat()).ok()?
        };
        PolicyKey::new(public).ok().filter(|key| key.command_parameters() == parameters)
    }

    fn parsed(&self, hash: Hash) -> Option<ParsedPublicKey> {
        let p256 = matches!(&self.public, PublicKey::Ec(key) if key.curve == Curve::P256);
        let algorithm: &'static dyn VerificationAlgorithm = match (&self.public, hash) {
            (PublicKey::Rsa(_), Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
            (PublicKey::Rsa(_), Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
            (_, Hash::Sha256) if p256 => &ECDSA_P256_SHA256_ASN1,
            (_, Hash::Sha384) if p256 => &ECDSA_P256_SHA384_ASN1,
            (_, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
            (_, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
        };
        ParsedPublicKey::new(algorithm, self.bits()).ok()
    }

    /// The subjectPublicKey, without what says its algorithm.
    fn bits(&self) -> Vec<u8> {
        match &self.public {
            PublicKey::Rsa(key) => rsa_public_key(&key.modulus, &key.exponent).unwrap_or_default(),
            PublicKey::Ec(key) => key.point.clone(),
            _ => Vec::new(),
        }
    }
}

/// What a signature is over.
#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
}

impl std::fmt::Display for PolicyKey {
    /// The type and the beginning of the fingerprint: "P-256 174ebc01437a99a4".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.public.type_name(), to_hex(&self.fingerprint()[..8]))
    }
}

/// RFC 8017, appendix A.1.1.
fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> der::Result<Vec<u8>> {
    let numbers = [UintRef::new(modulus)?.to_der()?, UintRef::new(exponent)?.to_der()?].concat();
    der::Any::new(der::Tag::Sequence, numbers)?.to_der()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// A TPM2B: its length in two bytes, then itself. Nothing here is near 64 KiB.
fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

#[cfg(test)]
mod tests;
