use der::asn1::{BitString, ObjectIdentifier, UintRef};
use der::pem::LineEnding;
use der::{Any, Decode, Encode, EncodePem};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::{Curve, Malformed};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The public half of a key. Whether an EC point lies on its curve is not known here: that takes
/// arithmetic, which `holdfast-envelope` does before it uses the point.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKey {
    /// RSA (RFC 8017).
    Rsa(RsaPublicKey),
    /// A NIST prime curve (RFC 5480).
    Ec(EcPublicKey),
}

/// An RSA public key: big-endian numbers without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    /// The modulus; its length in bytes is that of every ciphertext.
    pub modulus: Vec<u8>,
    /// The public exponent.
    pub exponent: Vec<u8>,
}

/// An EC public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcPublicKey {
    /// The curve.
    pub curve: Curve,
    /// SEC 1 uncompressed: 0x04, x, y.
    pub point: Vec<u8>,
}

impl PublicKey {
    /// An RSA key from big-endian numbers, leading zeros allowed. The modulus must have 2048 to 8192
    /// bits and the exponent must be odd and more than 1.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, Malformed> {
        let key = RsaPublicKey {
            modulus: without_leading_zeros(modulus),
            exponent: without_leading_zeros(exponent),
        };
        let bits = key.bits();
        if !(2048..=8192).contains(&bits) {
            return Err(Malformed::new(format!("an RSA modulus of {bits} bits; 2048 to 8192 are taken")));
        }
        if key.exponent.len() > 8 || key.exponent.last().is_none_or(|low| low % 2 == 0) || key.exponent == [1]
        {
            return Err(Malformed::new("an RSA public exponent that is not odd, or not in 3 to 2^64"));
        }
        Ok(PublicKey::Rsa(key))
    }

    /// An EC key from a SEC 1 uncompressed point.
    pub fn ec(curve: Curve, point: &[u8]) -> Result<PublicKey, Malformed> {
        let wanted = 1 + 2 * curve.coordinate_len();
        if point.len() != wanted || point.first() != Some(&4) {
            return Err(Malformed::new(format!(
                "a {curve} point is 0x04 and two coordinates, {wanted} bytes; this one has {}",
                point.len()
            )));
        }
        Ok(PublicKey::Ec(EcPublicKey { curve, point: point.to_vec() }))
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 5280 section 4.1).
    pub fn from_der(der: &[u8]) -> Result<PublicKey, Malformed> {
        let not_spki = |_| Malformed::new("not a DER SubjectPublicKeyInfo");
        let info = SubjectPublicKeyInfoOwned::from_der(der).map_err(not_spki)?;
        let bits = info
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| Malformed::new("a public key that is not whole bytes"))?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = pkcs1::RsaPublicKey::from_der(bits).map_err(|_| {
                    Malformed::new("not a PKCS#1 RSAPublicKey inside the SubjectPublicKeyInfo")
                })?;
                PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
            }
            EC_PUBLIC_KEY => {
                let named = info
                    .algorithm
                    .parameters
                    .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
                    .and_then(curve_of)
                    .ok_or_else(|| Malformed::new("an EC key that is not on P-256, P-384 or P-521"))?;
                PublicKey::ec(named, bits)
            }
            _ => Err(Malformed::new("a public key that is neither RSA nor EC")),
        }
    }

    /// Reads a PEM "PUBLIC KEY" block; text around it is ignored.
    pub fn from_pem(pem: &str) -> Result<PublicKey, Malformed> {
        let begin = pem
            .find("-----BEGIN PUBLIC KEY-----")
            .ok_or_else(|| Malformed::new("no PEM block \"PUBLIC KEY\""))?;
        let (_, der) = der::pem::decode_vec(
            pem[begin..].split_inclusive("-----END PUBLIC KEY-----").next().unwrap_or("").as_bytes(),
        )
        .map_err(|_| Malformed::new("a damaged PEM block \"PUBLIC KEY\""))?;
        PublicKey::from_der(&der)
    }

    /// Writes a DER SubjectPublicKeyInfo.
    pub fn to_der(&self) -> Result<Vec<u8>, Malformed> {
        self.info()
            .and_then(|info| info.to_der())
            .map_err(|_| Malformed::new("a public key that DER cannot hold"))
    }

    /// Writes a PEM "PUBLIC KEY" block, with a last newline.
    pub fn to_pem(&self) -> Result<String, Malformed> {
        self.info()
            .and_then(|info| info.to_pem(LineEnding::LF))
            .map_err(|_| Malformed::new("a public key that DER cannot hold"))
    }

    /// "RSA-3072" or "P-256".
    pub fn type_name(&self) -> String {
        match self {
            PublicKey::Rsa(key) => format!("RSA-{}", key.bits()),
            PublicKey::Ec(key) => key.curve.name().to_owned(),
        }
    }

    fn info(&self) -> der::Result<SubjectPublicKeyInfoOwned> {
        let (oid, parameters, bits) = match self {
            PublicKey::Rsa(key) => {
                let pkcs1 = pkcs1::RsaPublicKey {
                    modulus: UintRef::new(&key.modulus)?,
                    public_exponent: UintRef::new(&key.exponent)?,
                };
                (RSA_ENCRYPTION, Any::null(), pkcs1.to_der()?)
            }
            PublicKey::Ec(key) => (EC_PUBLIC_KEY, Any::encode_from(&oid_of(key.curve))?, key.point.clone()),
        };
        Ok(SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned { oid, parameters: Some(parameters) },
            subject_public_key: BitString::from_bytes(&bits)?,
        })
    }
}

impl RsaPublicKey {
    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        let top = self.modulus.first().copied().unwrap_or(0);
        (self.modulus.len() * 8).saturating_sub(top.leading_zeros() as usize)
    }
}

/// The OID of a named curve (RFC 5480 section 2.1.1.1).
fn oid_of(curve: Curve) -> ObjectIdentifier {
    match curve {
        Curve::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
        Curve::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        Curve::P521 => ObjectIdentifier::new_unwrap("1.3.132.0.35"),
    }
}

fn curve_of(oid: ObjectIdentifier) -> Option<Curve> {
    Curve::ALL.into_iter().find(|curve| oid_of(*curve) == oid)
}

impl Curve {
    /// The curve that DER ECParameters name, as PKCS#11 gives them in CKA_EC_PARAMS.
    pub fn from_der(der: &[u8]) -> Option<Curve> {
        ObjectIdentifier::from_der(der).ok().and_then(curve_of)
    }

    /// DER ECParameters that name the curve.
    pub fn to_der(self) -> Vec<u8> {
        oid_of(self).to_der().unwrap_or_default()
    }
}

fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
";

    #[test]
    fn a_pem_key_comes_back_as_it_went_in() {
        let key = PublicKey::from_pem(P256_PEM).unwrap();
        assert_eq!(key.type_name(), "P-256");
        assert_eq!(key.to_pem().unwrap(), P256_PEM);
        let with_text = format!("subject=x\n{P256_PEM}trailer\n");
        assert_eq!(PublicKey::from_pem(&with_text).unwrap(), key);
    }

    #[test]
    fn an_rsa_key_comes_back_as_it_went_in() {
        let mut modulus = vec![0xc1; 384];
        modulus[0] = 0x80;
        let key = PublicKey::rsa(&modulus, &[0, 1, 0, 1]).unwrap();
        assert_eq!(key.type_name(), "RSA-3072");
        assert_eq!(PublicKey::from_der(&key.to_der().unwrap()).unwrap(), key);
    }

    #[test]
    fn weak_and_misshapen_keys_are_refused() {
        assert!(PublicKey::rsa(&[0xff; 128], &[1, 0, 1]).is_err());
        assert!(PublicKey::rsa(&[0xff; 256], &[2]).is_err());
        assert!(PublicKey::rsa(&[0xff; 256], &[1]).is_err());
        assert!(PublicKey::rsa(&[0xff; 256], &[]).is_err());
        assert!(PublicKey::ec(Curve::P256, &[4; 64]).is_err());
        assert!(PublicKey::ec(Curve::P384, &[2; 97]).is_err());
        assert!(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_err());
        assert!(PublicKey::from_pem("").is_err());
    }
}
