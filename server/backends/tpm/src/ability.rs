//! What a key is and what its TPM does with it, from its TPMT_PUBLIC (TPM 2.0 Library Part 2, section 12.2.4).

use holdfast_custody::Error;
use holdfast_wire::{Curve, Malformed, OaepHash, Operation, PublicKey};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{EccScheme, Public, RsaScheme};

/// An exponent of 0 stands for this one (section 12.2.3.5).
const DEFAULT_EXPONENT: u32 = 65537;

/// The public half, and what the TPM does with the private one.
pub(crate) fn of(public: &Public) -> Result<(PublicKey, Vec<Operation>), Error> {
    let attributes = public.object_attributes();
    if !attributes.decrypt() {
        return Err(Error::KeyUnfit("the key only signs; make one that decrypts".into()));
    }
    if attributes.restricted() {
        return Err(Error::KeyUnfit("a storage key, which opens nothing but keys of the TPM itself".into()));
    }
    match public {
        Public::Rsa { parameters, unique, .. } => {
            let exponent = match parameters.exponent().value() {
                0 => DEFAULT_EXPONENT,
                exponent => exponent,
            };
            let key = PublicKey::rsa(unique.value(), &exponent.to_be_bytes()).map_err(unusable)?;
            Ok((key, paddings(parameters.rsa_scheme())?))
        }
        Public::Ecc { parameters, unique, .. } => {
            let curve = curve(parameters.ecc_curve())?;
            if !matches!(parameters.ecc_scheme(), EccScheme::Null | EccScheme::EcDh(_)) {
                return Err(Error::KeyUnfit("the key is for another scheme than ECDH".into()));
            }
            let len = curve.coordinate_len();
            let point = [padded(unique.x().value(), len)?, padded(unique.y().value(), len)?];
            let key = PublicKey::ec(curve, &[&[4], point.concat().as_slice()].concat()).map_err(unusable)?;
            Ok((key, vec![Operation::Ecdh]))
        }
        _ => Err(Error::KeyUnfit("neither an RSA nor an EC key".into())),
    }
}

/// A number in as many bytes as its field has: TPMs leave out leading zeros, or do not.
pub(crate) fn padded(number: &[u8], len: usize) -> Result<Vec<u8>, Error> {
    let zeros = number.len().saturating_sub(len);
    if number[..zeros].iter().any(|byte| *byte != 0) {
        return Err(Error::Internal("the TPM gave a coordinate that is longer than its field".into()));
    }
    let number = &number[zeros..];
    let mut padded = Vec::with_capacity(len);
    padded.resize(len - number.len(), 0);
    padded.extend_from_slice(number);
    Ok(padded)
}

fn paddings(scheme: RsaScheme) -> Result<Vec<Operation>, Error> {
    let [sha1, sha256] = [OaepHash::Sha1, OaepHash::Sha256].map(Operation::RsaOaep);
    match scheme {
        // The scheme is chosen when the key is used.
        RsaScheme::Null => Ok(vec![sha1, sha256, Operation::RsaPkcs1v15]),
        RsaScheme::Oaep(hash) if hash.hashing_algorithm() == HashingAlgorithm::Sha1 => Ok(vec![sha1]),
        RsaScheme::Oaep(hash) if hash.hashing_algorithm() == HashingAlgorithm::Sha256 => Ok(vec![sha256]),
        RsaScheme::RsaEs => Ok(vec![Operation::RsaPkcs1v15]),
        _ => Err(Error::KeyUnfit(
            "the key is for another scheme than OAEP with SHA-1 or SHA-256 and PKCS#1 v1.5".into(),
        )),
    }
}

fn curve(curve: EccCurve) -> Result<Curve, Error> {
    match curve {
        EccCurve::NistP256 => Ok(Curve::P256),
        EccCurve::NistP384 => Ok(Curve::P384),
        EccCurve::NistP521 => Ok(Curve::P521),
        _ => Err(Error::KeyUnfit("the key is on a curve other than P-256, P-384 and P-521".into())),
    }
}

fn unusable(malformed: Malformed) -> Error {
    Error::KeyUnfit(format!("the TPM tells a public half that cannot be used: {malformed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinate_has_the_length_of_its_field() {
        assert_eq!(padded(&[7], 3).unwrap(), [0, 0, 7]);
        assert_eq!(padded(&[0, 0, 7], 3).unwrap(), [0, 0, 7]);
        assert_eq!(padded(&[0, 0, 0, 7], 3).unwrap(), [0, 0, 7]);
        assert_eq!(padded(&[], 2).unwrap(), [0, 0]);
        assert!(padded(&[1, 0, 0], 2).is_err());
    }
}
