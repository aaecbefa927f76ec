use std::fmt;
use std::str::FromStr;

use crate::{Malformed, OaepHash, Operation};

/// A key management algorithm, by its JOSE name (RFC 7518 section 4.1) where it has one. What a key may be
/// used with is a list of these; a packet's recipient has one, which a JWE names with `alg`.
///
/// Several of them ask the same [`Operation`] of a token and differ in what is made of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSAES-OAEP with SHA-1 and MGF1 with SHA-1: what ocicrypt writes for every RSA PEM.
    RsaOaep,
    /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256.
    RsaOaep256,
    /// RSAES-PKCS1-v1_5: what ocicrypt writes into PKCS#7 packets, and OpenPGP for RSA keys. Read, never
    /// written, in no JWE, and only with a key whose configuration lists it, and nothing beside it.
    Rsa1_5,
    /// ECDH-ES, Concat KDF, then AES-256 key wrap: what ocicrypt writes for every EC PEM.
    EcdhEsA256Kw,
    /// ECDH-ES, Concat KDF, then AES-192 key wrap. Read, never written.
    EcdhEsA192Kw,
    /// ECDH-ES, Concat KDF, then AES-128 key wrap. Read, never written.
    EcdhEsA128Kw,
    /// ECDH-ES, and Concat KDF straight to the content encryption key. Read, never written.
    EcdhEs,
    /// OpenPGP's ECDH with its own KDF and AES key wrap (RFC 9580 section 11.5). Read, never written.
    OpenPgpEcdh,
    /// AES-256-GCM with a symmetric key that the token holds.
    A256GcmKw,
}

impl Algorithm {
    /// Every algorithm this version knows; of those with one operation, the one to prefer first.
    pub const ALL: [Algorithm; 9] = [
        Algorithm::RsaOaep,
        Algorithm::RsaOaep256,
        Algorithm::Rsa1_5,
        Algorithm::EcdhEsA256Kw,
        Algorithm::EcdhEsA192Kw,
        Algorithm::EcdhEsA128Kw,
        Algorithm::EcdhEs,
        Algorithm::OpenPgpEcdh,
        Algorithm::A256GcmKw,
    ];

    /// The JOSE name; OpenPGP's ECDH has none, and one of ours.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::RsaOaep => "RSA-OAEP",
            Algorithm::RsaOaep256 => "RSA-OAEP-256",
            Algorithm::Rsa1_5 => "RSA1_5",
            Algorithm::EcdhEsA256Kw => "ECDH-ES+A256KW",
            Algorithm::EcdhEsA192Kw => "ECDH-ES+A192KW",
            Algorithm::EcdhEsA128Kw => "ECDH-ES+A128KW",
            Algorithm::EcdhEs => "ECDH-ES",
            Algorithm::OpenPgpEcdh => "OpenPGP-ECDH",
            Algorithm::A256GcmKw => "A256GCMKW",
        }
    }

    /// What it asks of a token.
    pub fn operation(self) -> Operation {
        match self {
            Algorithm::RsaOaep => Operation::RsaOaep(OaepHash::Sha1),
            Algorithm::RsaOaep256 => Operation::RsaOaep(OaepHash::Sha256),
            Algorithm::Rsa1_5 => Operation::RsaPkcs1v15,
            Algorithm::EcdhEsA256Kw
            | Algorithm::EcdhEsA192Kw
            | Algorithm::EcdhEsA128Kw
            | Algorithm::EcdhEs
            | Algorithm::OpenPgpEcdh => Operation::Ecdh,
            Algorithm::A256GcmKw => Operation::AesGcm,
        }
    }

    /// Whether a key is used with it when its configuration lists no algorithms. Not RSA1_5: who may have
    /// ciphertexts of it opened often enough can have any of that key's opened (RFC 3218).
    pub fn by_default(self) -> bool {
        self != Algorithm::Rsa1_5
    }

    /// Whether it is taken in a JWE. RSA1_5 is refused there, though JOSE knows it: nobody need use it.
    pub fn in_jwe(self) -> bool {
        !matches!(self, Algorithm::Rsa1_5 | Algorithm::OpenPgpEcdh)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Malformed;

    fn from_str(name: &str) -> Result<Self, Malformed> {
        Algorithm::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            Malformed::new(format!("not an algorithm this version knows ({known})"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_by_its_own_name_alone() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert!(algorithm.name().to_ascii_lowercase().parse::<Algorithm>().is_err());
        }
        for refused in ["dir", "A256KW", "A128GCMKW", "PBES2-HS512+A256KW", ""] {
            assert!(refused.parse::<Algorithm>().is_err(), "{refused}");
        }
    }

    #[test]
    fn every_operation_serves_an_algorithm() {
        for operation in Operation::ALL {
            assert!(operation.algorithms().all(|algorithm| algorithm.operation() == operation));
        }
        let served = |operation: Operation| operation.algorithms().map(Algorithm::name).collect::<Vec<_>>();
        assert_eq!(served(Operation::RsaOaep(OaepHash::Sha256)), ["RSA-OAEP-256"]);
        assert_eq!(
            served(Operation::Ecdh),
            ["ECDH-ES+A256KW", "ECDH-ES+A192KW", "ECDH-ES+A128KW", "ECDH-ES", "OpenPGP-ECDH"]
        );
        assert_eq!(served(Operation::AesGcm), ["A256GCMKW"]);
    }
}
