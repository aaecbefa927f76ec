use std::fmt;

use crate::Operation;

/// The hash of RSAES-OAEP (RFC 8017 section 7.1), used for the label and for MGF1 alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OaepHash {
    /// SHA-1, the default of RFC 8017 and of JOSE's `RSA-OAEP`.
    Sha1,
    /// SHA-256, JOSE's `RSA-OAEP-256`.
    Sha256,
}

/// A NIST prime curve (SP 800-186).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Curve {
    /// P-256, secp256r1
    P256,
    /// P-384, secp384r1
    P384,
    /// P-521, secp521r1
    P521,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

    /// JOSE's `crv` (RFC 7518 section 6.2.1.1).
    pub fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate, and of the shared secret Z: 32, 48 or 66.
    pub fn coordinate_len(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one native command of a token opens: a wrapped key in its raw form, without the packet around it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sealed {
    /// RSAES-OAEP with an empty label. Opens to the sealed bytes.
    RsaOaep {
        /// The hash for the label and for MGF1.
        hash: OaepHash,
        /// As long as the modulus.
        ciphertext: Vec<u8>,
    },
    /// RSAES-PKCS1-v1_5 (RFC 8017 section 7.2). Opens to the sealed bytes, or to any others: a token may answer a
    /// bad padding with random ones.
    RsaPkcs1v15 {
        /// As long as the modulus.
        ciphertext: Vec<u8>,
    },
    /// The ephemeral public key of a one-pass Diffie-Hellman (SP 800-56A, C(1e, 1s, ECC CDH)).
    /// Opens to Z, the x coordinate of the shared point, [`Curve::coordinate_len`] bytes.
    Ecdh {
        /// The curve of both keys.
        curve: Curve,
        /// SEC 1 uncompressed point: 0x04, x, y. It has been checked to lie on the curve.
        ephemeral: Vec<u8>,
    },
    /// AES-256-GCM without additional data (SP 800-38D). Opens to the sealed bytes.
    AesGcm {
        /// 96 bits, used with this key for nothing else.
        iv: [u8; 12],
        /// As long as what was sealed.
        ciphertext: Vec<u8>,
        /// 128 bits.
        tag: [u8; 16],
    },
}

impl Sealed {
    /// What a token does to open it.
    pub fn operation(&self) -> Operation {
        match self {
            Sealed::RsaOaep { hash, .. } => Operation::RsaOaep(*hash),
            Sealed::RsaPkcs1v15 { .. } => Operation::RsaPkcs1v15,
            Sealed::Ecdh { .. } => Operation::Ecdh,
            Sealed::AesGcm { .. } => Operation::AesGcm,
        }
    }
}
