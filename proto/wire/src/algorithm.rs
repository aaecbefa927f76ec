use std::fmt;
use std::str::FromStr;

use crate::{Malformed, OaepHash, Operation};

/// A key management algorithm, by its JOSE name (RFC 7518 section 4.1). What a key may be used with
/// is a list of these; a recipient's `alg` names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSAES-OAEP with SHA-1 and MGF1 with SHA-1: what ocicrypt writes for every RSA PEM.
    RsaOaep,
    /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256.
    RsaOaep256,
    /// ECDH-ES, Concat KDF, then AES-256 key wrap.
    EcdhEsA256Kw,
}

impl Algorithm {
    /// Every algorithm this version knows.
    pub const ALL: [Algorithm; 3] = [Algorithm::RsaOaep, Algorithm::RsaOaep256, Algorithm::EcdhEsA256Kw];

    /// The JOSE name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::RsaOaep => "RSA-OAEP",
            Algorithm::RsaOaep256 => "RSA-OAEP-256",
            Algorithm::EcdhEsA256Kw => "ECDH-ES+A256KW",
        }
    }

    /// What it asks of a token.
    pub fn operation(self) -> Operation {
        match self {
            Algorithm::RsaOaep => Operation::RsaOaep(OaepHash::Sha1),
            Algorithm::RsaOaep256 => Operation::RsaOaep(OaepHash::Sha256),
            Algorithm::EcdhEsA256Kw => Operation::Ecdh,
        }
    }

    /// The OAEP hash, for the RSA-OAEP family.
    pub fn oaep_hash(self) -> Option<OaepHash> {
        match self {
            Algorithm::RsaOaep => Some(OaepHash::Sha1),
            Algorithm::RsaOaep256 => Some(OaepHash::Sha256),
            Algorithm::EcdhEsA256Kw => None,
        }
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
