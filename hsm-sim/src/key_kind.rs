use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What key to make. On the command line `rsa-2048`, `rsa-3072`, `rsa-4096`, `ecc-p256`, `ecc-p384`,
/// `ecc-p521`, `aes-256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA with a modulus of 2048 bits; may decrypt.
    Rsa2048,
    /// RSA with a modulus of 3072 bits; may decrypt.
    Rsa3072,
    /// RSA with a modulus of 4096 bits; may decrypt.
    Rsa4096,
    /// NIST P-256; may derive.
    EcP256,
    /// NIST P-384; may derive.
    EcP384,
    /// NIST P-521; may derive.
    EcP521,
    /// AES with 256 bits; may encrypt and decrypt. It has no public half.
    Aes256,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [KeyKind; 7] = [
        KeyKind::Rsa2048,
        KeyKind::Rsa3072,
        KeyKind::Rsa4096,
        KeyKind::EcP256,
        KeyKind::EcP384,
        KeyKind::EcP521,
        KeyKind::Aes256,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            KeyKind::Rsa2048 => "rsa-2048",
            KeyKind::Rsa3072 => "rsa-3072",
            KeyKind::Rsa4096 => "rsa-4096",
            KeyKind::EcP256 => "ecc-p256",
            KeyKind::EcP384 => "ecc-p384",
            KeyKind::EcP521 => "ecc-p521",
            KeyKind::Aes256 => "aes-256",
        }
    }

    /// Whether it is one key and no pair.
    pub fn is_secret(self) -> bool {
        self == KeyKind::Aes256
    }

    /// The length of an RSA modulus.
    pub fn rsa_bits(self) -> Option<u32> {
        match self {
            KeyKind::Rsa2048 => Some(2048),
            KeyKind::Rsa3072 => Some(3072),
            KeyKind::Rsa4096 => Some(4096),
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 | KeyKind::Aes256 => None,
        }
    }

    /// `--key-type` of pkcs11-tool.
    pub(crate) fn pkcs11_tool_type(self) -> &'static str {
        match self {
            KeyKind::Rsa2048 => "rsa:2048",
            KeyKind::Rsa3072 => "rsa:3072",
            KeyKind::Rsa4096 => "rsa:4096",
            KeyKind::EcP256 => "EC:prime256v1",
            KeyKind::EcP384 => "EC:secp384r1",
            KeyKind::EcP521 => "EC:secp521r1",
            KeyKind::Aes256 => "AES:32",
        }
    }

    /// The usage of pkcs11-tool by which a sealed value is opened with such a key.
    pub(crate) fn pkcs11_tool_usage(self) -> &'static str {
        match self {
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 | KeyKind::Aes256 => "--usage-decrypt",
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => "--usage-derive",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<KeyKind, Error> {
        KeyKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = KeyKind::ALL.map(KeyKind::name).join(", ");
            Error::Invalid(format!("{text:?} is no kind of key: use one of {names}"))
        })
    }
}
