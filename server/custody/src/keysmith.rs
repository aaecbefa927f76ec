//! Making keys: an operator's verb, which a backend may have beside its [`Custodian`](crate::Custodian).
//!
//! It is a trait of its own because the daemon never makes a key: what serves requests cannot be asked to,
//! and a backend that cannot make keys simply has no keysmith.

use std::fmt;
use std::str::FromStr;

use holdfast_wire::{Curve, KeyUri, PublicKey, Secret};

use crate::{Binding, Error, KeyInfo};

/// One authenticated connection that may write to a token. Nobody waits behind it: it may block.
pub trait Keysmith {
    /// Makes a key inside the token that can never leave it and does what [`Custodian::open`] and
    /// [`Custodian::seal`] need of it, and nothing else. Never a second one of a name: that is
    /// [`Error::KeyUnfit`], as is a key that the token does not make; nothing is left behind then.
    ///
    /// [`Custodian::open`]: crate::Custodian::open
    /// [`Custodian::seal`]: crate::Custodian::seal
    fn create(&mut self, uri: &KeyUri, kind: KeyKind) -> Result<Made, Error>;

    /// As [`Keysmith::create`], a key that its token uses only while the machine is in a certain state. TPMs
    /// alone know that.
    fn create_bound(&mut self, uri: &KeyUri, kind: KeyKind, to: &Binding) -> Result<Made, Error> {
        let _ = (uri, kind, to);
        Err(Error::Unsupported("binding to PCR values"))
    }

    /// Writes a key that exists outside into the token, from where it cannot leave again. The token states
    /// for ever that it was brought in. As [`Keysmith::create`] otherwise.
    fn import(&mut self, uri: &KeyUri, key: &PrivateKey) -> Result<Made, Error>;

    /// As [`Keysmith::import`], an AES key: 32 bytes.
    fn import_secret(&mut self, uri: &KeyUri, key: &Secret) -> Result<Made, Error> {
        let _ = (uri, key);
        Err(Error::Unsupported("the import of secret keys"))
    }

    /// As [`Keysmith::import`], a key that was sealed to this very token elsewhere, in the form that such keys
    /// have for it: of a TPM the text of a TSS2 PRIVATE KEY file. What it is bound to goes with it.
    fn import_sealed(&mut self, uri: &KeyUri, sealed: &[u8]) -> Result<Made, Error> {
        let _ = (uri, sealed);
        Err(Error::Unsupported("the import of sealed keys"))
    }
}

/// A key that is on its token now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The given URI, with all that was chosen for it.
    pub uri: KeyUri,
    /// What the token says of it, read back.
    pub info: KeyInfo,
}

/// What key to make. For people `rsa-3072`, `ecc-p256`, `aes-256` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA with a modulus of so many bits: 2048, 3072 or 4096.
    Rsa(u16),
    /// On this curve.
    Ec(Curve),
    /// AES with 256 bits.
    Aes256,
}

/// A private key outside of any token: for the moment of its import, and wiped after it.
#[non_exhaustive]
pub enum PrivateKey {
    /// RSA.
    Rsa(Box<RsaPrivateKey>),
    /// A NIST prime curve.
    Ec {
        /// The public half, computed from the scalar.
        public: PublicKey,
        /// The curve.
        curve: Curve,
        /// Big-endian, [`Curve::coordinate_len`] bytes.
        scalar: Secret,
    },
}

/// RFC 8017 section 3.2: big-endian numbers without leading zeros.
pub struct RsaPrivateKey {
    /// The public half.
    pub public: PublicKey,
    /// d
    pub private_exponent: Secret,
    /// p
    pub prime1: Secret,
    /// q
    pub prime2: Secret,
    /// d mod (p - 1)
    pub exponent1: Secret,
    /// d mod (q - 1)
    pub exponent2: Secret,
    /// The inverse of q mod p
    pub coefficient: Secret,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [KeyKind; 7] = [
        KeyKind::Rsa(2048),
        KeyKind::Rsa(3072),
        KeyKind::Rsa(4096),
        KeyKind::Ec(Curve::P256),
        KeyKind::Ec(Curve::P384),
        KeyKind::Ec(Curve::P521),
        KeyKind::Aes256,
    ];
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Rsa(bits) => write!(f, "rsa-{bits}"),
            KeyKind::Ec(Curve::P256) => f.write_str("ecc-p256"),
            KeyKind::Ec(Curve::P384) => f.write_str("ecc-p384"),
            KeyKind::Ec(Curve::P521) => f.write_str("ecc-p521"),
            KeyKind::Aes256 => f.write_str("aes-256"),
        }
    }
}

impl FromStr for KeyKind {
    type Err = String;

    fn from_str(name: &str) -> Result<KeyKind, String> {
        KeyKind::ALL.into_iter().find(|kind| kind.to_string() == name).ok_or_else(|| {
            let known = KeyKind::ALL.map(|kind| kind.to_string()).join(", ");
            format!("no kind of key that this version makes; it makes {known}")
        })
    }
}

impl PrivateKey {
    /// The public half.
    pub fn public(&self) -> &PublicKey {
        match self {
            PrivateKey::Rsa(key) => &key.public,
            PrivateKey::Ec { public, .. } => public,
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, ..)", self.public().type_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_own_name_alone() {
        for kind in KeyKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for name in ["rsa-1024", "RSA-2048", "ecc-p224", "aes-128", ""] {
            assert!(name.parse::<KeyKind>().unwrap_err().contains("it makes rsa-2048, rsa-3072"), "{name}");
        }
    }
}
