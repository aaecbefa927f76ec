//! Keys in a TPM 2.0 (TCG TPM 2.0 Library, Parts 1 to 4), through tpm2-tss.
//!
//! A [`Token`] stands for the one TPM of a `[[token]]`. The worker of its pool calls [`Token::connect`] on its
//! own thread and gets a [`Custodian`](holdfast_custody::Custodian).
//!
//! ```text
//! Token::connect ── desk ── device ── Connection
//!                   one at   context,   describe: load ── public, evidence
//!                   a time   storage    open:     load ── session ── policy ── RSA_Decrypt or ECDH_ZGen
//!                            key
//! ```
//!
//! A key is a file that only its own TPM can load ([`mod@file`]: TSS2 PRIVATE KEY, as tpm2-openssl has it), or a
//! persistent handle. A TPM holds three keys and three sessions at a time, for all programs together, so that
//! no more than two keys and two sessions stay in it between two requests, and those not for long; other keys
//! wait outside as saved contexts, which only this TPM can read and only until it is reset.
//!
//! Every use of a key is one command in a session that is salted to the storage key, and encrypted both ways:
//! who listens on the bus between processor and TPM sees no plaintext.
//!
//! This is the only crate that names tpm2-tss. Response codes become errors in `errors` alone. Who may use a
//! key, queues and deadlines are left to others.

mod ability;
mod bound;
mod connection;
mod desk;
mod device;
mod duplicate;
mod errors;
mod eventlog;
mod evidence;
mod exclusive;
pub mod file;
mod guesses;
mod import;
mod keysmith;
mod meet;
mod open;
mod pcrs;
mod policy;
mod policy_key;
mod record;
mod seal;
pub mod signatures;
mod source;
mod storage_key;
mod structures;
mod tcti;
mod template;
mod token;

pub use bound::{Bound, Standing, Values};
pub use eventlog::{Event, EventLog, EventType, Replacement};
pub use policy_key::{POLICY_AUTHORIZE, PolicyKey};
pub use record::{Cause, Difference, Logged, Record};
pub use seal::seal;
pub use signatures::{SignedPolicies, SignedPolicy};
pub use source::{check_uri, handle};
pub use storage_key::{Name, StorageKey};
pub use tcti::Tcti;
pub use token::Token;
