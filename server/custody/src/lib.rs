//! The seam between Holdfast's server and what holds the keys.
//!
//! A [`Custodian`] is one authenticated connection to one place that holds keys. A backend implements
//! it, and nothing else; the [`Pool`] gives it threads, deadlines, bounded queues and reconnection.
//! Policy, packets and audit are the server's.
//!
//! ```text
//! server ── Pool ──┬─ thread ─ Custodian ─┐
//!                  ├─ thread ─ Custodian ─┼─ token
//!                  └─ thread ─ Custodian ─┘
//! ```

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "fake")]
pub mod fake;
pub mod hex;

mod custodian;
mod custody;
mod error;
mod keysmith;
mod latch;
mod pcr;
mod pool;
mod regular_file;

pub use custodian::{Custodian, Health, KeyInfo};
pub use custody::{Custody, Requirement};
pub use error::Error;
pub use keysmith::{KeyKind, Keysmith, Made, PrivateKey, RsaPrivateKey};
pub use latch::PinLatch;
pub use pcr::{Binding, PcrBank, PcrSelection, PcrValues};
pub use pool::{Connect, Pool, Settings, Usage, Workers};
pub use regular_file::RegularFile;
