//! Packets: what stands in an image's annotation around a layer encryption key.
//!
//! Each format is a module with the same three verbs. *Parse* reads what a stranger wrote and says, for
//! every recipient, what a token would have to open. *Seal* writes a packet: to public keys without any
//! token, to symmetric keys with what their tokens make of the content encryption key. *Finish* takes what
//! the token opened and gives the [`OptsData`] inside. The operation with the secret key belongs to a token
//! and never happens here, so everything here is a pure function (but for the randomness of seal) that can
//! be fuzzed.
//!
//! There is no way to get from a packet to its content encryption key, an ECDH secret or any plaintext that
//! is not optsdata: whoever holds a token cannot be made a decryption oracle through this crate.
//!
//! There are JWE ([`jwe`], RFC 7516), CMS ([`cms`], RFC 5652), OpenPGP ([`pgp`], RFC 9580) and ocicrypt's PKCS#11
//! JSON ([`pkcs11`]); [`Packet`] is one of any of them. Of these, JWE alone has a place for labels.
//!
//! Secrets (content and key encryption keys, ECDH secrets, plaintext) live in buffers that are wiped on
//! drop. AWS-LC, which does all the cryptography, wipes what it frees on its heap; key schedules that it
//! keeps on the stack are out of our reach.
//!
//! [`OptsData`]: holdfast_wire::OptsData

pub mod cms;
pub mod jwe;
pub mod jwk;
pub mod pgp;
pub mod pkcs11;

mod aes_gcm;
mod base64url;
mod error;
mod json;
mod key_wrap;
mod packet;
mod point;
mod recipient;
mod rsa;

pub use error::{FinishError, SealError};
pub use packet::{Packet, ParseError};
pub use point::check_point;
pub use recipient::{Hint, Recipient};
