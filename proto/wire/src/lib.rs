//! What Holdfast's parts say to each other and to ocicrypt.
//!
//! Types and their encodings only: no cryptography, no input or output. Everything here can be fed
//! bytes from a stranger; what is wrong comes back as [`Malformed`], whose text never quotes the input.

#[cfg(feature = "grpc")]
pub mod grpc;
pub mod keyprovider;

mod algorithm;
mod json;
mod labels;
mod malformed;
mod operation;
mod optsdata;
mod public_key;
mod sealed;
mod secret;
mod uri;

/// Most packets of one layer that are looked at. ocicrypt writes at most one a scheme, and one more each time that
/// recipients are added.
pub const MAX_PACKETS: usize = 64;

pub use algorithm::Algorithm;
pub use labels::Labels;
pub use malformed::Malformed;
pub use operation::Operation;
pub use optsdata::{NONCE_LEN, OptsData, SYMKEY_LEN};
pub use public_key::{EcPublicKey, PublicKey, RsaPublicKey};
pub use sealed::{Curve, OaepHash, Sealed};
pub use secret::Secret;
pub use uri::{KeyUri, Scheme};
