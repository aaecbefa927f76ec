//! Starts real HSM simulators, each in a directory of its own, and ends them.
//!
//! Tests and the demonstration meet the same programs here that they would meet in production, only
//! in software: [`SoftHsm`] is SoftHSM2 with keys made by `pkcs11-tool`, [`FaultyModule`] puts the faults of
//! a bad day before it, [`Swtpm`] is a TPM 2.0, and [`Interposer`] does to that what [`FaultyModule`] does to a token;
//! [`Pykmip`] is a KMIP server with [`KmipInterposer`] for its bad days, and [`Authority`] makes certificates for it and for whoever else speaks TLS. Nothing is
//! mocked, and no part of Holdfast knows that a simulator is behind it: it is reached by configuration alone.
//!
//! The crate imports nothing of Holdfast's, so that every other crate can use it in its tests. It
//! never changes the environment of its own process: what a simulator needs is handed out by
//! `env()` and given to child processes, so tests run in parallel.
//!
//! [`Process`] is the one way a program is started: in its own process group, watched until a probe
//! says it is ready, and ended by its handle.

mod authority;
mod error;
mod faulty;
mod firmware;
mod home;
mod key_kind;
mod key_spec;
mod lines;
mod port;
mod process;
mod program;
mod pykmip;
mod recorded;
mod simulation;
mod simulator;
mod softhsm;
mod swtpm;

pub use authority::{Authority, Credentials, Leaf};
pub use error::Error;
pub use faulty::{Fault, FaultyModule, Order};
pub use firmware::Firmware;
pub use home::Home;
pub use key_kind::KeyKind;
pub use key_spec::KeySpec;
pub use process::Process;
pub use program::command;
pub use pykmip::{KmipInterposer, KmipOperation, KmipPair, KmipThen, Pykmip, Revocation};
pub use recorded::Recorded;
pub use simulation::Simulation;
pub use simulator::Simulator;
pub use softhsm::{Key, Object, ObjectKind, SoftHsm, Token, Which};
pub use swtpm::{Interposer, Swtpm, Then, TpmCommand};
