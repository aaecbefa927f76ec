//! A PKCS#11 module that stands before a real one (SoftHSM2) and misbehaves as it is told.
//!
//! What a token may do to a daemon, no good simulator does: hang for ever, answer CKR_DEVICE_ERROR, forget
//! its sessions, be pulled out, abort the process. This library does, whenever a test wants it, and is
//! the real module in everything else. It is reached as any module is, by its path; what it shall do stands
//! in a file beside it, `PATH.control`, that is read at every call. So a test changes the token's behaviour
//! while the daemon runs, and several tests, each with its own copy of the library, do not meet.
//! `PATH.calls` gets the name of every function called, one a line.
//!
//! ```text
//! caller ── functions ── fault: logs the call, does what `control` says ── real
//!                        slots: numbers moved, tokens taken away        ──
//! ```
//!
//! The control file is described in the README and written by `hsm_sim::FaultyModule`. One that is not
//! understood ends the process: a test shall not go on with a token that behaves by accident.

mod control;
mod fault;
mod functions;
mod real;
mod slots;

pub use functions::C_GetFunctionList;
