//! `holdfastd`: a key provider whose private keys stay in hardware.
//!
//! ```text
//! caller → wire → packet → policy → custodian → packet.finish → audit (durable) → wire
//!          service          policy   keyring     engine::open   audit             service
//! ```
//!
//! Two things hold by type: only [`policy::Policy::admit`] makes a [`policy::Grant`], which the
//! [`keyring::Keyring`] takes by value; and an opened packet becomes answerable only by an
//! [`audit::Receipt`], which stands for a record on disk.

pub mod audit;
pub mod backends;
pub mod caller;
pub mod check;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod key;
pub mod keyring;
#[cfg(feature = "tpm")]
pub mod pcr;
pub mod policy;
pub mod request;
pub mod status;

mod limits;
mod listen;
mod outlive;
mod process;
mod reload;
mod service;
mod watch;

pub use process::{harden, silence_tpm2_tss};
