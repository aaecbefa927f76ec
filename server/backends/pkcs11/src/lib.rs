//! Keys in an HSM behind PKCS#11 (OASIS PKCS #11 v2.40 and later).
//!
//! A [`Token`] stands for one `[[token]]` of the configuration. Each worker of its pool calls
//! [`Token::connect`] on its own thread and gets a [`Custodian`](holdfast_custody::Custodian): one
//! read-only session, logged in.
//!
//! ```text
//! Token::connect ── module ── slot ── login ── Connection
//!                   per       by      once,     describe: find ── ability, public, evidence
//!                   process   URI     latched   open:     C_Decrypt or C_DeriveKey
//!                                               seal:     C_Encrypt
//! ```
//!
//! What is one per process is kept in [`Module`], because that is how PKCS#11 has it: `C_Initialize`
//! and the login state belong to the process, not to a session. What the PIN is, which keys there are
//! and who may use them, queues and deadlines: all of it is left to others.
//!
//! A [`Token`] also makes keys, for an operator: [`Token::keysmith`].
//!
//! This is the only crate that names a PKCS#11 library. Return codes become errors in `errors` alone.

mod ability;
mod attributes;
mod connection;
mod ecdh;
mod errors;
mod evidence;
mod gcm;
mod keysmith;
mod login;
mod module;
mod oaep;
mod object;
mod pin;
mod public;
mod seat;
mod slot;
mod token;

pub use module::Module;
pub use pin::PinSource;
pub use token::{Config, Token};
