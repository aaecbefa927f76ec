//! OpenPGP messages of gpg, of skopeo, and of nobody's: see each part.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests end at the first surprise too; clippy.toml allows it to test functions alone"
)]

mod certificates;
mod damage;
mod defects;
mod defects_inside;
mod keys;
mod messages;
mod sealing;
#[path = "../jwe/token.rs"]
mod token;
mod writer;
