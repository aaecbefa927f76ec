//! A real swtpm on a bad day: what happens on the bus before it, what other programs do to it, and what it
//! comes back as. The token's side; `tests/tests/e2e/tpm_faults.rs` has the daemon's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what fails here fails the test

mod bus;
mod gone;
mod lockout;
mod pinned;
mod race;
mod reuse;
mod scene;
mod secrets;
