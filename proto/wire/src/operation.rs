use std::fmt;

use crate::{Algorithm, OaepHash};

/// What one native command of a token does with a key, whatever a packet's format builds around it.
///
/// A backend tells what its token can do in these, so that it need not know the JOSE names that differ
/// only in what is made of the result; a configuration and a packet speak of [`Algorithm`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// RSAES-OAEP decryption with this hash for the label and for MGF1, and an empty label.
    RsaOaep(OaepHash),
    /// RSAES-PKCS1-v1_5 decryption (RFC 8017 section 7.2). What is opened says whether its padding was right, which
    /// leads whoever may ask often to any plaintext (Bleichenbacher): only for keys that are used for nothing else.
    RsaPkcs1v15,
    /// ECDH with the key's curve, to the shared secret Z.
    Ecdh,
    /// AES-256-GCM, sealing and opening, with a 96-bit iv, a 128-bit tag and no additional data.
    AesGcm,
}

impl Operation {
    /// Every operation this version knows.
    pub const ALL: [Operation; 5] = [
        Operation::RsaOaep(OaepHash::Sha1),
        Operation::RsaOaep(OaepHash::Sha256),
        Operation::RsaPkcs1v15,
        Operation::Ecdh,
        Operation::AesGcm,
    ];

    /// What it is called, for people: "RSA-OAEP with SHA-256".
    pub fn name(self) -> &'static str {
        match self {
            Operation::RsaOaep(OaepHash::Sha1) => "RSA-OAEP with SHA-1",
            Operation::RsaOaep(OaepHash::Sha256) => "RSA-OAEP with SHA-256",
            Operation::RsaPkcs1v15 => "RSA PKCS#1 v1.5",
            Operation::Ecdh => "ECDH",
            Operation::AesGcm => "AES-256-GCM",
        }
    }

    /// The algorithms it serves, in the order of [`Algorithm::ALL`].
    pub fn algorithms(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |algorithm| algorithm.operation() == self)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
