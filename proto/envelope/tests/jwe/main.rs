//! Packets of other programs, of ours, and of nobody's: see each part.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests end at the first surprise too; clippy.toml allows it to test functions alone"
)]

mod broken;
mod damage;
mod defects;
mod defects_of_headers;
mod defects_of_recipients;
mod josekit_peer;
mod jwk;
mod sealing;
mod skopeo;
mod token;
