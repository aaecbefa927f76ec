//! What must hold for any bytes a stranger sends, one function a parser.
//!
//! No panic, no hang, no growth beyond the input: those the fuzzer watches by itself. The assertions here
//! are what else a caller relies on, such as that an error is one printable line (it ends up in a log and in
//! a pod's event) and that what was taken comes back the same when it is written and read again.
//!
//! The targets in `fuzz_targets/` and `tests/tests/corpora.rs` run the same functions, so that whatever was
//! once found is tried again by every `make test`, without a nightly toolchain.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![allow(clippy::expect_used, clippy::panic)] // a panic is how a finding is told

mod archives;
mod images;
mod keys;
mod kmip;
mod messages;
mod openpgp;
mod payload;
mod tpm;

pub use archives::archive;
pub use images::image;
pub use keys::{key_uri, public_key};
pub use kmip::kmip_answer;
pub use messages::{configuration, keyprovider_message, packet, packet_pkcs7, packet_pkcs11};
pub use openpgp::openpgp;
pub use payload::payload;
pub use tpm::{event_log, signed_policies, tpm_key_file};

/// A parser, as bytes to try on it.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 15] = [
    ("archive", archive),
    ("configuration", configuration),
    ("event_log", event_log),
    ("image", image),
    ("key_uri", key_uri),
    ("keyprovider_message", keyprovider_message),
    ("kmip_answer", kmip_answer),
    ("openpgp", openpgp),
    ("packet", packet),
    ("packet_pkcs11", packet_pkcs11),
    ("packet_pkcs7", packet_pkcs7),
    ("payload", payload),
    ("public_key", public_key),
    ("signed_policies", signed_policies),
    ("tpm_key_file", tpm_key_file),
];

/// An error's text: there, in one line, without anything a terminal would obey, and no longer than a
/// pod's event may be.
fn one_printable_line(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error without a text");
    assert!(!text.chars().any(char::is_control), "an error with control characters: {text:?}");
    assert!(text.len() <= 1024, "an error of {} bytes", text.len());
}
